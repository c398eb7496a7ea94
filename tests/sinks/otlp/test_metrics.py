"""Metrics are sums over the calls that were taken, each counted once, whatever happened on the way."""

from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality

from callmeter.errors import ConfigError
from callmeter.events.model import CallEnded
from callmeter.settings import Settings
from callmeter.sinks.otlp.environ import Target
from callmeter.sinks.otlp.measures import BOUNDS, COST, DURATION, FIRST_CHUNK, MAX_SERIES, OVERFLOW, TOKENS, Points
from callmeter.sinks.otlp.metrics import DeltaMetrics, OtlpMetrics
from callmeter.sinks.registry import make
from callmeter.testing.clocks import FixedClock
from callmeter.testing.faultserver import FaultServer
from callmeter.testing.host import Host, ended
from callmeter.types import Cost, Usage
from tests.ended_calls import UNPRICED, answered, facts, failed
from tests.sinks.otlp.wire import attributes

LABELS = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "anthropic",
    "gen_ai.request.model": "claude-sonnet-4-5",
    "gen_ai.response.model": "claude-sonnet-4-5-20250929",
    "server.address": "api.anthropic.com",
    "server.port": 443,
}


def metrics(body: bytes) -> dict[str, Any]:
    """The metrics of a request by name."""
    (resource,) = ExportMetricsServiceRequest.FromString(body).resource_metrics
    (scope,) = resource.scope_metrics
    return {metric.name: metric for metric in scope.metrics}


def of(*events: CallEnded) -> dict[str, Any]:
    sink = OtlpMetrics(Target(url="http://x"), {}, clock=FixedClock())
    ((request, _),) = sink.encode(events)
    return metrics(request.body)


def test_a_call_is_measured_under_the_conventions_names_units_and_buckets() -> None:
    found = of(answered())
    assert {name: metric.unit for name, metric in found.items()} == {
        TOKENS: "{token}",
        DURATION: "s",
        FIRST_CHUNK: "s",
        COST: "USD",
    }
    given, made = found[TOKENS].histogram.data_points
    assert attributes(given) == {**LABELS, "gen_ai.token.type": "input"}
    assert (given.count, given.sum, made.sum) == (1, 1000.0, 100.0)
    assert list(given.explicit_bounds)[:5] == [1, 4, 16, 64, 256]
    (took,) = found[DURATION].histogram.data_points
    assert (took.sum, took.min, took.max) == (2.0, 2.0, 2.0)
    assert list(took.explicit_bounds)[:3] == [0.01, 0.02, 0.04]
    assert list(took.bucket_counts).index(1) == list(took.explicit_bounds).index(2.56)
    (cost,) = found[COST].sum.data_points
    assert (cost.as_double, attributes(cost), found[COST].sum.is_monotonic) == (0.002955, LABELS, True)


def test_labels_are_a_closed_set() -> None:
    (point,) = of(answered(facts(user="canary", tags=("canary",), metadata={"canary": "canary"})))[COST].sum.data_points
    assert "canary" not in str(point)


def test_what_is_not_known_is_not_measured() -> None:
    found = of(answered(usage=None, cost=UNPRICED, time_to_first_chunk_s=None), failed())
    assert set(found) == {DURATION}
    assert [attributes(point).get("error.type") for point in found[DURATION].histogram.data_points] == [
        None,
        "RateLimitError",
    ]


calls = st.builds(
    lambda model, tokens, cents, seconds: (model, tokens, Decimal(cents) / 10**15, seconds),
    st.sampled_from(["a", "b", "c"]),
    st.integers(0, 10**7),
    st.integers(0, 10**18),
    st.floats(0, 1000),
)


def call(number: int, given: tuple[str, int, Decimal, float]) -> CallEnded:
    model, tokens, cost, seconds = given
    return answered(
        facts(f"{number:032x}", model=model),
        cost=Cost(total=cost, status="priced"),
        usage=Usage(input_tokens=tokens),
        latency_s=seconds,
    )


@given(drawn=st.lists(calls, max_size=30), cut=st.integers(0, 30))
def test_however_the_calls_are_batched_the_sums_are_the_same(
    drawn: Sequence[tuple[str, int, Decimal, float]], cut: int
) -> None:
    events = [call(number, one) for number, one in enumerate(drawn)]
    at_once = Points(1, 1).with_events(events, 9)
    in_two = Points(1, 1).with_events(events[:cut], 5).with_events(events[cut:], 9)
    backwards = Points(1, 1).with_events(events[::-1], 9)
    assert at_once.series == in_two.series == backwards.series
    assert sum(p.total for (name, _), p in at_once.series.items() if name == COST) == sum(c for _, _, c, _ in drawn)
    for (name, _), point in at_once.series.items():
        assert sum(point.buckets) == point.count
        assert name == COST or len(point.buckets) == len(BOUNDS[name]) + 1


