"""What a wire format has to offer: a request, an answer, a stream, an error. All of it pure."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal, NamedTuple, Protocol

from msgspec import Struct

from callmeter.errors import APIError
from callmeter.shapes import Chunk, Completion, Result
from callmeter.types import Call, Deployment, Usage
from callmeter.wire import WireReply, WireRequest

Framing = Literal["sse", "ndjson", "eventstream"]
"""How a stream's bytes are cut into messages; `streaming.FRAMINGS` has what does it."""


class Frame(NamedTuple):
    """One message of a stream, as framing cut it out of the bytes: an SSE event, a line of NDJSON, an AWS event."""

    data: bytes
    event: str = ""
    failed: bool = False
    """Whether the framing itself marks it as an error, of the kind that `event` names."""


class Meter(Struct, frozen=True, kw_only=True):
    """What the provider said about quantity and money. `usage` is None where it said nothing or nonsense."""

    usage: Usage | None = None
    billed: Usage | None = None
    """What of it is charged for, where that is less than what was consumed; None: all of it."""
    raw: Any = None
    """The provider's usage object as it came, for audit and re-pricing."""
    problem: str = ""
    """Why `usage` is None although `raw` is not: `prompt_tokens is -3`, …"""
    service_tier: str = ""
    """The tier that served the call, where the answer names one."""
    reported: Decimal | None = None
    """The provider's own price, USD."""
    model: str = ""
    """The model that answered, where the deployment's name does not tell and the price goes by it."""


class Answered(NamedTuple):
    """A whole answer to an operation: what the caller gets, and what is metered."""

    answer: Result
    meter: Meter


class Answer(NamedTuple):
    """A whole answer of chat."""

    completion: Completion
    meter: Meter


class Later(Struct, frozen=True, kw_only=True):
    """Not an answer yet: the provider has taken the call, and is to be asked this next."""

    request: WireRequest
    after_s: float = 0.0
    """Seconds to wait before."""


class StreamDecoder(Protocol):
    """Folds one stream's frames into chunks. One instance a stream; no I/O."""

    @property
    def meter(self) -> Meter:
        """The last word on usage so far (cumulative counts replace, they are never summed)."""
        ...

    ended: bool
    """True once the wire's own end was seen: `[DONE]`, `message_stop`, `"done": true`."""

    def chunks(self, frame: Frame) -> Sequence[Chunk]:
        """The chunks a frame adds: none for a ping, several where a frame says several things.

        A chunk that carries usage and nothing else has `choices == []`; whether the caller sees it is not ours to say.
        Raises `APIError` (by class of the error inside) for an error within the stream and
        `APIResponseValidationError` for a frame that is not the documented shape.
        """
        ...

    def finish(self) -> Sequence[Chunk]:
        """The body has ended. Chunks still owed, if any; raises `APIConnectionError` when it was cut short."""
        ...


class OperationCodec(Protocol):
    """A wire format of one operation: a request, an answer, an error. `Codec` is chat's, which also streams."""

    @property
    def supported(self) -> frozenset[str]:
        """Names of the OpenAI parameters this wire can carry (see `client/operations.py`)."""
        ...

    def request(self, call: Call, deployment: Deployment) -> WireRequest:
        """The call as this wire says it. `call.params` holds supported parameters only.

        Where a streamed call's request is to be answered `whole`, `response` reads that answer and says what to open.

        Raises `BadRequestError` for messages this wire cannot express, naming the part.
        """
        ...

    def response(self, reply: WireReply, call: Call, deployment: Deployment) -> tuple[Result, Meter] | Later:
        """A 2xx answer, decoded, or what to ask next where it is none yet; then that one's answer comes here too.

        Raises `APIResponseValidationError`, or the error an answer of 200 hides.
        """
        ...

    def failure(self, status: int, headers: Mapping[str, str], body: bytes, deployment: Deployment) -> APIError:
        """The error that a non-2xx answer stands for."""
        ...


class StreamCodec(Protocol):
    """How the bytes of a stream are read."""

    framing: Framing

    def decoder(self, call: Call, deployment: Deployment) -> StreamDecoder:
        """A fresh decoder for one stream."""
        ...


class Codec(OperationCodec, StreamCodec, Protocol):
    """A wire format of chat, in both directions, whole and streamed."""

    def response(self, reply: WireReply, call: Call, deployment: Deployment) -> Answer | Later:
        """A whole answer, or what to ask or to open next."""
        ...
