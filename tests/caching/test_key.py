"""A request's key: one for all spellings of a request, another for every other request, the same everywhere."""

import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from callmeter.caching.key import ABOUT_THE_CALLER, SAME_ANSWER, NoKey, digest
from callmeter.shapes import Function, Message, ToolCall

NUMBERS = st.integers() | st.floats(allow_nan=False)
LEAVES = st.none() | st.booleans() | NUMBERS | st.text(st.characters(), max_size=8) | st.binary(max_size=4)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=8
)
PARAMETERS = st.sampled_from(["temperature", "tools", "seed", "x_own", "n", "messages_", "model"])
REQUESTS = st.dictionaries(PARAMETERS, VALUES, max_size=4)


def meant(value: Any) -> Any:
    """What tells two values apart, as Python sees them: kinds that compare equal though they differ are named."""
    if isinstance(value, dict):
        return ("dict", frozenset((name, meant(item)) for name, item in value.items()))
    if isinstance(value, list | tuple):
        return ("list", tuple(meant(item) for item in value))
    kind = "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__
    return (kind, value)


def asked(request: dict[str, Any]) -> Any:
    return meant({name: value for name, value in request.items() if value is not None})


@given(one=REQUESTS, other=REQUESTS)
def test_requests_share_a_key_exactly_if_they_are_the_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert (digest(one) == digest(other)) == (asked(one) == asked(other))


@given(value=VALUES, other=VALUES)
def test_no_two_values_of_a_parameter_share_a_key(value: Any, other: Any) -> None:
    # Beside the requests above, which seldom differ in one place alone.
    same = digest({"tools": [value]}) == digest({"tools": [other]})
    assert same == (meant(value) == meant(other))


def respelt(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: respelt(value[name]) for name in reversed(value)}
    if isinstance(value, list):
        return tuple(respelt(item) for item in value)
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value


@given(request=REQUESTS)
def test_the_order_of_names_and_the_spelling_of_numbers_and_lists_are_no_part_of_it(request: dict[str, Any]) -> None:
    assert digest(request) == digest({**respelt(request), "logprobs": None})


@pytest.mark.parametrize("name", sorted(SAME_ANSWER | ABOUT_THE_CALLER))
def test_what_leaves_the_answer_as_it_is_is_no_part_of_it(name: str) -> None:
    request = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
    assert digest(request) == digest({**request, name: "anything"})


def test_who_asks_is_part_of_it_where_every_user_is_to_have_answers_of_their_own() -> None:
    ann, ben = ({"model": "m", "user": user} for user in ("ann", "ben"))
    assert digest(ann) == digest(ben)
    assert digest(ann, by_user=True) != digest(ben, by_user=True)


class Weather(BaseModel):
    city: str


class Place(BaseModel):
    city: str


def test_objects_are_what_they_say() -> None:
    call = ToolCall(id="c1", function=Function(name="f", arguments="{}"))
    handed_back = Message(content="Hello", tool_calls=[call])
    written = {
        "role": "assistant",
        "content": "Hello",
        "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        "refusal": None,
    }
    assert digest({"messages": [handed_back]}) == digest({"messages": [written]})
    assert digest({"response_format": Weather}) != digest({"response_format": Place})
    assert digest({"tools": [Weather(city="Bonn")]}) == digest({"tools": [{"city": "Bonn"}]})


def test_a_null_within_a_schema_is_no_absence() -> None:
    assert digest({"tools": [{"const": None}]}) != digest({"tools": [{}]})


@pytest.mark.parametrize("value", [object(), iter([]), {1: 2}, print])
def test_what_has_no_json_form_has_no_key(value: Any) -> None:
    with pytest.raises(NoKey):
        digest({"tools": [value]})


def test_it_is_the_same_in_another_process() -> None:
    request = {"model": "m", "messages": [{"role": "user", "content": "Ü"}], "stop": ["a", "b"], "temperature": 0.5}
    script = "import sys, json; from callmeter.caching.key import digest; print(digest(json.loads(sys.argv[1]), by_user=True))"
    out = subprocess.run(
        [sys.executable, "-c", script, json.dumps(request)], check=True, capture_output=True, text=True
    )
    assert out.stdout.strip() == digest(request, by_user=True)
