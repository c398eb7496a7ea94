"""What an error answer means: status and body in, one `APIError` out, for every server we know. Pure, and all tables.

The status decides the class, with the refinements that a body can tell: context window, content policy, a wrong key
answered with 400. An error inside a stream or inside a 200 has no status of its own and is placed by its code or type.
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from callmeter import errors
from callmeter.client.error_bodies import MAX_MESSAGE_CHARS, Told, masked, parsed, read, told_by
from callmeter.client.waiting import reset_after_s, retry_after_s
from callmeter.errors import APIError
from callmeter.types import Deployment

CLASSES: Mapping[int, type[APIError]] = {
    400: errors.BadRequestError,
    401: errors.AuthenticationError,
    402: errors.APIStatusError,
    403: errors.PermissionDeniedError,
    404: errors.NotFoundError,
    408: errors.Timeout,
    409: errors.ConflictError,
    413: errors.BadRequestError,
    422: errors.UnprocessableEntityError,
    424: errors.InternalServerError,  # Bedrock's ModelErrorException
    429: errors.RateLimitError,
    498: errors.ServiceUnavailableError,  # Groq: no flex capacity
    499: errors.APIConnectionError,  # Google: cancelled before the answer was there
    500: errors.InternalServerError,
    502: errors.BadGatewayError,
    503: errors.ServiceUnavailableError,
    504: errors.Timeout,
    524: errors.Timeout,  # Cloudflare: the origin took too long
    529: errors.ServiceUnavailableError,  # Anthropic: overloaded
}

STATUS_OF: Mapping[str, int] = {
    "invalid_request_error": 400,
    "authentication": 401,
    "authentication_error": 401,
    "authorized_error": 401,
    "invalid_api_key": 401,
    "billing_error": 402,
    "payment_required": 402,
    "permission_denied": 403,
    "permission_error": 403,
    "not_found_error": 404,
    "model_not_found": 404,
    "request_too_large": 413,
    "insufficient_quota": 429,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "requests": 429,
    "tokens": 429,
    "api_error": 500,
    "internal_error": 500,
    "server_error": 500,
    "provider_unavailable": 502,
    "provider_overloaded": 503,
    "service_unavailable": 503,
    "timeout_error": 504,
    "overloaded_error": 529,
    # Hugging Face's text-generation-inference. Source: huggingface/text-generation-inference, `router/src/server.rs`
    "generation": 424,
    "incomplete_generation": 500,
    "overloaded": 429,
    "validation": 422,
    "3040": 429,  # Cloudflare: no capacity
    # MiniMax numbers its `base_resp`. Source: https://www.minimax.io/platform/document/error_code
    "1000": 500,
    "1001": 504,
    "1002": 429,
    "1004": 401,
    "1008": 402,
    "1013": 500,
    "1039": 429,
    "2013": 400,
}
"""The status that an error's `code` or `type` stands for, where HTTP said 200."""

CONTEXT_CODES = frozenset(
    {
        "1261",  # Z.ai
        "context_length_exceeded",
        "exceed_context_size_error",
        "model_context_window_exceeded",
        "string_too_long",
    }
)

CONTEXT_SIGNS = re.compile(
    "|".join(
        (
            "maximum context length",
            "input tokens exceed the configured limit",
            "prompt is too long",
            "exceed context limit",
            "exceeds the maximum number of tokens allowed",
            "too many (?:input )?tokens",
            "input is too long",
            "expected maxlength:",
            "longer than the model's context length",
            "maximum input length is [^.]{0,40}tokens",
            "`inputs` tokens \\+ `max_new_tokens` must be <=",
            "current length is \\d+ while limit is",
            "exceeds the available context size",
            "length limit exceeded",
            "input text length should not exceed",
            "cannot exceed the total tokens limit",
            "maximum prompt length is",
            "prompt token count of \\d+ exceeds the limit",
            "context window exceeds limit",
            "exceeded model token limit",
            "range of input length should be",
            "greater than the context length",
            "exceeded (?:max )?context length",
            "input length exceeds the context length",
            "exceeded this model context window limit",
            "prompt exceeds max length",
        )
    )
)
"""What servers write, lower-cased, when the prompt is larger than the model's window (OpenAI, Azure, Anthropic, Gemini,
Bedrock, Cohere, vLLM and kin, Hugging Face TGI, Cerebras, Ollama, llama.cpp, Replicate, NLP Cloud, watsonx.ai, xAI,
GitHub Copilot, MiniMax, Moonshot, DashScope, LM Studio, Cloudflare, Z.ai)."""

POLICY_CODES = frozenset(
    {
        "content_policy_violation",
        "content_filter",
        "moderation_blocked",
        "ResponsibleAIPolicyViolation",
        "ILLEGAL_PROMPT",
        "ILLEGAL_IMAGE_CONTENT",
        "1026",
        "1027",
        "1301",  # Z.ai
        "data_inspection_failed",  # DashScope
        "DataInspectionFailed",
        "InputTextSensitiveContentDetected",  # Volcengine
        "OutputTextSensitiveContentDetected",
        "SensitiveContentDetected",
    }
)

POLICY_SIGNS = re.compile(
    "invalid prompt.{0,200}usage policy"
    "|rejected as a result of (?:the|our) safety system"
    "|content management policy"
    "|output blocked by content filtering policy"
    "|content filtered due to safety violations"
    "|content violates usage guidelines"
    "|content exists risk"
    "|flagged as sensitive"
    "|may contain inappropriate content"
    "|blocked due to security configurations"
)

