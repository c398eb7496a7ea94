"""Errors of Amazon's services: kind, message and status of each, as botocore knows them."""

import json
from typing import Any

import pytest
from botocore.session import Session

from callmeter.client.codecs.aws_errors import STATUS_OF, aws_failure
from callmeter.errors import (
    APIError,
    AuthenticationError,
    BadRequestError,
    ContextWindowExceededError,
    InternalServerError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ServiceUnavailableError,
    Timeout,
)
from callmeter.types import Deployment

HERE = Deployment(provider="bedrock", model="m", codec="bedrock", api_base="https://h.example")

ERRORS: list[tuple[int, str, str, type[APIError]]] = [
    (400, "ValidationException", "Malformed input request", BadRequestError),
    (400, "ValidationException", "Input is too long for requested model.", ContextWindowExceededError),
    (400, "ValidationException", "prompt is too long: 200001 tokens > 200000 maximum", ContextWindowExceededError),
    (400, "ValidationException", "Too many input tokens. Max input tokens: 4096", ContextWindowExceededError),
    (400, "ValidationException", "expected maxLength: 50000, actual: 60001", ContextWindowExceededError),
    (400, "ServiceQuotaExceededException", "Your request exceeds the service quota", RateLimitError),
    (403, "AccessDeniedException", "You don't have access to the model with the specified model ID.", PermissionDeniedError),
    (403, "AccessDeniedException", "Authentication failed: Please make sure your API Key is valid.", AuthenticationError),
    (403, "UnrecognizedClientException", "The security token included in the request is invalid.", AuthenticationError),
    (403, "InvalidSignatureException", "The request signature we calculated does not match", AuthenticationError),
    (403, "ExpiredTokenException", "The security token included in the request is expired", AuthenticationError),
    (403, "MissingAuthenticationTokenException", "Missing Authentication Token", AuthenticationError),
    (404, "ResourceNotFoundException", "Could not resolve the foundation model", NotFoundError),
    (408, "ModelTimeoutException", "Model has timed out in processing the request.", Timeout),
    (424, "ModelErrorException", "The system encountered an unexpected error", InternalServerError),
    (429, "ThrottlingException", "Too many tokens, please wait before trying again.", RateLimitError),
    (429, "ModelNotReadyException", "Model is not ready for inference. Try again later.", RateLimitError),
    (500, "InternalServerException", "The system encountered an unexpected error", InternalServerError),
    (503, "ServiceUnavailableException", "Bedrock is unable to process your request.", ServiceUnavailableError),
]  # fmt: skip


@pytest.mark.parametrize(("status", "kind", "message", "expected"), ERRORS)
@pytest.mark.parametrize("form", ["header", "body", "capital"])
def test_an_error_is_the_class_its_kind_says(
    status: int, kind: str, message: str, expected: type[APIError], form: str
) -> None:
    told: dict[str, Any] = {"Message" if form == "capital" else "message": message}
    headers = {"x-amzn-requestid": "req-7"}
    if form == "body":
        told["__type"] = f"com.amazon.coral.service#{kind}"
    else:
        headers["x-amzn-errortype"] = f"{kind}:http://internal.amazon.com/coral/com.amazon.bedrock/"
    error = aws_failure(status, headers, json.dumps(told).encode(), HERE)
    assert type(error) is expected
    assert message in str(error)
    assert (error.type, error.request_id) == (kind, "req-7")


@pytest.mark.parametrize(
    ("service", "operations"),
    [
        ("bedrock-runtime", ["Converse", "ConverseStream", "InvokeModel", "InvokeModelWithResponseStream"]),
        ("sagemaker-runtime", ["InvokeEndpoint", "InvokeEndpointWithResponseStream"]),
    ],
)
def test_every_error_that_botocore_knows_of_these_operations_has_its_status(
    service: str, operations: list[str]
) -> None:
    model = Session().get_service_model(service)
    for operation in map(model.operation_model, operations):
        for shape in operation.error_shapes:
            told = shape.metadata.get("error", {}).get("httpStatusCode")
            status = 429 if shape.name == "ServiceQuotaExceededException" else told
            assert STATUS_OF[shape.name] == (status or STATUS_OF[shape.name])
        stream = operation.get_event_stream_output()
        for kind, shape in stream.members.items() if stream is not None else ():
            if shape.metadata.get("exception"):
                assert kind[0].upper() + kind[1:] in STATUS_OF


def test_what_a_container_answered_is_what_the_error_is() -> None:
    told = {
        "ErrorCode": "CLIENT_ERROR_FROM_MODEL",
        "Message": 'Received client error (400) from primary with message "This model\'s maximum context length is 2048"',
        "OriginalStatusCode": 400,
    }
    error = aws_failure(424, {"x-amzn-errortype": "ModelError"}, json.dumps(told).encode(), HERE)
    assert (type(error), error.status_code) == (ContextWindowExceededError, 400)


def test_a_page_of_a_proxy_is_an_error_by_its_status() -> None:
    error = aws_failure(502, {}, b"<html><body><h1>Bad Gateway</h1></body></html>", HERE)
    assert "Bad Gateway" in str(error)
    assert error.status_code == 502
