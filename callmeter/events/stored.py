"""An event as it is stored: without what must not be kept, content cut to size, always encodable. Pure.

Nearly every call has one attempt, whose usage and cost are the call's. Those are stored once, with a mark, and put back
where the event is read.
"""

import hashlib
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from callmeter.events.journal_schema import ADJUSTED, ATTEMPT, DROPPED, END, START
from callmeter.events.model import (
    AnyEvent,
    Attempt,
    AttemptFailed,
    CallEnded,
    CallFailed,
    CallStarted,
    CallSucceeded,
    Content,
    CostAdjusted,
    EventsDropped,
    StreamCompleted,
)

Redact = Callable[[AnyEvent], AnyEvent | None]

KINDS: dict[type, int] = {
    CallStarted: START,
    AttemptFailed: ATTEMPT,
    CallSucceeded: END,
    StreamCompleted: END,
    CallFailed: END,
    EventsDropped: DROPPED,
    CostAdjusted: ADJUSTED,
}
"""What a stored event is, by its type."""

MAX_DEPTH = 64
"""Content nested deeper than this is cut off."""

REPAIR_BYTES = 1 << 20
"""An event that JSON refuses as it is keeps at most this much."""

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(AnyEvent)


def stored_form(event: AnyEvent, *, hash_key: bytes, max_content_bytes: int | None) -> bytes:
    """Encode an event for the journal. `max_content_bytes` is None where content is not kept at all.

    Never raises for what a caller or provider may have put into the event: text that is not valid Unicode is repaired,
    numbers and objects JSON has no form for become text, and what still cannot be encoded is left out.
    """
    changes: dict[str, Any] = {}
    content = getattr(event, "content", None)
    if content is not None:
        if isinstance(event, CallEnded) and content.request_body:
            changes["prompt_hash"] = hashlib.blake2b(content.request_body, key=hash_key, digest_size=8).hexdigest()
        changes["content"] = None if max_content_bytes is None else _kept_content(content, max_content_bytes)
    if isinstance(event, CallEnded) and _is_said_twice(event):
        changes["attempts"] = (replace(event.attempts[0], usage=None, cost=None, same=True),)
    if changes:
        event = replace(event, **changes)
    try:
        return _encoder.encode(event)
    except (ValueError, TypeError, OverflowError, RecursionError, msgspec.MsgspecError):
        return _encoder.encode(Cut(REPAIR_BYTES).of(event))


def event_of(body: bytes) -> AnyEvent:
    """The event that was stored, whole again. Raises `msgspec.MsgspecError`, `ValueError` or `RecursionError`."""
    event: AnyEvent = _decoder.decode(body)
    if isinstance(event, CallEnded) and event.attempts and event.attempts[0].same:
        only = replace(event.attempts[0], usage=event.usage, cost=event.cost, same=False)
        event = replace(event, attempts=(only,))
    return event


def _is_said_twice(event: CallEnded) -> bool:
    """Whether the call's usage and cost are those of its only attempt."""
    if len(event.attempts) != 1:
        return False
    only: Attempt = event.attempts[0]
    return only.usage == event.usage and only.cost == event.cost


def _kept_content(content: Content, max_bytes: int) -> Content | None:
    """Messages and answer, together at most about `max_bytes` once encoded. Looks at no more than that of them.

    The answer may take half; the messages take what it leaves. The caller's own objects are only read: if another
    thread changes them meanwhile, the content is left out.
    """
    try:
        answer = Cut(max_bytes // 2)
        completion = answer.of(content.completion)
        messages = Cut(max_bytes - max_bytes // 2 + answer.left).of(content.messages)
    except (RuntimeError, AttributeError, TypeError, ValueError):
        return None
    return Content(messages=messages, completion=completion, answer_bytes=content.answer_bytes)


class Cut:
    """Copies a value into plain JSON types while a budget of bytes lasts."""

    def __init__(self, budget: int) -> None:
        self.left = budget

    def of(self, value: Any, depth: int = 0) -> Any:
        """The value, or as much of it as the budget and `MAX_DEPTH` allow; what is missing is marked."""
        self.left -= 2
        if value is None or isinstance(value, bool | float):
            return value
        if isinstance(value, int):
            return value if -(1 << 63) <= value < 1 << 64 else str(value)
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, bytes | bytearray | memoryview):
            return f"<{len(value)} bytes>" if value else ""
        if depth >= MAX_DEPTH:
            return f"<nested deeper than {MAX_DEPTH}>"
        if isinstance(value, dict):
            return self._mapping(value, depth)
        if isinstance(value, list | tuple):
            return self._items(value, depth)
        return self._object(value, depth)

    def _text(self, text: str) -> str:
        # A character takes at most four bytes, six where JSON escapes it; asking for the exact size would read it all.
        size = len(text) if text.isascii() else 4 * len(text)
        if size > self.left:
            half = max(0, self.left) // (2 if text.isascii() else 8)
            text = f"{text[:half]}…<{len(text)} characters>…{text[len(text) - half :]}"
            size = self.left
        self.left -= size
        return text.encode("utf-8", "replace").decode() if not text.isascii() else text

    def _mapping(self, mapping: Any, depth: int) -> dict[str, Any]:
        kept: dict[str, Any] = {}
        for key, value in mapping.items():
            if self.left <= 0:
                kept["…"] = f"<{len(mapping) - len(kept)} more>"
                break
            name = self._text(key if isinstance(key, str) else str(key))
            kept[name] = self.of(value, depth + 1)
        return kept

    def _items(self, items: Any, depth: int) -> list[Any]:
        kept: list[Any] = []
        for item in items:
            if self.left <= 0:
                kept.append(f"<{len(items) - len(kept)} more>")
                break
            kept.append(self.of(item, depth + 1))
        return kept

    def _object(self, value: Any, depth: int) -> Any:
        if hasattr(value, "model_dump"):
            return self.of(value.model_dump(), depth)
        if isinstance(value, Struct):
            config = value.__struct_config__
            fields = {name: getattr(value, name) for name in value.__struct_fields__}
            tagged = {config.tag_field: config.tag} if config.tag_field else {}
            return self._mapping(tagged | fields, depth)
        try:
            return self.of(msgspec.to_builtins(value), depth + 1)
        except (TypeError, ValueError, RecursionError):
            return f"<{type(value).__name__}>"
