"""Each call as a log record that belongs to its span."""

from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.logs.v1.logs_pb2 import SeverityNumber

from callmeter.events.spans import spans_of
from callmeter.settings import Settings
from callmeter.sinks.otlp.environ import Target
from callmeter.sinks.otlp.logs import OtlpLogs
from callmeter.sinks.registry import make
from callmeter.testing.faultserver import FaultServer
from callmeter.testing.host import Host
from tests.ended_calls import AT_NS, answered, failed, retried
from tests.sinks.otlp.wire import attributes


def records(*events: Any) -> list[Any]:
    ((request, ids),) = make("otlp_logs", Settings(), {}).encode(events)  # type: ignore[attr-defined]
    assert request.url == "http://localhost:4318/v1/logs"
    assert list(ids) == [event.id for event in events]
    (resource,) = ExportLogsServiceRequest.FromString(request.body).resource_logs
    (scope,) = resource.scope_logs
    return list(scope.log_records)


def test_a_call_is_one_record_whatever_its_attempts() -> None:
    (record,) = records(retried())
    span = spans_of(retried())[0]
    assert (record.trace_id.hex(), record.span_id.hex()) == (span.trace_id, span.span_id)
    assert record.event_name == "gen_ai.client.inference.operation.details"
    assert record.time_unix_nano == AT_NS + 2_000_000_000
    assert attributes(record)["gen_ai.usage.input_tokens"] == 1000
    assert attributes(record)["callmeter.event.id"] == retried().id
    assert "gen_ai.input.messages" not in attributes(record)


def test_a_failure_is_an_error_record() -> None:
    fine, broken = records(answered(), failed())
    assert fine.severity_number == SeverityNumber.SEVERITY_NUMBER_INFO
    assert broken.severity_number == SeverityNumber.SEVERITY_NUMBER_ERROR
    assert broken.body.string_value == "slow down"


def test_where_some_are_rejected_and_nobody_says_which_none_is_sent_again(host: Host) -> None:
    body = ExportLogsServiceResponse(partial_success={"rejected_log_records": 1, "error_message": "too long"})
    headers = {"content-type": "application/x-protobuf"}
    with FaultServer(lambda body: []) as server:
        server.answer(200, headers=headers, body=body.SerializeToString())
        sink = OtlpLogs(Target(url=server.base_url), {})
        host.publish(sink, range(4))
        host.run(host.worker(sink), 60)
        assert len(server.received) == 1
    assert host.accounts(sink).dead == 4
    assert all("rejected 1 log_records: too long; which of 4" in reason for reason in host.dead(sink).values())
