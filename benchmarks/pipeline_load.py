"""Journals and compacts made-up calls: `pipeline_load.py COUNT`. Prints rates and commit times."""

import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import cast

from benchmarks.ledger import ends, stored
from callmeter.clock import IdSource, SystemClock
from callmeter.events.journal import Journal
from callmeter.events.journal_schema import END, Row
from callmeter.events.model import AnyEvent
from callmeter.events.writer import Writer
from callmeter.settings import Settings
from callmeter.sinks.duckdb.compactor import Compactor

GROUP, GROUPS = 25, 60
HANDED_OVER = 2_000
"""Events offered before the writer is waited for: well within its bound."""


def cpu_rate(count: int, work: Callable[[], object]) -> float:
    """How many a second of the process's CPU time."""
    began = time.process_time()
    work()
    return count / (time.process_time() - began)


def made(count: int, seed: int = 1) -> list[AnyEvent]:
    """Made-up ends of calls."""
    return [cast(AnyEvent, end) for end in ends(count, seed)]


def journal(writer: Writer, events: list[AnyEvent]) -> None:
    """Offer everything and wait until it is committed."""
    for at in range(0, len(events), HANDED_OVER):
        for event in events[at : at + HANDED_OVER]:
            writer.offer(event, 1_000)
        if not writer.commit(60):
            raise SystemExit(f"the writer could not commit: {writer.failing or 'it took longer than a minute'}")


def commits_ms(home: Path, rows: list[Row], *, busy: bool) -> list[float]:
    """How long each group took to commit, in order of size."""
    took: list[float] = []

    def write() -> None:
        with closing(Journal.open(home)) as opened:
            for at in range(0, len(rows), GROUP):
                began = time.perf_counter()
                opened.append(rows[at : at + GROUP])
                took.append((time.perf_counter() - began) * 1e3)

    thread = threading.Thread(target=write)
    thread.start()
    while busy and thread.is_alive():
        sum(range(1_000))
    thread.join()
    return sorted(took)


def main() -> None:
    """Measure and print."""
    count = int(sys.argv[1])
    with tempfile.TemporaryDirectory(prefix="callmeter-pipeline-") as folder:
        home, clock = Path(folder) / "home", SystemClock()
        events = made(count)
        settings = Settings(home=str(home))
        writer = Writer(lambda: Journal.open(home), clock=clock, ids=IdSource(clock), settings=settings, ledger=True)
        with closing(Compactor(lambda: Journal.open(home), home, owner="benchmark")) as compactor:
            # The first ones bear what happens once: files made, libraries loaded.
            journal(writer, made(1_000, seed=2))
            compactor.compact()
            journalled = cpu_rate(count, lambda: journal(writer, events))
            writer.stop(60)
            compacted = cpu_rate(count, compactor.compact)
        rows = [Row(e.id, e.call.call_id, END, e.at_ns, stored(e), True) for e in ends(GROUP * GROUPS, 3)]
        idle = commits_ms(Path(folder) / "idle", rows, busy=False)
        busy = commits_ms(Path(folder) / "busy", rows, busy=True)
    found = {
        "journalled": journalled,
        "compacted": compacted,
        "idle_ms": idle[len(idle) // 2],
        "busy_ms": busy[len(busy) // 2],
        "busy_p99_ms": busy[int(len(busy) * 0.99)],
    }
    print(json.dumps(found), flush=True)


main()
