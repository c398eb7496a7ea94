"""Legacy text completions in both directions, against OpenAI's own client."""

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from msgspec.structs import replace

import callmeter
from callmeter.client.codecs.openai_text import CODEC, prompts, text_chunk, text_completion
from callmeter.errors import BadRequestError
from callmeter.testing import FakeProvider, capture_events
from callmeter.types import Call, Deployment, Secret
from tests.client.codecs.one_answer import serving
from tests.golden_cases import Case, decode, load_cases

CASES = load_cases("openai_text")
WHOLE = [case for case in CASES if case.error is None]
CALL = Call(id="c", operation="text_completion", model="openai/m")
HERE = Deployment(provider="openai", model="m", codec="openai_text", api_base="https://api.openai.com/v1")


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as server:
        yield server


@pytest.mark.parametrize("case", WHOLE, ids=repr)
def test_the_sdk_reads_the_same_texts_logprobs_and_usage(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    ours = decode(case, CODEC)
    with serving(case.body, "text/event-stream" if case.call.stream else "application/json") as url:
        client = openai.OpenAI(base_url=url, api_key="k", max_retries=0)
        if not case.call.stream:
            theirs = client.completions.create(model="m", prompt="x")
            shape = text_completion(ours.completion)
            assert [(c.index, c.text, c.finish_reason) for c in shape.choices] == [
                (c.index, c.text, c.finish_reason) for c in theirs.choices
            ]
            assert shape.object == theirs.object == "text_completion"
            assert [c.logprobs for c in shape.choices] == [
                c.logprobs and c.logprobs.model_dump() for c in theirs.choices
            ]
            assert shape["usage"].total_tokens == theirs.usage.total_tokens  # type: ignore[union-attr]
            return
        said: dict[int, str] = {}
        for chunk in client.completions.create(model="m", prompt="x", stream=True):
            for choice in chunk.choices:
                said[choice.index] = said.get(choice.index, "") + choice.text
    mine: dict[int, str] = {}
    for chunk in map(text_chunk, ours.chunks):
        for choice in chunk.choices:
            mine[choice.index] = mine.get(choice.index, "") + choice.text
    assert mine == said == {choice.index: choice.message.content for choice in ours.completion.choices}


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_the_sdk_and_we_send_the_same_request(stream: bool, provider: FakeProvider) -> None:
    more: Any = {"stream_options": {"include_usage": True}} if stream else {}
    client = openai.OpenAI(base_url=provider.openai_base, api_key="k", max_retries=0)
    theirs: Any = client.completions.create(model="m", prompt=["a", "b"], stream=stream, echo=True, **more)
    if stream:
        theirs = list(theirs)[-1]
    call = replace(CALL, extra={"prompt": ["a", "b"], "echo": True}, stream=stream)
    request = CODEC.request(call, replace(HERE, api_base=provider.openai_base, api_key=Secret("k")))
    (heard,) = provider.requests
    assert request.url == provider.url + heard.path
    assert request.headers["authorization"] == heard.headers["authorization"]
    assert json.loads(request.body) == {k: v for k, v in json.loads(heard.body).items() if (k, v) != ("stream", False)}
    counted = provider.counts.tokens["text", "m"]
    assert (theirs.usage.prompt_tokens, theirs.usage.completion_tokens) == (
        counted.prompt_tokens,
        counted.completion_tokens,
    )


@pytest.mark.parametrize(
    ("given", "number"), [("a", 1), (["a", "b"], 2), ([1, 2, 3], 1), ([[1], [2, 3]], 2), ([], 1)], ids=repr
)
def test_a_prompt_is_several_where_it_lists_texts_or_lists_of_tokens(given: Any, number: int) -> None:
    assert prompts(given) == number


@pytest.mark.parametrize(
    ("provider_name", "base", "url"),
    [
        ("openai", "https://api.openai.com/v1/", "https://api.openai.com/v1/completions"),
        ("openai", "https://x.example/v1/chat/completions", "https://x.example/v1/completions"),
        ("azure", "https://r.openai.azure.com", "https://r.openai.azure.com/openai/deployments/m/completions?api-version=1"),
    ],
)  # fmt: skip
def test_completions_are_beside_chat(provider_name: str, base: str, url: str) -> None:
    where = replace(HERE, provider=provider_name, api_base=base, variables={"api_version": "1"})
    assert CODEC.request(replace(CALL, extra={"prompt": "x"}), where).url == url


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_a_model_that_only_completes_text_can_be_chatted_with(stream: bool, provider: FakeProvider) -> None:
    asked: Any = {"messages": [{"role": "user", "content": "Hi"}], "api_base": provider.openai_base, "api_key": "k"}
    with capture_events() as events:
        answer = callmeter.completion("openai/gpt-3.5-turbo-instruct", stream=stream, **asked)
        if stream:
            answer = callmeter.stream_chunk_builder(list(answer))
    assert answer.choices[0].message.content
    (heard,) = provider.requests
    assert heard.path == "/v1/completions"
    assert json.loads(heard.body)["prompt"] == "Hi"
    counted = provider.counts.tokens["text", "gpt-3.5-turbo-instruct"]
    assert events[-1].usage_source == "provider"
    assert (events[-1].usage.input_tokens, events[-1].usage.output_tokens) == (
        counted.prompt_tokens,
        counted.completion_tokens,
    )


def test_what_is_no_text_is_refused() -> None:
    image = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x.example"}}]}]
    with pytest.raises(BadRequestError, match="takes no content part of type 'image_url'"):
        CODEC.request(replace(CALL, messages=image), HERE)
    tool = [{"role": "tool", "tool_call_id": "1", "content": "x"}]
    with pytest.raises(BadRequestError, match="know no tools"):
        CODEC.request(replace(CALL, messages=tool), HERE)


def test_the_legacy_shape_keeps_what_is_hidden_on_the_answer() -> None:
    completion = decode(WHOLE[0], CODEC).completion
    completion.__dict__["_known"] = lambda: {"response_cost": 1.5}
    shape = text_completion(completion)
    assert shape._hidden_params == {"response_cost": 1.5}
    assert list(shape.model_dump()) == ["id", "created", "model", "object", "choices", "usage"]
