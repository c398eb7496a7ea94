"""Which parameters a wire gets, and what becomes of the rest."""

import inspect
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.resources.chat.completions import Completions

from callmeter.client.params import OPENAI_CHAT_PARAMS, admit, split, without
from callmeter.errors import BadRequestError, UnsupportedParamsError

WIRE = frozenset({"temperature", "tools"})


def admitted(params: dict[str, Any], **options: Any) -> dict[str, Any]:
    return admit(params, WIRE, provider="acme", model="acme-1", **options)


def test_every_parameter_of_the_openai_package_is_known() -> None:
    transport = {"self", "model", "messages", "extra_headers", "extra_query", "extra_body", "timeout"}
    theirs = set(inspect.signature(Completions.create).parameters) - transport
    assert theirs - OPENAI_CHAT_PARAMS == set()


def test_keywords_are_split_into_openais_and_others_without_those_left_at_none() -> None:
    params, extra = split({"temperature": 0, "top_k": 5, "seed": None, "min_p": None})
    assert (params, extra) == ({"temperature": 0}, {"top_k": 5})


def test_an_unsupported_parameter_is_refused_by_name_provider_and_model_with_the_way_out() -> None:
    with pytest.raises(UnsupportedParamsError) as caught:
        admitted({"temperature": 1, "seed": 1, "logit_bias": {}})
    for word in ("acme", "'acme-1'", "logit_bias, seed", "drop_params=True", "allowed_openai_params"):
        assert word in caught.value.message
    assert caught.value.status_code == 400
    assert isinstance(caught.value, BadRequestError)
    assert (caught.value.llm_provider, caught.value.model) == ("acme", "acme-1")


def test_drop_params_drops_what_is_unsupported_and_nothing_else() -> None:
    assert admitted({"temperature": 1, "seed": 1}, drop_params=True) == {"temperature": 1}


def test_an_allowed_parameter_goes_through_unsupported() -> None:
    assert admitted({"seed": 1}, allowed_openai_params=["seed"]) == {"seed": 1}


def test_a_parameter_to_be_dropped_is_gone_supported_or_not() -> None:
    assert admitted({"temperature": 1, "seed": 1}, additional_drop_params=["seed", "temperature"]) == {}


TOOLS = [{"name": "a", "input_examples": [1], "f": {"strict": True}}, {"name": "b", "input_examples": [2]}]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a", {"t": TOOLS}),
        ("t", {"a": {"b": {"c": 1}, "d": 2}}),
        ("a.b", {"a": {"d": 2}, "t": TOOLS}),
        ("a.b.c", {"a": {"b": {}, "d": 2}, "t": TOOLS}),
        ("t[0]", {"a": {"b": {"c": 1}, "d": 2}, "t": TOOLS[1:]}),
        ("t[*]", {"a": {"b": {"c": 1}, "d": 2}, "t": []}),
        ("t[1].name", {"a": {"b": {"c": 1}, "d": 2}, "t": [TOOLS[0], {"input_examples": [2]}]}),
        (
            "t[*].input_examples",
            {"a": {"b": {"c": 1}, "d": 2}, "t": [{"name": "a", "f": {"strict": True}}, {"name": "b"}]},
        ),
        ("nowhere[3].at.all", {"a": {"b": {"c": 1}, "d": 2}, "t": TOOLS}),
        ("a[0]", {"a": {"b": {"c": 1}, "d": 2}, "t": TOOLS}),
        ("", {"a": {"b": {"c": 1}, "d": 2}, "t": TOOLS}),
    ],
)
def test_a_path_removes_what_it_names_and_leaves_the_callers_own_alone(path: str, expected: dict[str, Any]) -> None:
    given_params = {"a": {"b": {"c": 1}, "d": 2}, "t": TOOLS}
    before = deepcopy(given_params)
    assert without(given_params, [path]) == expected
    assert given_params == before


@given(params=st.dictionaries(st.sampled_from(sorted(OPENAI_CHAT_PARAMS)), st.integers()), path=st.text("ab.[]*01"))
def test_what_is_admitted_is_supported_or_was_allowed(params: dict[str, int], path: str) -> None:
    kept = admitted(params, drop_params=True, additional_drop_params=[path], allowed_openai_params=["seed"])
    assert kept.keys() <= (WIRE | {"seed"}) & params.keys()
