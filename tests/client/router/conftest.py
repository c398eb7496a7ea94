"""Three providers, a router over them, and ways to ask it."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from callmeter import Router
from callmeter.testing import FakeProvider, FixedClock, capture_events

M = [{"role": "user", "content": "Say something nice."}]


class Three:
    """Providers `a`, `b` and `c`, each a real server."""

    def __init__(self, servers: dict[str, FakeProvider]) -> None:
        self.servers = servers

    def __getattr__(self, name: str) -> FakeProvider:
        return self.servers[name]

    def entry(self, server: str, group: str = "g", **params: Any) -> dict[str, Any]:
        """A deployment at one of them, its id the server's name unless another is given."""
        info = {"id": params.pop("id", server), **params.pop("info", {})}
        where = {"model": "openai/gpt-4o", "api_key": "sk-test", "api_base": self.servers[server].openai_base}
        return {"model_name": group, "litellm_params": {**where, **params}, "model_info": info}

    @property
    def asked(self) -> dict[str, int]:
        """How many requests each has had."""
        return {name: len(server.requests) for name, server in self.servers.items()}


@pytest.fixture
def three() -> Iterator[Three]:
    servers = {name: FakeProvider() for name in "abc"}
    for server in servers.values():
        server.start()
    yield Three(servers)
    for server in servers.values():
        server.stop()


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
def events(clock: FixedClock) -> Iterator[list[Any]]:
    """Each event as it is published; pauses pass at once, on the clock."""

    async def asleep(seconds: float) -> None:
        clock.advance(seconds)

    with capture_events(clock=clock, sleep=clock.advance, asleep=asleep, jitter=lambda: 0.0) as seen:
        yield seen


def sync_ask(router: Router, model: str = "g", **params: Any) -> Any:
    answer = router.completion(model, M, **params)
    return list(answer) if params.get("stream") else answer


def async_ask(router: Router, model: str = "g", **params: Any) -> Any:
    async def main() -> Any:
        answer = await router.acompletion(model, M, **params)
        return [chunk async for chunk in answer] if params.get("stream") else answer

    return asyncio.run(main())


Ask = Callable[..., Any]
both = pytest.mark.parametrize("ask", [sync_ask, async_ask], ids=["sync", "async"])
streamed_or_not = pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])


def text_of(answer: Any) -> str:
    if isinstance(answer, list):
        return "".join(chunk.choices[0].delta.content or "" for chunk in answer)
    return str(answer.choices[0].message.content)
