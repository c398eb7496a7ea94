"""Providers that answer nonsense, dawdle, fail by turns or change their prices: one typed error or answer, one end."""

import asyncio
import gzip
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest

import callmeter
from callmeter import Router
from callmeter.events.model import END_TYPES
from callmeter.pricing import PriceBook
from callmeter.testing import FakeProvider, FixedClock, capture_events

M = [{"role": "user", "content": "Say something nice."}]
Ask = Callable[..., Any]


def sync_ask(router: Any = callmeter, model: str = "openai/gpt-4o", **params: Any) -> Any:
    answer = router.completion(model, M, **params)
    return list(answer) if params.get("stream") else answer


def async_ask(router: Any = callmeter, model: str = "openai/gpt-4o", **params: Any) -> Any:
    async def main() -> Any:
        answer = await router.acompletion(model, M, **params)
        return [chunk async for chunk in answer] if params.get("stream") else answer

    return asyncio.run(main())


both = pytest.mark.parametrize("ask", [sync_ask, async_ask], ids=["sync", "async"])
streamed_or_not = pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])

NONSENSE = {
    "empty": b"",
    "cut": b'{"id": "x", "choices": [{"mess',
    "null": b"null",
    "a list": b"[]",
    "a number": b"7",
    "html": b"<html><body>502 Bad Gateway</body></html>",
    "utf-16": '{"choices": []}'.encode("utf-16"),
    "wrong types": b'{"choices": {"message": 7}}',
    "deep": b"[" * 100_000,
}


@pytest.fixture
def events() -> Iterator[list[Any]]:
    async def at_once(_: float) -> None:
        return None

    with capture_events(sleep=lambda _: None, asleep=at_once, jitter=lambda: 0.0) as seen:
        yield seen


def ends(events: list[Any]) -> list[Any]:
    return [event for event in events if isinstance(event, END_TYPES)]


@both
@streamed_or_not
@pytest.mark.parametrize("body", NONSENSE.values(), ids=NONSENSE)
def test_an_answer_of_nonsense_is_one_typed_error_with_one_end(
    ask: Ask, stream: bool, body: bytes, provider: FakeProvider, events: list[Any]
) -> None:
    provider.answer(body=body, content_type="text/event-stream" if stream else "application/json", times=None)
    with pytest.raises(callmeter.OpenAIError) as caught:
        ask(stream=stream, num_retries=0)
    assert len(provider.requests) == 1
    (end,) = ends(events)
    assert end.error.error_class == type(caught.value).__name__
    assert type(caught.value) is not callmeter.OpenAIError


def test_text_in_another_encoding_is_an_answer_all_the_same(provider: FakeProvider, events: list[Any]) -> None:
    body = '{"choices": [{"message": {"content": "caf\u00e9"}}]}'.encode("latin-1")
    provider.answer(body=body, content_type="application/json; charset=iso-8859-1")
    assert sync_ask().choices[0].message.content.startswith("caf")
    assert len(ends(events)) == 1


@both
@streamed_or_not
def test_a_router_has_another_deployment_answer_for_one_that_answers_nonsense(
    ask: Ask, stream: bool, provider: FakeProvider, events: list[Any]
) -> None:
    router = Router(
        [
            {"model_name": "g", "litellm_params": {"model": "openai/gpt-4o"}},
            {"model_name": "h", "litellm_params": {"model": "openai/gpt-4.1"}},
        ],
        fallbacks=[{"g": ["h"]}],
        num_retries=0,
    )
    provider.answer(body=NONSENSE["html"])
    ask(router, "g", stream=stream)
    assert [(attempt.model_group, attempt.status) for attempt in ends(events)[0].attempts] == [
        ("g", "failure"),
        ("h", "success"),
    ]


