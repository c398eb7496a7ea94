"""The error tree, and how its errors are the `openai` package's errors too."""

import subprocess
import sys

import openai
import pytest

from callmeter import errors

PAIRS = [
    (errors.BadRequestError, openai.BadRequestError),
    (errors.UnsupportedParamsError, openai.BadRequestError),
    (errors.ContextWindowExceededError, openai.BadRequestError),
    (errors.ContentPolicyViolationError, openai.BadRequestError),
    (errors.AuthenticationError, openai.AuthenticationError),
    (errors.PermissionDeniedError, openai.PermissionDeniedError),
    (errors.NotFoundError, openai.NotFoundError),
    (errors.ConflictError, openai.ConflictError),
    (errors.UnprocessableEntityError, openai.UnprocessableEntityError),
    (errors.RateLimitError, openai.RateLimitError),
    (errors.BudgetExceededError, openai.RateLimitError),
    (errors.InternalServerError, openai.InternalServerError),
    (errors.BadGatewayError, openai.InternalServerError),
    (errors.ServiceUnavailableError, openai.InternalServerError),
    (errors.Timeout, openai.APITimeoutError),
    (errors.APIConnectionError, openai.APIConnectionError),
    (errors.APIStatusError, openai.APIStatusError),
    (errors.APIResponseValidationError, openai.APIResponseValidationError),
    (errors.JSONSchemaValidationError, openai.APIResponseValidationError),
    (errors.APIError, openai.APIError),
]


@pytest.mark.parametrize(("ours", "theirs"), PAIRS, ids=lambda c: c.__name__)
def test_each_error_is_openais_error_of_that_meaning(ours: type[errors.APIError], theirs: type[Exception]) -> None:
    error = errors.as_openai(ours("went wrong", llm_provider="p", model="m"))
    with pytest.raises(theirs):
        raise error
    with pytest.raises(openai.OpenAIError):
        raise error
    with pytest.raises(ours):
        raise error
    assert type(error).__name__ == ours.__name__


def test_the_attributes_handlers_read_are_all_there() -> None:
    error = errors.as_openai(errors.RateLimitError("busy", llm_provider="openai", model="gpt-4o", num_retries=2))
    assert error.status_code == 429
    assert (error.llm_provider, error.model, error.num_retries) == ("openai", "gpt-4o", 2)
    assert (error.response, error.body, error.code, error.param, error.type) == (None, None, None, None, None)
    assert error.request_id is None
    assert error.litellm_debug_info is None
    assert str(error) == error.message == "callmeter.RateLimitError: busy"


def test_without_openai_in_the_process_nothing_imports_it() -> None:
    script = (
        "import sys, callmeter.errors as e\n"
        "assert type(e.as_openai(e.Timeout('x'))) is e.Timeout\n"
        "print('openai' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert out.stdout.strip() == "False"


def test_402_has_a_status_and_no_class_of_its_own() -> None:
    assert errors.APIStatusError("no credit", status_code=402).status_code == 402
