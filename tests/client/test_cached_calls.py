"""Calls with a response cache: what is answered from it, what is left in it, and that the books are right."""

import asyncio
import contextlib
import logging
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import callmeter
from callmeter import ledger
from callmeter.caching import Cache
from callmeter.errors import BadRequestError
from callmeter.events.model import CallFailed, CallStarted, CallSucceeded, StreamCompleted
from callmeter.runtime import Runtime, using
from callmeter.settings import Settings
from callmeter.testing import FakeProvider, FixedClock, capture_events

M = [{"role": "user", "content": "Say something nice."}]
Ask = Callable[..., Any]


def sync_ask(model: str = "openai/gpt-4o", messages: Any = M, **params: Any) -> Any:
    answer = callmeter.completion(model, messages, **params)
    if params.get("stream"):
        answer = list(answer)
    if callmeter.cache is not None:
        assert callmeter.cache.flush()
    return answer


def async_ask(model: str = "openai/gpt-4o", messages: Any = M, **params: Any) -> Any:
    async def main() -> Any:
        answer = await callmeter.acompletion(model, messages, **params)
        return [chunk async for chunk in answer] if params.get("stream") else answer

    answer = asyncio.run(main())
    if callmeter.cache is not None:
        assert callmeter.cache.flush()
    return answer


both = pytest.mark.parametrize("ask", [sync_ask, async_ask], ids=["sync", "async"])


@pytest.fixture
def cache(switched_on: Any) -> Cache:
    """A cache in memory, switched on."""
    return switched_on(Cache())  # type: ignore[no-any-return]


def text_of(chunks: list[Any]) -> str:
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


@both
def test_a_call_asked_again_is_answered_without_a_provider(
    ask: Ask,
    make_cache: Any,
    switched_on: Any,
    provider: FakeProvider,
    events: list[Any],
) -> None:
    switched_on(make_cache())
    first = ask()
    again = ask()
    assert again == first
    assert len(provider.requests) == 1
    assert [type(event) for event in events] == [CallStarted, CallSucceeded] * 2
    miss, start, hit = events[1:]
    assert (miss.cache_hit, hit.cache_hit, hit.cache.key) == (False, True, miss.cache.key)
    assert (hit.cost.total, hit.cost.status, hit.cost.saved) == (0, "free", miss.cost.total)
    assert miss.cost.total > 0
    assert hit.attempts == ()
    assert hit.usage.total_tokens == 0
    assert (start.call, hit.call.provider, hit.call.model) == (hit.call, "openai", "gpt-4o")
    assert (hit.response_id, hit.finish_reason) == (first.id, "stop")


@both
def test_what_is_hidden_on_an_answer_says_whether_it_was_cached(ask: Ask, cache: Cache, provider: FakeProvider) -> None:
    first, again = ask(), ask()
    assert (first._hidden_params["cache_hit"], again._hidden_params["cache_hit"]) == (False, True)
    assert first._hidden_params["cache_key"] == again._hidden_params["cache_key"]
    assert again._hidden_params["response_cost"] == 0.0
    assert again._hidden_params["cost"].saved == first._hidden_params["cost"].total
    assert again._hidden_params["litellm_call_id"] != first._hidden_params["litellm_call_id"]
    assert callmeter.completion_cost(again) == 0.0


@both
@pytest.mark.parametrize("model", ["openai/gpt-4o", "anthropic/claude-sonnet-4-5", "ollama/llama3.2"])
def test_a_stream_is_replayed_and_serves_plain_calls_and_the_other_way_round(
    ask: Ask, model: str, cache: Cache, provider: FakeProvider, events: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "k")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", provider.url)
    monkeypatch.setenv("OLLAMA_HOST", provider.url)
    told = ask(model, stream=True)
    again = ask(model, stream=True, stream_options={"include_usage": True})
    whole = ask(model)
    assert text_of(again) == text_of(told) == whole.choices[0].message.content
    assert again[-1].usage == whole.usage
    assert again[-1].usage.total_tokens > 0
    assert {chunk.id for chunk in again} == {whole.id}
    ends = [event for event in events if isinstance(event, StreamCompleted | CallSucceeded)]
    assert [type(end) for end in ends] == [StreamCompleted, StreamCompleted, CallSucceeded]
    assert [end.cache_hit for end in ends] == [False, True, True]
    assert [end.cost.saved for end in ends[1:]] == [ends[0].cost.total] * 2
    assert [end.cost.total for end in ends[1:]] == [0, 0]
    assert len(provider.requests) == 1

    plain = ask(model, max_tokens=7)
    streamed = ask(model, max_tokens=7, stream=True)
    assert text_of(streamed) == plain.choices[0].message.content
    assert len(provider.requests) == 2