IMAGE_CODES = frozenset({"invalid_image_url", "image_download_failed"})


def failure(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    provider: str = "",
    model: str = "",
    host: str = "",
    now_s: float | None = None,
) -> APIError:
    """The error that a non-2xx answer stands for. Header names are lower case; `now_s` is the epoch's seconds now.

    An answer that is no JSON, a proxy's page above all, is named by its status and by `host`. `body` on the error is
    the decoded JSON, or the text cut to 500 characters. Keys that a server echoes are masked.
    Source of the mapping: https://github.com/openai/openai-openapi and the error pages of each provider.
    """
    told, shown = told_by(status, body, host)
    return _error(status, told, shown, headers, provider, model, now_s)


def failure_at(status: int, headers: Mapping[str, str], body: bytes, deployment: Deployment) -> APIError:
    """The error that a deployment's non-2xx answer stands for."""
    host = urlsplit(deployment.api_base).netloc
    return failure(status, headers, body, provider=deployment.provider, model=deployment.model, host=host)


def failure_from_payload(
    payload: Any, *, provider: str = "", model: str = "", headers: Mapping[str, str] | None = None
) -> APIError:
    """The error that a decoded object within a stream, or within an answer of 200, stands for."""
    clean = _cleaned(payload)
    told = read(clean if isinstance(clean, Mapping) else {"error": clean})
    if not told.message:
        told = msgspec.structs.replace(told, message=f"an error without a message: {clean!r}"[:MAX_MESSAGE_CHARS])
    return _error(_status_within(clean, told), told, clean, headers or {}, provider, model, None)


def _cleaned(payload: Any) -> Any:
    try:
        return parsed(masked(msgspec.json.encode(payload, enc_hook=str).decode()))
    except (RecursionError, UnicodeEncodeError):
        return "the error object is nested too deeply, or is no Unicode"


def _error(
    status: int,
    told: Told,
    body: Any,
    headers: Mapping[str, str],
    provider: str,
    model: str,
    now_s: float | None,
) -> APIError:
    kind = _class(status, told)
    error = kind(
        told.message[:MAX_MESSAGE_CHARS],
        provider,
        model,
        status_code=401 if kind is errors.AuthenticationError else status,
        body=body,
        code=told.code,
        param=told.param,
        type=told.type,
        headers=headers,
        retry_after_s=_wait_s(status, told, headers, now_s),
        retryable=_told_to_retry(headers, told),
    )
    if isinstance(error, errors.ContentPolicyViolationError) and told.details:
        error.provider_specific_fields = dict(told.details)
    return error


def _wait_s(status: int, told: Told, headers: Mapping[str, str], now_s: float | None) -> float | None:
    """How long to wait: as asked, as the body says, or until the limit that was hit is reset."""
    asked = retry_after_s(headers, now_s)
    if asked is not None:
        return asked
    return told.wait_s if told.wait_s is not None or status != 429 else reset_after_s(headers, now_s)


def _class(status: int, told: Told) -> type[APIError]:
    low = told.message[:20_000].lower()
    if status in (400, 413, 422) and _is_context(status, told, low):
        return errors.ContextWindowExceededError
    if status in (400, 403, 422) and _is_policy(told, low):
        return errors.ContentPolicyViolationError
    if status == 400 and "incorrect api key provided" in low:
        return errors.AuthenticationError  # xAI answers 400 for a wrong key
    if status == 400 and told.names & IMAGE_CODES:
        return errors.ImageFetchError
    return CLASSES.get(status) or (errors.InternalServerError if status >= 500 else errors.APIStatusError)


def _is_context(status: int, told: Told, low: str) -> bool:
    if "string_above_max_length" in told.names:
        # OpenAI says so of any field; only the conversation's own length is the window's.
        return (told.param or "").startswith("messages")
    if told.names & CONTEXT_CODES or CONTEXT_SIGNS.search(low):
        return True
    return status == 413 and ("token" in low or "request_too_large" in told.names)


def _is_policy(told: Told, low: str) -> bool:
    metadata = told.details.get("metadata")
    flagged = isinstance(metadata, Mapping) and any(metadata.get(k) for k in ("reasons", "flagged_input", "patterns"))
    return flagged or bool(told.names & POLICY_CODES) or POLICY_SIGNS.search(low) is not None


def _told_to_retry(headers: Mapping[str, str], told: Told) -> bool | None:
    word = headers.get("x-should-retry", "").strip().lower()
    if word in ("true", "false"):
        return word == "true"
    return False if "insufficient_quota" in told.names else None


def _status_within(payload: Any, told: Told) -> int:
    """The status an error inside a 200 would have had: by its number, else its names, else its words, else 500."""
    error = payload.get("error") if isinstance(payload, Mapping) else None
    boxes = [box for box in (error, payload) if isinstance(box, Mapping)]
    for value in (told.code, *(box.get(key) for box in boxes for key in _STATUS_KEYS)):
        if _HTTP_ERROR.fullmatch(str(value)):
            return int(str(value))
    if told.names & (CONTEXT_CODES | POLICY_CODES):
        return 400
    for name in (told.code, told.type, *sorted(told.names)):
        if name is not None and name in STATUS_OF:
            return STATUS_OF[name]
    low = told.message[:20_000].lower()
    if "rate limit" in low:
        return 429
    return 400 if CONTEXT_SIGNS.search(low) or POLICY_SIGNS.search(low) else 500


_HTTP_ERROR = re.compile("[45][0-9]{2}")
_STATUS_KEYS = ("status", "status_code", "http_status")