def test_too_many_label_sets_are_counted_together() -> None:
    events = [answered(facts(f"{n:032x}", model=f"model-{n}")) for n in range(MAX_SERIES + 50)]
    points = Points(1, 1).with_events(events, 2)
    series = [labels for name, labels in points.series if name == COST]
    assert len(series) == MAX_SERIES
    assert points.series[COST, OVERFLOW].count == 51


# --- on the way


def running(server: FaultServer) -> float:
    """What the backend shows: of each series the last value, added up."""
    last: dict[tuple[Any, ...], float] = {}
    for received in server.received:
        if not received.act.takes:
            continue
        for point in metrics(received.body)[COST].sum.data_points:
            last[tuple(sorted(attributes(point).items()))] = point.as_double
    return sum(last.values())


@pytest.mark.parametrize("fault", ["answer", "reset", "hang"])
def test_a_batch_that_is_sent_again_counts_once(host: Host, fault: str) -> None:
    with FaultServer(lambda body: []) as server:
        sink = OtlpMetrics(Target(url=server.base_url, timeout_s=0.3), {}, clock=host.clock)
        worker = host.worker(sink)
        host.publish(sink, range(4))
        host.run(worker, 5)
        getattr(server, fault)(**({"status": 503} if fault == "answer" else {}), times=2)
        host.publish(sink, range(4, 8))
        host.run(worker, 300)
        assert host.accounts(sink).delivered == 8
        assert running(server) == pytest.approx(8 * 0.000125)


def test_a_sum_never_falls_while_a_poison_event_is_searched_for(host: Host) -> None:
    def models(body: bytes) -> list[str]:
        return [str(attributes(p)["gen_ai.request.model"]) for p in metrics(body)[COST].sum.data_points]

    with FaultServer(models) as server:
        sink = OtlpMetrics(Target(url=server.base_url), {}, clock=host.clock)
        worker = host.worker(sink)
        server.poison = frozenset({"poison"})
        events: list[Any] = [ended(n) for n in range(31)]
        host.append(sink, [*events, _named(ended(31), "poison")])
        host.run(worker, 60)
        accounts = host.accounts(sink)
        assert (accounts.delivered, accounts.dead) == (31, 1)
        taken = [metrics(r.body)[COST].sum.data_points[0].as_double for r in server.received if r.act.takes]
        assert taken == sorted(taken)
        assert running(server) == pytest.approx(31 * 0.000125)


def _named(event: Any, model: str) -> Any:
    return replace(event, call=replace(event.call, model=model))


def test_rejected_points_do_not_make_the_sums_go_back(host: Host) -> None:
    body = ExportMetricsServiceResponse(partial_success={"rejected_data_points": 1}).SerializeToString()
    with FaultServer(lambda body: []) as server:
        server.answer(200, headers={"content-type": "application/x-protobuf"}, body=body)
        sink = OtlpMetrics(Target(url=server.base_url), {}, clock=host.clock)
        host.publish(sink, range(4))
        host.run(host.worker(sink), 5)
        assert host.accounts(sink).delivered == 4
        assert len(server.received) == 1


def test_deltas_are_each_batch_alone_one_after_the_other(host: Host) -> None:
    with FaultServer(lambda body: []) as server:
        sink = DeltaMetrics(Target(url=server.base_url), {}, clock=host.clock)
        worker = host.worker(sink)
        for batch in range(3):
            host.publish(sink, range(batch * 2, batch * 2 + 2))
            host.run(worker, 5)
        data = [metrics(r.body)[COST].sum for r in server.received]
    assert {sum_.aggregation_temporality for sum_ in data} == {AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA}
    points = [sum_.data_points[0] for sum_ in data]
    assert [point.as_double for point in points] == [pytest.approx(2 * 0.000125)] * 3
    for before, after in pairwise(points):
        assert after.start_time_unix_nano == before.time_unix_nano < after.time_unix_nano


def test_a_delta_of_which_nobody_knows_whether_it_was_taken_becomes_dead_letters(host: Host) -> None:
    with FaultServer(lambda body: []) as server:
        server.reset(times=1)
        sink = DeltaMetrics(Target(url=server.base_url), {}, clock=host.clock)
        host.publish(sink, range(2))
        host.run(host.worker(sink), 60)
        assert host.accounts(sink).dead == 2
        assert len(server.received) == 1


@pytest.mark.parametrize(
    ("preference", "kind"), [("", OtlpMetrics), ("cumulative", OtlpMetrics), ("DELTA", DeltaMetrics)]
)
def test_the_temporality_is_what_the_variable_prefers(preference: str, kind: type) -> None:
    variable = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"
    assert type(make("otlp_metrics", Settings(), {variable: preference})) is kind
    with pytest.raises(ConfigError, match=f"{variable} is 'hourly'"):
        make("otlp_metrics", Settings(), {variable: "hourly"})
