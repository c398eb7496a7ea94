"""What Anthropic is asked, parameter by parameter and message by message."""

import json
from typing import Any

import pydantic
import pytest
from msgspec.structs import replace

from callmeter.client.codecs.anthropic import CODEC
from callmeter.client.codecs.anthropic_request import endpoint, request_body
from callmeter.errors import BadRequestError
from callmeter.types import Call, Deployment, Secret
from tests.golden_cases import decode, load_cases

CALL = Call(id="c", operation="chat", model="anthropic/claude-sonnet-4-5")
HERE = Deployment(
    provider="anthropic", model="claude-sonnet-4-5", codec="anthropic", api_base="https://api.anthropic.com"
)
SCHEMA = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object", "properties": {}}}}
TOOL = {"type": "function", "function": {"name": "f"}}


def body_of(messages: Any = (), model: str = HERE.model, quirks: Any = None, **call: Any) -> dict[str, Any]:
    where = replace(HERE, model=model, quirks=quirks or {})
    body, _ = request_body(replace(CALL, messages=messages, **call), where)
    return body


def headers_of(key: str = "sk-ant-api", deployment: Any = None, **call: Any) -> dict[str, str]:
    where = replace(HERE, api_key=Secret(key), **(deployment or {}))
    return dict(CODEC.request(replace(CALL, **call), where).headers)


def test_addresses_are_completed_once() -> None:
    for base in ("https://h", "https://h/", "https://h/v1", "https://h/v1/messages"):
        assert endpoint(base) == "https://h/v1/messages"
    assert endpoint("https://api.minimax.io/anthropic/v1") == "https://api.minimax.io/anthropic/v1/messages"


def test_a_key_goes_as_x_api_key_and_an_oauth_token_as_bearer() -> None:
    assert headers_of("sk-ant-api03-x")["x-api-key"] == "sk-ant-api03-x"
    token = headers_of("sk-ant-oat01-x")
    assert token["authorization"] == "Bearer sk-ant-oat01-x"
    assert token["anthropic-beta"] == "oauth-2025-04-20"
    assert "x-api-key" not in token
    assert headers_of("k", {"quirks": {"auth": "bearer"}})["authorization"] == "Bearer k"


def test_the_caller_s_headers_win_and_betas_add_up() -> None:
    headers = headers_of(
        deployment={"headers": {"Anthropic-Beta": "a, b", "X-Team": "1"}},
        headers={"anthropic-beta": "b,c", "x-team": "2", "Anthropic-Version": "2099-01-01"},
        messages=[{"role": "user", "content": [{"type": "file", "file": {"file_id": "file_1"}}]}],
    )
    assert headers["anthropic-beta"] == "files-api-2025-04-14,a,b,c"
    assert headers["x-team"] == "2"
    assert headers["anthropic-version"] == "2099-01-01"


def test_max_tokens_is_the_caller_s_then_the_quirk_s_then_4096() -> None:
    assert body_of()["max_tokens"] == 4096
    assert body_of(quirks={"max_output_tokens": 64000})["max_tokens"] == 64000
    assert body_of(params={"max_tokens": 5, "max_completion_tokens": 7})["max_tokens"] == 7


@pytest.mark.parametrize("effort", ["minimal", "low", "medium", "high", "xhigh", "max"])
def test_effort_is_a_budget_within_max_tokens_where_models_take_budgets(effort: str) -> None:
    free = body_of(model="claude-3-7-sonnet-latest", params={"reasoning_effort": effort})
    assert 1024 <= free["thinking"]["budget_tokens"] < free["max_tokens"]
    tight = body_of(model="claude-haiku-4-5", params={"reasoning_effort": effort, "max_tokens": 1500})
    assert 1024 <= tight["thinking"]["budget_tokens"] < 1500
    newer = body_of(model="claude-sonnet-4-6", params={"reasoning_effort": effort})
    assert newer["thinking"] == {"type": "adaptive"}
    assert newer["output_config"]["effort"] in ("low", "medium", "high", "xhigh", "max")


def test_no_effort_means_no_thinking() -> None:
    assert "thinking" not in body_of(model="claude-3-7-sonnet-latest", params={"reasoning_effort": "none"})
    assert body_of(model="claude-sonnet-4-6", params={"reasoning_effort": "none"})["thinking"] == {"type": "disabled"}
    assert "thinking" not in body_of(params={"reasoning_effort": "default"})


def test_thinking_as_anthropic_writes_it_passes_and_makes_room() -> None:
    asked = {"type": "enabled", "budget_tokens": 8000}
    body = body_of(params={"thinking": asked})
    assert body["thinking"] == asked
    assert body["max_tokens"] == 4096 + 8000


def test_a_forced_json_tool_is_not_forced_while_thinking() -> None:
    body = body_of(model="claude-3-7-sonnet-latest", params={"response_format": SCHEMA, "reasoning_effort": "low"})
    assert body["tool_choice"] == {"type": "auto"}
    assert body["tools"][0]["name"] == "json_tool_call"


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        (None, {"type": "any"}),
        ("none", {"type": "tool", "name": "json_tool_call"}),
        ({"type": "function", "function": {"name": "f"}}, {"type": "tool", "name": "f"}),
    ],
)
def test_the_json_tool_leaves_the_caller_s_tools_callable(choice: Any, sent: Any) -> None:
    params = {"response_format": {"type": "json_object"}, "tools": [TOOL], "tool_choice": choice}
    assert body_of(params=params)["tool_choice"] == sent


