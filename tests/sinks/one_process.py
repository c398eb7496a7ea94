"""A process that has a webhook configured: `python -m tests.sinks.one_process HOME URL NAME [POINT]`.

It ends with its input, or with status 137 where it passes the fault point.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from callmeter import faultpoints
from callmeter.events.journal import Journal
from callmeter.events.model import AnyEvent
from callmeter.sinks.supervisor import Workers
from callmeter.testing.host import SENDER
from callmeter.wire import WireRequest
from tests.sinks.rig import Hook, soon


class Signed(Hook):
    """Says which process sent a request."""

    process = ""

    def encode(self, events: Sequence[AnyEvent]) -> Iterator[tuple[WireRequest, Sequence[str]]]:
        for request, ids in super().encode(events):
            headers = {**request.headers, "x-process": self.process}
            yield msgspec.structs.replace(request, headers=headers), ids


def die_at(point: str) -> None:
    """End as kill -9 would, at the named place."""
    assert point in faultpoints.POINTS

    def handler(name: str) -> None:
        if name == point:
            os._exit(137)

    faultpoints.handler = handler


def main(home: Path, url: str, name: str, point: str = "") -> None:
    if point:
        die_at(point)
    sink = Signed(url)
    sink.process = name
    workers = Workers(lambda: Journal.open(home), owner=lambda: f"live/{name}", sender=lambda: SENDER)
    workers.start([sink])
    print("ready", flush=True)
    sys.stdin.read()
    workers.stop(soon(5.0))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
