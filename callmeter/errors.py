"""Every error callmeter raises, in one tree that keeps the names people already catch.

    Exception
    ├── CallmeterError                       ours alone; nothing about a provider's answer
    │   ├── ConfigError                      a setting, config file or environment variable is wrong
    │   ├── PriceTableError                  a price table from elsewhere is refused
    │   ├── JournalError                     the journal or ledger cannot do what was asked
    │   │   └── HomeError                    and never will: the home is read-only, foreign or without locks
    │   ├── ModelNotMappedError              the price table has no such model
    │   ├── NoRecordingError                 a test asks a provider for what was not recorded
    │   └── MissingExtraError                an optional package is not installed
    └── OpenAIError
        └── APIError
            ├── APIResponseValidationError   a 2xx answer that is not the documented shape
            │   └── JSONSchemaValidationError
            ├── APIConnectionError           no answer, a reset, a stream cut off
            │   └── Timeout                  408, 504 and our own deadlines
            └── APIStatusError               402, and anything without a class of its own
                ├── BadRequestError          400, 413
                │   ├── UnsupportedParamsError
                │   ├── ContextWindowExceededError
                │   ├── ContentPolicyViolationError
                │   ├── ImageFetchError
                │   └── RejectedRequestError
                ├── AuthenticationError      401
                ├── PermissionDeniedError    403
                ├── NotFoundError            404
                ├── ConflictError            409
                ├── UnprocessableEntityError 422
                ├── RateLimitError           429
                │   ├── BudgetExceededError  our own budget
            │   └── RouterRateLimitError no deployment of a group is free
                └── InternalServerError      500
                    ├── BadGatewayError      502
                    └── ServiceUnavailableError  503, 498, 529

Whenever the `openai` package is loaded in the process, each of these raised is an instance of that package's class of
the same meaning too, so `except openai.RateLimitError` works; callmeter never imports it.
"""

import sys
from collections.abc import Sequence
from typing import Any


class CallmeterError(Exception):
    """Base of the errors that are about callmeter itself and not about an answer."""


class ConfigError(CallmeterError, ValueError):
    """A setting has a value it cannot have. The message names the setting, where it came from, its value and a cure."""


class PriceTableError(CallmeterError):
    """A price table is not to be trusted or is damaged. The message names where it came from and what to do."""


class JournalError(CallmeterError):
    """The journal or ledger cannot do what was asked. The message names the file and what to do."""


class HomeError(JournalError):
    """The home can hold no journal, now or later: it is read-only, somebody else's, or on a disk without locks."""


class ModelNotMappedError(CallmeterError):
    """A helper was asked about a model that the price table does not have. The message names it and what to do."""


class NoRecordingError(CallmeterError):
    """A test replays recorded answers and there is none for this request. The message says how to record one."""


class MissingExtraError(CallmeterError, ImportError):
    """An optional package is needed. The message names the extra to install."""


class OpenAIError(Exception):
    """Base of everything a call can raise."""


class APIError(OpenAIError):
    """A call failed. Attributes are those existing handlers read.

    `status_code` (int), `message`, `llm_provider`, `model`, `response` (the raw answer or None), `body` (its decoded
    form), `code`, `param`, `type` (from the provider's error object), `headers`, `request_id`, `max_retries`,
    `num_retries`, `litellm_debug_info`, `retry_after_s` (seconds the server asked us to wait, or None).
    """

    status_code: int = 500
    openai_name = "APIError"
    """The class of the `openai` package that this one also is."""

    def __init__(
        self,
        message: str = "",
        llm_provider: str = "",
        model: str = "",
        response: Any = None,
        *,
        status_code: int | None = None,
        body: Any = None,
        code: str | None = None,
        param: str | None = None,
        type: str | None = None,
        headers: Any = None,
        retry_after_s: float | None = None,
        litellm_debug_info: str | None = None,
        max_retries: int | None = None,
        num_retries: int | None = None,
        retryable: bool | None = None,
    ) -> None:
        name = self.__class__.__name__
        self.message = f"callmeter.{name}: {message}"
        Exception.__init__(self, self.message)
        self.llm_provider, self.model, self.response = llm_provider, model, response
        if status_code is not None:
            self.status_code = status_code
        self.body, self.code, self.param, self.type = body, code, param, type
        self.headers = headers if headers is not None else {}
        self.request: Any = None
        self.retry_after_s = retry_after_s
        self.retryable = retryable
        """The server's own word on retrying (`x-should-retry`, `insufficient_quota`), or None to go by the status."""
        self.litellm_debug_info = litellm_debug_info
        self.max_retries, self.num_retries = max_retries, num_retries

    @property
    def request_id(self) -> str | None:
        """The provider's id for the request, where it sent one."""
        names = ("x-request-id", "request-id", "x-amzn-requestid")
        return next((self.headers[name] for name in names if self.headers.get(name)), None)

    def __str__(self) -> str:
        return self.message


