"""Publishes while sinks hang: `publish_load.py SECONDS LEDGER`, LEDGER being true or false. Prints what it measured."""

import asyncio
import json
import os
import sys
import tempfile
import time

from benchmarks.hanging import KEPT, Hangs, Source, fat, resident_mb, warm_up
from callmeter.events.model import Content
from callmeter.runtime import Runtime
from callmeter.settings import Settings

PUBLISHED, PER_SECOND = 3_000, 500
PROMPT = b"p" * 10_000_000


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


async def hang(rt: Runtime, source: Source, seconds: float) -> tuple[list[float], float]:
    """Publish at a steady pace from a loop. Lags in milliseconds, in order of size, and the growth in MB."""
    lags: list[float] = []
    first: float | None = None
    most, began, published = 0.0, time.perf_counter(), 0
    next_look = 1.0
    while (now := time.perf_counter() - began) < seconds:
        while published < now * PER_SECOND:
            rt.publish(source(fat()), KEPT)
            published += 1
        asked = time.perf_counter()
        await asyncio.sleep(0.002)
        lags.append((time.perf_counter() - asked - 0.002) * 1e3)
        if now >= next_look:
            next_look += 1.0
            most = max(most, resident_mb())
            first = first if first is not None else most
    return sorted(lags), most - (first or most)


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
            "lag_p99_ms": lags[int(len(lags) * 0.99)],
            "lag_max_ms": lags[-1],
            "growth_mb": growth_mb,
        }
        print(json.dumps(found), flush=True)
        # Its sinks hang: there is no other end.
        os._exit(0)


main()
