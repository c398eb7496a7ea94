"""Tokens that are asked for with a key or a secret, kept until shortly before they end, and put on requests."""

import base64
import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode

import msgspec
from msgspec.structs import replace

from callmeter.client.error_bodies import told_by
from callmeter.client.waiting import retry_after_s
from callmeter.errors import APIConnectionError, APIError, AuthenticationError
from callmeter.wire import WireReply, WireRequest

EXPIRY_MARGIN_S = 300.0
"""A token is fetched anew this long before it ends, or in its last fifth: none may end between signing and reading."""

DEFAULT_LIFE_S = 600.0
"""How long a token is used where the service does not say."""

TIMEOUT_S = 20.0
"""For one question to a token service."""


class Token(NamedTuple):
    """What a token service gave."""

    value: str
    until_s: float
    """When it ends, seconds since the epoch."""


class Grant(NamedTuple):
    """How a provider's tokens are asked for."""

    provider: str
    service: str
    """What the service is called, for messages: `IBM IAM`."""
    request: Callable[[], WireRequest]
    """The question, made anew each time. Raises `AuthenticationError` where something for it is missing."""
    read: Callable[[Mapping[str, Any], float], Token]
    """An answer of 200 and the time now as a token. Raises `KeyError`, `TypeError` or `ValueError` for any other."""


def oauth(answer: Mapping[str, Any], now_s: float) -> Token:
    """An answer in the form of OAuth 2.0. Source: RFC 6749, section 5.1."""
    lasts_s = answer.get("expires_in")
    return Token(str(answer["access_token"]), now_s + (DEFAULT_LIFE_S if lasts_s is None else float(lasts_s)))


def form(url: str, fields: Mapping[str, str], headers: Mapping[str, str] | None = None) -> WireRequest:
    """A question in the form of OAuth 2.0."""
    more = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json", **(headers or {})}
    return WireRequest(url=url, body=urlencode(fields).encode(), headers=more)


def basic(user: str, password: str) -> dict[str, str]:
    """The header of HTTP's basic sign-in."""
    return {"authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def bearing(request: WireRequest, token: str, scheme: str = "Bearer") -> WireRequest:
    """The request with a token."""
    return replace(request, headers={**request.headers, "authorization": f"{scheme} {token}"})


class Ready:
    """A token that the caller has."""

    def __init__(self, token: str, scheme: str = "Bearer") -> None:
        self._token = token
        self._scheme = scheme

    def __repr__(self) -> str:
        return "Ready(****)"

    def ready(self) -> bool:
        """Always."""
        return True

    def sign(self, request: WireRequest) -> WireRequest:
        """The request with the token."""
        return bearing(request, self._token, self._scheme)


class Exchanged:
    """Tokens of one grant. Safe on many threads, which wait for one fetch, and in forked children."""

    def __init__(
        self,
        grant: Grant,
        *,
        now_s: Callable[[], float] = time.time,
        send: Callable[[WireRequest], WireReply] | None = None,
    ) -> None:
        self._grant = grant
        self._now_s = now_s
        self._send = send or _send
        self._token = Token("", 0.0)
        self._fresh_until_s = 0.0
        self._lock = threading.Lock()
        self._pid = os.getpid()

    def __repr__(self) -> str:
        return f"Exchanged({self._grant.service}, ****)"

    def ready(self) -> bool:
        """Whether there is a token that lasts."""
        return self._now_s() < self._fresh_until_s

    def sign(self, request: WireRequest) -> WireRequest:
        """The request with a token.

        Raises `AuthenticationError` where the service refuses one or something for it is missing, and
        `APIConnectionError` where it cannot be reached.
        """
        if not self.ready():
            with self._own_lock():
                if not self.ready():
                    self._renew()
        return bearing(request, self._token.value)

    def _own_lock(self) -> threading.Lock:
        """The lock; a forked child has its own, for the parent's may have been held just then."""
        if self._pid != os.getpid():
            self._lock, self._pid = threading.Lock(), os.getpid()
        return self._lock

    def _renew(self) -> None:
        now_s = self._now_s()
        try:
            self._token = self._fetch(now_s)
        except APIConnectionError:
            if now_s < self._token.until_s:
                return  # the old token still lasts for a while, and the next call will try again
            raise
        self._fresh_until_s = self._token.until_s - min(EXPIRY_MARGIN_S, (self._token.until_s - now_s) / 5)

    def _fetch(self, now_s: float) -> Token:
        grant = self._grant
        reply = self._send(grant.request())
        if not 200 <= reply.status < 300:
            raise self._refused(reply)
        try:
            token = grant.read(msgspec.json.decode(reply.body), now_s)
        except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise AuthenticationError(f"{grant.service} answered without a token", grant.provider) from error
        if not token.value:
            raise AuthenticationError(f"{grant.service} answered with an empty token", grant.provider)
        return token

    def _refused(self, reply: WireReply) -> APIError:
        grant = self._grant
        told, _ = told_by(reply.status, reply.body)
        text = f"{grant.service} gave no token (HTTP {reply.status}): {told.message}"
        if reply.status < 500 and reply.status != 429:
            return AuthenticationError(text, grant.provider)
        return _unsent(text, grant.provider, retry_after_s(reply.headers))


def _unsent(text: str, provider: str, after_s: float | None = None) -> APIConnectionError:
    """The error for a call that was not sent, as there was no token for it yet."""
    error = APIConnectionError(text, provider)
    error.sent, error.retry_after_s = False, after_s
    return error


def _send(request: WireRequest) -> WireReply:
    """One question over the default HTTP client; whoever is called tries again, as with any of its own."""
    import httpx2

    try:
        answer = httpx2.request(
            request.method, request.url, content=request.body, headers=request.headers, timeout=TIMEOUT_S
        )
    except httpx2.TransportError as error:
        where = request.url.partition("?")[0]
        raise _unsent(f"{where} cannot be reached for a token: {type(error).__name__}: {error}", "") from error
    return WireReply(status=answer.status_code, headers=dict(answer.headers), body=answer.content)
