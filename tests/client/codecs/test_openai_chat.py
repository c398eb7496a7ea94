"""The OpenAI chat codec against golden wire cases, every cut of their streams, mutations, and the `openai` package."""

import json
import random
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import BaseModel

from callmeter.client.codecs.base import Frame
from callmeter.client.codecs.openai_chat import CODEC
from callmeter.errors import (
    APIConnectionError,
    APIError,
    APIResponseValidationError,
    BadRequestError,
    InternalServerError,
    RateLimitError,
)
from callmeter.shapes import Chunk, Function, Message, ToolCall
from callmeter.types import Call, Deployment, Secret
from callmeter.wire import WireReply
from tests import golden_cases
from tests.golden_cases import Case, decode_stream

CASES = golden_cases.load_cases("openai_chat")
STREAMS = [case for case in CASES if case.call.stream]
PLAIN = [case for case in CASES if not case.call.stream]
WHOLE_STREAMS = [case for case in STREAMS if case.error is None]

DEPLOYMENT = Deployment(provider="openai", model="gpt-4o", codec="openai_chat", api_base="https://provider.test/v1/")


def call(**fields: Any) -> Call:
    return Call(id=golden_cases.CALL_ID, operation="chat", model="openai/gpt-4o", **fields)


def sent(asked: Call, deployment: Deployment = DEPLOYMENT) -> Any:
    return json.loads(CODEC.request(asked, deployment).body)


# Golden cases


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_case_is_asked_and_decoded_as_its_files_say(case: Case) -> None:
    assert golden_cases.sent_body(case, CODEC) == case.request
    golden_cases.check(case, CODEC)


@pytest.mark.parametrize("case", STREAMS, ids=str)
def test_a_stream_decodes_alike_wherever_it_is_cut_once(case: Case) -> None:
    for cut in range(1, len(case.body)):
        golden_cases.check(case, CODEC, [cut])


@pytest.mark.parametrize("case", STREAMS, ids=str)
def test_a_stream_decodes_alike_byte_by_byte(case: Case) -> None:
    golden_cases.check(case, CODEC, range(len(case.body)))


@given(case=st.sampled_from(STREAMS), cuts=st.lists(st.integers(1, 4000)))
def test_a_stream_decodes_alike_however_the_network_cuts_it(case: Case, cuts: list[int]) -> None:
    golden_cases.check(case, CODEC, cuts)


@pytest.mark.parametrize("case", WHOLE_STREAMS, ids=str)
def test_a_stream_broken_off_at_any_byte_is_whole_or_a_connection_error_and_its_text_never_shrinks(case: Case) -> None:
    before, broken = "", 0
    for end in range(len(case.body) + 1):
        got = decode_stream(CODEC, case.call, case.deployment, case.body[:end])
        assert got.error is None or type(got.error) is APIConnectionError, (end, got.error)
        assert got.text.startswith(before)
        before, broken = got.text, broken + (got.error is not None)
    assert broken > len(case.body) // 3
    assert before == golden_cases.decode(case, CODEC).text


@pytest.mark.parametrize("case", WHOLE_STREAMS, ids=str)
def test_chunks_share_one_identity_give_the_role_once_and_end_with_the_usage(case: Case) -> None:
    chunks = golden_cases.decode(case, CODEC).chunks
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}) == 1
    roles = [(choice.index, choice.delta.role) for chunk in chunks for choice in chunk.choices if choice.delta.role]
    indices = {choice.index for chunk in chunks for choice in chunk.choices}
    assert sorted(roles) == [(index, "assistant") for index in sorted(indices)]
    assert all(chunk.usage is None for chunk in chunks if chunk.choices)
    assert [n for n, chunk in enumerate(chunks) if not chunk.choices] in ([], [len(chunks) - 1])


