"""Messages of every origin, read as plain data."""

import json
from collections import OrderedDict, UserDict
from typing import Any

import pydantic
import pytest

from callmeter.client.codecs.messages import data_url, encode_body, parts, plain_messages, tool_calls
from callmeter.errors import BadRequestError
from callmeter.shapes import Function, Message, ToolCall


class Theirs(pydantic.BaseModel):
    role: str = "user"
    content: str | None = None


@pytest.mark.parametrize(
    "message",
    [{"role": "user"}, OrderedDict(role="user"), UserDict(role="user"), Theirs()],
    ids=["dict", "OrderedDict", "Mapping", "pydantic"],
)
def test_a_message_of_any_origin_is_a_dict(message: Any) -> None:
    assert plain_messages([message]) == [{"role": "user"}]


def test_an_answer_of_ours_is_a_dict_down_to_its_tool_calls() -> None:
    answer = Message(tool_calls=[ToolCall(id="1", function=Function(name="f", arguments='{"a": 1}'))])
    (message,) = plain_messages([answer])
    assert "content" not in message
    assert tool_calls(message) == [("1", "f", {"a": 1})]


def test_tool_calls_may_be_objects_within_a_dict() -> None:
    message = {"role": "assistant", "tool_calls": [ToolCall(id="1", function=Function(name="f"))]}
    assert tool_calls(message) == [("1", "f", {})]


def test_content_is_parts_however_it_is_written() -> None:
    assert parts(None) == []
    assert parts("a") == parts(["a"]) == parts([{"type": "text", "text": "a"}]) == [{"type": "text", "text": "a"}]


def test_a_data_url_is_taken_apart_and_others_are_not() -> None:
    held = data_url("DATA:Text/Plain;charset=utf-8;base64,aMOp")
    assert held is not None
    assert (held.media_type, held.text()) == ("text/plain", "hé")
    assert data_url("https://x.test/data:a") is None


@pytest.mark.parametrize("data", ["/w==", "not base64 at all"])
def test_a_data_url_that_holds_no_text_says_so(data: str) -> None:
    held = data_url(f"data:text/plain;base64,{data}")
    assert held is not None
    with pytest.raises(BadRequestError, match="UTF-8 text"):
        held.text()


def test_a_body_with_lone_surrogates_and_objects_is_still_json() -> None:
    body = encode_body({"a\udfff": ["\ud83d\ude00", Theirs(content="\ud800"), 1, None]})
    assert json.loads(body) == {"a\ufffd": ["😀", {"role": "user", "content": "\ufffd"}, 1, None]}


def test_a_value_that_is_no_json_is_refused() -> None:
    with pytest.raises(BadRequestError, match="object"):
        encode_body({"a": object()})
