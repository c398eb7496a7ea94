"""Journals and compacts made-up calls: `pipeline_load.py COUNT`. Prints rates, and how soon an event is safe."""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple, cast

from benchmarks.harness import percentile
from benchmarks.ledger import ends
from callmeter import faultpoints
from callmeter.clock import IdSource, SystemClock
from callmeter.events.journal import Journal
from callmeter.events.model import AnyEvent
from callmeter.events.writer import Writer
from callmeter.settings import Settings
from callmeter.sinks.duckdb.compactor import Compactor

GROUP, ALONE = 25, 300
"""Events that open the journal, and events that are followed one by one."""

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


class Safety(NamedTuple):
    """How long an event took until it outlives a kill, and until it was in the journal; in milliseconds."""

    spooled_ms: list[float]
    committed_ms: list[float]


def safety(home: Path, events: list[AnyEvent], *, busy: bool) -> Safety:
    """Offer one event after the other. If `busy`, who offered it computes without a pause until it is committed."""
    clock, spooled = SystemClock(), list[float]()
    found = Safety([], [])

    def note(name: str) -> None:
        if name == "spool.write.after":
            spooled.append(time.perf_counter())

    writer = Writer(
        lambda: Journal.open(home), clock=clock, ids=IdSource(clock), settings=Settings(home=str(home)), ledger=True
    )
    journal(writer, events[:GROUP])
    faultpoints.handler = note
    for event in events[GROUP:]:
        spooled.clear()
        offered = time.perf_counter()
        writer.offer(event, 1_000)
        while writer.handoff.done < writer.handoff.offered:
            if busy:
                sum(range(1_000))
            else:
                time.sleep(0.0002)
        found.committed_ms.append((time.perf_counter() - offered) * 1e3)
        found.spooled_ms.append((spooled[0] - offered) * 1e3)
    faultpoints.handler = None
    writer.stop(60)
    return found


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
        idle = safety(Path(folder) / "idle", made(GROUP + ALONE, 3), busy=False)
        busy = safety(Path(folder) / "busy", made(GROUP + ALONE, 3), busy=True)
    found = {
        "journalled": journalled,
        "compacted": compacted,
        **{
            f"{beside}_{step}_{name}_ms": percentile(getattr(measured, f"{step}_ms"), share)
            for beside, measured in (("idle", idle), ("busy", busy))
            for step in ("spooled", "committed")
            for name, share in (("p50", 0.5), ("p99", 0.99))
        },
    }
    print(json.dumps(found), flush=True)


main()
