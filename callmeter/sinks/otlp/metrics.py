"""Calls as OpenTelemetry metrics: tokens, durations, times to the first chunk, and what they cost."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from callmeter.clock import Clock, SystemClock
from callmeter.errors import ConfigError
from callmeter.events.model import CallEnded
from callmeter.settings import Settings
from callmeter.sinks.base import Delivery
from callmeter.sinks.otlp.environ import Target, require_packages, resource, target
from callmeter.sinks.otlp.measures import Points
from callmeter.sinks.otlp.sink import OtlpSink
from callmeter.wire import WireReply

PREFERENCE = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"


class OtlpMetrics(OtlpSink):
    """Sums and histograms since this sink was opened, sent anew with each batch (cumulative temporality).

    A batch counts once it was taken: what is sent again carries the same sums, and the last ones hold. A process that
    takes over begins series of its own under another `service.instance.id`; a batch that was taken and whose answer
    died with the process is the only thing that can be counted twice.
    """

    name: ClassVar[str] = "otlp_metrics"
    dedupe_key: ClassVar[str] = "series, last value wins"
    delta: ClassVar[bool] = False

    rejected: ClassVar[str] = "rejected_data_points"
    response: ClassVar[str] = (
        "opentelemetry.proto.collector.metrics.v1.metrics_service_pb2.ExportMetricsServiceResponse"
    )
    method: ClassVar[str] = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"

    def __init__(self, target: Target, resource: Mapping[str, str], *, clock: Clock | None = None) -> None:
        super().__init__(target, resource)
        self._clock = clock or SystemClock()
        self._taken: Points | None = None
        self._sent: Points | None = None

    def payload(self, events: Sequence[CallEnded]) -> bytes:
        """An `ExportMetricsServiceRequest` with everything taken so far and these events."""
        now_ns = self._clock.wall_ns()
        self._sent = (self._taken or Points(now_ns, now_ns)).with_events(events, now_ns)
        return self.encoder.metrics(self._sent, delta=self.delta)

    def verdict(self, reply: WireReply, ids: Sequence[str]) -> Delivery | None:
        """A 2xx answer takes the batch, also where it rejects some points.

        A search for those would send smaller sums after greater ones, which readers take for a restart.
        """
        if reply.body:
            self._rejected(reply)
        self._taken = self._kept(self._sent)
        return None

    def _kept(self, sent: Points | None) -> Points | None:
        return sent


class DeltaMetrics(OtlpMetrics):
    """What each batch adds (delta temporality), for backends that ask for it.

    Nothing collapses here: a batch of which it is not known whether it was taken becomes dead letters.
    """

    dedupe_key: ClassVar[str] = ""
    delta: ClassVar[bool] = True

    def _kept(self, sent: Points | None) -> Points | None:
        return None if sent is None else Points(sent.until_ns, sent.until_ns)


def make(settings: Settings, environ: Mapping[str, str]) -> OtlpMetrics:
    """The sink `otlp_metrics`, by OpenTelemetry's standard variables.

    Raises `ConfigError` for a temporality nobody knows.
    """
    require_packages("otlp_metrics", environ)
    preference = environ.get(PREFERENCE, "").strip().lower() or "cumulative"
    if preference not in ("cumulative", "delta", "lowmemory"):
        raise ConfigError(f"{PREFERENCE} is {preference!r}; set it to cumulative or delta")
    kind = OtlpMetrics if preference == "cumulative" else DeltaMetrics
    return kind(target("metrics", environ), resource(settings, environ))
