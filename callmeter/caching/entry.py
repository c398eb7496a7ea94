"""A stored answer as bytes, and back. It is JSON that is checked against types when it is read, and never code."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Raw, Struct

from callmeter.records import Record
from callmeter.results import (
    EmbeddingResponse,
    ImageResponse,
    ModerationResponse,
    RerankResponse,
    SpeechResponse,
    TranscriptionResponse,
)
from callmeter.shapes import Completion, Result

ANSWERS: Mapping[str, type[Result]] = {
    "chat": Completion,
    "text_completion": Completion,
    "responses": Completion,
    "embedding": EmbeddingResponse,
    "image_generation": ImageResponse,
    "moderation": ModerationResponse,
    "rerank": RerankResponse,
    "speech": SpeechResponse,
    "transcription": TranscriptionResponse,
}
"""What each operation's answers are, before they are shown in the operation's own form."""


class Entry(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An answer, by whom it was given, and what it cost then."""

    operation: str
    answer: Raw
    stored_at_ns: int
    """Wall clock, ns since the epoch UTC."""
    provider: str
    model: str
    """As the provider knows it."""
    cost: Decimal | None = None
    """USD of the attempt that brought the answer; None where no price was known."""
    estimated: bool = False
    """Whether that cost rests on tokens that we counted."""
    hidden: Mapping[str, Any] = {}
    """What an answer carries beyond its fields, as the whole of it in its wire's own shape."""


class Found(Struct, frozen=True):
    """An entry that was read, and the answer in it."""

    entry: Entry
    answer: Result


def encode(entry: Entry) -> bytes:
    """An entry as it is stored."""
    return msgspec.json.encode(entry)


def answer_bytes(answer: Result) -> Raw:
    """An answer as an entry holds it. Raises `ValueError` for text that is not Unicode."""
    return Raw(msgspec.json.encode(answer))


def decode(stored: bytes) -> Found:
    """What was stored. Raises `ValueError` for anything that is no entry of ours."""
    entry = msgspec.json.decode(stored, type=Entry)
    kind = ANSWERS.get(entry.operation)
    if kind is None:
        raise ValueError(f"an answer to {entry.operation!r} cannot be read")
    return Found(entry, msgspec.json.decode(entry.answer, type=kind, dec_hook=_record))


def _record(kind: type, value: Any) -> Any:
    if issubclass(kind, Record) and isinstance(value, dict):
        return kind(value)
    raise ValueError(f"{kind.__name__} is no part of an answer")
