"""What the caller is doing, carried beside their code: `with tags(project="search"): completion(...)`."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, NamedTuple

made_by: ContextVar[str] = ContextVar("callmeter.made_by", default="")
"""Identity of the sink that is sending here. It is not told of the calls it makes itself: that would never end."""

within: ContextVar[tuple[Any, ...]] = ContextVar("callmeter.within", default=())
"""The user's callbacks that are running here, outermost first. None of them is told of a call made within it."""

_current: ContextVar[Mapping[str, Any]] = ContextVar("callmeter.tags", default=MappingProxyType({}))


def current_tags() -> Mapping[str, Any]:
    """The tags in force here, in this task or thread."""
    return _current.get()


@contextmanager
def tags(*names: str, **values: Any) -> Iterator[None]:
    """Label every call made within, across awaits and into tasks started here.

    `project`, `user`, `team`, `customer`, `feature`, `session_id` and `environment` become the columns of those names;
    bare names and `tags=[…]` join the list of tags; anything else goes into the call's metadata. Inner values win,
    lists add up. Also works as a decorator.
    """
    outer = _current.get()
    merged = {**outer, **values}
    merged["tags"] = (*outer.get("tags", ()), *names, *values.get("tags", ()))
    token = _current.set(merged)
    try:
        yield
    finally:
        _current.reset(token)


class ActiveSpan(NamedTuple):
    """Where in a trace the caller is."""

    trace_id: str = ""
    """32 hex digits, or empty where there is no span."""
    span_id: str = ""
    sampled: bool = True
    """False where the span is not recorded: the call is accounted for, but not traced."""


NO_SPAN = ActiveSpan()

_OPENTELEMETRY, _MLFLOW = "opentelemetry.trace", "mlflow.tracing.provider"
"""Modules that know of an active span, once they are loaded."""


def active_span(given: Any = None) -> ActiveSpan:
    """The span that a call made here belongs below: the one that is given, OpenTelemetry's active one, or MLflow's.

    Looks only at what the program has loaded itself; whatever goes wrong with it, there is no span then.
    """
    if given is None and _OPENTELEMETRY not in sys.modules and _MLFLOW not in sys.modules:
        return NO_SPAN
    try:
        for context in _contexts(given):
            if context.is_valid:
                return ActiveSpan(
                    f"{context.trace_id:032x}", f"{context.span_id:016x}", bool(context.trace_flags.sampled)
                )
    except Exception:  # somebody else's tracer must not break a call
        return NO_SPAN
    return NO_SPAN


def _contexts(given: Any) -> Iterator[Any]:
    if given is not None:
        yield given.get_span_context()
    trace = sys.modules.get(_OPENTELEMETRY)
    if trace is not None:
        yield trace.get_current_span().get_span_context()
    # MLflow keeps its spans in a context of its own.
    mlflow = sys.modules.get(_MLFLOW)
    span = mlflow.get_current_otel_span() if mlflow is not None else None
    if span is not None:
        yield span.get_span_context()
