"""Sinks that never return, and events to publish while they hang."""

import os
import threading
import time
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import ClassVar, cast

import msgspec

from benchmarks.ledger import ends
from callmeter.clock import IdSource
from callmeter.events.journal_schema import LEDGER
from callmeter.events.model import AnyEvent, CallFailed, CallSucceeded, Content, StreamCompleted
from callmeter.events.trace import span_id_of
from callmeter.runtime import Runtime
from callmeter.sinks.base import Delivery, Sink

PAYLOAD = 100_000
"""Bytes of one event's content."""

KEPT = 2 * PAYLOAD
"""What such an event keeps alive: the prompt, and the request that it was encoded to."""

forever = threading.Event()


class Hangs(Sink):
    """A destination that has stopped answering."""

    name: ClassVar[str] = "hangs"
    wants: ClassVar[tuple[type, ...]] = (CallSucceeded, StreamCompleted, CallFailed)

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.capture_content = True

    def export(self, events: Sequence[AnyEvent]) -> Delivery:
        forever.wait()
        return Delivery()


def fat() -> Content:
    """A prompt and its request as no other."""
    text = os.urandom(8).hex() * (PAYLOAD // 16)
    return Content(messages=[{"role": "user", "content": text}], request_body=text.encode())


class Source:
    """Ends of calls, each new, with a body of some size."""

    def __init__(self) -> None:
        self._events = cycle(list(ends(1_000)))
        self._ids = IdSource()

    def __call__(self, content: Content) -> AnyEvent:
        event, now = next(self._events), time.time_ns()
        call_id = self._ids()
        call = msgspec.structs.replace(
            event.call, call_id=call_id, trace_id=call_id, span_id=span_id_of(call_id), at_ns=now
        )
        made = msgspec.structs.replace(event, id=self._ids(), at_ns=now, call=call, content=content)
        return cast(AnyEvent, made)


def publish(rt: Runtime, source: Source, count: int) -> None:
    """Publish so many events of 100 kB, as fast as it goes, and wait until they are in the journal."""
    for _ in range(count):
        rt.publish(source(fat()), KEPT)
    if not rt.delivery.writer.commit(60):
        raise SystemExit(f"the writer could not commit: {rt.delivery.writer.failing or 'it took over a minute'}")


def warm_up(rt: Runtime, source: Source) -> None:
    """Publish until the ledger has moved events to Parquet: that loads DuckDB, some 50 MB once a process."""
    while not any(account.sink == LEDGER and account.delivered for account in rt.delivery.accounts()):
        publish(rt, source, 100)


def resident_mb() -> float:
    """Resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
