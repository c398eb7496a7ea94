"""A tap stands between the world and the calls of every runtime."""

import asyncio
from collections.abc import Callable
from typing import Any, NoReturn

import pytest

import callmeter
from callmeter.events.model import AnyEvent, CallStarted, CallSucceeded
from callmeter.runtime import Runtime, using
from callmeter.tap import current_tap, offline_key, tapped


class Listening:
    """A tap that only listens, or says that nothing leaves the process."""

    def __init__(self, *, offline: bool = False) -> None:
        self.offline = offline
        self.heard: list[AnyEvent] = []

    def transport(self, own: Callable[[], Any]) -> Any:
        return "between", own

    def async_transport(self, own: Callable[[], Any]) -> Any:
        return "awaited", own

    def hear(self, event: AnyEvent) -> None:
        self.heard.append(event)


def fail(*_: object) -> NoReturn:
    pytest.fail("this reaches the world")


def test_a_tap_hears_the_calls_of_any_runtime_for_as_long_as_it_is_there() -> None:
    tap = Listening()
    with tapped(tap), using(Runtime()), using(Runtime()):
        callmeter.completion("openai/gpt-4o", [{"role": "user", "content": "hi"}], mock_response="hello")
    callmeter.completion("openai/gpt-4o", [{"role": "user", "content": "hi"}], mock_response="hello")
    assert [type(event) for event in tap.heard] == [CallStarted, CallSucceeded]


def test_it_stands_before_both_transports() -> None:
    runtime = Runtime(transport="own", async_transport="own too")
    with tapped(Listening()):
        (name, own), (async_name, async_own) = runtime.transport, runtime.async_transport
        assert [name, own(), async_name, async_own()] == ["between", "own", "awaited", "own too"]
    assert (runtime.transport, runtime.async_transport) == ("own", "own too")


def test_offline_nothing_waits_and_a_key_is_there() -> None:
    runtime = Runtime(sleep=fail, asleep=fail)
    with tapped(Listening(offline=True)):
        runtime.sleep(3600)
        asyncio.run(runtime.asleep(3600))
        assert offline_key()
    assert (runtime.sleep, runtime.asleep, offline_key()) == (fail, fail, None)


def test_an_inner_tap_takes_the_place_of_the_outer_one() -> None:
    outer, inner = Listening(), Listening()
    with tapped(outer):
        with tapped(inner):
            assert current_tap() is inner
        assert current_tap() is outer
    assert current_tap() is None
