"""What each kind of cache keeps, for how long, and how much of it."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from callmeter.caching import Cache
from callmeter.caching.disk import _SWEEP_EVERY, DiskStore
from callmeter.caching.redis import place
from callmeter.caching.stores import LocalStore
from callmeter.errors import ConfigError
from callmeter.testing import FixedClock


def kept(cache: Cache, key: str) -> tuple[bytes | None, bytes | None]:
    """What both ways of asking say."""
    return cache.store.get(key), asyncio.run(cache.store.aget(key))


def test_what_is_put_is_found_until_it_is_put_anew_or_deleted(make_cache: Any) -> None:
    cache = make_cache()
    key = cache.namespace + ":k"
    assert kept(cache, key) == (None, None)
    cache.add_cache(b"one", cache_key=key, ttl=None)
    cache.add_cache(b"\0two", cache_key=key, ttl=60)
    assert kept(cache, key) == (b"\0two", b"\0two")
    cache.delete(key)
    assert kept(cache, key) == (None, None)


def test_clearing_leaves_other_namespaces_alone(make_cache: Any) -> None:
    cache = make_cache()
    odd, other = cache.namespace + "*[x]?\\", cache.namespace + "*[x]?\\y"
    for namespace in (odd, other):
        cache.add_cache(b"v", cache_key=namespace + ":k", ttl=None)
    cache.store.clear(odd)
    assert [cache.store.get(namespace + ":k") for namespace in (odd, other)] == [None, b"v"]
    cache.store.clear(other)


def test_a_time_to_live_ends(tmp_path: Path) -> None:
    clock = FixedClock()
    stores = [
        LocalStore(clock, max_entries=9, max_bytes=999),
        DiskStore(tmp_path, clock, max_bytes=999, timeout_s=5.0),
    ]
    for store in stores:
        store.put("k", b"v", clock.wall_ns() + 10)
        assert store.get("k") == b"v"
    clock.advance(10e-9)
    assert [store.get("k") for store in stores] == [None, None]


def test_redis_forgets_by_itself(redis_url: str) -> None:
    redis = pytest.importorskip("redis").Redis.from_url(redis_url)
    cache = Cache("redis", url=redis_url, namespace="callmeter-test-ttl")
    cache.add_cache(b"v", cache_key="callmeter-test-ttl:k", ttl=50)
    assert 49_000 < redis.pttl("callmeter-test-ttl:k") <= 50_000
    cache.add_cache(b"w", cache_key="callmeter-test-ttl:k", ttl=0)
    assert cache.store.get("callmeter-test-ttl:k") == b"v"
    cache.clear()


def test_in_memory_the_least_used_go_first() -> None:
    store = LocalStore(FixedClock(), max_entries=3, max_bytes=1000)
    for key in "abc":
        store.put(key, b"v", None)
    store.get("a")
    store.put("d", b"v", None)
    assert [store.get(key) for key in "abcd"] == [b"v", None, b"v", b"v"]


def test_memory_is_bounded_in_bytes_and_what_is_larger_than_all_is_not_kept() -> None:
    store = LocalStore(FixedClock(), max_entries=1000, max_bytes=100)
    for n in range(20):
        store.put(f"{n:02}", b"x" * 18, None)
    assert (len(store), store.bytes) == (5, 100)
    store.put("00", b"x" * 99, None)
    assert (store.get("00"), len(store)) == (None, 5)


def test_on_disk_the_oldest_go_first(tmp_path: Path) -> None:
    store = DiskStore(tmp_path, FixedClock(), max_bytes=10 * _SWEEP_EVERY, timeout_s=5.0)
    for n in range(2 * _SWEEP_EVERY + 1):
        store.put(str(n), b"x" * 10, None)
    there = [n for n in range(2 * _SWEEP_EVERY + 1) if store.get(str(n))]
    assert there == list(range(_SWEEP_EVERY + 1, 2 * _SWEEP_EVERY + 1))


def test_answers_on_disk_are_their_owners_alone(tmp_path: Path) -> None:
    DiskStore(tmp_path / "folder", FixedClock(), max_bytes=99, timeout_s=5.0).put("k", b"v", None)
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "folder").iterdir()}
    assert (modes, (tmp_path / "folder").stat().st_mode & 0o777) == ({0o600}, 0o700)


def test_a_forked_child_uses_a_connection_of_its_own(tmp_path: Path) -> None:
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from callmeter.caching.disk import DiskStore\n"
        "from callmeter.clock import SystemClock\n"
        "store = DiskStore(Path(sys.argv[1]), SystemClock(), max_bytes=999, timeout_s=5.0)\n"
        "store.put('parent', b'p', None)\n"
        "store._lock.acquire()\n"  # as another thread may hold it
        "pid = os.fork()\n"
        "if not pid:\n"
        "    store.put('child', store.get('parent'), None)\n"
        "    os._exit(0)\n"
        "assert os.waitpid(pid, 0)[1] == 0\n"
        "store._lock.release()\n"
        "assert store.get('child') == b'p'\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, timeout=60)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"type": "s3"}, "it is 'local', 'disk' or 'redis'"),
        ({"host": "db"}, r"Cache\(type='local'\) takes no 'host'"),
        ({"type": "disk", "similarity": 1}, "takes no 'similarity'"),
        ({"mode": "on"}, "'default_on' or 'default_off'"),
        ({"ttl": 0}, "a number of seconds above 0"),
    ],
)
def test_arguments_that_cannot_be_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Cache(**options)


def test_redis_is_where_it_is_said_to_be_first_by_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REDIS_URL", raising=False)
    monkeypatch.setenv("REDIS_HOST", "db")
    monkeypatch.setenv("REDIS_PASSWORD", "secret")
    assert place({"port": 7, "host": None}) == {"host": "db", "port": 7, "password": "secret"}
    assert place({"host": "here"}) == {"host": "here"}
    monkeypatch.setenv("REDIS_URL", "redis://there")
    assert place({"db": 3}) == {"url": "redis://there", "db": 3}
    assert os.environ["REDIS_HOST"] == "db"


def test_the_ttl_of_a_kind_wins() -> None:
    assert Cache(ttl=5, default_in_memory_ttl=7).ttl_s == 7
    assert Cache(ttl=None, default_in_redis_ttl=7).ttl_s is None