@both
def test_a_stream_without_usage_shows_the_same_count_again(
    ask: Ask, cache: Cache, provider: FakeProvider, events: list[Any]
) -> None:
    first = ask(stream=True, stream_options={"include_usage": True}, mock_response="Hello there")
    again = ask(stream=True, stream_options={"include_usage": True}, mock_response="Hello there")
    counts = [(c[-1].usage.prompt_tokens, c[-1].usage.completion_tokens) for c in (first, again)]
    assert counts[0] == counts[1] != (0, 0)
    assert (first[-1].usage.cost, again[-1].usage.cost) == (float(events[1].cost.total), 0.0)
    hit = events[-1]
    assert (hit.cache.saved_estimated, hit.cost.estimated, hit.cost.saved) == (True, False, events[1].cost.total)


@pytest.mark.parametrize("until", ["it begins", "it has told why it ended"])
def test_a_stream_that_its_reader_leaves_is_not_kept(
    until: str, cache: Cache, provider: FakeProvider, events: list[Any]
) -> None:
    stream = callmeter.completion("openai/gpt-4o", M, stream=True, x_fake={"completion_tokens": 50})
    for chunk in stream:
        if until == "it begins" or chunk.choices[0].finish_reason:
            break
    stream.close()
    sync_ask(stream=True, x_fake={"completion_tokens": 50})
    assert events[-1].cache_hit is False
    assert len(provider.requests) == 2


def test_a_replay_that_its_reader_leaves_costs_nothing_and_stays(
    cache: Cache, provider: FakeProvider, events: list[Any]
) -> None:
    sync_ask()
    stream = callmeter.completion("openai/gpt-4o", M, stream=True)
    next(stream)
    stream.close()
    end = events[-1]
    assert (end.finish_reason, end.cost.total, end.cache_hit) == ("cancelled", 0, True)
    sync_ask()
    assert len(provider.requests) == 1


@both
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_what_was_cut_or_failed_is_never_kept(
    ask: Ask, stream: bool, cache: Cache, provider: FakeProvider, events: list[Any]
) -> None:
    provider.cut(after_bytes=500 if stream else 150)
    with pytest.raises(callmeter.APIError):
        ask(stream=stream, num_retries=0)
    provider.answer(500)
    with pytest.raises(callmeter.InternalServerError):
        ask(stream=stream, num_retries=0)
    assert len(cache.store) == 0  # type: ignore[arg-type]
    assert [event.cache_hit for event in events if isinstance(event, CallFailed)] == [False, False]
    ask(stream=stream)
    assert len(provider.requests) == 3


def test_an_answer_that_breaks_its_schema_is_not_kept(cache: Cache, provider: FakeProvider) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}
    for _ in range(2):
        with pytest.raises(callmeter.JSONSchemaValidationError):
            sync_ask(response_format=wanted, enable_json_schema_validation=True)
    assert len(provider.requests) == 2


def test_a_fallbacks_answer_is_not_kept_as_the_other_models(
    cache: Cache, provider: FakeProvider, events: list[Any]
) -> None:
    provider.answer(500, times=1)
    sync_ask(num_retries=0, fallbacks=["openai/gpt-4o-mini"])
    sync_ask(fallbacks=["openai/gpt-4o-mini"])
    assert [attempt.model for attempt in events[-1].attempts] == ["gpt-4o"]
    assert sync_ask()._hidden_params["cache_hit"] is True


