"""Routers that share a Redis: limits, calls in flight and cooldowns hold for all of them, and none needs it to be there."""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

import callmeter
from callmeter import Router
from callmeter.client.router import redis as shared_module
from callmeter.client.router.courier import Courier
from callmeter.client.router.load import Cooldown
from callmeter.testing import FixedClock
from tests.client.router.conftest import Ask, M, Three, both, streamed_or_not

redis = pytest.importorskip("redis")
REDIS = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")


@pytest.fixture
def place() -> Iterator[dict[str, Any]]:
    """A Redis and a namespace in it that is this test's."""
    client = redis.Redis.from_url(REDIS, decode_responses=True)
    try:
        client.ping()
    except redis.ConnectionError:
        if os.environ.get("CALLMETER_TEST_SERVICES") == "required":
            raise
        pytest.skip(f"no Redis at {REDIS}")
    namespace = f"test-{uuid4().hex}"
    yield {"redis_url": REDIS, "cache_kwargs": {"namespace": namespace}}
    for key in client.scan_iter(match=f"*{namespace}*"):
        client.delete(key)
    client.close()


def keys(place: dict[str, Any], kind: str, id: str) -> str:
    return f"{{{place['cache_kwargs']['namespace']}:router}}:{kind}:{id}"


@pytest.fixture
def server() -> Any:
    return redis.Redis.from_url(REDIS, decode_responses=True)


def two(
    three: Three, place: dict[str, Any], clock: FixedClock, *entries: dict[str, Any], **settings: Any
) -> list[Router]:
    return [Router(list(entries), clock=clock, **place, **settings) for _ in range(2)]


@both
@streamed_or_not
def test_a_limit_holds_for_all_routers_together(
    ask: Ask, stream: bool, three: Three, place: dict[str, Any], clock: FixedClock, events: list[Any]
) -> None:
    first, second = two(three, place, clock, three.entry("a", rpm=3))
    for router in (first, second, second):
        ask(router, stream=stream)
    for router in (first, second):
        with pytest.raises(callmeter.RouterRateLimitError, match="a was sent 3 of its 3 requests a minute"):
            ask(router, stream=stream)
    assert three.asked["a"] == 3


def test_tokens_are_counted_for_all_as_the_provider_counted_them(
    three: Three, place: dict[str, Any], clock: FixedClock, events: list[Any]
) -> None:
    first, second = two(three, place, clock, three.entry("a", tpm=1_000))
    first.completion("g", M, x_fake={"prompt_tokens": 900, "completion_tokens": 95})
    first.close()
    with pytest.raises(callmeter.RouterRateLimitError, match="has used 995 of its 1000 tokens"):
        second.completion("g", M)


@both
def test_a_cooldown_holds_for_all_routers_and_says_why(
    ask: Ask, three: Three, place: dict[str, Any], clock: FixedClock, events: list[Any]
) -> None:
    three.a.answer(429, headers={"retry-after": "60"})
    three.b.answer(401)
    first, second = two(three, place, clock, three.entry("a", order=1), three.entry("b", order=2))
    with pytest.raises(callmeter.AuthenticationError):
        ask(first)
    first.close()
    with pytest.raises(callmeter.RouterRateLimitError) as caught:
        ask(second)
    assert "a is cooling down" in caught.value.message
    assert "after RateLimitError (429)" in caught.value.message
    assert "after AuthenticationError (401)" in caught.value.message
    assert sorted(caught.value.cooldown_list) == ["a", "b"]


@pytest.mark.parametrize("seconds", [(60.0, 5.0), (5.0, 60.0)], ids=str)
def test_of_two_cooldowns_the_longer_holds(seconds: tuple[float, ...], place: dict[str, Any], server: Any) -> None:
    router = Router([], **place)
    for time_s in seconds:
        router.shared.rest("a", Cooldown(0, "RateLimitError", 429), time_s)  # type: ignore[union-attr]
    router.close()
    assert 55_000 < server.pttl(keys(place, "rest", "a")) <= 60_000


