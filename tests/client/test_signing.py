"""Requests whose credentials must be fetched: signed before each attempt, never on a caller's event loop."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

import callmeter
from callmeter.client import making
from callmeter.errors import AuthenticationError
from callmeter.events.model import CallFailed, CallSucceeded, StreamCompleted
from callmeter.testing import FakeProvider, capture_events
from callmeter.types import Deployment
from callmeter.wire import WireRequest

M = [{"role": "user", "content": "hi"}]


class Token:
    """A signer that numbers its tokens and notes who asked for them."""

    def __init__(self, *, cached: bool = False, error: Exception | None = None) -> None:
        self.cached, self.error = cached, error
        self.threads: list[int] = []

    def ready(self) -> bool:
        return self.cached

    def sign(self, request: WireRequest) -> WireRequest:
        self.threads.append(threading.get_ident())
        if self.error is not None:
            raise self.error
        headers = {**request.headers, "authorization": f"Bearer token-{len(self.threads)}"}
        return msgspec.structs.replace(request, headers=headers)


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as server:
        yield server


@pytest.fixture
def events() -> Iterator[list[Any]]:
    async def at_once(_: float) -> None:
        return None

    with capture_events(sleep=lambda _: None, asleep=at_once, jitter=lambda: 0.0) as seen:
        yield seen


@pytest.fixture
def token(provider: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> Token:
    """Every deployment gets its credentials from this signer."""
    signer = Token()

    def signed(*args: Any, **kwargs: Any) -> Deployment:
        where = Deployment(
            provider="openai", model="gpt-4o", codec="openai_chat", api_base=provider.openai_base, signer=signer
        )
        assert args or kwargs
        return where

    monkeypatch.setattr(making, "deployment", signed)
    return signer


def test_each_attempt_is_signed_anew(token: Token, provider: FakeProvider, events: list[Any]) -> None:
    provider.answer(503)
    callmeter.completion("openai/gpt-4o", M)
    said = [heard.headers["authorization"] for heard in provider.requests]
    assert said == ["Bearer token-1", "Bearer token-2"]
    assert isinstance(events[-1], CallSucceeded)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("cached", [False, True], ids=["to fetch", "at hand"])
def test_a_token_to_be_fetched_never_holds_up_the_event_loop(
    stream: bool, cached: bool, token: Token, provider: FakeProvider, events: list[Any]
) -> None:
    token.cached = cached

    async def main() -> int:
        answer: Any = await callmeter.acompletion("openai/gpt-4o", M, stream=stream)
        if stream:
            assert [chunk async for chunk in answer]
        return threading.get_ident()

    loops_thread = asyncio.run(main())
    assert [thread == loops_thread for thread in token.threads] == [cached]
    assert provider.requests[0].headers["authorization"] == "Bearer token-1"
    assert isinstance(events[-1], StreamCompleted if stream else CallSucceeded)


def test_credentials_that_cannot_be_had_end_the_call_before_anything_is_sent(
    token: Token, provider: FakeProvider, events: list[Any]
) -> None:
    token.error = AuthenticationError("no credentials in the environment", llm_provider="openai", model="gpt-4o")
    with pytest.raises(AuthenticationError, match="no credentials"):
        callmeter.completion("openai/gpt-4o", M)
    assert len(provider.requests) == 0
    end = events[-1]
    assert isinstance(end, CallFailed)
    assert end.usage_source == "none"
