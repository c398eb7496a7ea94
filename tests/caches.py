"""The kinds of cache, each on a store of the test's own."""

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import callmeter
from callmeter.caching import Cache

REDIS = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")

Make = Callable[..., Cache]


@pytest.fixture
def redis_url() -> str:
    """A Redis that answers."""
    redis = pytest.importorskip("redis")
    try:
        redis.Redis.from_url(REDIS).ping()
    except redis.ConnectionError:
        if os.environ.get("CALLMETER_TEST_SERVICES") == "required":
            raise
        pytest.skip(f"no Redis at {REDIS}")
    return REDIS


@pytest.fixture(params=["local", "disk", "redis"])
def make_cache(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    """Makes caches of each kind in turn; those of a test share what they keep, if they can."""
    kind: str = request.param
    place: dict[str, Any] = {"local": {}, "disk": {"disk_cache_dir": tmp_path / "answers"}}.get(kind, {})
    if kind == "redis":
        place = {"url": request.getfixturevalue("redis_url")}
    namespace = f"callmeter-test-{uuid.uuid4().hex}"
    made: list[Cache] = []

    def make_one(**options: Any) -> Cache:
        made.append(Cache(kind, **{"namespace": namespace, "timeout_s": 5.0, **place, **options}))  # type: ignore[arg-type]
        return made[-1]

    yield make_one
    if made:
        made[-1].clear()


@pytest.fixture
def switched_on(monkeypatch: pytest.MonkeyPatch) -> Callable[[Cache], Cache]:
    """Switches a cache on for the time of a test."""

    def switch(cache: Cache) -> Cache:
        monkeypatch.setattr(callmeter, "cache", cache)
        return cache

    return switch