@pytest.mark.parametrize("strategy", ["least-busy", "usage-based-routing-v2"])
def test_what_others_are_doing_is_looked_at(
    strategy: str, three: Three, place: dict[str, Any], clock: FixedClock, events: list[Any]
) -> None:
    first, second = two(three, place, clock, three.entry("a"), three.entry("b"), routing_strategy=strategy)
    open_stream = first.completion("g", M, stream=True, x_fake={"text": "one two", "stall_after_chunks": 2})
    busy = open_stream._core.target.deployment.id
    second.completion("g", M)
    assert three.asked == {"a": 1, "b": 1, "c": 0}
    assert events[-1].call.deployment != busy
    open_stream.close()


def test_a_place_that_another_router_frees_is_taken(
    three: Three, place: dict[str, Any], clock: FixedClock, events: list[Any]
) -> None:
    first, second = (Router([three.entry("a", max_parallel_requests=1)], **place) for _ in range(2))
    open_stream = first.completion("g", M, stream=True, x_fake={"text": "one two", "stall_after_chunks": 2})
    with pytest.raises(callmeter.RouterRateLimitError, match="a has 1 of 1 calls in flight"):
        second.completion("g", M, timeout=0.02)
    waiting = threading.Thread(target=lambda: second.completion("g", M))
    waiting.start()
    open_stream.close()
    waiting.join(10)
    assert three.asked["a"] == 2


def test_a_lone_deployment_is_asked_although_others_found_it_wanting(
    three: Three, place: dict[str, Any], clock: FixedClock, events: list[Any]
) -> None:
    three.a.answer(429)
    first, second = two(three, place, clock, three.entry("a"), num_retries=0)
    with pytest.raises(callmeter.RateLimitError):
        first.completion("g", M)
    first.close()
    second.completion("g", M)


WORKER = """
import json, sys
from callmeter import Router, RouterRateLimitError
settings = json.loads(sys.argv[1])
entry = {"model_name": "g", "litellm_params": {"model": "openai/gpt-4o", "mock_response": "x", "rpm": 50}, "model_info": {"id": "a"}}
router, sent = Router([entry], **settings), 0
sys.stdin.readline()
for _ in range(60):
    try:
        router.completion("g", [{"role": "user", "content": "Hi"}])
        sent += 1
    except RouterRateLimitError:
        pass
print(sent)
"""


def test_two_processes_never_send_more_than_the_limit_together(place: dict[str, Any]) -> None:
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, json.dumps(place)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    sent = [int(worker.communicate(timeout=60)[0]) for worker in workers]
    assert sum(sent) == 50


def test_a_call_of_a_process_that_died_is_not_in_flight_for_ever(
    three: Three, place: dict[str, Any], server: Any, events: list[Any]
) -> None:
    holder = """
import json, os, signal, sys
from callmeter import Router
router = Router([json.loads(sys.argv[2])], **json.loads(sys.argv[1]))
stream = router.completion("g", [{"role": "user", "content": "Hi"}], stream=True, x_fake={"text": "one", "stall_after_chunks": 1})
os.kill(os.getpid(), signal.SIGKILL)
"""
    entry = three.entry("a", max_parallel_requests=1)
    subprocess.run([sys.executable, "-c", holder, json.dumps(place), json.dumps(entry)], check=False, timeout=60)
    flight = keys(place, "flight", "a")
    ((lease, until_ms),) = server.zrange(flight, 0, -1, withscores=True)
    now_ms = server.time()[0] * 1000
    assert now_ms < until_ms <= now_ms + 61_000
    router = Router([entry], **place)
    with pytest.raises(callmeter.RouterRateLimitError):
        router.completion("g", M, timeout=0.02)
    server.zadd(flight, {lease: now_ms - 1})
    router.completion("g", M)


def test_a_long_call_stays_in_flight_and_its_end_is_told(
    three: Three, place: dict[str, Any], server: Any, events: list[Any]
) -> None:
    router = Router([three.entry("a")], **place)
    stream = router.completion("g", M, stream=True, x_fake={"text": "one two", "stall_after_chunks": 1})
    flight = keys(place, "flight", "a")
    ((lease, _),) = server.zrange(flight, 0, -1, withscores=True)
    server.zadd(flight, {lease: server.time()[0] * 1000 + 1_000})
    courier: Courier = router.shared._courier  # type: ignore[union-attr]
    courier._renew_at = 0.0
    courier.step(1.0)
    assert server.zscore(flight, lease) > server.time()[0] * 1000 + 30_000
    stream.close()
    router.close()
    assert server.zcard(flight) == 0
    assert courier._held == {}


