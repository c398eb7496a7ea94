"""What a call becomes on its way to Gemini: address, headers, thinking, tools, media."""

import json
from typing import Any

import pydantic
import pytest
from msgspec.structs import replace

from callmeter.client.codecs.gemini import CODEC
from callmeter.client.codecs.gemini_request import TIER_HEADER, camel
from callmeter.errors import BadRequestError, UnsupportedParamsError
from callmeter.types import Call, Deployment, Secret
from callmeter.wire import WireRequest

HI = [{"role": "user", "content": "Hi"}]
CALL = Call(id="c", operation="chat", model="m", messages=HI)
STUDIO = Deployment(
    provider="gemini",
    model="gemini-2.5-flash",
    codec="gemini",
    api_base="https://generativelanguage.googleapis.com/v1beta",
    api_key=Secret("AIza-k"),
)
VERTEX = replace(
    STUDIO,
    provider="vertex_ai",
    api_base="https://us-central1-aiplatform.googleapis.com/v1/projects/p/locations/us-central1",
    api_key=None,
    variables={"project": "p", "location": "us-central1"},
)


def sent(where: Deployment = STUDIO, *, stream: bool = False, **fields: Any) -> WireRequest:
    return CODEC.request(replace(CALL, stream=stream, **fields), where)


def body(where: Deployment = STUDIO, **fields: Any) -> Any:
    return json.loads(sent(where, **fields).body)


def config(model: str = "gemini-2.5-flash", **params: Any) -> Any:
    return body(replace(STUDIO, model=model), params=params).get("generationConfig")


# --- address and headers


@pytest.mark.parametrize(
    ("where", "address"),
    [
        (STUDIO, "https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-flash"),
        (replace(STUDIO, api_base="https://proxy.test/g/"), "https://proxy.test/g/v1beta/models/gemini-2.5-flash"),
        (
            replace(STUDIO, model="tunedModels/mine-1"),
            "https://generativelanguage.googleapis.com/v1beta/tunedModels/mine-1",
        ),
        (VERTEX, f"{VERTEX.api_base}/publishers/google/models/gemini-2.5-flash"),
        (replace(VERTEX, model="1234567890"), f"{VERTEX.api_base}/endpoints/1234567890"),
        (
            replace(VERTEX, api_base="https://proxy.test/"),
            "https://proxy.test/v1/projects/p/locations/us-central1/publishers/google/models/gemini-2.5-flash",
        ),
        (
            replace(VERTEX, api_base="https://proxy.test/v1beta1"),
            "https://proxy.test/v1beta1/projects/p/locations/us-central1/publishers/google/models/gemini-2.5-flash",
        ),
        (
            replace(VERTEX, api_base="https://aiplatform.googleapis.com/v1", variables={}),
            "https://aiplatform.googleapis.com/v1/publishers/google/models/gemini-2.5-flash",
        ),
    ],
)
def test_the_address_is_the_model_s_method_under_the_base(where: Deployment, address: str) -> None:
    assert sent(where).url == f"{address}:generateContent"
    assert sent(where, stream=True).url == f"{address}:streamGenerateContent?alt=sse"


def test_a_key_is_a_header_and_on_vertex_a_bearer_token() -> None:
    assert sent().headers["x-goog-api-key"] == "AIza-k"
    assert "AIza" not in sent().url
    bearer = sent(replace(VERTEX, api_key=Secret("ya29.token"))).headers
    assert bearer["authorization"] == "Bearer ya29.token"
    express = sent(replace(VERTEX, api_key=Secret("AIza-express"))).headers
    assert express["x-goog-api-key"] == "AIza-express"
    assert "authorization" not in express
    assert sent(replace(STUDIO, headers={"X-Goog-Api-Key": "other"})).headers["x-goog-api-key"] == "other"


def test_the_tier_is_in_the_body_or_on_vertex_in_a_header() -> None:
    assert body(params={"service_tier": "flex"})["serviceTier"] == "flex"
    assert body(params={"service_tier": "default"})["serviceTier"] == "standard"
    assert "serviceTier" not in body(params={"service_tier": "auto"})
    request = sent(VERTEX, params={"service_tier": "flex"})
    assert request.headers[TIER_HEADER] == "flex"
    assert "serviceTier" not in json.loads(request.body)
    assert TIER_HEADER not in sent(VERTEX, params={"service_tier": "default"}).headers


