"""Gemini's generateContent in both directions, against Google's own SDK.

What a request says, parameter by parameter, is in `test_gemini_request`.
"""

import base64
import json
from typing import Any

import pytest
from google import genai
from google.genai import types as theirs
from hypothesis import given
from hypothesis import strategies as st

from callmeter.client.codecs.gemini import CODEC
from callmeter.client.codecs.gemini_partial import put
from callmeter.client.codecs.gemini_usage import meter, searches_in, usage
from callmeter.errors import (
    APIConnectionError,
    APIError,
    APIResponseValidationError,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    ContextWindowExceededError,
    InternalServerError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ServiceUnavailableError,
    Timeout,
)
from callmeter.types import Call, Deployment
from callmeter.wire import WireReply
from tests.client.codecs.one_answer import serving
from tests.golden_cases import Case, decode, decode_stream, load_cases, sent_body

CASES = load_cases("gemini")
STREAMS = [case for case in CASES if case.call.stream]
WHOLE = [case for case in CASES if case.error is None]

CALL = Call(id="c", operation="chat", model="gemini/gemini-2.5-flash")
HERE = Deployment(provider="gemini", model="gemini-2.5-flash", codec="gemini", api_base="https://g.test/v1beta")


@pytest.mark.parametrize(
    "frame",
    [
        {"candidates": [{"content": {"parts": [{"text": 5}]}}]},
        {"candidates": [{"content": {"parts": [{"functionCall": "f"}]}}]},
        {"candidates": [{"content": {"parts": [{"inlineData": {"mimeType": "audio/L16", "data": "A"}}]}}]},
        {"candidates": 5},
        ["hello"],
    ],
)
def test_an_event_of_another_shape_is_named(frame: Any) -> None:
    error = decode_stream(CODEC, CALL, HERE, b"data: " + json.dumps(frame).encode() + b"\n\n").error
    assert isinstance(error, APIResponseValidationError)
    assert "Gemini stream" in error.message


def test_a_whole_answer_says_what_its_stream_says() -> None:
    """Each golden answer sent as one event decodes to the same completion."""
    for case in [case for case in WHOLE if not case.call.stream]:
        body = b"data: " + json.dumps(json.loads(case.body)).encode() + b"\r\n\r\n"
        streamed = decode_stream(CODEC, case.call, case.deployment, body).completion.model_dump()
        for choice in streamed["choices"]:
            choice["message"]["content"] = choice["message"]["content"] or None
        assert streamed["choices"] == (case.completion or {})["choices"], case.name


def test_sound_in_pieces_joins_to_the_sound() -> None:
    (case,) = (case for case in STREAMS if case.name == "audio_out_streamed")
    audio = decode(case, CODEC).completion.choices[0].message.audio
    assert base64.b64decode(audio["data"]) == bytes(range(8))


# --- Google's own SDK reads the same bytes alike


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")


def read_by_sdk(case: Case) -> list[theirs.GenerateContentResponse]:
    kind = "text/event-stream" if case.call.stream else "application/json"
    with serving(case.body, kind) as url:
        client = genai.Client(api_key="k", http_options=theirs.HttpOptions(base_url=url))
        with client:
            if case.call.stream:
                return list(client.models.generate_content_stream(model="m", contents="x"))
            return [client.models.generate_content(model="m", contents="x")]


def their_parts(answers: list[theirs.GenerateContentResponse], index: int) -> list[theirs.Part]:
    return [
        part
        for answer in answers
        for candidate in answer.candidates or ()
        if (candidate.index or 0) == index and candidate.content
        for part in candidate.content.parts or ()
    ]


