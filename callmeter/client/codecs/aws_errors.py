"""AWS's errors: the kind in a header or in the body, the message in the body under one of two names.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/CommonErrors.html and the errors of each operation
"""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec

from callmeter.client.codecs.base import Frame
from callmeter.client.error_bodies import MAX_PARSED_BYTES, parsed
from callmeter.client.failures import failure_at
from callmeter.errors import APIError
from callmeter.types import Deployment

STATUS_OF = {
    "ValidationException": 400,
    "ValidationError": 400,
    "AccessDeniedException": 403,
    "ResourceNotFoundException": 404,
    "ModelTimeoutException": 408,
    "ModelErrorException": 424,
    "ModelError": 424,
    "ModelStreamErrorException": 424,
    "ModelStreamError": 424,
    "ThrottlingException": 429,
    "ModelNotReadyException": 429,
    "ServiceQuotaExceededException": 429,
    "InternalServerException": 500,
    "InternalFailure": 500,
    "InternalStreamFailure": 500,
    "ServiceUnavailableException": 503,
    "ServiceUnavailable": 503,
    "InternalDependencyException": 530,
    **dict.fromkeys(
        """UnrecognizedClientException InvalidSignatureException ExpiredTokenException MissingAuthenticationToken
        MissingAuthenticationTokenException InvalidClientTokenId IncompleteSignature IncompleteSignatureException
        SignatureDoesNotMatch""".split(),
        401,
    ),
}
"""The status that a kind of error stands for: where HTTP said another, and within a stream, where it said 200."""


OF_A_KEY = re.compile("security token|bearer token|api key|signature", re.IGNORECASE)
"""What the message of a denied access speaks of where it is the key that is no good, and not what it may do."""


def aws_failure(status: int, headers: Mapping[str, str], body: bytes, deployment: Deployment) -> APIError:
    """The error that a non-2xx answer stands for."""
    payload = parsed(body[:MAX_PARSED_BYTES].decode("utf-8", "replace"))
    told: Mapping[str, Any] = payload if isinstance(payload, Mapping) else {}
    kind = _kind(headers.get("x-amzn-errortype", "")) or _kind(str(told.get("__type") or ""))
    message = told.get("message") or told.get("Message")
    if isinstance(message, str):
        body = msgspec.json.encode({**told, "message": message, "type": kind or None})
    status = STATUS_OF.get(kind, status)
    if isinstance(original := told.get("OriginalStatusCode"), int):
        status = original  # SageMaker's word for what the container answered
    if status == HTTPStatus.FORBIDDEN and isinstance(message, str) and OF_A_KEY.search(message):
        status = HTTPStatus.UNAUTHORIZED
    error = failure_at(status, headers, body, deployment)
    if error.type is None and kind:
        error.type = kind
    return error


def error_within(frame: Frame, deployment: Deployment) -> APIError:
    """The error that a frame of a stream stands for: an exception's, or a body that is no event stream at all."""
    kind = frame.event[:1].upper() + frame.event[1:]
    headers = {"x-amzn-errortype": kind} if frame.failed else {}
    return aws_failure(HTTPStatus.INTERNAL_SERVER_ERROR, headers, frame.data, deployment)


def _kind(told: str) -> str:
    """`ValidationException` out of `ValidationException:http://…` and of `com.amazon.coral.service#Validation…`."""
    return told.partition(":")[0].rpartition("#")[2].strip()