@both
@pytest.mark.parametrize(
    "change",
    [
        {"temperature": 0.1},
        {"messages": [{"role": "user", "content": "Say something nice"}]},
        {"model": "openai/gpt-4o-mini"},
        {"n": 2},
        {"provider": {"order": ["a"]}},
        {"extra_headers": {"x-beta": "1"}},
        {"cache": {"namespace": "other"}},
        {"mock_response": "Hello"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_request_is_another_answer(
    ask: Ask, change: dict[str, Any], cache: Cache, provider: FakeProvider
) -> None:
    ask()
    assert ask(**change)._hidden_params["cache_hit"] is False
    assert ask(**change)._hidden_params["cache_hit"] is True


def test_the_same_request_in_other_words_is_the_same_answer(cache: Cache, provider: FakeProvider) -> None:
    sync_ask(temperature=1.0)
    for words in (
        {"model": "gpt-4o", "temperature": 1},
        {
            "temperature": 1,
            "api_key": "sk-other",
            "timeout": 5,
            "user": "ann",
            "metadata": {"a": "b"},
            "num_retries": 0,
        },
        {"messages": ({"content": "Say something nice.", "role": "user", "name": None},), "temperature": 1, "n": None},
        {"temperature": 1, "extra_headers": {"Authorization": "Bearer other"}},
        {"model": "gpt-4o", "custom_llm_provider": "openai", "temperature": 1, "api_base": provider.openai_base},
    ):
        assert sync_ask(**words)._hidden_params["cache_hit"] is True, words  # type: ignore[arg-type]
    assert len(provider.requests) == 1


def test_another_address_is_another_server(cache: Cache, provider: FakeProvider) -> None:
    sync_ask()
    with FakeProvider() as other:
        sync_ask(api_base=other.openai_base)
        assert len(other.requests) == 1


@both
def test_a_call_says_what_it_wants_of_the_cache(ask: Ask, switched_on: Any, provider: FakeProvider) -> None:
    clock = FixedClock()
    cache = switched_on(Cache(ttl=100, clock=clock))
    with capture_events(clock=clock):

        def hits(**params: Any) -> bool | None:
            hit: bool | None = ask(**params)._hidden_params["cache_hit"]
            return hit

        assert hits(cache={"no-store": True}) is False
        assert len(cache.store) == 0
        assert hits(caching=False) is None
        assert hits(cache={"ttl": 10}) is False
        clock.advance(5)
        assert hits(cache={"s-maxage": 4}) is False  # and stores a fresh one, for 100 s
        assert hits(cache={"s-maxage": 4}) is True
        clock.advance(20)
        assert hits() is True
        assert hits(cache={"no-cache": True}) is False
        clock.advance(99)
        assert hits() is True
        clock.advance(1)
        assert hits(cache={"no-store": True, "no-cache": True}) is None
        assert hits() is False


def test_where_calls_do_not_take_part_unless_they_say_so(switched_on: Any, provider: FakeProvider) -> None:
    switched_on(Cache(mode="default_off"))
    assert sync_ask()._hidden_params["cache_hit"] is None
    assert sync_ask(cache={"use-cache": True})._hidden_params["cache_hit"] is False
    assert sync_ask(caching=True)._hidden_params["cache_hit"] is True


def test_only_the_named_functions_take_part(switched_on: Any, provider: FakeProvider) -> None:
    switched_on(Cache(supported_call_types=["acompletion"]))
    assert sync_ask()._hidden_params["cache_hit"] is None
    assert async_ask()._hidden_params["cache_hit"] is False


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"no-cahce": True}, "'no-cahce'.* is no control of the cache; it takes ttl, s-maxage, no-cache"),
        ({"ttl": "60"}, "'ttl': '60'.* is not a number of seconds"),
        ({"s-maxage": -1}, "not a number of seconds, 0 or more"),
        ({"no-store": 1}, "neither True nor False"),
        (True, "cache=True is not a dict"),
    ],
)
def test_a_control_that_cannot_be_is_named(given: Any, message: str, cache: Cache, events: list[Any]) -> None:
    with pytest.raises(BadRequestError, match=message):
        sync_ask(cache=given, api_key="k")
    assert [type(event) for event in events] == [CallStarted, CallFailed]


def test_what_is_no_cache_is_named(monkeypatch: pytest.MonkeyPatch, provider: FakeProvider) -> None:
    monkeypatch.setattr(callmeter, "cache", True)
    with pytest.raises(callmeter.ConfigError, match=r"callmeter.cache is True; set it to callmeter.Cache"):
        callmeter.completion("openai/gpt-4o", M)


def test_the_cache_is_switched_by_functions_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callmeter, "cache", None)
    first = callmeter.enable_cache(ttl=5)
    assert callmeter.enable_cache() is first is callmeter.cache
    assert callmeter.update_cache(ttl=6) is callmeter.cache is not first
    callmeter.disable_cache()
    assert callmeter.cache is None


# -- what is caller's own to change


def test_what_its_caller_does_to_an_answer_no_other_caller_sees(cache: Cache, provider: FakeProvider) -> None:
    first = sync_ask()
    text, first.choices[0].message.content = first.choices[0].message.content, "mine"
    second = sync_ask()
    second.choices[0].message.content = "mine as well"
    assert sync_ask().choices[0].message.content == text


