"""Calls over real sockets, sync and async alike: retries, fallbacks, deadlines, cancellation, and one end each."""

import asyncio
import gc
import json
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

import callmeter
from callmeter.events.model import AttemptFailed, CallFailed, CallStarted, CallSucceeded, StreamCompleted
from callmeter.testing import FakeProvider, FixedClock, capture_events

M = [{"role": "user", "content": "Say something nice."}]
Ask = Callable[..., Any]


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeProvider]:
    with FakeProvider() as server:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-test")
        monkeypatch.setenv("OPENAI_BASE_URL", server.openai_base)
        monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url)
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        yield server


@pytest.fixture
def events() -> Iterator[list[Any]]:
    async def at_once(_: float) -> None:
        return None

    with capture_events(sleep=lambda _: None, asleep=at_once, jitter=lambda: 0.0) as seen:
        yield seen


def sync_ask(model: str = "openai/gpt-4o", **params: Any) -> Any:
    answer = callmeter.completion(model, M, **params)
    return list(answer) if params.get("stream") else answer


def async_ask(model: str = "openai/gpt-4o", **params: Any) -> Any:
    async def main() -> Any:
        answer = await callmeter.acompletion(model, M, **params)
        return [chunk async for chunk in answer] if params.get("stream") else answer

    return asyncio.run(main())


both = pytest.mark.parametrize("ask", [sync_ask, async_ask], ids=["sync", "async"])
streamed_or_not = pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])


def kinds(events: list[Any]) -> list[str]:
    return [type(event).__name__ for event in events]


@both
@streamed_or_not
@pytest.mark.parametrize("model", ["openai/gpt-4o", "anthropic/claude-sonnet-4-5", "ollama/llama3.2"])
def test_every_call_has_one_start_and_one_end(
    ask: Ask, stream: bool, model: str, provider: FakeProvider, events: list[Any]
) -> None:
    ask(model, stream=stream, x_fake={"prompt_tokens": 374, "completion_tokens": 44})
    assert kinds(events) == ["CallStarted", "StreamCompleted" if stream else "CallSucceeded"]
    end = events[-1]
    assert end.call == events[0].call
    assert (end.usage.input_tokens, end.usage.output_tokens, end.usage_source) == (374, 44, "provider")
    assert end.cost.status == ("free" if model.startswith("ollama") else "priced")
    assert end.call.model_requested == model
    assert (end.time_to_first_chunk_s is not None) is stream
    assert end.latency_s >= end.overhead_s >= 0


@both
@streamed_or_not
def test_a_busy_provider_is_asked_again(ask: Ask, stream: bool, provider: FakeProvider, events: list[Any]) -> None:
    provider.answer(429, headers={"retry-after": "3"})
    provider.answer(503)
    ask(stream=stream)
    assert kinds(events)[:3] == ["CallStarted", "AttemptFailed", "AttemptFailed"]
    assert [event.retry_in_s for event in events if isinstance(event, AttemptFailed)] == [3.0, 1.0]
    end = events[-1]
    assert [(a.number, a.status, a.reason) for a in end.attempts] == [
        (1, "failure", "first"),
        (2, "failure", "retry"),
        (3, "success", "retry"),
    ]
    assert end.retry_wait_s == 4.0
    assert len(provider.requests) == 3


@both
@streamed_or_not
def test_a_wrong_key_is_not_asked_again(ask: Ask, stream: bool, provider: FakeProvider, events: list[Any]) -> None:
    provider.answer(401, times=None)
    with pytest.raises(callmeter.AuthenticationError) as caught:
        ask(stream=stream)
    assert (caught.value.llm_provider, caught.value.model, caught.value.num_retries) == ("openai", "gpt-4o", 0)
    assert kinds(events) == ["CallStarted", "CallFailed"]
    assert events[-1].error.http_status == 401
    assert events[-1].cost.total is None
    assert len(provider.requests) == 1


