"""Bytes on the wire, before any transport: a request as a value, an answer as a value."""

from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct

from callmeter.types import Timeouts


class WireRequest(Struct, frozen=True, kw_only=True):
    """One HTTP request. Headers may hold credentials: nothing prints a WireRequest."""

    url: str
    body: bytes = b""
    method: str = "POST"
    headers: Mapping[str, str] = {}
    timeouts: Timeouts = Timeouts()
    whole: bool = False
    """Whether the answer is read whole although the call is streamed: it only says where the stream will be."""

    def __repr__(self) -> str:
        return f"WireRequest({self.method} {self.url}, {len(self.body)} bytes)"


class WireReply(Struct, frozen=True, kw_only=True):
    """One whole HTTP answer. Header names are lower case; of repeated headers the values are joined by `, `."""

    status: int
    headers: Mapping[str, str] = {}
    body: bytes = b""


class Signer(Protocol):
    """Puts credentials on a request where that takes more than a header known beforehand: a fetched token, a signature.

    Signing may fetch and therefore block; asynchronous calls do it on a thread unless `ready` says it is instant.
    """

    def ready(self) -> bool:
        """Whether `sign` answers at once just now."""
        ...

    def sign(self, request: WireRequest) -> WireRequest:
        """The request with its credentials.

        Raises `AuthenticationError` saying where it looked if there are none, `APIConnectionError` if the service
        that hands them out cannot be reached.
        """
        ...
