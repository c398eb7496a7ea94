"""A call's place in a trace, in W3C's form. Pure: whoever asks, and however often, gets the same ids."""

import re
from hashlib import sha256

from callmeter.events.model import CallFacts

_TRACE = re.compile("(?!0{32})[0-9a-f]{32}").fullmatch
_SPAN = re.compile("(?!0{16})[0-9a-f]{16}").fullmatch


def trace_id_of(text: str) -> str:
    """32 hex digits for a trace of any spelling: themselves, a UUID's, else the first half of the text's SHA-256.

    Langfuse derives the id of a trace from a name in the same way, so `Langfuse.create_trace_id(seed=name)` finds it.
    Source: https://langfuse.com/docs/observability/features/trace-ids-and-distributed-tracing
    """
    if _TRACE(text):
        return text
    plain = text.replace("-", "").lower()
    return plain if _TRACE(plain) else _digest(text, 32)


def span_id_of(call_id: str, attempt: int = 0) -> str:
    """16 hex digits for a call, or for one of its attempts (1 is the first).

    A digest of the whole id: its first half is a time, which two processes, or one whose clock was set back, can share.
    """
    return _digest(f"{call_id}#{attempt}" if attempt else call_id, 16)


def span_id(call: CallFacts) -> str:
    """The call's own span: the one its event names, or the one that follows from its id."""
    return call.span_id if _SPAN(call.span_id) else span_id_of(call.call_id)


def trace_id(call: CallFacts) -> str:
    """The trace the call belongs to; of its own where none is named."""
    return trace_id_of(call.trace_id or call.call_id)


def is_span_id(text: str) -> bool:
    """Whether this can be the id of a span: 16 hex digits, not all zero."""
    return _SPAN(text) is not None


def traceparent(call: CallFacts) -> str:
    """The W3C trace context that goes out with the call. Source: https://www.w3.org/TR/trace-context/"""
    return f"00-{trace_id(call)}-{span_id(call)}-{'01' if call.sampled else '00'}"


def _digest(text: str, digits: int) -> str:
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:digits]
