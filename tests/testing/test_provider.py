"""The fake provider: what the providers' own SDKs make of it, what it can be told, and its account of itself."""

import contextlib
import http.client
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callmeter.testing import FakeProvider, Heard, Tokens
from callmeter.testing.wires import answer_to

MESSAGES: list[Any] = [{"role": "user", "content": "Hi"}]
TEXT = "Hello from the fake provider, which answers everything alike."
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WISH = {"prompt_tokens": 1000, "completion_tokens": 44, "cached_tokens": 300, "cache_write_tokens": 200}


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as running:
        yield running


def post(provider: FakeProvider, path: str = "/v1/chat/completions", **fields: Any) -> tuple[int, bytes]:
    """One request by the standard library. Raises `http.client.HTTPException` where the answer is not whole."""
    connection = http.client.HTTPConnection("127.0.0.1", provider.port, timeout=5)
    try:
        connection.request("POST", path, json.dumps({"model": "m", "messages": MESSAGES, **fields}))
        with contextlib.closing(connection.getresponse()) as answer:
            return answer.status, answer.read()
    finally:
        connection.close()


# The providers' own SDKs


@pytest.fixture
def openai(provider: FakeProvider) -> Any:
    module = pytest.importorskip("openai")
    with module.OpenAI(base_url=provider.openai_base, api_key="sk-fake", max_retries=0) as client:
        yield client


def test_the_openai_sdk_reads_its_answer_and_usage(provider: FakeProvider, openai: Any) -> None:
    answer = openai.chat.completions.create(model="gpt-4o", messages=MESSAGES, extra_body={"x_fake": WISH})
    assert len(answer.choices[0].message.content.split()) == 44
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (1000, 44)
    assert answer.usage.prompt_tokens_details.cached_tokens == 300
    assert provider.counts.tokens["openai", "gpt-4o"] == Tokens(**WISH)


def test_the_openai_sdk_reads_its_stream(provider: FakeProvider, openai: Any) -> None:
    with openai.chat.completions.create(
        model="gpt-4o",
        messages=MESSAGES,
        stream=True,
        stream_options={"include_usage": True},
        extra_body={"x_fake": {"chunks": 3}},
    ) as stream:
        chunks = list(stream)
    texts = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]
    assert (len(texts), "".join(texts)) == (3, TEXT)
    assert chunks[-1].usage.completion_tokens == len(TEXT.split())
    assert len({chunk.id for chunk in chunks}) == 1


def test_the_openai_sdk_is_called_back_with_the_tool_it_offers(provider: FakeProvider, openai: Any) -> None:
    tools = [{"type": "function", "function": {"name": "get_weather", "parameters": PARAMETERS}}]
    answer = openai.chat.completions.create(model="gpt-4o", messages=MESSAGES, tools=tools)
    message = answer.choices[0].message
    call = message.tool_calls[0]
    assert (call.function.name, json.loads(call.function.arguments)) == ("get_weather", {"city": "fake"})
    assert answer.choices[0].finish_reason == "tool_calls"
    result = {"role": "tool", "tool_call_id": call.id, "content": "sunny"}
    after = openai.chat.completions.create(model="gpt-4o", messages=[*MESSAGES, message, result], tools=tools)
    assert after.choices[0].message.content == TEXT


def test_the_openai_sdk_raises_what_it_is_told(provider: FakeProvider, openai: Any) -> None:
    module = pytest.importorskip("openai")
    with pytest.raises(module.RateLimitError) as caught:
        wish = {"fail": 429, "retry_after_s": 2}
        openai.chat.completions.create(model="gpt-4o", messages=MESSAGES, extra_body={"x_fake": wish})
    assert caught.value.response.headers["retry-after"] == "2"
    assert caught.value.code == "rate_limit_exceeded"


def test_the_anthropic_sdk_reads_its_answers(provider: FakeProvider) -> None:
    anthropic = pytest.importorskip("anthropic")
    with anthropic.Anthropic(base_url=provider.url, api_key="sk-fake", max_retries=0) as client:
        asked = {"model": "claude", "max_tokens": 100, "messages": MESSAGES}
        plain = client.messages.create(**asked, extra_body={"x_fake": WISH})
        with client.messages.stream(**asked, extra_body={"x_fake": WISH}) as stream:
            streamed = stream.get_final_message()
        tools = [{"name": "get_weather", "input_schema": PARAMETERS}]
        with client.messages.stream(**asked, tools=tools) as stream:
            called = stream.get_final_message()
        with pytest.raises(anthropic.APIStatusError) as caught:
            client.messages.create(**asked, extra_body={"x_fake": {"fail": 529}})
    for message in (plain, streamed):
        usage = message.usage
        assert (usage.input_tokens, usage.cache_read_input_tokens, usage.cache_creation_input_tokens) == (500, 300, 200)
        assert (usage.output_tokens, message.stop_reason) == (44, "end_turn")
    assert plain.content[0].text == streamed.content[0].text
    assert (called.content[0].input, called.stop_reason) == ({"city": "fake"}, "tool_use")
    assert caught.value.body["error"]["type"] == "overloaded_error"


