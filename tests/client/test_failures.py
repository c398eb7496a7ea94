"""Error answers of every server into the class people catch, with message, code and the wait that was asked for."""

import json
from typing import Any

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callmeter import errors
from callmeter.client.error_bodies import MAX_MESSAGE_CHARS, hides_error, masked
from callmeter.client.failures import CLASSES, failure, failure_from_payload
from callmeter.client.plan import retryable
from callmeter.client.waiting import reset_after_s, retry_after_s
from callmeter.errors import (
    APIError,
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    ContentPolicyViolationError,
    ContextWindowExceededError,
    ImageFetchError,
    InternalServerError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ServiceUnavailableError,
    Timeout,
    UnprocessableEntityError,
)


def failed(status: int, body: Any = b"", **headers: str) -> APIError:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return failure(status, named, raw, provider="acme", model="acme-1", now_s=1_000_000_000)


def said(message: str, **fields: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": None, "param": None, "code": None, **fields}}


@pytest.mark.parametrize(
    ("status", "kind", "again"),
    [
        (400, BadRequestError, False),
        (401, AuthenticationError, False),
        (402, APIStatusError, False),
        (403, PermissionDeniedError, False),
        (404, NotFoundError, False),
        (405, APIStatusError, False),
        (408, Timeout, True),
        (409, errors.ConflictError, True),
        (413, BadRequestError, False),
        (422, UnprocessableEntityError, False),
        (424, InternalServerError, False),
        (429, RateLimitError, True),
        (498, ServiceUnavailableError, True),
        (500, InternalServerError, True),
        (502, errors.BadGatewayError, True),
        (503, ServiceUnavailableError, True),
        (504, Timeout, True),
        (520, InternalServerError, True),
        (524, Timeout, True),
        (529, ServiceUnavailableError, True),
    ],
)
def test_a_status_has_its_class_keeps_its_number_and_is_retried_as_openai_does(
    status: int, kind: type[APIError], again: bool
) -> None:
    error = failed(status, said("why"))
    assert type(error) is kind
    assert (error.status_code, error.llm_provider, error.model) == (status, "acme", "acme-1")
    assert error.message == f"callmeter.{kind.__name__}: why"
    assert retryable(error) is again


def test_every_mapped_class_has_its_class_in_the_openai_package() -> None:
    for status in CLASSES:
        raised = errors.as_openai(failed(status, said("why")))
        assert isinstance(raised, getattr(openai, raised.openai_name))


CONTEXT = [
    (400, said("This model's maximum context length is 128000 tokens. However…", code="context_length_exceeded")),
    (400, said("input tokens exceed the configured limit of 272000 tokens")),
    (400, {"type": "error", "error": {"type": "invalid_request_error", "message": "prompt is too long: 2 > 1"}}),
    (400, said("input length and `max_tokens` exceed context limit: 199 + 8 > 200")),
    (413, {"type": "error", "error": {"type": "request_too_large", "message": "Request exceeds the maximum size"}}),
    (413, said("Too large: 9000 tokens asked for, limit 6000 tokens per request")),
    (400, said("The input token count (2) exceeds the maximum number of tokens allowed (1).", status="INVALID")),
    (400, {"message": "Too many input tokens. Max input tokens: 8"}),
    (400, {"message": "expected maxLength: 400000, actual: 500000"}),
    (400, {"message": "too many tokens: 8 > 4"}),
    (400, said("x", metadata={"error_type": "string_too_long"}, code=400)),
    (400, {"detail": "Input is longer than the model's context length"}),
    (422, {"error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096", "error_type": "v"}),
    (400, {"message": "Please reduce: current length is 9000 while limit is 8192", "code": "x"}),
    (400, said("the request exceeds the available context size", type="exceed_context_size_error")),
    (400, said("Invalid", param="messages[0].content", code="string_above_max_length")),
]

POLICY = [
    (400, said("Your request was rejected as a result of our safety system", code="moderation_blocked")),
    (400, said("Invalid prompt: your prompt was flagged as potentially violating our usage policy.")),
    (400, said("x", code="content_policy_violation")),
    (400, said("filtered", code="content_filter", innererror={"code": "ResponsibleAIPolicyViolation"})),
    (400, {"error": {"type": "invalid_request_error", "message": "Output blocked by content filtering policy"}}),
    (403, {"error": {"code": 403, "message": "flagged", "metadata": {"reasons": ["x"], "flagged_input": "y"}}}),
    (400, {"code": 400, "reason": "ILLEGAL_PROMPT", "message": "x", "metadata": {}}),
]

PLAIN_BAD = [
    (400, said("max_tokens is too large: 100000. This model supports at most 16384 completion tokens")),
    (400, said("Invalid 'user': string too long", param="user", code="string_above_max_length")),
    (400, said("too many", metadata={"error_type": "token_limit_exceeded"}, code=400)),
]


@pytest.mark.parametrize(("status", "body"), CONTEXT)
def test_a_prompt_too_long_is_told_from_other_bad_requests(status: int, body: Any) -> None:
    error = failed(status, body)
    assert type(error) is ContextWindowExceededError
    assert error.status_code == status


@pytest.mark.parametrize(("status", "body"), POLICY)
def test_a_refused_content_is_told_from_other_bad_requests(status: int, body: Any) -> None:
    assert type(failed(status, body)) is ContentPolicyViolationError


@pytest.mark.parametrize(("status", "body"), PLAIN_BAD)
def test_other_limits_are_plain_bad_requests(status: int, body: Any) -> None:
    assert type(failed(status, body)) is BadRequestError


def test_what_azure_and_openrouter_say_about_a_refusal_is_kept() -> None:
    error = failed(400, said("no", code="content_filter", innererror={"code": "ResponsibleAIPolicyViolation"}))
    assert isinstance(error, ContentPolicyViolationError)
    assert error.provider_specific_fields == {"innererror": {"code": "ResponsibleAIPolicyViolation"}}


def test_a_plain_403_of_openrouter_is_no_policy() -> None:
    assert type(failed(403, {"error": {"code": 403, "message": "no", "metadata": {}}})) is PermissionDeniedError


def test_a_wrong_key_answered_with_400_is_an_authentication_error() -> None:
    error = failed(400, {"code": "Client specified an invalid argument", "error": "Incorrect API key provided: xa***"})
    assert type(error) is AuthenticationError
    assert error.status_code == 401


def test_an_image_that_could_not_be_fetched_has_its_own_class() -> None:
    assert type(failed(400, said("cannot fetch", code="invalid_image_url"))) is ImageFetchError


@pytest.mark.parametrize(
    ("body", "message", "code"),
    [
        (said("m", code="c", type="t", param="p"), "m", "c"),
        (
            {"code": "Some entity was not found", "error": "The model x does not exist"},
            "The model x does not exist",
            None,
        ),
        ({"status": 403, "title": "Forbidden", "detail": "Authorization failed"}, "Authorization failed", None),
        ({"title": "Forbidden"}, "Forbidden", None),
        ({"detail": "Unauthorized"}, "Unauthorized", None),
        ({"object": "error", "message": "m", "type": "t", "code": 1234}, "m", "1234"),
        ({"detail": [{"loc": ["body", "n"], "msg": "too big", "type": "v"}, {"msg": "b"}]}, "body.n: too big; b", None),
        ({"message": {"detail": [{"msg": "field required"}]}}, "field required", None),
        ({"error": "text", "error_type": "validation"}, "text", None),
        ({"error_code": "BAD_REQUEST", "message": "m"}, "m", "BAD_REQUEST"),
        ({"success": False, "errors": [{"code": 10000, "message": "m"}]}, "m", "10000"),
        ({"errors": [{"code": "x", "message": "m"}], "trace": "t", "status_code": 400}, "m", "x"),
        ({"base_resp": {"status_code": 1004, "status_msg": "login fail"}, "choices": None}, "login fail", "1004"),
        ({"code": 404, "reason": "MODEL_NOT_FOUND", "message": "m", "metadata": {}}, "m", "404"),
        ({"error": {"code": 429, "message": "m", "metadata": {}}, "user_id": "u"}, "m", "429"),
        ([1, 2], "HTTP 418 I'm a Teapot: [1, 2]", None),
        (b"", "HTTP 418 I'm a Teapot", None),
        (
            b"<html><head><style>b{}</style><title>502 Bad</title></head><body>nginx</body></html>",
            "HTTP 418 I'm a Teapot: 502 Bad nginx",
            None,
        ),
    ],
)
def test_the_message_is_found_in_every_servers_body(body: Any, message: str, code: str | None) -> None:
    error = failed(418, body)
    assert error.message == f"callmeter.APIStatusError: {message}"
    if code is not None:
        assert error.code == code


def test_a_long_page_is_cut_and_a_huge_one_not_parsed() -> None:
    error = failed(500, b"x" * 3_000_000)
    assert len(error.message) <= MAX_MESSAGE_CHARS + 50
    assert len(error.body) == MAX_MESSAGE_CHARS
    assert len(failed(500, said("y" * 100_000)).message) <= MAX_MESSAGE_CHARS + 50


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "7"}, 7.0),
        ({"retry-after": "Sun, 09 Sep 2001 01:47:10 GMT"}, 30.0),
        ({"retry-after": "Sun, 09 Sep 2001 01:00:00 GMT"}, 0.0),
        ({"retry-after": "1m30s"}, 90.0),
        ({"retry-after": "120ms"}, 0.12),
        ({"retry-after": "1e9"}, 1e9),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "tomorrow"}, None),
        ({"retry-after": "Sun, 99 Sep 9999999 01:00:00 GMT"}, None),
        ({"retry-after": " "}, None),
    ],
)
def test_the_wait_asked_for_is_read_in_every_spelling(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(headers, 1_000_000_000) == pytest.approx(seconds)


RESETS = [
    ("OpenAI", {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m0s"}, 360.0),
    ("OpenAI", {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1s"}, 1.0),
    ("Groq", {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "2m59.56s"}, 179.56),
    ("Groq", {"x-ratelimit-remaining-tokens": "12", "x-ratelimit-reset-tokens": "7.66s"}, None),
    ("Groq", {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "120ms"}, 0.12),
    (
        "Anthropic",
        {"anthropic-ratelimit-requests-remaining": "0", "anthropic-ratelimit-requests-reset": "2001-09-09T01:47:10Z"},
        30.0,
    ),
    (
        "Anthropic",
        {
            "anthropic-ratelimit-input-tokens-remaining": "0",
            "anthropic-ratelimit-input-tokens-reset": "2001-09-09T01:47:00+00:00",
            "anthropic-ratelimit-output-tokens-remaining": "500",
            "anthropic-ratelimit-output-tokens-reset": "2001-09-09T02:00:00Z",
        },
        20.0,
    ),
    ("Azure", {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "17"}, 17.0),
    ("Cerebras", {"x-ratelimit-remaining-tokens-minute": "0", "x-ratelimit-reset-tokens-minute": "11.38"}, 11.38),
    ("OpenRouter", {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1000000041000"}, 41.0),
    ("GitHub", {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1000000042"}, 42.0),
    ("Together", {"x-ratelimit-reset": "1"}, 1.0),
    ("Mistral", {"ratelimitbysize-remaining": "0", "ratelimitbysize-reset": "5"}, 5.0),
    ("Hugging Face", {"ratelimit": '"api";r=0;t=55', "ratelimit-policy": '"fixed window";"api";q=500;w=300'}, 55.0),
    ("Hugging Face", {"ratelimit": '"api";r=489;t=55'}, None),
    ("the longest counts", {"x-ratelimit-reset-requests": "1s", "x-ratelimit-reset-tokens": "1m"}, 60.0),
    ("over already", {"x-ratelimit-reset": "999999999"}, 999999999.0),
    ("in the past", {"x-ratelimit-reset": "1000000000"}, 0.0),
    ("nonsense", {"x-ratelimit-reset-tokens": "soon", "x-ratelimit-reset": ""}, None),
]


@pytest.mark.parametrize(("who", "headers", "seconds"), RESETS, ids=[who for who, *_ in RESETS])
def test_a_limit_that_is_used_up_is_waited_for_in_every_spelling(
    who: str, headers: dict[str, str], seconds: float | None
) -> None:
    assert reset_after_s(headers, 1_000_000_000) == pytest.approx(seconds)
    raw = json.dumps(said("slow down")).encode()
    assert failure(429, headers, raw, now_s=1_000_000_000).retry_after_s == pytest.approx(seconds)
    assert failure(429, {**headers, "retry-after": "3"}, raw, now_s=1_000_000_000).retry_after_s == 3.0
    # Headers of limits come with every answer; they mean a wait where a limit was hit.
    assert failure(500, headers, raw, now_s=1_000_000_000).retry_after_s is None


@pytest.mark.parametrize(
    ("status", "body", "seconds"),
    [
        (503, {"error": "Model gpt2 is currently loading", "estimated_time": 20.0}, 20.0),
        (429, {"title": "Too many requests", "detail": "Request was throttled.", "status": 429, "retry_after": 4}, 4.0),
        (503, {"error": "loading", "estimated_time": "soon"}, None),
        (503, {"error": "loading", "estimated_time": -1}, None),
    ],
)
def test_a_wait_that_the_body_tells_is_kept(status: int, body: Any, seconds: float | None) -> None:
    assert failed(status, body).retry_after_s == seconds
    assert failed(status, body, retry_after="7").retry_after_s == 7.0


@given(st.text(max_size=40))
def test_no_reset_header_breaks_the_reader(text: str) -> None:
    seconds = reset_after_s({"x-ratelimit-reset": text, "ratelimit": text}, 0.0)
    assert seconds is None or seconds >= 0


@given(st.text(max_size=40))
def test_no_retry_header_breaks_the_reader(text: str) -> None:
    seconds = retry_after_s({"retry-after": text, "retry-after-ms": text}, 0.0)
    assert seconds is None or seconds >= 0


def test_the_servers_word_on_retrying_goes_before_the_status_and_a_long_wait_before_its_word() -> None:
    assert retryable(failed(400, x_should_retry="true"))
    assert not retryable(failed(500, x_should_retry="false"))
    assert not retryable(failed(500, x_should_retry="true", retry_after="121"))
    assert retryable(failed(500, retry_after="120"))
    assert not retryable(failed(429, said("You exceeded your current quota", code="insufficient_quota")))


@pytest.mark.parametrize(
    ("payload", "kind", "status"),
    [
        ({"error": {"code": 429, "message": "m"}}, RateLimitError, 429),
        ({"type": "error", "error": {"type": "overloaded_error", "message": "m"}}, ServiceUnavailableError, 529),
        ({"error": {"type": "server_error", "message": "m", "code": None}}, InternalServerError, 500),
        ({"error": {"code": "context_length_exceeded", "message": "m"}}, ContextWindowExceededError, 400),
        ({"error": {"message": "prompt is too long: 9 > 8"}}, ContextWindowExceededError, 400),
        ({"error": {"code": "moderation_blocked", "message": "m"}}, ContentPolicyViolationError, 400),
        ({"error": "rate limit reached"}, RateLimitError, 429),
        ({"error": "unexpected EOF"}, InternalServerError, 500),
        ({"base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}, APIStatusError, 402),
        ({"base_resp": {"status_code": 1026, "status_msg": "sensitive"}}, ContentPolicyViolationError, 400),
        ({"errors": [{"message": "m"}], "status_code": 404}, NotFoundError, 404),
        ({"error": True}, InternalServerError, 500),
        ("words", InternalServerError, 500),
    ],
)
def test_an_error_without_a_status_is_placed_by_its_number_names_or_words(
    payload: Any, kind: type[APIError], status: int
) -> None:
    error = failure_from_payload(payload, provider="acme", model="acme-1")
    assert (type(error), error.status_code) == (kind, status)


@pytest.mark.parametrize(
    ("payload", "is_error"),
    [
        ({"error": {"message": "m"}}, True),
        ({"error": None, "choices": [{}]}, False),
        ({"base_resp": {"status_code": 0, "status_msg": ""}, "choices": []}, False),
        ({"base_resp": {"status_code": 1004}}, True),
        ({"object": "error", "message": "m"}, True),
        ({"detail": "m"}, True),
        ({"choices": [], "usage": {}}, False),
        ([], False),
        (None, False),
    ],
)
def test_an_error_that_hides_in_a_success_is_seen(payload: Any, is_error: bool) -> None:
    assert hides_error(payload) is is_error


JSON_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["error", "message", "code", "detail", "errors", "metadata", "base_resp", "status", "loc", "msg"]
            ),
            inner,
        )
    ),
    max_leaves=8,
)


@given(payload=JSON_VALUES, status=st.integers(400, 599))
def test_any_error_body_makes_an_error_with_a_message(payload: Any, status: int) -> None:
    for error in (failed(status, payload), failure_from_payload(payload)):
        assert len(error.message) > len(f"callmeter.{type(error).__name__}: ")
        assert 400 <= error.status_code <= 599
        assert error.code is None or isinstance(error.code, str)


@given(body=st.binary(max_size=300))
def test_any_bytes_make_an_error_with_a_message(body: bytes) -> None:
    assert failed(500, body).message.startswith("callmeter.InternalServerError: ")


def test_a_body_nested_thousands_deep_is_an_error_like_any_other() -> None:
    assert type(failed(500, b'{"error":' * 5_000)) is InternalServerError
    deep: Any = "x"
    for _ in range(5_000):
        deep = [deep]
    assert "nested too deeply" in failure_from_payload({"error": deep}).message


KEYS = [
    "sk-proj-abcdefghijklmnop",
    "sk-ant-api03-abc_def-ghi",
    "gsk_abcdefghijklmnopqrst",
    "xai-abcdefghijklmnopqrst",
    "AIzaSyA1234567890abcdefghij",
]


@pytest.mark.parametrize("key", KEYS)
def test_a_key_that_a_server_echoes_is_masked_in_message_and_body(key: str) -> None:
    for text in (f"Incorrect API key provided: {key}.", f"bad header Authorization: Bearer {key}", f"api_key={key}"):
        error = failed(401, said(text))
        assert key[8:] not in error.message + repr(error.body)
        assert "****" in error.message
        assert key[8:] not in failed(401, text.encode()).message
        assert key[8:] not in failure_from_payload(said(text)).message


def test_words_that_are_no_keys_stay() -> None:
    text = "task-1 of risk-free models: use sk- or key-value pairs, hf_hub, model gpt-4o-2024-08-06"
    assert masked(text) == text