BOMBED = """
import resource, sys
import callmeter
callmeter.completion("openai/gpt-4o", [{"role": "user", "content": "Hi"}])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    callmeter.completion("openai/gpt-4o", [{"role": "user", "content": "Hi"}], num_retries=0)
except callmeter.APIConnectionError as error:
    assert "max_reply_bytes" in str(error), error
else:
    raise SystemExit("no error")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("encoding", ["gzip", pytest.param("identity", marks=pytest.mark.slow)])
def test_a_huge_answer_costs_less_memory_than_twice_the_limit(
    encoding: str, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    from callmeter.transport import MAX_REPLY_BYTES

    size = 100 << 20
    provider.answer(200)
    body = gzip.compress(bytes(size), 1) if encoding == "gzip" else bytes(size)
    provider.answer(body=body, headers={"content-encoding": encoding})
    out = subprocess.run([sys.executable, "-c", BOMBED], capture_output=True, text=True, timeout=60)
    assert out.returncode == 0, out.stderr
    assert int(out.stdout) * 1024 < 2 * MAX_REPLY_BYTES


@both
@pytest.mark.parametrize(
    ("stall", "stream"),
    [({"before": "headers"}, False), ({"before": "headers"}, True), ({"before": "first_chunk"}, True)],
    ids=["plain", "head", "first chunk"],
)
def test_a_provider_that_dawdles_is_left_for_another(
    ask: Ask, stall: dict[str, Any], stream: bool, provider: FakeProvider, events: list[Any]
) -> None:
    slow = {"model_name": "g", "litellm_params": {"model": "openai/gpt-4o", "timeout": 0.1, "stream_timeout": 0.1}}
    quick = {"model_name": "h", "litellm_params": {"model": "openai/gpt-4.1"}}
    provider.stall(**stall)
    ask(Router([slow, quick], fallbacks=[{"g": ["h"]}], num_retries=0), "g", stream=stream)
    (end,) = ends(events)
    assert [(a.model_group, a.error.error_class if a.error else "") for a in end.attempts] == [
        ("g", "Timeout"),
        ("h", ""),
    ]
    assert end.attempts[0].cost.low == 0 or end.attempts[0].cost.estimated
    provider.wait_for(lambda server: server.open_connections <= 1)


@both
def test_a_stream_that_dawdles_between_words_is_given_up_with_what_had_come(
    ask: Ask, provider: FakeProvider, events: list[Any]
) -> None:
    with pytest.raises(callmeter.Timeout):
        ask(stream=True, stream_timeout=0.1, x_fake={"text": "one two three", "stall_after_chunks": 2})
    (end,) = ends(events)
    assert (end.error.error_class, end.usage_source) == ("Timeout", "counted")
    assert end.usage.output_tokens > 0


@both
@streamed_or_not
def test_two_failures_and_a_success_cost_what_the_attempts_do(
    ask: Ask, stream: bool, provider: FakeProvider, events: list[Any]
) -> None:
    provider.stall(before="headers")
    provider.cut(0) if stream else provider.cut(30)
    ask(stream=stream, timeout=0.1, stream_timeout=0.1)
    (end,) = ends(events)
    assert [attempt.status for attempt in end.attempts] == ["failure", "failure", "success"]
    assert [attempt.billable for attempt in end.attempts] == [None, None, True]
    known = [attempt.cost.total for attempt in end.attempts if attempt.cost.total is not None]
    assert len(known) == 3
    assert end.cost.total == sum(known)
    assert (end.cost.estimated, end.cost.low < end.cost.total <= end.cost.high) == (True, True)


JANUARY, FEBRUARY = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
FEBRUARY_NS = int(FEBRUARY.timestamp()) * 10**9


def rate(start: datetime, tier: str, usd: str) -> dict[str, Any]:
    until = {"until": FEBRUARY} if start == JANUARY else {}
    return {"from": start, **until, "when": {"tier": tier}, "per": "1", "input": usd, "output": "0"}


PRICES = {
    "id": "made-up-1",
    "rates": [
        rate(JANUARY, "standard", "1"),
        rate(JANUARY, "priority", "5"),
        rate(FEBRUARY, "standard", "2"),
        rate(FEBRUARY, "priority", "10"),
    ],
}


@pytest.mark.parametrize(("asked", "served", "before", "after"), [
    ("priority", "default", 1, 2),
    ("priority", "priority", 5, 10),
    ("auto", "priority", 5, 10),
    ("priority", None, 5, 10),
])  # fmt: skip
def test_a_call_costs_what_held_when_it_was_made_for_the_tier_that_served_it(
    asked: str, served: str | None, before: int, after: int, provider: FakeProvider
) -> None:
    body = {
        "id": "c1",
        "model": "made-up-1",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
        **({"service_tier": served} if served else {}),
    }
    clock = FixedClock(wall_ns=FEBRUARY_NS - 10**9)

    def during_the_call(_: Any, script: Any) -> Any:
        clock.advance(2)
        answer = msgspec.structs.replace(script.answer, pieces=(json.dumps(body).encode(),))
        return msgspec.structs.replace(script, answer=answer)

    router = Router([{"model_name": "g", "litellm_params": {"model": "openai/made-up-1"}}])
    with capture_events(clock=clock, prices=PriceBook([PRICES])) as events:
        for _ in range(2):
            provider.script(during_the_call)
            router.completion("g", M, service_tier=asked)
            clock.advance(2)
    assert [end.cost.total for end in ends(events)] == [Decimal(3 * before), Decimal(3 * after)]
