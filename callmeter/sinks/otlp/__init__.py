"""Spans, metrics and log records by OpenTelemetry's protocol, to a collector or to any backend that speaks it.

Model, resource detection and protobuf are OpenTelemetry's own packages (`callmeter[otlp]`), imported on the worker's
thread by its first batch; its global providers are not touched. What is sent goes out through callmeter's transport,
because their exporters tell only success from failure, and drop on a status that merely asks to wait.
"""
