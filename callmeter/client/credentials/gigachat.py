"""Half-hour tokens for GigaChat's authorization data.

Source: https://developers.sber.ru/docs/ru/gigachat/api/reference/rest/post-token
"""

import uuid
from collections.abc import Mapping
from typing import Any

from callmeter.client.credentials.tokens import Exchanged, Grant, Ready, Token, form
from callmeter.wire import Signer, WireRequest


def signer(variables: Mapping[str, Any]) -> Signer:
    """The signer for `token` (ready to be sent), or `key`: the client's id and secret, in base64 as Sber gives them."""
    if token := variables.get("token"):
        return Ready(token)
    return Exchanged(grant(variables["key"], variables["scope"], variables["auth_url"]))


def grant(key: str, scope: str, url: str) -> Grant:
    """How a token is asked for; each question has an id of its own."""

    def request() -> WireRequest:
        return form(url, {"scope": scope}, {"authorization": f"Basic {key}", "rquid": str(uuid.uuid4())})

    return Grant("gigachat", "GigaChat's sign-in", request, _read)


def _read(answer: Mapping[str, Any], now_s: float) -> Token:
    """The token. Its end is a time in milliseconds; that of an installation of one's own, in seconds."""
    until = float(answer["expires_at"] if "expires_at" in answer else answer["exp"])
    return Token(str(answer["access_token"] if "access_token" in answer else answer["tok"]), _seconds(until))


def _seconds(moment: float) -> float:
    """A time since the epoch in seconds, from seconds or milliseconds."""
    return moment / 1000 if moment > 1e11 else moment
