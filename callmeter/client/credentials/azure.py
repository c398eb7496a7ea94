"""Entra ID tokens for Azure: as given, from a function of the caller's, or fetched by `azure-identity`.

Source: https://learn.microsoft.com/en-us/python/api/overview/azure/identity-readme
"""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from callmeter.client.credentials.tokens import bearing
from callmeter.errors import APIConnectionError, APIError, AuthenticationError, MissingExtraError
from callmeter.wire import Signer, WireRequest

EXPIRY_MARGIN_S = 300
"""A token is fetched anew this long before it ends: none may end between signing and being read."""

KNOWN_AUTHORITIES = frozenset(
    {"login.microsoftonline.com", "login.microsoftonline.us", "login.chinacloudapi.cn", "login.microsoftonline.de"}
)
"""Microsoft's own. Any other is a private cloud's, which Microsoft's directory of authorities does not list."""


def signer(variables: Mapping[str, Any]) -> Signer:
    """The signer for a provider's variables: `azure_ad_token_provider`, else `azure_ad_token`, else a credential.

    A credential is a client's secret where `tenant_id`, `client_id` and `client_secret` are known, else whatever the
    environment has: a certificate, a workload's or a managed identity, `az login`. Raises `MissingExtraError` where
    one is needed and `azure-identity` is not installed.
    """
    provider, token = variables.get("azure_ad_token_provider"), variables.get("azure_ad_token")
    if callable(provider):
        return Provided(provider)
    if token:
        return Provided(lambda: str(token), instant=True)
    return Entra(_credential(variables), variables["scope"], _looked(variables))


class Provided:
    """Tokens from a function, asked before every request: it has a cache of its own, as `azure-identity`'s has."""

    def __init__(self, provider: Callable[[], str], *, instant: bool = False) -> None:
        self._provider = provider
        self._instant = instant

    def ready(self) -> bool:
        """Whether the token was given beforehand; a function may fetch."""
        return self._instant

    def sign(self, request: WireRequest) -> WireRequest:
        """The request with its token. Raises `AuthenticationError` where the function gives none or fails."""
        try:
            token = self._provider()
        except APIError:
            raise
        except Exception as error:
            raise AuthenticationError(f"azure_ad_token_provider failed: {error!r:.500}", "azure") from error
        if not isinstance(token, str) or not token:
            raise AuthenticationError(f"azure_ad_token_provider gave a {type(token).__name__}, not a token", "azure")
        return bearing(request, token)


class Entra:
    """Tokens of one credential, kept until shortly before they end. Threads that come meanwhile wait for one fetch."""

    def __init__(self, credential: Any, scope: str, looked: str, *, now_s: Callable[[], float] = time.time) -> None:
        self._credential = credential
        self._scope = scope
        self._looked = looked
        self._now_s = now_s
        self._lock = threading.Lock()
        self._token = ""
        self._until_s = 0.0

    def ready(self) -> bool:
        """Whether the token at hand is still good."""
        return self._now_s() < self._until_s

    def sign(self, request: WireRequest) -> WireRequest:
        """The request with its token.

        Raises `AuthenticationError` saying where credentials were looked for, or why they were refused, and
        `APIConnectionError` where Entra cannot be reached.
        """
        if not self.ready():
            with self._lock:
                if not self.ready():
                    self._fetch()
        return bearing(request, self._token)

    def _fetch(self) -> None:
        from azure.core.exceptions import AzureError, ServiceRequestError, ServiceResponseError

        try:
            got = self._credential.get_token(self._scope)
        except (AzureError, ValueError) as error:
            # The library calls a lost connection an authentication that failed.
            if isinstance(error.__cause__ or error, ServiceRequestError | ServiceResponseError):
                raise APIConnectionError(f"Entra ID cannot be reached for a token: {error!s:.500}", "azure") from error
            raise AuthenticationError(
                f"no token from Entra ID for {self._scope} ({self._looked}): {error!s:.1000}", "azure"
            ) from error
        self._token, self._until_s = got.token, got.expires_on - EXPIRY_MARGIN_S


def _credential(variables: Mapping[str, Any]) -> Any:
    try:
        import azure.identity as identity
    except ImportError:
        raise MissingExtraError(
            "Azure without a key needs azure-identity; pip install 'callmeter[azure]', or pass api_key=… or set "
            "AZURE_API_KEY"
        ) from None
    tenant, client, secret = (variables.get(name) for name in ("tenant_id", "client_id", "client_secret"))
    more = _authority(variables.get("authority"))
    try:
        if tenant and client and secret:
            # A lost connection is tried again by the call, as any of its own.
            return identity.ClientSecretCredential(tenant, client, secret, retry_total=0, **more)
        return identity.DefaultAzureCredential(managed_identity_client_id=client, **more)
    except ValueError as error:
        raise AuthenticationError(
            f"Entra ID cannot be asked for a token ({_looked(variables)}): {error}", "azure"
        ) from error


def _authority(given: Any) -> dict[str, Any]:
    if not given:
        return {}
    url = str(given) if "://" in str(given) else f"https://{given}"
    return {"authority": url, "disable_instance_discovery": urlsplit(url).hostname not in KNOWN_AUTHORITIES}


def _looked(variables: Mapping[str, Any]) -> str:
    """Where the credential comes from, for a message."""
    tenant, client = variables.get("tenant_id"), variables.get("client_id")
    if tenant and client and variables.get("client_secret"):
        return f"client {client} of tenant {tenant}, with its secret"
    return (
        "no api_key, AZURE_API_KEY or azure_ad_token; looked for a service principal in AZURE_TENANT_ID, "
        "AZURE_CLIENT_ID and AZURE_CLIENT_SECRET, a workload's and a managed identity, and developers' sign-ins"
    )
