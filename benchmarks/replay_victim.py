"""A replay client that is to die: at a fault point of its own, or from outside.

    python -m benchmarks.replay_victim VICTIM

VICTIM is the JSON of a `Victim`. It calls like `replay_client`. One that is to die at a fault point has a sink beside
the ledger that takes everything, noting each event's id outside of callmeter.
"""

import asyncio
import os
import sys
import time
from collections.abc import Sequence
from typing import ClassVar

import msgspec
from msgspec import Struct

import callmeter
from benchmarks.replay_client import Client, Share
from callmeter import faultpoints
from callmeter.events import store
from callmeter.events.model import AnyEvent
from callmeter.sinks.base import Delivery, Sink
from callmeter.sinks.duckdb import compactor

HOT_ROWS, WAL_PAGES, LEASE_S = 6, 40, 0.5
"""Rows that make the compactor write a file, pages that make the writer empty the log, and how soon leases lapse."""


class Victim(Struct, frozen=True, kw_only=True):
    """What a victim does until it dies."""

    share: Share
    taken: str
    """File the sink notes the ids of events in."""
    die_at: str = ""
    """Fault point to die at; empty: it is killed from outside."""
    after: int = 0
    """Acknowledged calls before that fault point counts."""
    died: str = ""
    """File it notes the fault point and the wall time in, last of all."""


class Keeper(Sink):
    """Takes every event and writes its id down."""

    name: ClassVar[str] = "keeper"
    dedupe_key: ClassVar[str] = "id"

    def __init__(self, path: str) -> None:
        self.endpoint = path
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def export(self, events: Sequence[AnyEvent]) -> Delivery:
        """Note the ids, then say so."""
        os.write(self._fd, "".join(f"{event.id}\n" for event in events).encode())
        return Delivery(accepted=[event.id for event in events])


def arm(victim: Victim, client: Client) -> None:
    """Have the fault point end this process as kill -9 would: no handler, no exit code of Python's, no flush."""

    def handler(name: str) -> None:
        if name == victim.die_at and client.acknowledged >= victim.after:
            fd = os.open(victim.died, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            os.write(fd, f"{name} {time.time_ns()}\n".encode())
            os._exit(137)

    faultpoints.handler = handler


def hurry() -> None:
    """Give writer and compactor reason to tidy up all the time, so that their fault points are passed soon."""
    store.CHECKPOINT_PAGES, compactor.MAX_HOT_ROWS, compactor.POLL_NS = WAL_PAGES, HOT_ROWS, 20_000_000
    compactor.TIDY_EVERY_NS = compactor.GRACE_NS = 0
    compactor.LEASE_S = compactor.MERGE_LEASE_S = LEASE_S


def main() -> None:
    """Make the calls, or die trying."""
    victim = msgspec.json.decode(sys.argv[1], type=Victim)
    if victim.die_at:
        hurry()
        callmeter.callbacks = [Keeper(victim.taken)]
    client = Client(victim.share)
    if victim.die_at:
        arm(victim, client)
    print("ready", flush=True)
    asyncio.run(client.run())


if __name__ == "__main__":
    main()
