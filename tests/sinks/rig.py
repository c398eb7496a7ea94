"""Sinks for tests of the worker, and waiting for what another thread does."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence

from callmeter.events.model import AnyEvent
from callmeter.sinks.base import Batch, Delivery, HttpSink, Sink
from callmeter.sinks.webhook import Webhook
from callmeter.wire import WireRequest


class Hook(Webhook):
    """A webhook that takes batches of 500 and options as keywords."""

    batch = Batch(max_events=500)

    def __init__(self, url: str, **options: object) -> None:
        super().__init__(url, **options)  # type: ignore[arg-type]


class OneEach(HttpSink):
    """A request for each event."""

    name = "one-each"
    dedupe_key = "id"

    def __init__(self, url: str) -> None:
        self.url = url

    def encode(self, events: Sequence[AnyEvent]) -> Iterator[tuple[WireRequest, Sequence[str]]]:
        for event in events:
            yield WireRequest(url=self.url, body=b'[{"id": "%s"}]' % event.id.encode()), [event.id]


class Scripted(Sink):
    """A plug-in: does what its function does, and remembers which events it was given in which batch."""

    name = "scripted"
    dedupe_key = "id"

    def __init__(self, export: Callable[[Sequence[AnyEvent]], object] | None = None, project: str = "") -> None:
        self.project = project
        self.batches: list[list[str]] = []
        self._export = export or (lambda events: Delivery(accepted=[e.id for e in events]))

    def export(self, events: Sequence[AnyEvent]) -> Delivery:
        self.batches.append([event.id for event in events])
        return self._export(events)  # type: ignore[return-value]


def until(true: Callable[[], object], what: str, deadline_s: float = 20.0) -> None:
    """Wait for something that another thread or process does."""
    end = time.monotonic() + deadline_s
    pause = threading.Event()
    while not true():
        assert time.monotonic() < end, f"{what}: not within {deadline_s:g} s"
        pause.wait(0.005)


def soon(seconds: float = 20.0) -> int:
    """A deadline on the machine's monotonic clock, ns."""
    return time.monotonic_ns() + int(seconds * 1e9)
