"""Access tokens of Google Cloud: service accounts, a user's own sign-in, workload identity, the metadata server.

The `google-auth` library finds and renews them; it reaches the token services through our own HTTP client.
Source: https://google-auth.readthedocs.io, https://cloud.google.com/docs/authentication/application-default-credentials
"""

import os
import threading
from collections.abc import Mapping
from typing import Any

import msgspec

from callmeter.errors import APIConnectionError, AuthenticationError, MissingExtraError
from callmeter.types import Secret
from callmeter.wire import WireRequest

SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)

TIMEOUT_S = 20.0
"""For one question to a token service, where `google-auth` names no other."""


def signer(variables: Mapping[str, str], key: Secret | None = None) -> "GoogleSigner":
    """The signer for `credentials` (a path, or the JSON itself), or without it for the machine's own credentials."""
    return GoogleSigner(variables.get("credentials", ""))


class GoogleSigner:
    """Puts a bearer token on requests, and renews it some minutes before it ends. Safe on many threads."""

    def __init__(self, given: str) -> None:
        self._given = given
        self._credentials: Any = None
        self._lock = threading.Lock()
        self._pid = os.getpid()

    def __repr__(self) -> str:
        return "GoogleSigner(****)" if self._given else "GoogleSigner()"

    def ready(self) -> bool:
        """Whether there is a token that lasts."""
        return self._credentials is not None and self._credentials.valid

    def sign(self, request: WireRequest) -> WireRequest:
        """The request with its token, and with the project that is billed where the credentials name one.

        Raises `AuthenticationError` saying where it looked, `APIConnectionError` if the token service cannot be
        reached, and `MissingExtraError` where google-auth is not installed.
        """
        if not self.ready():
            with self._own_lock():
                if not self.ready():
                    self._renew()
        headers = dict(request.headers)
        self._credentials.apply(headers)
        return msgspec.structs.replace(request, headers=headers)

    def _own_lock(self) -> threading.Lock:
        """The lock; a forked child has its own, for the parent's may have been held just then."""
        if self._pid != os.getpid():
            self._lock, self._pid = threading.Lock(), os.getpid()
        return self._lock

    def _renew(self) -> None:
        auth = _google_auth()
        try:
            if self._credentials is None:
                self._credentials = _found(self._given)
            self._credentials.refresh(_ask)
        except auth.DefaultCredentialsError as error:
            raise AuthenticationError(f"{error}. {self._looked()}", "vertex_ai") from error
        except auth.GoogleAuthError as error:
            if self._credentials is not None and self._credentials.token and not _over(self._credentials):
                return  # the old token still lasts for a while, and the next call will try again
            raise self._refused(error) from error

    def _refused(self, error: Any) -> APIConnectionError | AuthenticationError:
        text = str(error.args[0]) if error.args else type(error).__name__
        if isinstance(error, _google_auth().TransportError) or getattr(error, "retryable", False):
            failed = APIConnectionError(f"Google's token service cannot be reached: {text}", "vertex_ai")
            failed.sent = False
            return failed
        return AuthenticationError(f"Google gave no access token: {text}. {self._looked()}", "vertex_ai")

    def _looked(self) -> str:
        if self._given:
            what = "the JSON given" if self._given.lstrip().startswith("{") else repr(self._given)
            return (
                f"The credentials are {what}, from vertex_credentials=…, VERTEXAI_CREDENTIALS or "
                "GOOGLE_APPLICATION_CREDENTIALS"
            )
        return (
            "Looked in vertex_credentials=…, VERTEXAI_CREDENTIALS, GOOGLE_APPLICATION_CREDENTIALS, gcloud's "
            "application-default sign-in and the metadata server: set one, run `gcloud auth application-default "
            "login`, or pass an access token as api_key=…"
        )


def _google_auth() -> Any:
    try:
        from google.auth import exceptions
    except ImportError:
        raise MissingExtraError("Vertex AI needs google-auth: pip install 'callmeter[vertex]'") from None
    return exceptions


def _found(given: str) -> Any:
    """Credentials with our scope. Raises `DefaultCredentialsError` where there are none, or they are unreadable."""
    import google.auth

    if not given:
        return google.auth.default(scopes=SCOPES, request=_ask)[0]
    info = _described(given)
    kind = info.get("type")
    try:
        if kind == "service_account":
            from google.oauth2 import service_account

            return service_account.Credentials.from_service_account_info(info, scopes=SCOPES)
        if kind == "authorized_user":
            from google.oauth2.credentials import Credentials

            return Credentials.from_authorized_user_info(info, scopes=SCOPES)
    except (ValueError, TypeError) as error:
        raise _google_auth().DefaultCredentialsError(f"These {kind} credentials are not whole: {error}") from error
    return google.auth.load_credentials_from_dict(info, scopes=SCOPES, request=_ask)[0]


def _described(given: str) -> dict[str, Any]:
    """The credentials' JSON, given itself or by its path. Nothing of its content is repeated in an error."""
    try:
        if given.lstrip().startswith("{"):
            text = given.encode()
        else:
            with open(os.path.expanduser(given), "rb") as file:
                text = file.read()
        return msgspec.json.decode(text, type=dict[str, Any])
    except OSError as error:
        raise _google_auth().DefaultCredentialsError(f"{given!r} cannot be read: {error.strerror}") from error
    except (msgspec.MsgspecError, UnicodeError):
        raise _google_auth().DefaultCredentialsError("The credentials are not a JSON object") from None


def _over(credentials: Any) -> bool:
    """Whether a token has come to its end, and not only near it."""
    from google.auth.credentials import TokenState

    return bool(credentials.token_state is TokenState.INVALID)


class _Reply:
    """An HTTP answer as google-auth reads it."""

    def __init__(self, status: int, headers: Mapping[str, str], data: bytes) -> None:
        self.status, self.headers, self.data = status, headers, data


def _ask(
    url: str,
    method: str = "GET",
    body: Any = None,
    headers: Mapping[str, str] | None = None,
    timeout: float | None = None,
    **_: Any,
) -> _Reply:
    """One HTTP request for google-auth, which sends its own again where that helps."""
    import httpx2

    # Plain HTTP is the metadata server, which no proxy leads to.
    secure = url.startswith("https://")
    try:
        answer = httpx2.request(
            method, url, content=body, headers=headers, timeout=timeout or TIMEOUT_S, trust_env=secure
        )
    except httpx2.TransportError as error:
        raise _google_auth().TransportError(f"{type(error).__name__} at {url.partition('?')[0]}: {error}") from error
    return _Reply(answer.status_code, answer.headers, answer.content)