@pytest.mark.parametrize("case", WHOLE, ids=repr)
def test_the_sdk_reads_the_same_text_tools_and_usage(case: Case) -> None:
    answers, ours = read_by_sdk(case), decode(case, CODEC)
    for choice in ours.completion.choices:
        parts, message = their_parts(answers, choice.index), choice.message
        assert (message.content or "") == "".join(p.text for p in parts if p.text and not p.thought)
        assert (message.reasoning_content or "") == "".join(p.text for p in parts if p.text and p.thought)
        used = [
            (p.function_call.name, p.function_call.args or {}, p.thought_signature) for p in parts if p.function_call
        ]
        if case.name != "arguments_in_pieces_streamed":
            assert [
                (c.function.name, json.loads(c.function.arguments)) for c in message.tool_calls or () if c.function
            ] == [call[:2] for call in used]
        signed = [(c.provider_specific_fields or {}).get("thought_signature") for c in message.tool_calls or ()]
        assert [s for s in signed if s] == [base64.b64encode(s).decode() for _, _, s in used if s]
        pictures = [p.inline_data.data for p in parts if p.inline_data and not p.thought and not message.audio]
        shown_pictures = [image["image_url"]["url"].partition(",")[2] for image in message.images or ()]
        assert [base64.b64decode(data) for data in shown_pictures] == pictures
    counts = next((a.usage_metadata for a in reversed(answers) if a.usage_metadata), None)
    if ours.meter.usage is not None and case.name != "thoughts_within_candidates":
        assert counts is not None
        assert ours.meter.usage.total_tokens == counts.total_token_count
        assert ours.meter.usage.cache_read_tokens == (counts.cached_content_token_count or 0)
        assert ours.meter.usage.reasoning_tokens == counts.thoughts_token_count


ADMITTED = {"contents", "systemInstruction", "tools", "toolConfig", "generationConfig", "serviceTier", "safetySettings"}


@pytest.mark.parametrize("case", CASES, ids=repr)
def test_the_sdk_s_types_admit_what_is_sent(case: Case) -> None:
    """The SDK's structs refuse members they do not know."""
    body = sent_body(case, CODEC)
    assert body.keys() <= ADMITTED | {"cachedContent", "labels"}
    for content in [*body["contents"], body.get("systemInstruction", {})]:
        theirs.Content.model_validate(content)
    for tool in body.get("tools", ()):
        theirs.Tool.model_validate(tool)
    theirs.ToolConfig.model_validate(body.get("toolConfig", {}))
    config = body.get("generationConfig", {})
    theirs.ImageConfig.model_validate(config.pop("imageConfig", {}))
    theirs.GenerationConfig.model_validate(config)


# --- answers and counts


def test_a_body_that_is_no_answer_is_a_validation_error() -> None:
    for body in (
        b"<html>",
        b"{}",
        b"",
        b'{"candidates": 5}',
        b'{"candidates":[{"content":5}]}',
        b'{"responseId":"\xff"}',
    ):
        with pytest.raises(APIResponseValidationError, match="is not a Gemini answer"):
            CODEC.response(WireReply(status=200, body=body), CALL, HERE)


def test_an_answer_without_candidates_is_empty_and_still_counted() -> None:
    body = json.dumps({"usageMetadata": {"promptTokenCount": 7, "totalTokenCount": 7}}).encode()
    completion, told = CODEC.response(WireReply(status=200, body=body), CALL, HERE)
    assert completion.choices[0].message.content is None
    assert told.usage is not None
    assert told.usage.input_tokens == 7


counts = st.integers(min_value=0, max_value=10**6)


@given(prompt=counts, tools=counts, candidates=counts, thoughts=counts, cached=counts)
def test_the_total_is_gemini_s_own_total(prompt: int, tools: int, candidates: int, thoughts: int, cached: int) -> None:
    total = prompt + tools + candidates + thoughts
    raw = {
        "promptTokenCount": prompt,
        "toolUsePromptTokenCount": tools,
        "candidatesTokenCount": candidates,
        "thoughtsTokenCount": thoughts,
        "cachedContentTokenCount": cached,
        "totalTokenCount": total,
    }
    told = usage({name: value for name, value in raw.items() if value})
    assert told.total_tokens == total
    assert told.input_tokens == prompt + tools
    assert (told.cache_read_tokens, told.reasoning_tokens or 0) == (cached, thoughts)


def test_a_usage_object_without_counts_is_no_usage_yet() -> None:
    told = meter({"trafficType": "ON_DEMAND_FLEX"}, 0)
    assert (told.usage, told.raw, told.problem, told.service_tier) == (None, None, "", "flex")