def test_the_ollama_sdk_reads_its_answers(provider: FakeProvider) -> None:
    ollama = pytest.importorskip("ollama")
    client = ollama.Client(host=provider.url)
    plain = client.chat("llama3.2", messages=MESSAGES)
    streamed = list(client.chat("llama3.2", messages=MESSAGES, stream=True))
    tools = [{"type": "function", "function": {"name": "get_weather", "parameters": PARAMETERS}}]
    called = client.chat("llama3.2", messages=MESSAGES, tools=tools)
    assert plain.message.content == "".join(part.message.content for part in streamed) == TEXT
    assert plain.eval_count == streamed[-1].eval_count == len(TEXT.split())
    assert called.message.tool_calls[0].function.arguments == {"city": "fake"}
    provider.answer(404)
    with contextlib.closing(client._client), pytest.raises(ollama.ResponseError, match="404"):
        client.chat("llama3.2", messages=MESSAGES)


def test_google_s_sdk_reads_its_answers(provider: FakeProvider) -> None:
    genai = pytest.importorskip("google.genai")
    options = genai.types.HttpOptions(
        base_url=provider.url, headers={"x-fake": json.dumps(WISH | {"reasoning_tokens": 4})}
    )
    with genai.Client(api_key="AIza-fake", http_options=options) as client:
        plain = client.models.generate_content(model="gemini-2.5-flash", contents="Hi")
        streamed = list(client.models.generate_content_stream(model="gemini-2.5-flash", contents="Hi"))
    for answer in (plain, streamed[-1]):
        usage = answer.usage_metadata
        assert (usage.prompt_token_count, usage.cached_content_token_count, usage.thoughts_token_count) == (
            1000,
            300,
            4,
        )
        assert (usage.candidates_token_count, usage.total_token_count) == (40, 1044)
        assert answer.candidates[0].finish_reason == genai.types.FinishReason.STOP
    assert plain.text == "".join(part.text for part in streamed)
    assert provider.counts.calls_by_model["gemini", "gemini-2.5-flash"] == 2
    function = genai.types.FunctionDeclaration(name="get_weather", parameters_json_schema=PARAMETERS)
    tools = [genai.types.Tool(function_declarations=[function])]
    with genai.Client(api_key="AIza-fake", http_options=genai.types.HttpOptions(base_url=provider.url)) as client:
        called = client.models.generate_content(
            model="gemini-2.5-flash", contents="Hi", config=genai.types.GenerateContentConfig(tools=tools)
        )
        provider.answer(429)
        with pytest.raises(genai.errors.ClientError) as caught:
            client.models.generate_content(model="gemini-2.5-flash", contents="Hi")
    assert called.function_calls[0].args == {"city": "fake"}
    assert (caught.value.code, caught.value.status) == (429, "RESOURCE_EXHAUSTED")


# What it can be told


def test_behaviours_take_effect_in_the_order_they_were_said(provider: FakeProvider) -> None:
    provider.answer(503, times=2)
    provider.answer(429)
    assert [post(provider)[0] for _ in range(4)] == [503, 503, 429, 200]


def test_a_behaviour_without_end_lasts_until_reset(provider: FakeProvider) -> None:
    provider.answer(500, times=None)
    assert [post(provider)[0] for _ in range(3)] == [500] * 3
    provider.reset()
    assert post(provider)[0] == 200
    assert (provider.counts.calls, len(provider.requests)) == (1, 1)


def test_a_recorded_body_is_sent_as_it_is(provider: FakeProvider) -> None:
    provider.raw(b"data: 1\r\n\r\ndata: [DONE]", cuts=[3, 9, 9, 900])
    assert post(provider) == (200, b"data: 1\r\n\r\ndata: [DONE]")
    assert provider.served[-1].pieces == 3


def test_what_drips_is_whole_in_the_end(provider: FakeProvider) -> None:
    whole = post(provider)[1]
    provider.drip(7)
    assert len(post(provider)[1]) == len(whole)
    assert provider.served[-1] == provider.served[-2]


@pytest.mark.parametrize("pieces", [0, 1, 5])
def test_a_stream_cut_after_some_text_has_sent_that_text(provider: FakeProvider, pieces: int) -> None:
    with pytest.raises(http.client.IncompleteRead) as caught:
        post(provider, stream=True, x_fake={"cut_after_chunks": pieces})
    assert caught.value.partial.count(b'"content":" ') + caught.value.partial.count(b'"content":"Hello') == pieces
    served = provider.served[-1]
    assert (served.complete, served.bytes_written) == (False, len(caught.value.partial))
    assert served.pieces_written == 1 + pieces
    assert provider.counts.tokens == {}