@both
@streamed_or_not
def test_a_fallback_answers_for_a_model_that_fails(
    ask: Ask, stream: bool, provider: FakeProvider, events: list[Any]
) -> None:
    provider.answer(500)
    ask(stream=stream, num_retries=0, fallbacks=["anthropic/claude-sonnet-4-5"])
    end = events[-1]
    assert [(a.provider, a.model, a.status, a.reason) for a in end.attempts] == [
        ("openai", "gpt-4o", "failure", "first"),
        ("anthropic", "claude-sonnet-4-5", "success", "fallback"),
    ]
    assert end.cost.total == sum(a.cost.total for a in end.attempts if a.cost.total is not None)
    assert [request.path for request in provider.requests] == ["/v1/chat/completions", "/v1/messages"]


def test_a_long_prompt_goes_where_it_fits(provider: FakeProvider, events: list[Any]) -> None:
    body = {
        "error": {"message": "This model's maximum context length is 8192 tokens", "code": "context_length_exceeded"}
    }
    provider.answer(400, body=json.dumps(body).encode())
    sync_ask(context_window_fallback_dict={"openai/gpt-4o": "openai/gpt-4.1"})
    assert [json.loads(request.body)["model"] for request in provider.requests] == ["gpt-4o", "gpt-4.1"]


@both
@pytest.mark.parametrize(("before", "stream"), [("headers", False), ("headers", True), ("first_chunk", True)], ids=str)
def test_a_silent_provider_is_given_up(
    ask: Ask, before: str, stream: bool, provider: FakeProvider, events: list[Any]
) -> None:
    provider.stall(before=before, times=None)  # type: ignore[arg-type]
    with pytest.raises(callmeter.Timeout):
        ask(stream=stream, timeout=0.2, num_retries=0)
    assert kinds(events) == ["CallStarted", "CallFailed"]
    assert events[-1].error.error_class == "Timeout"
    assert events[-1].cost.estimated
    assert events[-1].cost.low <= events[-1].cost.total <= events[-1].cost.high


@both
def test_the_whole_call_has_a_deadline_too(ask: Ask, provider: FakeProvider, events: list[Any]) -> None:
    provider.answer(503, times=None, headers={"retry-after": "60"})
    with pytest.raises(callmeter.ServiceUnavailableError):
        ask(total_timeout=5)
    assert len(provider.requests) == 1


@both
def test_a_stream_cut_by_the_provider_fails_with_what_had_come(
    ask: Ask, provider: FakeProvider, events: list[Any]
) -> None:
    with pytest.raises(callmeter.APIConnectionError):
        ask(stream=True, x_fake={"text": "one two three four five six", "cut_after_chunks": 3})
    assert kinds(events) == ["CallStarted", "CallFailed"]
    end = events[-1]
    assert end.usage_source == "counted"
    assert end.usage.output_tokens > 0
    assert end.cost.estimated
    assert end.time_to_first_chunk_s is not None


OVERLOADED = b'data: {"error": {"message": "The server is overloaded", "type": "overloaded_error"}}\n\n'
ROLE_ALONE = b'data: {"id": "c1", "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}\n\n'


@both
@pytest.mark.parametrize("body", [b"", OVERLOADED, ROLE_ALONE, ROLE_ALONE + OVERLOADED], ids=len)
def test_a_stream_that_breaks_before_its_first_word_is_tried_again(
    ask: Ask, body: bytes, provider: FakeProvider, events: list[Any]
) -> None:
    provider.raw(body)
    chunks = ask(stream=True, num_retries=0, fallbacks=["anthropic/claude-sonnet-4-5"], x_fake={"text": "one two"})
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "one two"
    assert len({chunk.id for chunk in chunks}) == 1
    assert [chunk.choices[0].delta.role for chunk in chunks].count("assistant") == 1
    assert kinds(events) == ["CallStarted", "AttemptFailed", "StreamCompleted"]
    end = events[-1]
    assert [(a.provider, a.status, a.reason) for a in end.attempts] == [
        ("openai", "failure", "first"),
        ("anthropic", "success", "fallback"),
    ]
    assert end.attempts[1].because.startswith(end.attempts[0].error.error_class)
    assert end.cost.total == sum(attempt.cost.total for attempt in end.attempts)
    provider.wait_for(lambda server: server.open_connections <= 1)


