"""Captured content in the form of OpenTelemetry's GenAI conventions, whatever was captured of it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callmeter.events.messages import input_messages, output_messages


def asked(*messages: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(input_messages(list(messages)))
    return found


def test_text_is_a_text_part_with_its_role() -> None:
    assert asked({"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi", "name": "ada"}) == [
        {"role": "system", "parts": [{"type": "text", "content": "Be brief."}]},
        {"role": "user", "parts": [{"type": "text", "content": "Hi"}], "name": "ada"},
    ]


def test_images_and_other_pieces_keep_their_kind() -> None:
    pieces = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
    ]
    (message,) = asked({"role": "user", "content": pieces})
    assert message["parts"] == [
        {"type": "text", "content": "What is this?"},
        {"type": "uri", "modality": "image", "uri": "https://x/y.png"},
        pieces[2],
    ]


def test_a_tool_call_and_its_result_carry_their_id() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"at":"Paris"}'}}
    said, told = asked(
        {"role": "assistant", "content": None, "reasoning_content": "Hm.", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "rainy"},
    )
    assert said["parts"] == [
        {"type": "reasoning", "content": "Hm."},
        {"type": "tool_call", "id": "c1", "name": "weather", "arguments": {"at": "Paris"}},
    ]
    assert told["parts"] == [{"type": "tool_call_response", "id": "c1", "response": "rainy"}]


def test_arguments_that_were_cut_stay_text() -> None:
    (message,) = asked({"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": '{"at":"Pa'}}]})
    assert message["parts"][0]["arguments"] == '{"at":"Pa'


def test_each_choice_is_a_message_with_its_reason() -> None:
    choices = [
        {"message": {"role": "assistant", "content": "A"}, "finish_reason": "stop"},
        {"message": {"role": "assistant", "content": "B"}, "finish_reason": "length"},
    ]
    assert [
        (m["parts"][0]["content"], m["finish_reason"]) for m in json.loads(output_messages({"choices": choices}))
    ] == [
        ("A", "stop"),
        ("B", "length"),
    ]


@pytest.mark.parametrize("prompt", ["one text", ["several", "texts"], {"input": "x"}, 7])
def test_a_prompt_that_is_no_list_of_messages_is_the_users(prompt: Any) -> None:
    assert {message["role"] for message in json.loads(input_messages(prompt))} == {"user"}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
messages = st.dictionaries(
    st.sampled_from(["role", "content", "tool_calls", "name", "reasoning_content", "type", "function"]), json_values
)


@given(found=st.lists(messages | json_values, max_size=4), completion=st.dictionaries(st.just("choices"), json_values))
def test_whatever_was_captured_becomes_valid_messages(found: list[Any], completion: dict[str, Any]) -> None:
    for message in (*json.loads(input_messages(found)), *json.loads(output_messages(completion))):
        assert isinstance(message["role"], str)
        assert all(isinstance(part["type"], str) for part in message["parts"])
