"""What is known of a call when it begins: its labels, its place in a trace, its id."""

from collections.abc import Mapping
from math import isfinite
from typing import Any

import msgspec

from callmeter.context import active_span, current_tags, made_by
from callmeter.events.model import CallFacts
from callmeter.events.trace import span_id_of
from callmeter.runtime import Runtime

COLUMNS = ("project", "user", "team", "customer", "feature", "session_id", "environment", "key_id")
"""Labels with a column of their own, in metadata and in `tags(…)`."""

PARAMETERS = frozenset(
    """temperature top_p top_k max_tokens max_completion_tokens frequency_penalty presence_penalty seed n
    reasoning_effort dimensions""".split()
)
"""What an event keeps of the parameters: settings of the model, never anything that could be content."""


def facts_of(
    rt: Runtime, operation: str, model: str, ours: Mapping[str, Any], params: Mapping[str, Any], streamed: bool
) -> CallFacts:
    """Who asks, for what, from where: arguments over metadata over `tags(…)` over settings."""
    call_id = rt.ids()
    labels, tags = _labels(ours, params)
    span = active_span(labels.pop("litellm_parent_otel_span", None))
    trace_id = str(ours.get("litellm_trace_id") or labels.pop("trace_id", None) or span.trace_id or call_id)
    below = trace_id == span.trace_id  # a span of another trace is nobody's parent here
    columns: dict[str, Any] = {name: str(labels.pop(name)) for name in COLUMNS if name in labels}
    settings = rt.settings
    if settings.project:
        columns.setdefault("project", settings.project)
    if settings.environment:
        columns.setdefault("environment", settings.environment)
    return CallFacts(
        call_id=call_id,
        trace_id=trace_id,
        span_id=span_id_of(call_id),
        parent_id=span.span_id if below else "",
        sampled=span.sampled or not below,
        at_ns=rt.clock.wall_ns(),
        operation=operation,
        stream=streamed,
        model=model,
        model_requested=model,
        service_tier=str(params.get("service_tier") or ""),
        tags=tags,
        metadata={str(name): _text(value) for name, value in labels.items()},
        parameters={name: value for name, value in params.items() if name in PARAMETERS and _is_plain(value)},
        made_by=made_by.get(),
        **columns,
    )


def _labels(ours: Mapping[str, Any], params: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Everything the call is labelled with by name, and the list of its tags."""
    around, metadata = current_tags(), ours.get("metadata")
    labels = {**around, **metadata} if metadata else dict(around)
    tags = labels.pop("tags", None) or ()
    if metadata or ours.get("tags"):
        tags = (*around.get("tags", ()), *((metadata or {}).get("tags") or ()), *(ours.get("tags") or ()))
    labels = {name: value for name, value in labels.items() if value is not None}
    if params.get("user") is not None:
        labels["user"] = params["user"]
    if ours.get("litellm_session_id") is not None:
        labels["session_id"] = ours["litellm_session_id"]
    return labels, tuple(dict.fromkeys(map(str, tags)))


def _text(value: Any) -> str:
    """Text as it is, lists and mappings as JSON, anything else as Python writes it."""
    if not isinstance(value, dict | list | tuple):
        return str(value)
    try:
        return msgspec.json.encode(value).decode()
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError):
        return str(value)


def _is_plain(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= 64
    return isinstance(value, int) or (isinstance(value, float) and isfinite(value))