@pytest.mark.parametrize("case", [case for case in WHOLE_STREAMS if b'"created":1' in case.body], ids=str)
def test_the_fast_way_and_the_patient_way_give_the_same_chunks(case: Case) -> None:
    odd = re.sub(rb'"created":(\d+)', rb'"created":\1.0', case.body)
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(next(iter(golden_cases.frames(CODEC, odd))).data, type=Chunk)
    patient = decode_stream(CODEC, case.call, case.deployment, odd)
    assert golden_cases.shown(patient) == golden_cases.shown(golden_cases.decode(case, CODEC))


def mutated(body: bytes, rng: random.Random) -> bytes:
    """A body damaged in one to four places, as networks and servers do it."""
    parts = bytearray(body)
    for _ in range(rng.randint(1, 4)):
        at, kind = rng.randrange(len(parts) + 1), rng.randrange(8)
        if kind == 0:
            parts[at : at + rng.randint(1, 40)] = b""
        elif kind == 1:
            parts[at:at] = rng.randbytes(rng.randint(1, 8))
        elif kind == 2:
            parts[at:at] = parts[rng.randrange(len(parts) + 1) :][: rng.randint(1, 200)]
        elif kind == 3 and parts:
            parts[at % len(parts)] ^= 1 << rng.randrange(8)
        elif kind == 4:
            parts[at:at] = rng.choice([b"\n", b"\r", b"\n\n", b": c\n", b"data:", b"event: error\n", b"\xef\xbb\xbf"])
        elif kind == 5:
            wrong = rng.choice([b"null", b"[]", b"{}", b"-1", b'"x"', b"true", b"1e999", b"NaN", b"9" * 30])
            parts = bytearray(parts.replace(rng.choice([b'"stop"', b"0", b"null", b'"Hi"', b"9", b"[]"]), wrong, 1))
        elif kind == 6:
            del parts[at:]
        else:
            parts = bytearray(parts.replace(rng.choice([b"\n\n", b"data: ", b"choices", b"delta", b"[DONE]"]), b"", 1))
        parts = parts or bytearray(b"\n")
    return bytes(parts)


def test_ten_thousand_damaged_streams_end_well_or_in_an_api_error() -> None:
    rng, failed = random.Random(41), 0
    for _ in range(10_000):
        case = rng.choice(STREAMS)
        got = decode_stream(CODEC, case.call, case.deployment, mutated(case.body, rng), [rng.randrange(2000)])
        failed += got.error is not None
    assert 2_000 < failed < 9_500, "the mutations neither spare all streams nor break all"


@given(body=st.binary(max_size=200))
def test_any_bytes_in_place_of_an_answer_end_in_an_api_error_or_a_completion(body: bytes) -> None:
    try:
        answer = CODEC.response(WireReply(status=200, body=body), call(), DEPLOYMENT)
    except APIError:
        return
    assert answer.completion.object == "chat.completion"


JSON_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
NAMES = ("id", "created", "model", "choices", "usage", "error", "service_tier", "citations", "base_resp", "x_groq")
INNER = ("index", "delta", "message", "finish_reason", "logprobs", "content", "tool_calls", "function", "reasoning")


