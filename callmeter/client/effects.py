"""What a flow may ask of the world, and who answers."""

from collections.abc import Awaitable, Callable, Generator
from typing import Any, TypeVar

from msgspec import Struct

from callmeter.client.mock import Mock
from callmeter.wire import Signer, WireRequest


class Sign(Struct, frozen=True):
    """Put credentials on a request that need fetching or computing; the answer is the signed `WireRequest`."""

    request: WireRequest
    signer: Signer


class Send(Struct, frozen=True):
    """Send a request; the answer is a `WireReply`."""

    request: WireRequest
    mock: Mock | None = None
    """What answers in place of a provider."""


class Open(Struct, frozen=True):
    """Send a request and stop at the head of the answer; the answer is a `ByteStream`."""

    request: WireRequest
    mock: Mock | None = None


class ReadRest(Struct, frozen=True):
    """Read what is left of an opened answer that turned out to be an error; the answer is bytes."""

    stream: Any


class Leave(Struct, frozen=True):
    """Close an opened answer that nobody will read on."""

    stream: Any


class Sleep(Struct, frozen=True):
    """Wait."""

    seconds: float


class Consult(Struct, frozen=True):
    """Ask somebody who may take a while, as a shared state or the caller's own code; the answer is theirs."""

    ask: Callable[[], Any]
    aask: Callable[[], Awaitable[Any]]
    """The same for event loops."""


Effect = Sign | Send | Open | ReadRest | Leave | Sleep | Consult

T = TypeVar("T")
Flow = Generator[Effect, Any, T]
