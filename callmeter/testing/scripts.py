"""What a fake provider hears, and what it does about it, as values."""

from typing import Literal

from msgspec import Struct

NUMBER = "@" * 16
"""Stands in a rendered body for the answer's number, so that bodies can be rendered once and ids still differ."""


class Heard(Struct, frozen=True, kw_only=True):
    """One request as it came. Header names are lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""


class Tokens(Struct, frozen=True, kw_only=True):
    """What an answer says it consumed, in OpenAI's counting: totals include their parts."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    """Cache writes that live five minutes, within `prompt_tokens`."""
    cache_write_1h_tokens: int = 0
    reasoning_tokens: int = 0

    def __add__(self, other: "Tokens") -> "Tokens":
        return Tokens(**{name: getattr(self, name) + getattr(other, name) for name in self.__struct_fields__})


class ToolUse(Struct, frozen=True):
    """A tool call to answer with; `arguments` is JSON text."""

    name: str
    arguments: str = "{}"


class Order(Struct, frozen=True):
    """All that an answer depends on."""

    wire: str
    model: str
    stream: bool
    shows_usage: bool
    tokens: Tokens
    words: tuple[str, ...]
    tools: tuple[ToolUse, ...]
    finish: str
    reports: bool


class Wish(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a request may ask of its own answer: the object `x_fake` in its body, or as JSON in the header `x-fake`.

    Numbers left out are made from the request: four bytes of messages are a prompt token, a word is a completion token.
    """

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    reasoning_tokens: int = 0
    text: str | None = None
    tool_calls: tuple[ToolUse, ...] | None = None
    finish: str = "stop"
    """OpenAI's finish reason, translated to each wire's word: `stop`, `length`, `content_filter`."""
    chunks: int | None = None
    """Pieces to cut a streamed text into; one a word unless said."""
    usage: bool = True
    """Whether the answer reports usage at all."""
    fail: int | None = None
    """Answer with this error status."""
    retry_after_s: float | None = None
    cut_after_chunks: int | None = None
    """Hang up after this many pieces of text."""
    stall_after_chunks: int | None = None
    """Fall silent after this many pieces of text, until the client leaves."""
    pause_s: float = 0.0
    """Wait before each piece of text."""


class Answer(Struct, frozen=True, kw_only=True):
    """A body in one wire's format, and what it says was consumed."""

    wire: str
    model: str = ""
    status: int = 200
    content_type: str = "application/json"
    pieces: tuple[bytes, ...] = ()
    """The body. One piece is sent with its length; several are sent as chunks of a stream."""
    headers: tuple[tuple[str, str], ...] = ()
    """Headers that belong to the answer, beside its type and length."""
    lead: int = 0
    """Pieces before the first one that carries content."""
    stream: bool = False
    tokens: Tokens = Tokens()


class Script(Struct, frozen=True, kw_only=True):
    """An answer and how badly to deliver it."""

    answer: Answer
    headers: tuple[tuple[str, str], ...] = ()
    stall: Literal["", "headers", "chunk"] = ""
    """Fall silent before the headers or the piece `stall_at`: for `stall_s`, until released, or the client leaves."""
    stall_at: int = 0
    stall_s: float | None = None
    cut_after_bytes: int | None = None
    """Hang up after this many bytes of the body."""
    cut_before_headers: bool = False
    reset: bool = False
    """Hang up with a reset instead of an orderly end."""
    bytes_per_piece: int | None = None
    """Write the body, and the headers, in pieces of at most this many bytes."""
    pause_s: float = 0.0
    """Wait before each piece from `pause_from` on."""
    pause_from: int = 0

    @property
    def immediate(self) -> bool:
        """Whether it can be delivered in one write."""
        return not (
            self.stall
            or self.pause_s
            or self.bytes_per_piece
            or self.cut_before_headers
            or self.cut_after_bytes is not None
        )


class Served(Struct, frozen=True, kw_only=True):
    """One answered request, as the provider saw it: a line of the count file."""

    call_id: str
    """The client's `x-callmeter-call-id` header, or empty."""
    wire: str
    model: str
    stream: bool
    status: int
    tokens: Tokens
    """What the whole answer says; whether that was reached, `complete` tells."""
    pieces: int
    pieces_written: int
    bytes_written: int
    complete: bool
    """Every byte of the answer was handed to the socket."""
