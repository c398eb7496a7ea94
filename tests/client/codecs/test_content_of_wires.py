"""What every wire of chat does with what may be in a call: it says it there, or refuses it by name. Nothing is lost."""

import json
from typing import Any

import pytest

from callmeter.client import codecs
from callmeter.client.codecs import load
from callmeter.client.providers import PROVIDERS
from callmeter.errors import BadRequestError
from callmeter.types import Call, Deployment

WIRES = sorted(
    {
        wire
        for row in PROVIDERS
        for wire in (row.codec, *row.wires.values())
        if codecs.exists(wire) and "chat" in row.serves
    }
)

PARTS: dict[str, tuple[dict[str, Any], str]] = {
    "image by URL": ({"type": "image_url", "image_url": {"url": "https://img.test/a.png"}}, "img.test"),
    "image by value": (
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
        "iVBORw0KGgo",
    ),
    "file by value": (
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}},
        "JVBERi0=",
    ),
    "file by id": ({"type": "file", "file": {"file_id": "file-abc"}}, "file-abc"),
    "audio": ({"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}, "UklGRg=="),
}
"""Each kind of part, and what of it must be found in the body."""

IMAGES, FILES = {"image by URL", "image by value"}, {"file by value", "file by id"}
ALL = set(PARTS)

SAYS: dict[str, set[str]] = {
    "anthropic": IMAGES | FILES,
    "anthropic_vertex": IMAGES | FILES,
    "azure": ALL,
    "azure_ai": ALL,
    "azure_anthropic": IMAGES | FILES,
    "bedrock": {"image by value", "file by value", "audio"},
    "cohere": IMAGES,
    "gemini": ALL,
    "gigachat": set(),
    "langgraph": ALL,
    "nlp_cloud": set(),
    "ollama": {"image by value"},
    "openai_chat": ALL,
    "openai_responses": IMAGES | FILES,
    "openai_text": set(),
    "replicate": IMAGES,
    "sagemaker": ALL,
    "sap": ALL,
    "triton": set(),
    "watsonx": ALL,
}
"""The parts that a wire has a place for. A wire that is not here takes what its own tests say."""

TOOL = {
    "type": "function",
    "function": {"name": "f", "strict": True, "parameters": {"type": "object", "properties": {}}},
}

VALUES: dict[str, Any] = {
    "audio": {"voice": "alloy", "format": "wav"},
    "frequency_penalty": 0.55,
    "function_call": "auto",
    "functions": [TOOL["function"]],
    "logit_bias": {"5": 1},
    "logprobs": True,
    "max_completion_tokens": 4321,
    "max_tokens": 4321,
    "metadata": {"a": "b"},
    "modalities": ["text", "audio"],
    "n": 3,
    "parallel_tool_calls": False,
    "prediction": {"type": "content", "content": "x"},
    "presence_penalty": 0.44,
    "prompt_cache_key": "k",
    "prompt_cache_retention": "24h",
    "reasoning_effort": "high",
    "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}},
    "safety_identifier": "s",
    "seed": 9876,
    "service_tier": "flex",
    "stop": ["END"],
    "store": True,
    "temperature": 0.77,
    "thinking": {"type": "enabled", "budget_tokens": 2048},
    "tool_choice": "required",
    "tools": [TOOL],
    "top_logprobs": 4,
    "top_p": 0.66,
    "user": "u",
    "verbosity": "low",
    "web_search_options": {"search_context_size": "low"},
}
"""A value of each parameter that is not what leaving it out means."""

NEEDS: dict[str, dict[str, Any]] = {
    "parallel_tool_calls": {"tools": [TOOL]},
    "tool_choice": {"tools": [TOOL]},
    "top_logprobs": {"logprobs": True},
}
"""What a parameter is about, where it is about another one."""


MODELS = {"bedrock": "anthropic.claude-sonnet-4-5-20250929-v1:0"}
"""Where parameters go by the model."""


def sent(wire: str, params: dict[str, Any] | None = None, content: Any = "Hi") -> tuple[bytes, dict[str, str]]:
    """The body and headers of a call."""
    where = Deployment(
        provider="acme",
        model=MODELS.get(wire, "m"),
        codec=wire,
        api_base="https://acme.test/v1",
        variables=dict.fromkeys(("api_version", "deployment", "location", "project", "project_id", "region"), "x"),
    )
    messages = [{"role": "user", "content": content}]
    call = Call(id="0" * 32, operation="chat", model="acme/m", messages=messages, params=params or {})
    request = load(wire).request(call, where)
    return request.body, dict(request.headers)


@pytest.mark.parametrize("kind", PARTS)
@pytest.mark.parametrize("wire", sorted(SAYS))
def test_a_part_is_in_the_body_or_refused_by_its_type(wire: str, kind: str) -> None:
    part, mark = PARTS[kind]
    content = [{"type": "text", "text": "Look."}, part]
    if kind in SAYS[wire]:
        assert mark in sent(wire, content=content)[0].decode()
    else:
        with pytest.raises(BadRequestError, match=f"{part['type']!r}|{mark}"):
            sent(wire, content=content)


NO_EQUIVALENT = {("gemini", "parallel_tool_calls"), ("gigachat", "tool_choice")}
"""Values above that a wire has no words for, although it has for others of the same parameter."""

UNSAID = {"user"}
"""Whose account it is, some providers are not told; it is kept for ours."""


@pytest.mark.parametrize("wire", WIRES)
def test_every_parameter_that_a_wire_carries_changes_what_is_sent(wire: str) -> None:
    for name in (load(wire).supported & VALUES.keys()) - UNSAID:
        others = NEEDS.get(name, {})
        if (wire, name) in NO_EQUIVALENT:
            with pytest.raises(BadRequestError, match="tool"):
                sent(wire, {**others, name: VALUES[name]})
        else:
            assert sent(wire, {**others, name: VALUES[name]}) != sent(wire, others), f"{wire} loses {name}"


@pytest.mark.parametrize("wire", WIRES)
def test_a_pydantic_class_asks_for_its_schema_wherever_schemas_are_known(wire: str) -> None:
    from pydantic import BaseModel

    class City(BaseModel):
        population: int

    if "response_format" in load(wire).supported:
        body = sent(
            wire, {"response_format": City, "max_tokens": 100} if "anthropic" in wire else {"response_format": City}
        )
        assert "population" in json.dumps(json.loads(body[0]))