def test_a_stream_that_is_left_for_another_attempt_is_hung_up_on(provider: FakeProvider, events: list[Any]) -> None:
    def overloaded_and_silent(_: Any, script: Any) -> Any:
        answer = msgspec.structs.replace(script.answer, pieces=(OVERLOADED, OVERLOADED))
        return msgspec.structs.replace(script, answer=answer, stall="chunk", stall_at=1)

    provider.script(overloaded_and_silent)

    async def main() -> None:
        stream = await callmeter.acompletion("openai/gpt-4o", M, stream=True, x_fake={"text": "one two"})
        broken = stream._core.opened
        await anext(stream)
        await asyncio.to_thread(provider.wait_for, lambda server: server.open_connections == 1)
        assert broken is not stream._core.opened
        await stream.aclose()

    asyncio.run(main())


@both
def test_a_stream_that_breaks_after_its_first_word_is_not_begun_again(
    ask: Ask, provider: FakeProvider, events: list[Any]
) -> None:
    with pytest.raises(callmeter.APIConnectionError):
        ask(stream=True, fallbacks=["anthropic/claude-sonnet-4-5"], x_fake={"text": "one two", "cut_after_chunks": 2})
    assert len(provider.requests) == 1


@both
def test_each_broken_beginning_of_a_stream_is_a_retry(ask: Ask, provider: FakeProvider, events: list[Any]) -> None:
    provider.raw(b"", times=None)
    with pytest.raises(callmeter.APIConnectionError) as caught:
        ask(stream=True, num_retries=2)
    assert (len(provider.requests), caught.value.num_retries) == (3, 2)
    assert kinds(events) == ["CallStarted", "AttemptFailed", "AttemptFailed", "CallFailed"]


@both
def test_a_model_that_cannot_be_asked_is_passed_over(ask: Ask, provider: FakeProvider, events: list[Any]) -> None:
    ask("bad-model", fallbacks=["openai/gpt-4o"])
    end = events[-1]
    assert [(a.model, a.reason, a.because) for a in end.attempts] == [("gpt-4o", "fallback", "BadRequestError (400)")]
    assert end.call.model_requested == "bad-model"


def test_a_call_that_is_out_of_time_has_the_attempts_that_were_made(provider: FakeProvider, events: list[Any]) -> None:
    provider.answer(503, times=None, headers={"retry-after": "1"})
    clock = FixedClock()
    with (
        capture_events(clock=clock, sleep=lambda s: clock.advance(s + 2), jitter=lambda: 0.0) as seen,
        pytest.raises(callmeter.Timeout, match="total_timeout=2"),
    ):
        callmeter.completion("openai/gpt-4o", M, total_timeout=2)
    assert [attempt.error.error_class for attempt in seen[-1].attempts] == ["ServiceUnavailableError"]
    assert seen[-1].error.error_class == "Timeout"


def test_a_stream_that_is_closed_early_is_billed_for_what_came(provider: FakeProvider, events: list[Any]) -> None:
    stream = callmeter.completion(
        "openai/gpt-4o", M, stream=True, x_fake={"text": "one two three four", "stall_after_chunks": 2}
    )
    got = [next(stream), next(stream)]
    stream.close()
    stream.close()
    end = events[-1]
    assert isinstance(end, StreamCompleted)
    assert end.finish_reason == "cancelled"
    assert end.cost.estimated
    assert end.answer_bytes == len("".join(c.choices[0].delta.content or "" for c in got).encode())
    assert list(stream) == []
    assert len(events) == 2
    provider.wait_for(lambda server: server.open_connections == 0)


@pytest.mark.parametrize("read", [0, 1])
def test_a_stream_that_is_dropped_ends_too(read: int, provider: FakeProvider, events: list[Any]) -> None:
    stream = callmeter.completion("openai/gpt-4o", M, stream=True, x_fake={"text": "one two", "stall_after_chunks": 1})
    for _ in range(read):
        next(stream)
    del stream
    gc.collect()
    assert kinds(events) == ["CallStarted", "StreamCompleted" if read else "CallFailed"]
    assert (events[-1].error.error_class if not read else events[-1].finish_reason) == "cancelled"
    provider.wait_for(lambda server: server.open_connections == 0)