def test_a_stalled_answer_goes_on_once_released(provider: FakeProvider) -> None:
    provider.stall("first_chunk")
    connection = http.client.HTTPConnection("127.0.0.1", provider.port, timeout=5)
    connection.request("POST", "/v1/chat/completions", json.dumps({"model": "m", "messages": MESSAGES}))
    answer = connection.getresponse()
    assert provider.counts.calls == 0
    provider.release()
    assert json.loads(answer.read())["object"] == "chat.completion"
    assert provider.counts.calls == 1
    connection.close()


def test_a_client_that_leaves_is_noticed_and_counted_as_far_as_it_came(provider: FakeProvider) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", provider.port, timeout=5)
    body = {"model": "m", "messages": MESSAGES, "stream": True, "x_fake": {"stall_after_chunks": 2}}
    connection.request("POST", "/v1/chat/completions", json.dumps(body))
    answer = connection.getresponse()
    for _ in range(6):
        answer.fp.readline()
    answer.close()
    connection.close()
    provider.wait_for(lambda seen: seen.open_connections == 0)
    assert (provider.served[-1].pieces_written, provider.served[-1].complete) == (3, False)


def test_a_wish_in_a_header_counts_too(provider: FakeProvider) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", provider.port, timeout=5)
    connection.request("POST", "/api/chat", b'{"model":"m"}', {"X-Fake": '{"fail": 503}'})
    with contextlib.closing(connection.getresponse()) as answer:
        assert answer.status == 503
    connection.close()


@pytest.mark.parametrize(
    ("fields", "path", "status", "named"),
    [
        ({"x_fake": {"prompt_token": 1}}, "/v1/messages", 400, b"prompt_token"),
        ({"model": 1}, "/v1/chat/completions", 400, b"model"),
        ({}, "/v1/nothing", 404, b"/v1/nothing"),
    ],
)
def test_what_it_does_not_understand_it_says(
    provider: FakeProvider, fields: dict[str, Any], path: str, status: int, named: bytes
) -> None:
    got, body = post(provider, path, **fields)
    assert got == status
    assert named in body


@given(words=st.integers(0, 60), chunks=st.integers(1, 80))
@settings(max_examples=50, deadline=None)
def test_a_text_is_the_same_however_many_pieces_it_is_streamed_in(words: int, chunks: int) -> None:
    wish = {"completion_tokens": words, "chunks": chunks}
    body = {"model": "m", "messages": MESSAGES, "stream": True, "x_fake": wish}
    answer, _ = answer_to(Heard(method="POST", path="/api/chat", headers={}, body=json.dumps(body).encode()))
    texts = [json.loads(piece)["message"]["content"] for piece in answer.pieces]
    assert len("".join(texts).split()) == words
    assert len(texts) == min(words, chunks) + 1


# Its account of itself


def test_its_count_is_there_as_soon_as_the_answer_is(provider: FakeProvider) -> None:
    for calls in range(1, 200):
        post(provider, x_fake={"prompt_tokens": 3, "completion_tokens": 2})
        assert provider.counts.calls == calls
    assert provider.counts.tokens["openai", "m"] == Tokens(prompt_tokens=3 * 199, completion_tokens=2 * 199)
    assert provider.counts.calls_by_model["openai", "m"] == 199


def test_as_a_process_it_writes_a_line_for_each_answer(tmp_path: Path) -> None:
    counted = tmp_path / "served.jsonl"
    command = [sys.executable, "-W", "error", "-m", "callmeter.testing.provider", "--count-file", str(counted)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        port = json.loads(process.stdout.readline())["port"]
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        for at, fields in enumerate([{"x_fake": WISH}, {"x_fake": {"fail": 429}}, {"stream": True}]):
            body = json.dumps({"model": "m", "messages": MESSAGES, **fields})
            connection.request("POST", "/v1/chat/completions", body, {"X-Callmeter-Call-Id": f"call-{at}"})
            connection.getresponse().read()
            assert len(counted.read_text().splitlines()) == at + 1
        connection.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert process.stderr.read() == ""
    lines = [json.loads(line) for line in counted.read_text().splitlines()]
    assert [line["call_id"] for line in lines] == ["call-0", "call-1", "call-2"]
    assert [line["status"] for line in lines] == [200, 429, 200]
    assert lines[0]["tokens"]["cached_tokens"] == 300
    assert lines[2]["stream"]
    assert lines[2]["pieces_written"] == lines[2]["pieces"] > 3


def test_a_port_that_is_taken_is_an_error(provider: FakeProvider) -> None:
    with pytest.raises(OSError, match="in use"):
        FakeProvider(port=provider.port).start()