def shaped(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    choice = st.dictionaries(st.sampled_from(INNER), inner | st.dictionaries(st.sampled_from(INNER), inner))
    return st.dictionaries(st.sampled_from(NAMES), inner | st.lists(choice, max_size=2))


@given(value=shaped(JSON_VALUES))
def test_any_types_in_known_places_end_in_an_api_error_or_an_answer(value: Any) -> None:
    body = json.dumps(value).encode()
    try:
        CODEC.response(WireReply(status=200, body=body), call(), DEPLOYMENT).completion.model_dump_json()
    except APIError:
        pass
    got = decode_stream(CODEC, call(stream=True), DEPLOYMENT, b"data: " + body + b"\n\ndata: [DONE]\n\n")
    for chunk in got.chunks:
        chunk.model_dump_json()


def test_an_answer_nested_thousands_deep_is_an_error_and_no_crash() -> None:
    deep = b'{"choices":' + b"[" * 5_000 + b"]" * 5_000 + b"}"
    with pytest.raises(APIResponseValidationError):
        CODEC.response(WireReply(status=200, body=deep), call(), DEPLOYMENT)
    got = decode_stream(CODEC, call(stream=True), DEPLOYMENT, b"data: " + deep + b"\n\ndata: [DONE]\n\n")
    assert isinstance(got.error, APIResponseValidationError)


# Agreement with the openai package


def told(value: Any) -> Any:
    """A dump without what is null or empty, to compare two packages that differ in what they leave out."""
    if isinstance(value, Mapping):
        kept = {key: told(item) for key, item in value.items()}
        return {key: item for key, item in kept.items() if item not in (None, [], {})}
    return [told(item) for item in value] if isinstance(value, list) else value


OFFICIAL = [case for case in CASES if case.deployment.provider == "openai" and case.error is None]


@pytest.mark.parametrize("case", [case for case in OFFICIAL if not case.call.stream], ids=str)
def test_a_plain_answer_reads_as_the_openai_package_reads_it(case: Case) -> None:
    theirs = told(ChatCompletion.model_validate_json(case.body).model_dump())
    ours = told(golden_cases.decode(case, CODEC).completion.model_dump())
    theirs["usage"]["prompt_tokens_details"].pop("cached_tokens_details", None)
    assert ours == theirs


@pytest.mark.parametrize("case", [case for case in OFFICIAL if case.call.stream], ids=str)
def test_a_stream_reads_as_the_openai_package_reads_it(case: Case) -> None:
    frames = [frame.data for frame in golden_cases.frames(CODEC, case.body) if frame.data != b"[DONE]"]
    theirs = [ChatCompletionChunk.model_validate_json(data) for data in frames]
    ours = golden_cases.decode(case, CODEC)
    for index, choice in enumerate(ours.completion.choices):
        deltas = [c for chunk in theirs for c in chunk.choices if c.index == index]
        assert (choice.message.content or "") == "".join(c.delta.content or "" for c in deltas)
        assert (choice.message.refusal or "") == "".join(c.delta.refusal or "" for c in deltas)
        assert choice.finish_reason == [c.finish_reason for c in deltas if c.finish_reason][-1]
        for n, made in enumerate(choice.message.tool_calls or ()):
            fragments = [t for c in deltas for t in c.delta.tool_calls or () if t.index == n]
            assert made.function is not None
            assert made.function.arguments == "".join((t.function and t.function.arguments) or "" for t in fragments)
            assert made.id == next(t.id for t in fragments if t.id)
    usage = [chunk.usage for chunk in theirs if chunk.usage][-1]
    assert ours.completion.usage is not None
    assert ours.completion.usage.total_tokens == usage.total_tokens


# Requests


def test_a_request_has_the_address_the_key_and_the_callers_headers_last() -> None:
    deployment = msgspec.structs.replace(DEPLOYMENT, api_key=Secret("k"), headers={"X-Team": "a", "X-Org": "o"})
    request = CODEC.request(call(headers={"x-team": "b"}), deployment)
    assert request.url == "https://provider.test/v1/chat/completions"
    assert request.headers["authorization"] == "Bearer k"
    assert (request.headers["x-team"], request.headers["x-org"]) == ("b", "o")


def test_a_request_without_a_key_has_no_authorization() -> None:
    assert "authorization" not in CODEC.request(call(), DEPLOYMENT).headers


class City(BaseModel):
    name: str


class Trip(BaseModel):
    cities: list[City]


def test_a_pydantic_class_becomes_a_strict_schema_closed_at_every_level() -> None:
    format_sent = sent(call(params={"response_format": Trip}))["response_format"]
    assert format_sent["json_schema"]["name"] == "Trip"
    assert format_sent["json_schema"]["strict"] is True
    schema = format_sent["json_schema"]["schema"]
    assert schema["additionalProperties"] is False
    assert schema["$defs"]["City"]["additionalProperties"] is False


def test_an_answer_can_be_sent_back_as_it_is() -> None:
    answer = Message(
        content="Hi",
        reasoning_content="hm",
        tool_calls=[ToolCall(id="c", function=Function(name="f", arguments="{}"))],
        provider_specific_fields={"a": 1},
        audio={"id": "audio_1", "data": "UklG", "transcript": "Hi"},
    )
    tool = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    assert sent(call(messages=[answer]))["messages"] == [
        {"role": "assistant", "content": "Hi", "tool_calls": [tool], "audio": {"id": "audio_1"}}
    ]


def test_an_object_of_another_package_can_be_a_message() -> None:
    message = openai.types.chat.ChatCompletionMessage(role="assistant", content="Hi")
    assert sent(call(messages=[message]))["messages"] == [{"role": "assistant", "content": "Hi"}]


def test_keys_a_provider_wants_back_are_sent_back() -> None:
    deployment = msgspec.structs.replace(DEPLOYMENT, quirks={"echo": ("reasoning_details",)})
    message = {"role": "assistant", "content": "Hi", "reasoning_details": [{"type": "x"}], "reasoning": "hm"}
    assert sent(call(messages=[message]), deployment)["messages"] == [
        {"role": "assistant", "content": "Hi", "reasoning_details": [{"type": "x"}]}
    ]


def test_cache_marks_of_other_providers_are_not_sent_to_openai() -> None:
    part = {"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}
    body = sent(call(messages=[{"role": "user", "content": [part]}]))
    assert body["messages"][0]["content"] == [{"type": "text", "text": "Hi"}]
    assert "cache_control" in part, "the caller's own message is left alone"


def test_a_message_that_is_none_is_refused_by_its_place() -> None:
    with pytest.raises(BadRequestError, match=r"messages\[1\] is a int"):
        CODEC.request(call(messages=[{"role": "user", "content": "Hi"}, 7]), DEPLOYMENT)


@given(text=st.text(st.characters(codec=None)))
def test_any_text_can_be_sent(text: str) -> None:
    body = CODEC.request(call(messages=[{"role": "user", "content": text}]), DEPLOYMENT).body
    body.decode("utf-8")
    if text == text.encode("utf-8", "replace").decode():
        assert json.loads(body)["messages"][0]["content"] == text


def test_lone_surrogates_are_replaced_and_pairs_joined() -> None:
    body = sent(call(messages=[{"role": "user", "content": "a\ud83d b\ud83d\ude00"}]))
    assert body["messages"][0]["content"] == "a\ufffd b😀"


@pytest.mark.parametrize(
    ("given_params", "quirks", "expected"),
    [
        ({"stop": list("12345")}, {}, {"stop": list("1234")}),
        ({"stop": list("12345")}, {"unlimited_stop": True}, {"stop": list("12345")}),
        ({"stop": "x" * 9}, {}, {"stop": "x" * 9}),
        ({"max_completion_tokens": 5}, {"rename": {"max_completion_tokens": "max_tokens"}}, {"max_tokens": 5}),
        ({"max_tokens": 5}, {}, {"max_tokens": 5}),
        ({"stream_options": {"include_usage": True}}, {}, {}),
    ],
)
def test_parameters_take_the_form_the_provider_wants(
    given_params: dict[str, Any], quirks: dict[str, Any], expected: dict[str, Any]
) -> None:
    body = sent(call(params=given_params), msgspec.structs.replace(DEPLOYMENT, quirks=quirks))
    assert {name: value for name, value in body.items() if name not in ("model", "messages")} == expected


def test_extra_parameters_go_into_the_body_and_extra_body_has_the_last_word() -> None:
    body = sent(call(params={"temperature": 0}, extra={"top_k": 3, "extra_body": {"temperature": 1, "x": [1]}}))
    assert (body["temperature"], body["top_k"], body["x"], "extra_body" in body) == (1, 3, [1], False)


# Errors within


def stream_of(*frames: str) -> bytes:
    return "".join(f"data: {frame}\n\n" for frame in frames).encode()


def decoded(*frames: str) -> golden_cases.Decoded:
    return decode_stream(CODEC, call(stream=True), DEPLOYMENT, stream_of(*frames))


def test_garbage_in_the_middle_is_named_by_its_first_two_hundred_characters() -> None:
    got = decoded('{"choices":[{"delta":{"content":"Hi"}}]}', '{"broken" ' + "x" * 500, "[DONE]")
    assert isinstance(got.error, APIResponseValidationError)
    assert '{"broken" ' + "x" * 190 + "'" in got.error.message
    assert got.text == "Hi"


@pytest.mark.parametrize(
    ("frame", "kind"),
    [
        ('{"error":{"message":"slow down","type":"rate_limit_error"}}', RateLimitError),
        ('{"error":"boom"}', InternalServerError),
        ('{"choices":[{"index":0,"delta":{},"finish_reason":"error"}]}', InternalServerError),
    ],
)
def test_an_error_within_a_stream_has_its_class_and_keeps_what_came(frame: str, kind: type[APIError]) -> None:
    got = decoded('{"choices":[{"delta":{"content":"Hi"}}]}', frame)
    assert type(got.error) is kind
    assert got.text == "Hi"


def test_a_plain_json_error_in_place_of_a_stream_is_that_error() -> None:
    body = json.dumps({"error": {"message": "no", "code": "429"}}, indent=2).encode()
    got = decode_stream(CODEC, call(stream=True), DEPLOYMENT, body)
    assert type(got.error) is RateLimitError


def test_a_stream_is_not_whole_while_one_of_its_choices_is_open() -> None:
    one = '{"choices":[{"index":0,"delta":{"content":"A"},"finish_reason":"stop"}]}'
    two = '{"choices":[{"index":1,"delta":{"content":"B"}}]}'
    assert type(decoded(one, two).error) is APIConnectionError
    assert decoded(one).error is None


@pytest.mark.parametrize("wrong", ["-1", "true", '"7"', "1.5", "NaN", "9007199254740993", "[1]", "1e400"])
def test_a_count_that_is_none_rejects_the_usage_and_keeps_the_answer(wrong: str) -> None:
    usage = f'{{"prompt_tokens":{wrong},"completion_tokens":1,"total_tokens":2}}'
    choice = '"choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}]'
    reply = WireReply(status=200, body=f'{{"id":"x",{choice},"usage":{usage}}}'.encode())
    answer = CODEC.response(reply, call(), DEPLOYMENT)
    assert answer.completion.choices[0].message.content == "Hi"
    assert answer.meter.usage is None
    assert answer.meter.problem.startswith("prompt_tokens is ")
    got = decoded('{"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":"stop"}]}', f'{{"usage":{usage}}}')
    assert (got.text, got.meter.usage, got.error) == ("Hi", None, None)
    assert got.meter.problem == answer.meter.problem


def test_frames_after_the_end_are_not_read() -> None:
    decoder = CODEC.decoder(call(stream=True), DEPLOYMENT)
    assert decoder.chunks(Frame(b"[DONE]")) == ()
    assert decoder.ended
    late: Sequence[Any] = decoder.chunks(Frame(b"garbage"))
    assert not late
    assert not decoder.finish()


def test_notes_on_tool_calls_stay_with_the_provider_that_made_them() -> None:
    signed = ToolCall(
        id="c1", function=Function(name="f", arguments="{}"), provider_specific_fields={"thought_signature": "s"}
    )
    plain = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    google = {**plain, "extra_content": {"google": {"thought_signature": "s"}}}
    messages = [Message(tool_calls=[signed]), {"role": "assistant", "tool_calls": [signed, google]}]
    call = Call(id="c", operation="chat", model="m", messages=messages)
    sent = json.loads(CODEC.request(call, Deployment(provider="o", model="m", codec="openai_chat", api_base="h")).body)
    assert [message["tool_calls"] for message in sent["messages"]] == [[plain], [plain, plain]]