# --- parameters


@pytest.mark.parametrize(
    ("model", "effort", "thinks"),
    [
        ("gemini-2.5-flash", "none", {"thinkingBudget": 0}),
        ("gemini-2.5-pro", "none", {"thinkingBudget": 128}),
        ("gemini-2.5-flash", "medium", {"thinkingBudget": 8192, "includeThoughts": True}),
        ("gemini-3-flash-preview", "none", {"thinkingLevel": "MINIMAL"}),
        ("gemini-3-flash-preview", "medium", {"thinkingLevel": "MEDIUM", "includeThoughts": True}),
        ("gemini-3.1-pro-preview", "minimal", {"thinkingLevel": "LOW", "includeThoughts": True}),
        ("gemini-10-flash", "max", {"thinkingLevel": "HIGH", "includeThoughts": True}),
    ],
)
def test_an_effort_is_a_level_or_a_budget(model: str, effort: str, thinks: Any) -> None:
    assert config(model, reasoning_effort=effort)["thinkingConfig"] == thinks


@pytest.mark.parametrize(
    ("model", "given", "thinks"),
    [
        ("gemini-2.5-flash", {"type": "enabled", "budget_tokens": 5}, {"thinkingBudget": 5, "includeThoughts": True}),
        ("gemini-2.5-flash", {"type": "adaptive"}, {"thinkingBudget": -1, "includeThoughts": True}),
        ("gemini-2.5-flash", {"type": "disabled"}, {"thinkingBudget": 0}),
        ("gemini-3-flash", {"type": "disabled"}, {"thinkingLevel": "MINIMAL"}),
        ("gemini-3-flash", {"thinkingLevel": "LOW"}, {"thinkingLevel": "LOW"}),
    ],
)
def test_anthropic_s_thinking_is_understood_and_wins(model: str, given: Any, thinks: Any) -> None:
    assert config(model, thinking=given, reasoning_effort="high")["thinkingConfig"] == thinks


def test_a_quirk_tells_how_a_model_of_another_name_thinks() -> None:
    where = replace(STUDIO, model="mine", quirks={"thinking_level": True})
    assert "thinkingLevel" in body(where, params={"reasoning_effort": "low"})["generationConfig"]["thinkingConfig"]


def test_a_pydantic_class_is_a_schema() -> None:
    class Sum(pydantic.BaseModel):
        a: int

    assert config(response_format=Sum) == {
        "responseMimeType": "application/json",
        "responseJsonSchema": Sum.model_json_schema(),
    }
    assert config(response_format={"type": "json_object"}) == {"responseMimeType": "application/json"}


def test_what_stands_beside_openai_s_parameters_goes_where_gemini_has_it() -> None:
    said = body(
        params={"temperature": 1, "tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "auto"},
        extra={
            "top_k": 3,
            "generation_config": {"top_p": 0.5, "response_schema": {"a_b": 1}},
            "tool_config": {"retrieval_config": {"language_code": "en"}},
            "extra_body": {"cachedContent": "cachedContents/1"},
        },
    )
    assert said["generationConfig"] == {
        "temperature": 1,
        "topK": 3,
        "topP": 0.5,
        "responseSchema": {"a_b": 1},
    }
    assert said["toolConfig"] == {
        "functionCallingConfig": {"mode": "AUTO"},
        "retrievalConfig": {"languageCode": "en"},
    }
    assert said["cachedContent"] == "cachedContents/1"
    assert camel("safety_settings") == "safetySettings"


# --- tools

FUNCTION = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ("auto", {"mode": "AUTO"}),
        ("none", {"mode": "NONE"}),
        ("required", {"mode": "ANY"}),
        ({"type": "function", "function": {"name": "f"}}, {"mode": "ANY", "allowedFunctionNames": ["f"]}),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [FUNCTION]}},
            {"mode": "VALIDATED", "allowedFunctionNames": ["f"]},
        ),
    ],
)
def test_a_choice_among_tools_has_its_mode(choice: Any, said: Any) -> None:
    told = body(params={"tools": [FUNCTION], "tool_choice": choice})
    assert told["toolConfig"] == {"functionCallingConfig": said}


