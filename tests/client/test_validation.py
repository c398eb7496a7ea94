"""`enable_json_schema_validation`: the answer is accounted for, then checked."""

import asyncio
import json
import sys
from typing import Any

import pytest

import callmeter
from callmeter.events.model import CallFailed, CallSucceeded
from callmeter.testing import FakeProvider

pytest.importorskip("jsonschema", reason="jsonschema is not installed: pip install 'callmeter[schema]'")

M = [{"role": "user", "content": "How warm is it?"}]
SCHEMA = {
    "type": "object",
    "properties": {"degrees": {"type": "number"}},
    "required": ["degrees"],
    "additionalProperties": False,
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "weather", "schema": SCHEMA}}


def sync_ask(text: str, **params: Any) -> Any:
    given = {"response_format": FORMAT, "enable_json_schema_validation": True, **params}
    return callmeter.completion("openai/gpt-4o", M, x_fake={"text": text}, **given)


def async_ask(text: str, **params: Any) -> Any:
    given = {"response_format": FORMAT, "enable_json_schema_validation": True, **params}
    return asyncio.run(callmeter.acompletion("openai/gpt-4o", M, x_fake={"text": text}, **given))


both = pytest.mark.parametrize("ask", [sync_ask, async_ask], ids=["sync", "async"])


@both
def test_an_answer_of_the_right_form_is_returned(ask: Any, provider: FakeProvider, events: list[Any]) -> None:
    assert json.loads(ask('{"degrees": 21.5}').choices[0].message.content) == {"degrees": 21.5}
    assert "enable_json_schema_validation" not in json.loads(provider.requests[0].body)


@both
@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('{"degrees": "warm"}', r"\$\.degrees: 'warm' is not of type 'number'"),
        ("{}", "'degrees' is a required property"),
        ('{"degrees": 1, "more": 2}', "'more' was unexpected"),
        ('{"degrees": 1', "it is not JSON"),
        ("It is warm.", "it is not JSON"),
    ],
)
def test_another_raises_once_it_is_accounted_for(
    ask: Any, text: str, what: str, provider: FakeProvider, events: list[Any]
) -> None:
    with pytest.raises(callmeter.JSONSchemaValidationError, match=what) as caught:
        ask(text)
    assert (caught.value.raw_response, caught.value.model, caught.value.llm_provider) == (text, "gpt-4o", "openai")
    end = events[-1]
    assert (type(end), end.cost.status, len(events)) == (CallSucceeded, "priced", 2)


def test_the_switch_on_the_module_does_it_too(
    provider: FakeProvider, events: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callmeter, "enable_json_schema_validation", True)
    with pytest.raises(callmeter.JSONSchemaValidationError):
        sync_ask("{}", enable_json_schema_validation=None)
    assert sync_ask("{}", enable_json_schema_validation=False).choices[0].message.content == "{}"


def test_json_without_a_schema_has_to_be_an_object(provider: FakeProvider, events: list[Any]) -> None:
    asked = {"response_format": {"type": "json_object"}}
    assert sync_ask('{"any": 1}', **asked)
    with pytest.raises(callmeter.JSONSchemaValidationError):
        sync_ask("[1]", **asked)


@pytest.mark.parametrize(
    "params",
    [
        {"response_format": None},
        {"response_format": {"type": "text"}},
        {"stream": True},
        {"x_fake": {"tool_calls": [{"id": "1", "name": "look", "arguments": "{}"}]}},
    ],
    ids=["none", "text", "stream", "tools"],
)
def test_what_has_no_schema_to_pass_passes(params: Any, provider: FakeProvider, events: list[Any]) -> None:
    given = {"response_format": FORMAT, "enable_json_schema_validation": True, "x_fake": {"text": "warm"}, **params}
    answer = callmeter.completion("openai/gpt-4o", M, **given)
    assert list(answer) if params.get("stream") else answer.choices


def test_a_schema_that_is_none_stops_the_call_before_it_is_sent(provider: FakeProvider, events: list[Any]) -> None:
    wrong = {"type": "json_schema", "json_schema": {"name": "w", "schema": {"type": "nonsense"}}}
    with pytest.raises(callmeter.BadRequestError, match="nonsense"):
        sync_ask("{}", response_format=wrong)
    assert (len(provider.requests), type(events[-1])) == (0, CallFailed)


def test_a_reference_to_another_host_is_not_followed(provider: FakeProvider, events: list[Any]) -> None:
    far = {"type": "json_schema", "json_schema": {"name": "w", "schema": {"$ref": f"{provider.url}/schema.json"}}}
    with pytest.raises(callmeter.BadRequestError, match=r"schema\.json"):
        sync_ask("{}", response_format=far)
    assert len(provider.requests) == 1


def test_without_the_library_nothing_is_sent(
    provider: FakeProvider, events: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    with pytest.raises(callmeter.MissingExtraError, match=r"callmeter\[schema\]"):
        sync_ask("{}")
    assert (len(provider.requests), [type(event).__name__ for event in events]) == (0, ["CallStarted", "CallFailed"])