class APIResponseValidationError(APIError):
    """The answer was a success by its status and is not the documented shape."""

    openai_name = "APIResponseValidationError"


class JSONSchemaValidationError(APIResponseValidationError):
    """The answer breaks the schema that `response_format` asked for. `raw_response` is the text."""

    raw_response: str = ""


class APIConnectionError(APIError):
    """No whole answer came: refused, reset, or a stream that ended before its end."""

    openai_name = "APIConnectionError"
    sent: bool | None = None
    """Whether the request had left us, so that the provider may charge for it; None where nobody can say."""


class Timeout(APIConnectionError):
    """A deadline passed: the server's (408, 504) or one of ours."""

    status_code = 408
    openai_name = "APITimeoutError"


class APIStatusError(APIError):
    """An answer with a status that has no class of its own (402, …)."""

    openai_name = "APIStatusError"


class BadRequestError(APIStatusError):
    """400 or 413: the request cannot be served as it is."""

    status_code = 400
    openai_name = "BadRequestError"


class UnsupportedParamsError(BadRequestError):
    """A parameter that this provider does not take; the message tells how to drop it."""


class ContextWindowExceededError(BadRequestError):
    """More tokens than the model takes."""


class ContentPolicyViolationError(BadRequestError):
    """The provider refused the content. Its own details are in `provider_specific_fields`."""

    provider_specific_fields: dict[str, Any] | None = None


class ImageFetchError(BadRequestError):
    """An image the request names could not be fetched."""


class RejectedRequestError(BadRequestError):
    """A rule of the caller's own refused the request."""


class AuthenticationError(APIStatusError):
    """401: the key is missing or wrong."""

    status_code = 401
    openai_name = "AuthenticationError"


class PermissionDeniedError(APIStatusError):
    """403."""

    status_code = 403
    openai_name = "PermissionDeniedError"


class NotFoundError(APIStatusError):
    """404: no such model or route."""

    status_code = 404
    openai_name = "NotFoundError"


class ConflictError(APIStatusError):
    """409."""

    status_code = 409
    openai_name = "ConflictError"


class UnprocessableEntityError(APIStatusError):
    """422."""

    status_code = 422
    openai_name = "UnprocessableEntityError"


class RateLimitError(APIStatusError):
    """429: too many requests or tokens, or no credit left (`code == "insufficient_quota"`, never retried)."""

    status_code = 429
    openai_name = "RateLimitError"
    category = "vendor_rate_limit"


class BudgetExceededError(RateLimitError):
    """A budget of callmeter's own is used up; never retried. `current_cost` and `max_budget` are USD."""

    current_cost: Any = None
    max_budget: Any = None


class RouterRateLimitError(RateLimitError):
    """No deployment of a router's model group is to be had now; no provider was asked.

    `cooldown_time` is the seconds after which one may be, `cooldown_list` has the ids of those that are cooling down.
    """

    category = "litellm_rate_limit"
    cooldown_time: float = 0.0
    cooldown_list: Sequence[str] = ()


class InternalServerError(APIStatusError):
    """500 and kin: the provider failed."""

    status_code = 500
    openai_name = "InternalServerError"


class BadGatewayError(InternalServerError):
    """502."""

    status_code = 502


class ServiceUnavailableError(InternalServerError):
    """503, 498 or 529: overloaded or down for now."""

    status_code = 503


InvalidRequestError = BadRequestError
"""The name of the time before openai 1.0."""

_duals: dict[tuple[type, type], type] = {}


def as_openai(error: APIError) -> APIError:
    """The same error, also an instance of the `openai` package's matching class if that package is loaded.

    `except` looks at a class's real bases, so nothing short of inheriting will do; the joint class is made once.
    """
    package = sys.modules.get("openai")
    theirs = getattr(package, error.openai_name, None)
    ours = type(error)
    if theirs is None or issubclass(ours, theirs):
        return error
    dual = _duals.get((ours, theirs))
    if dual is None:
        names = {"__module__": ours.__module__, "__doc__": ours.__doc__, "__qualname__": ours.__qualname__}
        dual = _duals[ours, theirs] = type(ours.__name__, (ours, theirs), names)
    error.__class__ = dual
    return error
