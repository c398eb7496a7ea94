"""Tokens of IBM Cloud's IAM for an API key, and the other sign-ins of watsonx.ai.

Source: https://cloud.ibm.com/docs/account?topic=account-iamtoken_from_apikey
"""

from collections.abc import Mapping
from typing import Any

from callmeter.client.credentials.tokens import Exchanged, Grant, Ready, Token, form, oauth
from callmeter.wire import Signer

GRANT_TYPE = "urn:ibm:params:oauth:grant-type:apikey"


def signer(variables: Mapping[str, Any]) -> Signer:
    """The signer for `token` (ready to be sent), `zen_api_key` (of Cloud Pak for Data), or `key`, an API key that
    the service at `iam_url` gives an hour's token for.
    """
    if token := variables.get("token"):
        return Ready(token)
    if zen := variables.get("zen_api_key"):
        return Ready(zen, "ZenApiKey")
    return Exchanged(grant(variables["key"], variables["iam_url"]))


def grant(key: str, iam_url: str) -> Grant:
    """How IAM is asked for a token."""
    asked = form(iam_url, {"grant_type": GRANT_TYPE, "apikey": key})
    return Grant("watsonx", "IBM IAM", lambda: asked, _read)


def _read(answer: Mapping[str, Any], now_s: float) -> Token:
    """The token; `expiration` is a time of the service's clock, so its `expires_in` is what counts."""
    return oauth(answer, now_s)
