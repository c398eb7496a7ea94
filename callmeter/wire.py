"""Bytes on the wire, before any transport: a request as a value, an answer as a value."""

from collections.abc import Mapping

from msgspec import Struct

from callmeter.types import Timeouts


class WireRequest(Struct, frozen=True, kw_only=True):
    """One HTTP request. Headers may hold credentials: nothing prints a WireRequest."""

    url: str
    body: bytes = b""
    method: str = "POST"
    headers: Mapping[str, str] = {}
    timeouts: Timeouts = Timeouts()

    def __repr__(self) -> str:
        return f"WireRequest({self.method} {self.url}, {len(self.body)} bytes)"


class WireReply(Struct, frozen=True, kw_only=True):
    """One whole HTTP answer. Header names are lower case; of repeated headers the values are joined by `, `."""

    status: int
    headers: Mapping[str, str] = {}
    body: bytes = b""
