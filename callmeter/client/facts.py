"""What is known of a call when it begins: its labels, its place in a trace, its id."""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from callmeter.context import current_tags, made_by
from callmeter.events.model import CallFacts
from callmeter.runtime import Runtime

COLUMNS = ("project", "user", "team", "customer", "feature", "session_id", "environment", "key_id")
"""Labels with a column of their own, in metadata and in `tags(…)`."""


def facts_of(
    rt: Runtime, operation: str, model: str, ours: Mapping[str, Any], params: Mapping[str, Any], streamed: bool
) -> CallFacts:
    """Who asks, for what, from where: arguments over metadata over `tags(…)` over settings."""
    call_id = rt.ids()
    labels, tags = _labels(ours, params)
    trace_id, parent_id = rt.caller_span()
    named_trace = ours.get("litellm_trace_id") or labels.pop("trace_id", None)
    columns: dict[str, Any] = {name: str(labels.pop(name)) for name in COLUMNS if name in labels}
    settings = rt.settings
    if settings.project:
        columns.setdefault("project", settings.project)
    if settings.environment:
        columns.setdefault("environment", settings.environment)
    return CallFacts(
        call_id=call_id,
        trace_id=str(named_trace) if named_trace else trace_id or call_id,
        span_id=call_id[:16],
        parent_id=parent_id,
        at_ns=rt.clock.wall_ns(),
        operation=operation,
        stream=streamed,
        model=model,
        model_requested=model,
        service_tier=str(params.get("service_tier") or ""),
        tags=tags,
        metadata={str(name): str(value) for name, value in labels.items()},
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


def traceparent(facts: CallFacts) -> str:
    """The W3C trace context of a call; a trace id of the caller's own spelling is hashed into the form it needs."""
    trace = facts.trace_id
    if not _IS_TRACE_ID(trace):
        trace = hashlib.blake2b(trace.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return f"00-{trace}-{facts.span_id}-01"


_IS_TRACE_ID = re.compile("[0-9a-f]{32}").fullmatch