def test_calls_one_at_a_time_cannot_be_had() -> None:
    params = {"tools": [FUNCTION], "parallel_tool_calls": False}
    with pytest.raises(UnsupportedParamsError, match="parallel_tool_calls=False"):
        body(params=params)
    assert "toolConfig" not in body(params=params, drop_params=True)
    assert "toolConfig" not in body(params=params | {"parallel_tool_calls": True})


REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("tool_choice", {"params": {"tools": [FUNCTION], "tool_choice": "perhaps"}}),
    (r"tools\[0\] is of type 'mcp'", {"params": {"tools": [{"type": "mcp"}]}}),
    ("reasoning_effort 'huge'", {"params": {"reasoning_effort": "huge"}}),
    ("thinking .*is not known", {"params": {"thinking": {"type": "some"}}}),
    (r"messages\[0\] has role 'robot'", {"messages": [{"role": "robot", "content": "x"}]}),
    ("answers call 'c1'", {"messages": [{"role": "tool", "tool_call_id": "c1", "content": "x"}]}),
    ("of type 'smell'", {"messages": [{"role": "user", "content": [{"type": "smell"}]}]}),
    ("image_url.url is missing", {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}),
    ("input_audio.data", {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]}),
    ("file.file_id", {"messages": [{"role": "user", "content": [{"type": "file", "file": {}}]}]}),
]


@pytest.mark.parametrize(("named", "fields"), REFUSED)
def test_what_gemini_has_no_words_for_is_named(named: str, fields: dict[str, Any]) -> None:
    with pytest.raises(BadRequestError, match=named):
        body(**fields)


# --- conversation


def test_a_file_whose_type_cannot_be_told_is_sent_to_ai_studio_and_refused_by_vertex() -> None:
    messages = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x.test/pic"}}]}]
    assert body(messages=messages)["contents"][0]["parts"] == [{"fileData": {"fileUri": "https://x.test/pic"}}]
    with pytest.raises(BadRequestError, match=r"x\.test/pic.*image_url\.format"):
        body(VERTEX, messages=messages)


def test_an_instruction_alone_is_what_the_user_says() -> None:
    said = body(messages=[{"role": "system", "content": "Sing."}])
    assert said == {"contents": [{"role": "user", "parts": [{"text": "Sing."}]}]}


def test_empty_texts_and_turns_are_left_out() -> None:
    said = body(messages=[*HI, {"role": "assistant", "content": ""}, {"role": "user", "content": "Still there?"}])
    assert said["contents"] == [{"role": "user", "parts": [{"text": "Hi"}, {"text": "Still there?"}]}]


@pytest.mark.parametrize("kept", ["provider_specific_fields", "extra_content"])
def test_a_signature_is_found_where_answers_of_ours_and_of_google_s_openai_format_keep_it(kept: str) -> None:
    fields = {
        "provider_specific_fields": {"thought_signature": "s"},
        "extra_content": {"google": {"thought_signature": "s"}},
    }
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}, kept: fields[kept]}
    said = body(messages=[*HI, {"role": "assistant", "tool_calls": [call]}])
    assert said["contents"][1]["parts"] == [{"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "s"}]


def test_a_second_generation_call_needs_no_signature() -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    said = body(messages=[*HI, {"role": "assistant", "tool_calls": [call]}])
    assert said["contents"][1]["parts"] == [{"functionCall": {"name": "f", "args": {}}}]


def test_signatures_of_a_text_that_was_changed_are_left_out() -> None:
    signed = {"thought_signatures": [{"start": 0, "end": 50, "signature": "s"}, {"start": "?", "signature": "t"}]}
    message = {"role": "assistant", "content": "Short.", "provider_specific_fields": signed}
    assert body(messages=[*HI, message])["contents"][1]["parts"] == [{"text": "Short."}]