def test_an_async_stream_that_is_dropped_ends_too(provider: FakeProvider, events: list[Any]) -> None:
    async def main() -> None:
        stream = await callmeter.acompletion(
            "openai/gpt-4o", M, stream=True, x_fake={"text": "one two", "stall_after_chunks": 1}
        )
        await anext(stream)
        del stream
        gc.collect()
        while provider.open_connections:
            await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(main(), 10))
    assert kinds(events) == ["CallStarted", "StreamCompleted"]


class Interrupter:
    """Cancels a task at its nth wait: wraps a coroutine and counts the times it is resumed."""

    def __init__(self, coroutine: Any, at: int) -> None:
        self._coroutine, self._at, self.waits = coroutine, at, 0

    def __await__(self) -> Any:
        value, raised = None, None
        while True:
            try:
                if raised is not None:
                    waiting, raised = self._coroutine.throw(raised), None
                elif self.waits == self._at:
                    self.waits += 1
                    waiting = self._coroutine.throw(asyncio.CancelledError())
                else:
                    self.waits += 1
                    waiting = self._coroutine.send(value)
            except StopIteration as done:
                return done.value
            try:
                value = yield waiting
            except BaseException as error:
                raised = error


@streamed_or_not
def test_cancelled_at_every_await_a_call_has_one_end_and_leaves_no_connection(
    stream: bool, provider: FakeProvider
) -> None:
    async def use() -> None:
        answer = await callmeter.acompletion(
            "openai/gpt-4o", M, stream=stream, num_retries=1, x_fake={"text": "a b c d e f"}
        )
        if stream:
            async for _ in answer:
                pass

    reached = 0
    for at in range(1, 200):
        provider.reset()
        provider.answer(503)
        with capture_events(jitter=lambda: 1.0) as events:
            outcome = asyncio.run(interrupted(use, at))
            ends = [e for e in events if isinstance(e, CallSucceeded | StreamCompleted | CallFailed)]
            assert [type(e) for e in events if isinstance(e, CallStarted)] == [CallStarted]
            assert len(ends) == 1
        provider.wait_for(lambda server: server.open_connections == 0)
        if outcome == "finished":
            break
        reached += 1
    assert outcome == "finished"
    assert reached >= 3


async def interrupted(use: Callable[[], Any], at: int) -> str:
    async def run() -> None:
        await Interrupter(use(), at)

    try:
        await asyncio.create_task(run())
    except asyncio.CancelledError:
        return "cancelled"
    return "finished"


def test_the_traceparent_goes_out_and_names_the_call(provider: FakeProvider, events: list[Any]) -> None:
    sync_ask()
    sync_ask(litellm_trace_id="my-own-trace")
    (first, second) = provider.requests
    start = events[0].call
    assert first.headers["traceparent"] == f"00-{start.trace_id}-{start.span_id}-01"
    assert start.trace_id == start.call_id
    assert events[2].call.trace_id == "my-own-trace"
    assert len(second.headers["traceparent"].split("-")[1]) == 32


def test_labels_come_from_arguments_metadata_and_context(provider: FakeProvider, events: list[Any]) -> None:
    with callmeter.tags("outer", project="search", feature="ask"):
        sync_ask(user="ada", metadata={"tags": ["inner"], "team": "red", "feature": "answer", "run": 7})
    call = events[0].call
    assert (call.project, call.feature, call.user, call.team) == ("search", "answer", "ada", "red")
    assert call.tags == ("outer", "inner")
    assert call.metadata == {"run": "7"}
    assert "metadata" not in json.loads(provider.requests[0].body)


def test_parameters_nobody_knows_go_into_the_body(provider: FakeProvider, events: list[Any]) -> None:
    sync_ask(foo_param=3, temperature=0.5, extra_headers={"x-extra": "yes"})
    body = json.loads(provider.requests[0].body)
    assert (body["foo_param"], body["temperature"]) == (3, 0.5)
    assert provider.requests[0].headers["x-extra"] == "yes"