@both
def test_without_its_scripts_redis_is_given_them_again(
    ask: Ask, three: Three, place: dict[str, Any], server: Any, events: list[Any]
) -> None:
    router = Router([three.entry("a", rpm=2)], **place)
    ask(router)
    server.script_flush()
    ask(router)
    with pytest.raises(callmeter.RouterRateLimitError):
        ask(router)


def test_event_loops_come_and_go_and_none_is_blocked(three: Three, place: dict[str, Any], events: list[Any]) -> None:
    router = Router([three.entry("a", rpm=20)], **place)

    def blocking(**_: Any) -> None:
        raise AssertionError("a blocking client on an event loop")

    router.shared._look = blocking  # type: ignore[union-attr]

    async def main() -> None:
        await asyncio.gather(*(router.acompletion("g", M) for _ in range(4)))

    for _ in range(5):
        asyncio.run(main())
    with pytest.raises(callmeter.RouterRateLimitError):
        asyncio.run(router.acompletion("g", M))


def test_a_call_cancelled_while_redis_is_asked_leaves_nothing_in_flight(
    three: Three, place: dict[str, Any], server: Any, events: list[Any]
) -> None:
    router = Router([three.entry("a", max_parallel_requests=1)], **place)

    async def main() -> None:
        for rounds in range(12):
            task = asyncio.create_task(router.acompletion("g", M))
            for _ in range(rounds):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await router.acompletion("g", M)

    asyncio.run(main())
    router.close()
    assert server.zcard(keys(place, "flight", "a")) == 0
    assert router.state.loads(router.catalogue.members)["a"].in_flight == 0


# --- without it


@both
def test_calls_go_on_without_redis_and_it_is_said_once(
    ask: Ask, three: Three, events: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    router = Router([three.entry("a", rpm=3)], redis_host="127.0.0.1", redis_port=port)
    for _ in range(3):
        ask(router)
    with pytest.raises(callmeter.RouterRateLimitError):
        ask(router)
    assert [record.message for record in caplog.records if "Redis is away" in record.message] != []
    assert len([record for record in caplog.records if "Redis" in record.message]) == 1
    router.close()


@pytest.fixture
def own_redis() -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """A Redis that a test may stop and kill."""
    if shutil.which("redis-server") is None:
        pytest.skip("no redis-server here")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(["redis-server", "--port", str(port), "--save", ""], stdout=subprocess.PIPE)
    assert process.stdout is not None
    while b"Ready to accept connections" not in process.stdout.readline():
        pass
    yield port, process
    process.send_signal(signal.SIGCONT)
    process.kill()
    process.wait()
    process.stdout.close()


@both
def test_a_redis_that_hangs_costs_one_call_a_moment_and_counts_again_when_it_answers(
    ask: Ask,
    three: Three,
    own_redis: tuple[int, subprocess.Popen[bytes]],
    events: list[Any],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    port, process = own_redis
    monkeypatch.setattr(shared_module, "ANSWER_S", 0.05)
    now = [1_000.0]
    monkeypatch.setattr(shared_module, "monotonic", lambda: now[0])
    router = Router([three.entry("a", rpm=10)], redis_url=f"redis://127.0.0.1:{port}")
    ask(router)
    process.send_signal(signal.SIGSTOP)
    for _ in range(3):
        ask(router)
    assert caplog.text.count("Redis is away") == 1
    process.send_signal(signal.SIGCONT)
    now[0] += shared_module.AWAY_S
    ask(router)
    assert caplog.text.count("Redis is back") == 1
    assert three.asked["a"] == 5
    client = redis.Redis(port=port)
    assert sum(int(n) for field, n in client.hgetall("{callmeter:router}:usage:a").items() if field[:1] == b"r") >= 2
    client.close()
    router.close()


def test_redis_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(callmeter.exceptions.MissingExtraError, match=r"pip install 'callmeter\[redis\]'"):
        Router([], redis_host="localhost")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"redis_url": "localhost:6379"}, "redis_url is no address"),
        ({"redis_host": "x", "redis_port": "y"}, "redis_port is 'y'"),
    ],
)
def test_a_place_that_cannot_be_is_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(callmeter.ConfigError, match=message):
        Router([], **given)
