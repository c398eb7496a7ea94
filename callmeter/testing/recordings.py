"""Answers of providers in a file: what was asked, without any credential, and the bytes that came back.

A recording is looked up by the request itself: method, address and body, compared as JSON where they are. No header of
a request is kept, of an answer's headers those that say something about the call. Credentials that stand elsewhere are
masked: whatever a header carried as one, and members of a body and parameters of an address that are named like one.
"""

import os
import re
import tempfile
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec
from msgspec import Struct

from callmeter.errors import ConfigError
from callmeter.wire import WireRequest

MASK = "****"

_CREDENTIAL_HEADER = re.compile("auth|key|token|secret|cookie|signature|credential|password", re.IGNORECASE)
_CREDENTIAL_MEMBERS = frozenset(
    """api_key api-key apikey x-api-key access_token authorization bearer_token client_secret password private_key
    secret""".split()
)
_PLAIN_PARAMETERS = frozenset({"alt", "api-version", "beta", "view"})
"""Parameters of an address that are kept as they are; any other may be a key."""

_SHORTEST_CREDENTIAL = 8
"""Characters. Shorter values stand in too many places by chance."""

_KEPT_HEADERS = re.compile("content-type|retry-after.*|x-should-retry|(x-)?request-id|(x|anthropic)-ratelimit-.*")

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

Body = list[str | dict[str, str]]
"""The pieces of a body, as text where they are that, else `{"base64": …}`."""


class Asked(Struct, frozen=True):
    """A request as it is compared, kept and shown: without credentials."""

    method: str
    url: str
    body: Any
    """JSON, or text, or `{"base64": …}`."""

    @property
    def fingerprint(self) -> bytes:
        """The same for requests that ask the same thing."""
        return msgspec.json.encode(self, order="sorted")


class Reply(Struct, frozen=True, omit_defaults=True):
    """An answer as it came."""

    status: int
    headers: dict[str, str]
    body: Body
    cut: bool = False
    """Whether its reader stopped before its end, so that the rest is not known."""

    @property
    def pieces(self) -> list[bytes]:
        """The body's bytes, in the pieces in which they came if it was streamed."""
        return [piece.encode() if isinstance(piece, str) else b64decode(piece["base64"]) for piece in self.body]


class Exchange(Struct, frozen=True):
    """One request and its answer."""

    request: Asked
    reply: Reply


class _File(Struct):
    callmeter_recording: int
    exchanges: list[Exchange]


def read(path: Path) -> list[Exchange]:
    """The exchanges in a file; none where there is no file. Raises `ConfigError` for a file that is no recording."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=_File).exchanges
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} is no recording ({error}); delete it and record again") from None


def write(path: Path, exchanges: Sequence[Exchange]) -> None:
    """Put exchanges in a file, in place of what was there."""
    write_json(path, _File(1, list(exchanges)))


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def asked(request: WireRequest) -> Asked:
    """A request without its credentials."""
    hidden = credentials_of(request)
    return Asked(request.method, _address(request.url, hidden), _masked(_value(request, hidden)))


def replied(status: int, headers: Mapping[str, str], pieces: Iterable[bytes], hidden: Sequence[bytes]) -> Reply:
    """An answer without the credentials it may repeat."""
    kept = {name: value for name, value in headers.items() if _KEPT_HEADERS.fullmatch(name)}
    return Reply(status, kept, [_piece(_without(piece, hidden)) for piece in pieces])


def credentials_of(request: WireRequest) -> list[bytes]:
    """What the request's headers carry as credentials, the longest first."""
    found = set[str]()
    for name, value in request.headers.items():
        if _CREDENTIAL_HEADER.search(name):
            found |= {value, value.rpartition(" ")[2]}
    return [value.encode() for value in sorted(found, key=len, reverse=True) if len(value) >= _SHORTEST_CREDENTIAL]


def first_difference(recorded: Any, wanted: Any, where: str = "") -> str:
    """Where two requests begin to differ and how, for a message; empty where they do not."""
    if isinstance(recorded, dict) and isinstance(wanted, dict):
        for name in (*recorded, *(name for name in wanted if name not in recorded)):
            there = f"{where}.{name}" if where else name
            if name not in wanted:
                return f"{there} was sent and is missing now"
            if name not in recorded:
                return f"{there} was not sent and is now {_shown(wanted[name])}"
            if found := first_difference(recorded[name], wanted[name], there):
                return found
        return ""
    if isinstance(recorded, list) and isinstance(wanted, list) and len(recorded) == len(wanted):
        pairs = enumerate(zip(recorded, wanted, strict=True))
        return next((found for at, (a, b) in pairs if (found := first_difference(a, b, f"{where}[{at}]"))), "")
    if isinstance(recorded, list) and isinstance(wanted, list):
        return f"{where} had {len(recorded)} entries and has {len(wanted)} now"
    return "" if recorded == wanted else f"{where or 'the body'} was {_shown(recorded)} and is {_shown(wanted)} now"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def _address(url: str, hidden: Sequence[bytes]) -> str:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    if parts.hostname in _LOOPBACK:
        # A server on this machine listens on another port each time.
        host = "localhost"
    query = [
        (name, value if name.lower() in _PLAIN_PARAMETERS else MASK)
        for name, value in parse_qsl(parts.query, keep_blank_values=True)
    ]
    path = _without(parts.path.encode(), hidden).decode()
    return urlunsplit((parts.scheme, host, path, urlencode(query, safe="*"), ""))


def _value(request: WireRequest, hidden: Sequence[bytes]) -> Any:
    kind = next((value for name, value in request.headers.items() if name.lower() == "content-type"), "")
    body, (_, marked, boundary) = _without(request.body, hidden), kind.partition("boundary=")
    if marked:
        # Random, and the only part of a form that is.
        body = body.replace(boundary.strip('"').encode(), b"boundary")
    try:
        return msgspec.json.decode(body)
    except ValueError:
        return _piece(body)


def _piece(data: bytes) -> str | dict[str, str]:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"base64": b64encode(data).decode()}


def _masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: MASK if isinstance(inner, str) and name.lower() in _CREDENTIAL_MEMBERS else _masked(inner)
            for name, inner in value.items()
        }
    return [_masked(inner) for inner in value] if isinstance(value, list) else value


def _without(data: bytes, hidden: Sequence[bytes]) -> bytes:
    for secret in hidden:
        data = data.replace(secret, MASK.encode())
    return data