def test_a_quirk_tells_what_a_model_takes_where_its_name_does_not() -> None:
    assert "tools" in body_of(quirks={"json_schema": False}, params={"response_format": SCHEMA})
    assert "output_config" in body_of(
        "", "claude-3-haiku-20240307", {"json_schema": True}, params={"response_format": SCHEMA}
    )


def test_a_pydantic_class_is_sent_as_a_closed_schema() -> None:
    class City(pydantic.BaseModel):
        name: str

    form = body_of(params={"response_format": City})["output_config"]["format"]
    assert form["schema"]["additionalProperties"] is False
    assert form["schema"]["properties"]["name"]["type"] == "string"


def test_schemas_are_closed_without_touching_names_and_data_or_the_caller_s_object() -> None:
    schema = {
        "type": "object",
        "properties": {"default": {"type": "object"}, "properties": {"enum": [{"type": "object"}]}},
        "$defs": {"open": {"type": ["object", "null"], "additionalProperties": True}},
    }
    before = json.dumps(schema)
    form: Any = {"type": "json_schema", "json_schema": {"schema": schema}}
    closed = body_of(params={"response_format": form})["output_config"]["format"]["schema"]
    assert closed["properties"]["default"] == {"type": "object", "additionalProperties": False}
    assert closed["properties"]["properties"] == {"enum": [{"type": "object"}]}
    assert closed["$defs"]["open"]["additionalProperties"] is True
    assert json.dumps(schema) == before


def test_anthropic_s_own_tools_and_parameters_pass_as_they_are() -> None:
    own = {"type": "bash_20250124", "name": "bash"}
    body = body_of(
        params={"tools": [own, TOOL], "logit_bias": {"1": 2}, "reasoning_effort": "low"},
        model="claude-opus-4-6",
        extra={"top_k": 3, "output_config": {"x": 1}, "extra_body": {"container": "c"}},
    )
    assert body["tools"][0] == own
    assert (body["top_k"], body["container"], body["logit_bias"]) == (3, "c", {"1": 2})
    assert body["output_config"] == {"effort": "low", "x": 1}


def test_an_answer_of_ours_can_be_appended_as_it_is() -> None:
    (case,) = (c for c in load_cases("anthropic") if c.name == "thinking_streamed")
    message = decode(case, CODEC).completion.choices[0].message
    sent = body_of([{"role": "user", "content": "?"}, message, {"role": "user", "content": "!"}])["messages"]
    kinds = [block["type"] for block in sent[1]["content"]]
    assert kinds == ["thinking", "redacted_thinking", "text"]
    assert sent[1]["content"][0]["signature"] == "EqQBCgIY"


def test_neighbours_of_one_side_become_one_turn_with_tool_results_leading() -> None:
    sent = body_of(
        [
            {"role": "user", "content": "a"},
            {"role": "user", "content": "b"},
            {"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{}"}}]},
            {"role": "user", "content": "wait"},
            {"role": "tool", "tool_call_id": "1", "content": "", "cache_control": {"type": "ephemeral"}},
        ]
    )["messages"]
    assert [turn["role"] for turn in sent] == ["user", "assistant", "user"]
    assert [block["text"] for block in sent[0]["content"]] == ["a", "b"]
    assert sent[2]["content"] == [
        {"type": "tool_result", "tool_use_id": "1", "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": "wait"},
    ]


def test_lone_surrogates_do_not_stop_a_call() -> None:
    sent = CODEC.request(replace(CALL, messages=[{"role": "user", "content": "a\ud800b \ud83d\ude00"}]), HERE).body
    assert json.loads(sent)["messages"][0]["content"] == "a\ufffdb 😀"


@pytest.mark.parametrize(
    ("message", "named"),
    [
        ({"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}, "input_audio"),
        ({"role": "user", "content": [{"type": "image_url", "image_url": {}}]}, "image_url.url"),
        ({"role": "user", "content": [{"type": "image_url", "image_url": "data:image/tiff;base64,AA"}]}, "image/tiff"),
        ({"role": "user", "content": [{"type": "image_url", "image_url": "data:image/png,AA"}]}, "not base64"),
        ({"role": "user", "content": [{"type": "file", "file": {}}]}, "file.file_id"),
        ({"role": "user", "content": [{"type": "file", "file": {"file_data": "AA", "format": "a/zip"}}]}, "a/zip"),
        ({"role": "user", "content": 5}, "int"),
        ({"role": "function", "name": "f", "content": "x"}, "function"),
        ({"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}}, "function_call"),
        ({"role": "assistant", "tool_calls": [{"id": "c1", "function": {"name": "f", "arguments": "{no"}}]}, "c1"),
        ({"role": "assistant", "tool_calls": [{"id": "c1", "type": "custom", "custom": {}}]}, "custom"),
        (object(), r"messages\[0\]"),
    ],
)
def test_what_anthropic_cannot_say_is_refused_by_name(message: Any, named: str) -> None:
    with pytest.raises(BadRequestError, match=named):
        body_of([message])


@pytest.mark.parametrize(
    ("params", "named"),
    [
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, r"tools\[0\]"),
        ({"tool_choice": {"type": "allowed_tools"}}, "allowed_tools"),
        ({"response_format": {"type": "xml"}}, "xml"),
        ({"reasoning_effort": "huge"}, "huge"),
    ],
)
def test_parameters_without_equivalent_are_refused_by_name(params: Any, named: str) -> None:
    with pytest.raises(BadRequestError, match=named):
        body_of(model="claude-3-haiku-20240307", params=params)
