"""Publishes while sinks hang: `publish_load.py SECONDS LEDGER`, LEDGER being true or false. Prints what it measured."""

import asyncio
import json
import os
import sys
import tempfile
import time
from contextlib import suppress
from typing import NamedTuple

from benchmarks.hanging import KEPT, Hangs, Source, fat, resident_mb, warm_up
from benchmarks.harness import percentile
from callmeter.events.model import Content
from callmeter.runtime import Runtime
from callmeter.settings import Settings

PUBLISHED, PER_SECOND = 3_000, 500
PROMPT = b"p" * 10_000_000


class Lag(NamedTuple):
    """How much later than asked a sleep ended."""

    ms: float
    own_ms: float
    """Without the longest time that any thread of this process waited for a processor meanwhile."""


def publish_us(rt: Runtime, source: Source) -> list[float]:
    """Microseconds of each `publish()`, in order of size. The pace leaves the writer its turn, as calls would."""
    took = []
    for _ in range(PUBLISHED):
        event = source(Content(request_body=PROMPT))
        began = time.perf_counter_ns()
        rt.publish(event, len(PROMPT))
        took.append((time.perf_counter_ns() - began) / 1e3)
        time.sleep(0.0005)
    return sorted(took)


def kept_waiting_ms() -> dict[str, float]:
    """How long the kernel has let each of this process's threads wait for a processor, by thread."""
    found = {}
    for thread in os.listdir("/proc/self/task"):
        with suppress(OSError), open(f"/proc/self/task/{thread}/schedstat") as file:
            found[thread] = int(file.read().split()[1]) / 1e6
    return found


async def hang(rt: Runtime, source: Source, seconds: float) -> tuple[list[Lag], float]:
    """Publish at a steady pace from a loop. Its lags, and the growth in MB."""
    lags: list[Lag] = []
    first: float | None = None
    most, began, published = 0.0, time.perf_counter(), 0
    next_look = 1.0
    while (now := time.perf_counter() - began) < seconds:
        while published < now * PER_SECOND:
            rt.publish(source(fat()), KEPT)
            published += 1
        before, asked = kept_waiting_ms(), time.perf_counter()
        await asyncio.sleep(0.002)
        lag = (time.perf_counter() - asked - 0.002) * 1e3
        # A thread that holds the interpreter's lock and waits for a processor keeps the loop waiting too.
        waited = max(after - before.get(thread, after) for thread, after in kept_waiting_ms().items())
        lags.append(Lag(lag, max(0.0, lag - waited)))
        if now >= next_look:
            next_look += 1.0
            most = max(most, resident_mb())
            first = first if first is not None else most
    return lags, most - (first or most)


def main() -> None:
    """Measure and print."""
    seconds, ledger = float(sys.argv[1]), sys.argv[2] == "true"
    with tempfile.TemporaryDirectory(prefix="callmeter-publish-") as folder:
        settings = Settings(home=folder + "/home", ledger=ledger, capture_content=True)
        rt, source = Runtime(settings, sinks=(Hangs("a"), Hangs("b"))), Source()
        if ledger:
            warm_up(rt, source)
        took = publish_us(rt, source)
        lags, growth_mb = asyncio.run(hang(rt, source, seconds))
        found = {
            "p50_us": took[len(took) // 2],
            "p99_us": took[int(len(took) * 0.99)],
            "lag_p99_ms": percentile([lag.ms for lag in lags], 0.99),
            "lag_max_ms": max(lag.ms for lag in lags),
            "own_lag_max_ms": max(lag.own_ms for lag in lags),
            "growth_mb": growth_mb,
        }
        print(json.dumps(found), flush=True)
        # Its sinks hang: there is no other end.
        os._exit(0)


main()
