"""Bytes that are not the documented shape."""

import msgspec

from callmeter.errors import APIConnectionError, APIError, APIResponseValidationError
from callmeter.types import Deployment

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""Everything that decoding somebody else's JSON can raise."""


def not_the_shape(what: str, data: bytes, problem: Exception, deployment: Deployment) -> APIResponseValidationError:
    """The error for an answer that should have been `what`; it quotes the first 200 bytes."""
    return APIResponseValidationError(
        f"{deployment.provider} sent something that is not {what} ({problem}): {data[:200]!r}; check api_base "
        f"{deployment.api_base!r}",
        deployment.provider,
        deployment.model,
    )


def bad_frame(what: str, data: bytes, problem: Exception, deployment: Deployment) -> APIError:
    """The error for a frame of a stream: one that breaks off was cut by the network, any other is not `what`."""
    begins, ends = data.lstrip()[:1] == b"{", data.rstrip()[-1:] == b"}"
    if begins and (not ends or "truncated" in str(problem)):
        return broken_off(f"in the middle of {what}", deployment)
    return not_the_shape(what, data, problem, deployment)


def broken_off(where: str, deployment: Deployment) -> APIConnectionError:
    """The error for a stream whose body is over and whose end was not seen."""
    return APIConnectionError(
        f"{deployment.provider} ended the stream {where}; what came so far is not the whole.",
        deployment.provider,
        deployment.model,
    )