@pytest.mark.parametrize("raw", [{"promptTokenCount": "3"}, {"candidatesTokenCount": 1.5}, [], "none"])
def test_counts_that_make_no_sense_are_a_problem(raw: Any) -> None:
    told = meter(raw, 0)
    assert told.usage is None
    assert told.problem
    assert told.raw == raw


def test_searches_are_counted_as_they_are_billed() -> None:
    assert searches_in(["a", "b", "a", ""], each_counts=True) == 2
    assert searches_in(["a", "b"], each_counts=False) == 1
    assert searches_in([""], each_counts=False) == 0


def test_pieces_of_arguments_that_lead_nowhere_are_left_out() -> None:
    arguments: dict[str, Any] = {"a": "x"}
    for path, value in (("$", 1), ("$.a.b", 1), ("$[0]", 1), ("$.b[1000000]", 1), ("", 1)):
        put(arguments, {"jsonPath": path, "numberValue": value})
    put(arguments, {"jsonPath": "$.c"})
    assert arguments == {"a": "x", "b": []}


# --- errors


def error_body(code: int, status: str, message: str = "why", **more: Any) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "status": status, **more}}


@pytest.mark.parametrize("wrapped", [False, True], ids=["bare", "in a list"])
@pytest.mark.parametrize(
    ("status", "word", "wanted"),
    [
        (400, "INVALID_ARGUMENT", BadRequestError),
        (400, "FAILED_PRECONDITION", BadRequestError),
        (401, "UNAUTHENTICATED", AuthenticationError),
        (403, "PERMISSION_DENIED", PermissionDeniedError),
        (404, "NOT_FOUND", NotFoundError),
        (409, "ABORTED", ConflictError),
        (429, "RESOURCE_EXHAUSTED", RateLimitError),
        (499, "CANCELLED", APIConnectionError),
        (500, "INTERNAL", InternalServerError),
        (503, "UNAVAILABLE", ServiceUnavailableError),
        (504, "DEADLINE_EXCEEDED", Timeout),
    ],
)
def test_a_failure_has_its_class_and_google_s_word(
    status: int, word: str, wanted: type[APIError], wrapped: bool
) -> None:
    payload: Any = error_body(status, word)
    body = json.dumps([payload] if wrapped else payload).encode()
    error = CODEC.failure(status, {}, body, HERE)
    assert type(error) is wanted
    assert (error.status_code, error.type, error.llm_provider) == (status, word, "gemini")
    assert error.message.endswith(": why")


def test_a_wrong_key_is_an_authentication_error_though_it_is_answered_with_400() -> None:
    details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}]
    body = json.dumps(error_body(400, "INVALID_ARGUMENT", "API key not valid.", details=details)).encode()
    assert type(CODEC.failure(400, {}, body, HERE)) is AuthenticationError


def test_a_prompt_too_long_is_told_from_other_bad_requests() -> None:
    text = "The input token count (9) exceeds the maximum number of tokens allowed (8)."
    body = json.dumps(error_body(400, "INVALID_ARGUMENT", text)).encode()
    assert type(CODEC.failure(400, {}, body, HERE)) is ContextWindowExceededError


def test_the_wait_asked_for_is_in_the_details() -> None:
    details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.07s"}]
    body = json.dumps(error_body(429, "RESOURCE_EXHAUSTED", details=details)).encode()
    assert CODEC.failure(429, {}, body, HERE).retry_after_s == 34.07
    assert CODEC.failure(429, {"retry-after": "2"}, body, HERE).retry_after_s == 2.0
    with pytest.raises(RateLimitError) as caught:
        CODEC.response(WireReply(status=200, body=body), CALL, HERE)
    assert caught.value.retry_after_s == 34.07


def test_a_page_of_a_proxy_is_quoted() -> None:
    error = CODEC.failure(502, {}, b"<html><title>502 Bad Gateway</title></html>", HERE)
    assert "502 Bad Gateway" in error.message
