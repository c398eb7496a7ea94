"""Points as metrics of OpenTelemetry's SDK. Imported on first use."""

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Histogram,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    Sum,
)

from callmeter.sinks.otlp.measures import BOUNDS, COST, DURATION, FIRST_CHUNK, TOKENS, Points

_ABOUT = {
    TOKENS: ("{token}", "Number of input and output tokens used."),
    DURATION: ("s", "GenAI operation duration."),
    FIRST_CHUNK: ("s", "Time to receive the first chunk of an answer."),
    COST: ("USD", "What the calls cost, where a price is known."),
}


def as_metrics(points: Points, *, delta: bool) -> list[Metric]:
    """One metric a name, in the order they are listed here; those without a point are left out."""
    temporality = AggregationTemporality.DELTA if delta else AggregationTemporality.CUMULATIVE
    metrics = []
    for name, (unit, about) in _ABOUT.items():
        data = _sum(points, temporality) if name == COST else _histogram(name, points, temporality)
        if data.data_points:
            metrics.append(Metric(name, about, unit, data))
    return metrics


def _histogram(name: str, points: Points, temporality: AggregationTemporality) -> Histogram:
    found = [
        HistogramDataPoint(
            attributes=dict(labels),
            start_time_unix_nano=points.since_ns,
            time_unix_nano=points.until_ns,
            count=point.count,
            sum=float(point.total),
            bucket_counts=list(point.buckets),
            explicit_bounds=list(BOUNDS[name]),
            min=point.least,
            max=point.most,
        )
        for (metric, labels), point in points.series.items()
        if metric == name
    ]
    return Histogram(found, temporality)


def _sum(points: Points, temporality: AggregationTemporality) -> Sum:
    found = [
        NumberDataPoint(dict(labels), points.since_ns, points.until_ns, float(point.total))
        for (metric, labels), point in points.series.items()
        if metric == COST
    ]
    return Sum(found, temporality, is_monotonic=True)
