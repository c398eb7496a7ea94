"""Ended calls added up into the points of OpenTelemetry's GenAI metrics. Pure.

The older set of names is used, which is what shipped instrumentations emit and dashboards read; sending the newer one
beside it would count everything twice. Labels are a closed set: never a user, a session, a trace or a key.
Source: https://github.com/open-telemetry/semantic-conventions-genai/blob/main/docs/gen-ai/gen-ai-metrics.md
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

from msgspec import Struct
from msgspec.structs import replace

from callmeter.events.model import CallEnded
from callmeter.events.spans import call_attributes

TOKENS = "gen_ai.client.token.usage"
DURATION = "gen_ai.client.operation.duration"
FIRST_CHUNK = "gen_ai.client.operation.time_to_first_chunk"
COST = "callmeter.cost"

MAX_SERIES = 2000
"""Label sets of one metric; what comes after them is counted together, marked as overflow. Source:
https://opentelemetry.io/docs/specs/otel/metrics/sdk/#cardinality-limits"""

OVERFLOW = (("otel.metric.overflow", True),)

_SECONDS = tuple(0.01 * 2**power for power in range(14))
_TOKENS = tuple(float(4**power) for power in range(14))

BOUNDS: Mapping[str, tuple[float, ...]] = {TOKENS: _TOKENS, DURATION: _SECONDS, FIRST_CHUNK: _SECONDS}
"""Upper bounds of the buckets that the conventions prescribe; a metric that is not here is a sum."""

Labels = tuple[tuple[str, str | int | bool], ...]


class Point(Struct, frozen=True):
    """What was measured of one metric under one set of labels."""

    count: int = 0
    total: Decimal = Decimal(0)
    least: float = 0.0
    most: float = 0.0
    buckets: tuple[int, ...] = ()

    def with_value(self, value: Decimal, bounds: Sequence[float]) -> "Point":
        """One more measurement."""
        measured, counts = float(value), list(self.buckets or (0,) * (len(bounds) + 1))
        counts[bisect_left(bounds, measured)] += 1
        return Point(
            self.count + 1,
            self.total + value,
            measured if self.count == 0 else min(self.least, measured),
            max(self.most, measured),
            tuple(counts),
        )


class Points(Struct, frozen=True):
    """All that was measured between two instants (ns since the epoch UTC), by metric and labels."""

    since_ns: int
    until_ns: int
    series: Mapping[tuple[str, Labels], Point] = {}

    def with_events(self, events: Sequence[CallEnded], now_ns: int) -> "Points":
        """These and what the calls add, up to `now_ns`."""
        series = dict(self.series)
        sizes = {name: sum(metric == name for metric, _ in series) for name in (*BOUNDS, COST)}
        for metric, labels, value in (measured for event in events for measured in measurements(event)):
            key = (metric, labels)
            if key not in series and sizes[metric] >= MAX_SERIES - 1:
                key = (metric, OVERFLOW)
            if key not in series:
                sizes[metric] += 1
            series[key] = series.get(key, Point()).with_value(value, BOUNDS.get(metric, ()))
        return replace(self, until_ns=max(now_ns, self.until_ns + 1), series=series)


def measurements(event: CallEnded) -> Iterator[tuple[str, Labels, Decimal]]:
    """What one call adds: metric, labels, value. What is not known adds nothing."""
    labels = _labels(event)
    yield DURATION, labels, _exact(event.latency_s)
    if event.time_to_first_chunk_s is not None:
        yield FIRST_CHUNK, labels, _exact(event.time_to_first_chunk_s)
    if event.usage is not None:
        for kind, count in (("input", event.usage.input_tokens), ("output", event.usage.output_tokens)):
            yield TOKENS, (*labels, ("gen_ai.token.type", kind)), Decimal(count)
    if event.cost.total is not None:
        yield COST, labels, event.cost.total


_LABELS = (
    "gen_ai.operation.name gen_ai.provider.name gen_ai.request.model gen_ai.response.model server.address server.port"
    " error.type"
).split()


def _labels(event: CallEnded) -> Labels:
    known = call_attributes(event)
    return tuple((name, value) for name in _LABELS if isinstance(value := known.get(name), str | int))


def _exact(seconds: float) -> Decimal:
    # To the nanosecond, which is what was measured: a sum of floats would depend on the order of the calls.
    return Decimal(max(0, round(seconds * 1e9))).scaleb(-9)
