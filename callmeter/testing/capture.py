"""Watching what callmeter publishes, in a runtime of one's own."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from callmeter.events.model import AnyEvent
from callmeter.runtime import Runtime, using


@contextmanager
def capture_events(runtime: Runtime | None = None, **options: Any) -> Iterator[list[AnyEvent]]:
    """Every event published within the block, in order, as a list that grows.

    Calls made within use `runtime`, or a fresh `Runtime(**options)`: a clock, ids, settings, sinks of the test's own.
    """
    events: list[AnyEvent] = []
    rt = runtime or Runtime(**options)
    unsubscribe = rt.subscribe(events.append, inline=True)
    try:
        with using(rt):
            yield events
    finally:
        unsubscribe()
        if runtime is None:
            rt.close()