def test_a_parameter_the_provider_lacks_is_refused_or_dropped(provider: FakeProvider, events: list[Any]) -> None:
    with pytest.raises(callmeter.UnsupportedParamsError, match=r"anthropic does not support logit_bias.*drop_params"):
        sync_ask("anthropic/claude-sonnet-4-5", logit_bias={"1": 1})
    assert kinds(events) == ["CallStarted", "CallFailed"]
    sync_ask("anthropic/claude-sonnet-4-5", logit_bias={"1": 1}, drop_params=True)
    assert "logit_bias" not in json.loads(provider.requests[-1].body)


@pytest.mark.parametrize(
    ("model", "params", "error", "words"),
    [
        ("bogus", {}, callmeter.BadRequestError, ["LLM Provider NOT provided", "'bogus'", "openai/bogus"]),
        ("openai/gpt-4o", {"api_base": "nonsense"}, callmeter.BadRequestError, ["'nonsense'", "https://host/v1"]),
        ("openai/gpt-4o", {"custom_llm_provider": "nobody"}, callmeter.BadRequestError, ["'nobody'", "openai"]),
        ("openai/gpt-4o", {"api_base": "http://127.0.0.1:1/v1"}, callmeter.APIConnectionError, ["127.0.0.1"]),
    ],
    ids=["unknown model", "bad address", "unknown provider", "nobody there"],
)
def test_bad_input_has_one_clear_error_and_one_end(
    model: str,
    params: dict[str, Any],
    error: type[Exception],
    words: list[str],
    provider: FakeProvider,
    events: list[Any],
) -> None:
    with pytest.raises(error) as caught:
        sync_ask(model, num_retries=0, **params)
    assert [word for word in words if word not in str(caught.value)] == []
    assert kinds(events) == ["CallStarted", "CallFailed"]


def test_a_missing_key_names_its_variable(
    provider: FakeProvider, events: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(callmeter.AuthenticationError, match="OPENAI_API_KEY"):
        sync_ask()
    assert kinds(events) == ["CallStarted", "CallFailed"]


def test_include_usage_shows_the_usage_chunk_with_its_cost(provider: FakeProvider, events: list[Any]) -> None:
    chunks = sync_ask(
        stream=True, stream_options={"include_usage": True}, x_fake={"prompt_tokens": 10, "completion_tokens": 5}
    )
    last = chunks[-1]
    assert last.usage.total_tokens == 15
    assert last.usage.cost == float(events[-1].cost.total)
    assert len(last.choices) == 1
    assert last.choices[0].delta.content is None
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_the_answer_carries_what_is_known_beyond_openais_format(provider: FakeProvider, events: list[Any]) -> None:
    provider.answer(200, headers={"x-ratelimit-remaining-requests": "99"})
    answer = sync_ask()
    hidden = answer._hidden_params
    assert hidden["response_cost"] == float(events[-1].cost.total)
    assert hidden["cost"] is events[-1].cost
    assert hidden["litellm_call_id"] == events[-1].call.call_id
    assert hidden["additional_headers"]["x-ratelimit-remaining-requests"] == "99"
    assert hidden["additional_headers"]["llm_provider-x-ratelimit-remaining-requests"] == "99"
    assert answer.response_ms > 0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "messages is empty: it is a list of at least one message"),
        ({"messages": []}, "messages is empty: it is a list of at least one message"),
        (
            {"mesages": [{"role": "user", "content": "hi"}]},
            "messages is empty: 'mesages' is no parameter; did you mean",
        ),
    ],
)
def test_a_chat_that_asks_nothing_is_refused_before_it_is_sent(
    provider: FakeProvider, events: list[Any], given: dict[str, Any], said: str
) -> None:
    with pytest.raises(callmeter.BadRequestError, match=said):
        callmeter.completion("openai/gpt-4o", **given)
    assert (len(provider.requests), kinds(events)) == (0, ["CallStarted", "CallFailed"])
