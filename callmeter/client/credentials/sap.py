"""Tokens for SAP AI Core, from a service key.

Source: https://help.sap.com/docs/sap-ai-core/sap-ai-core-service-guide/use-service-key
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from callmeter.client.credentials.tokens import Exchanged, Grant, basic, form, oauth
from callmeter.errors import AuthenticationError
from callmeter.wire import Signer, WireRequest


def signer(variables: Mapping[str, Any]) -> Signer:
    """The signer for `key`, a service key's JSON, or for `client_id`, `client_secret` and `auth_url`."""
    return Exchanged(grant(variables))


def grant(variables: Mapping[str, Any]) -> Grant:
    """How the sign-in of the subaccount is asked for a token."""

    def request() -> WireRequest:
        client, secret, url = _client(variables)
        return form(url, {"grant_type": "client_credentials"}, basic(client, secret))

    return Grant("sap", "SAP's sign-in", request, oauth)


def _client(variables: Mapping[str, Any]) -> tuple[str, str, str]:
    """The client's id and secret, and where it signs in."""
    known = {name: variables.get(name) for name in ("client_id", "client_secret", "auth_url")}
    if key := variables.get("key"):
        said = _service_key(key)
        known = {
            "client_id": said.get("clientid"),
            "client_secret": said.get("clientsecret"),
            "auth_url": said.get("url"),
        }
    missing = [name for name, value in known.items() if not value]
    if missing:
        raise AuthenticationError(
            f"no credentials for sap: {', '.join(missing)} missing. Put the service key's JSON into AICORE_SERVICE_KEY "
            "or api_key=…, or set AICORE_CLIENT_ID, AICORE_CLIENT_SECRET and AICORE_AUTH_URL",
            "sap",
        )
    url = str(known["auth_url"]).rstrip("/")
    return str(known["client_id"]), str(known["client_secret"]), url if url.endswith("/token") else url + "/oauth/token"


def _service_key(text: str) -> Mapping[str, Any]:
    """A service key's fields, which a binding of Cloud Foundry has under `credentials`."""
    try:
        key = msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeError):
        raise AuthenticationError(
            "sap's key is not the JSON of a service key: pass it whole, as the BTP cockpit shows it", "sap"
        ) from None
    inner = key.get("credentials")
    return inner if isinstance(inner, dict) else key