@both
def test_a_key_function_of_ones_own_decides(ask: Ask, cache: Cache, provider: FakeProvider) -> None:
    seen: list[dict[str, Any]] = []

    def by_model(**request: Any) -> str:
        seen.append(request)
        return str(request["model"])

    cache.get_cache_key = by_model  # type: ignore[method-assign]
    ask(temperature=0.2)
    assert ask("openai/gpt-4o", [{"role": "user", "content": "?"}])._hidden_params["cache_key"] == "callmeter:gpt-4o"
    assert len(provider.requests) == 1
    assert (seen[0]["model"], seen[0]["messages"], seen[0]["temperature"]) == ("gpt-4o", M, 0.2)


@both
def test_functions_of_ones_own_may_keep_the_answers(ask: Ask, cache: Cache, provider: FakeProvider) -> None:
    kept: dict[str, Any] = {}
    cache.get_cache = lambda *, cache_key: kept.get(cache_key)  # type: ignore[method-assign]
    cache.add_cache = lambda result, *, cache_key, ttl: kept.update({cache_key: result})  # type: ignore[method-assign]
    assert ask() == ask()
    assert (len(kept), len(provider.requests), len(cache.store)) == (1, 1, 0)  # type: ignore[arg-type]


# -- a cache that fails


@both
@pytest.mark.parametrize("broken", ["redis", "disk"])
def test_a_cache_that_cannot_be_reached_breaks_no_call_and_is_named_once(
    ask: Ask,
    broken: str,
    switched_on: Any,
    tmp_path: Path,
    provider: FakeProvider,
    events: list[Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "file").write_text("no folder")
    options: dict[str, Any] = {
        "redis": {"host": "127.0.0.1", "port": 1},
        "disk": {"disk_cache_dir": tmp_path / "file"},
    }[broken]
    switched_on(Cache(broken, **options))  # type: ignore[arg-type]
    with caplog.at_level(logging.WARNING, "callmeter"):
        for _ in range(3):
            assert ask().choices[0].message.content
    assert len(provider.requests) == 3
    assert [f"the response cache (type={broken!r}) failed" in message for message in caplog.messages] == [True]
    assert [event.cost.status for event in events if isinstance(event, CallSucceeded)] == ["priced"] * 3


def test_a_store_that_failed_is_left_alone_for_a_while(switched_on: Any, provider: FakeProvider) -> None:
    clock, asked = FixedClock(), list[str]()

    def get_cache(*, cache_key: str) -> bytes | None:
        asked.append(cache_key)
        raise OSError("away")

    cache = switched_on(Cache(clock=clock))
    cache.get_cache = get_cache
    for _ in range(3):
        sync_ask()
    assert len(asked) == 1
    clock.advance(5)
    sync_ask()
    assert len(asked) == 2


@both
def test_what_is_no_answer_of_ours_is_not_taken_for_one(
    ask: Ask, cache: Cache, provider: FakeProvider, caplog: pytest.LogCaptureFixture
) -> None:
    key = ask()._hidden_params["cache_key"]
    for stored in (b"", b"\x80\x04pickle", b"{}", b'{"operation":"chat","answer":{"choices":3}}'):
        cache.add_cache(stored, cache_key=key, ttl=None)
        assert ask()._hidden_params["cache_hit"] is False
    assert ask()._hidden_params["cache_hit"] is True
    assert len(caplog.messages) == 1


def test_a_request_without_a_key_is_made_uncached(
    cache: Cache, provider: FakeProvider, caplog: pytest.LogCaptureFixture
) -> None:
    class Odd:
        def __init__(self) -> None:
            self.choices: list[int] = []

    for _ in range(2):
        with contextlib.suppress(Exception):
            sync_ask(odd=Odd())
    assert len(caplog.messages) == 1
    assert "calls that no key can be made of are not cached" in caplog.messages[0]


def test_asking_redis_does_not_hold_up_the_loop(switched_on: Any, provider: FakeProvider) -> None:
    """A Redis that takes connections and says nothing: meanwhile the loop goes on, and the call after it."""

    async def main() -> None:
        stuck = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
        port = stuck.sockets[0].getsockname()[1]
        switched_on(Cache("redis", host="127.0.0.1", port=port, timeout_s=0.2))
        call = asyncio.create_task(callmeter.acompletion("openai/gpt-4o", M))
        turns = 0
        while not call.done():
            await asyncio.sleep(0)
            turns += 1
        assert turns > 10
        assert (await call)._hidden_params["cache_hit"] is False
        stuck.close()

    asyncio.run(main())


def test_a_call_that_is_cancelled_while_it_asks_the_cache_has_one_end(
    switched_on: Any,
    provider: FakeProvider,
    events: list[Any],
) -> None:
    async def main() -> None:
        cache = switched_on(Cache())
        asked = asyncio.Event()

        async def aget(key: str) -> bytes | None:
            asked.set()
            await asyncio.Event().wait()
            return None

        cache.store.aget = aget
        call = asyncio.create_task(callmeter.acompletion("openai/gpt-4o", M))
        await asked.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    asyncio.run(main())
    assert [type(event) for event in events] == [CallStarted, CallFailed]
    assert events[-1].error.error_class == "cancelled"
    assert len(provider.requests) == 0


# -- the books


def test_spend_counts_no_hit_and_what_hits_saved_is_their_whole_cost(
    cache: Cache, provider: FakeProvider, home: Path
) -> None:
    with using(Runtime(Settings(home=str(home), ledger=True))) as runtime:
        for n in range(12):
            sync_ask(stream=bool(n % 2), seed=n % 3, x_fake={"prompt_tokens": 1000 + n % 3, "completion_tokens": 7})
        assert runtime.flush(10)
        runtime.close(5)
    with ledger.connect(home) as opened:
        rows = opened.sql(
            "select cache_hit, count(*), sum(cost), sum(cache_saved), sum(total_tokens), sum(attempts),"
            " count(distinct cache_key), list(distinct cost_status) from calls group by all order by cache_hit"
        ).fetchall()
        attempts = opened.sql("select count(*) from attempts").fetchall()
    price = [(1000 + n) * Decimal("0.0000025") + 7 * Decimal("0.00001") for n in range(3)]
    assert rows == [
        (False, 3, sum(price), None, 3 * 1008, 3, 3, ["priced"]),
        (True, 9, Decimal(0), 3 * sum(price), 0, 0, 3, ["free"]),
    ]
    assert attempts == [(3,)]
    assert provider.counts.calls == 3


def test_pricing_the_calls_anew_leaves_hits_free(cache: Cache, provider: FakeProvider, home: Path) -> None:
    from callmeter.repricing import Period, reprice

    with using(Runtime(Settings(home=str(home), ledger=True))) as runtime:
        sync_ask()
        sync_ask()
        assert runtime.flush(10)
        runtime.close(5)
    with ledger.connect(home) as opened:
        assert reprice(opened, Period()).appended == 0
        assert opened.sql("select cost from calls where cache_hit").fetchall() == [(Decimal(0),)]


def test_callbacks_are_told_of_a_hit(cache: Cache, provider: FakeProvider) -> None:
    seen: list[Any] = []
    with using(Runtime()) as runtime:
        for _ in range(2):
            sync_ask(success_callback=[lambda kwargs, *_: seen.append(kwargs)])
        runtime.close(5)
    miss, hit = seen
    assert (miss["cache_hit"], hit["cache_hit"]) == (False, True)
    assert hit["response_cost"] == 0.0
    payload = hit["standard_logging_object"]
    assert (payload["cache_hit"], payload["response_cost"]) == (True, 0.0)
    assert payload["saved_cache_cost"] == miss["response_cost"]
    assert payload["cache_key"] == miss["standard_logging_object"]["cache_key"]


def test_a_user_of_ones_own_has_answers_of_ones_own(switched_on: Any, provider: FakeProvider) -> None:
    switched_on(Cache(by_user=True))
    sync_ask(user="ann")
    assert sync_ask(user="ben")._hidden_params["cache_hit"] is False
    assert sync_ask(user="ann")._hidden_params["cache_hit"] is True


# -- several processes

PROGRAM = """
import sys, callmeter
callmeter.cache = callmeter.Cache("disk", disk_cache_dir=sys.argv[1], timeout_s=30)
for n in range(int(sys.argv[2])):
    callmeter.completion("openai/gpt-4o", [{"role": "user", "content": f"Question {n}"}])
"""


def test_processes_share_a_cache_on_disk_and_one_that_ends_leaves_its_answers(
    provider: FakeProvider, tmp_path: Path
) -> None:
    def run(count: int) -> "subprocess.Popen[bytes]":
        return subprocess.Popen([sys.executable, "-c", PROGRAM, str(tmp_path), str(count)])

    assert run(5).wait(60) == 0
    assert len(provider.requests) == 5
    both_at_once = [run(12), run(12)]
    assert [child.wait(60) for child in both_at_once] == [0, 0]
    assert 12 <= len(provider.requests) <= 5 + 14
    before = len(provider.requests)
    assert run(12).wait(60) == 0
    assert len(provider.requests) == before
