"""Tokens of a Databricks workspace for a service principal.

Source: https://docs.databricks.com/en/dev-tools/auth/oauth-m2m.html
"""

from collections.abc import Mapping
from typing import Any

from callmeter.client.credentials.tokens import Exchanged, Grant, basic, form, oauth
from callmeter.errors import AuthenticationError
from callmeter.wire import Signer, WireRequest


def signer(variables: Mapping[str, Any]) -> Signer:
    """The signer for `client_id` and `client_secret`, which the workspace at `host` knows."""
    return Exchanged(grant(variables))


def grant(variables: Mapping[str, Any]) -> Grant:
    """How a workspace is asked for a token."""

    def request() -> WireRequest:
        missing = [name for name in ("host", "client_id", "client_secret") if not variables.get(name)]
        if missing:
            raise AuthenticationError(
                "no credentials for databricks: set DATABRICKS_TOKEN or pass api_key=…; or, for a service principal, "
                "set DATABRICKS_HOST, DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET "
                f"({', '.join(missing)} missing)",
                "databricks",
            )
        fields = {"grant_type": "client_credentials", "scope": "all-apis"}
        return form(
            f"{variables['host']}/oidc/v1/token", fields, basic(variables["client_id"], variables["client_secret"])
        )

    return Grant("databricks", "the Databricks workspace", request, oauth)
