"""The headers of a request that every wire has."""

from collections.abc import Mapping

from callmeter.types import Call, Deployment


def bearer(deployment: Deployment) -> dict[str, str]:
    """The deployment's key as a token, if it has one."""
    return {"authorization": f"Bearer {deployment.api_key.reveal()}"} if deployment.api_key else {}


def given(call: Call, deployment: Deployment) -> dict[str, str]:
    """What the deployment and then the call put over a wire's own headers; names in lower case, as a wire's own are."""
    return lowered(deployment.headers) | lowered(call.headers)


def lowered(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers by names in lower case."""
    return {name.lower(): value for name, value in headers.items()}
