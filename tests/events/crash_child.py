"""A process that makes calls until it is killed. What was acknowledged it writes to a file outside the journal.

    python -m tests.events.crash_child HOME ACKS SEED [POINT COUNT]

At the COUNTth time POINT is passed the process ends as if killed. It keeps a second connection busy with everything the
workers and the compactor do, so that every fault point is passed.
"""

import os
import random
import sys
from collections import Counter
from pathlib import Path

import msgspec

from callmeter import faultpoints
from callmeter.clock import IdSource, SystemClock
from callmeter.events import salvage, store
from callmeter.events.intake import Want
from callmeter.events.journal import Journal, LedgerFile
from callmeter.events.model import CallFacts, CallStarted, CallSucceeded
from callmeter.events.writer import Writer
from callmeter.settings import Settings
from tests.events.made import end, loss_row

KEPT, SHED = "webhook:kept", "webhook:shed"
ids = IdSource()


def main(home: Path, acks: Path, seed: int) -> None:
    rng = random.Random(seed)
    store.CHECKPOINT_PAGES = 20
    writer = Writer(
        lambda: Journal.open(home),
        clock=SystemClock(),
        ids=ids,
        settings=Settings(),
        sinks=lambda: (Want(KEPT, (CallSucceeded,)),),
        ledger=True,
    )
    log = os.open(acks, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    mine = Journal.open(home)
    for turn in range(10_000):
        made = [publish(writer, rng.random() < 0.8) for _ in range(rng.randrange(1, 30))]
        if writer.commit(20):
            os.write(log, "".join(f"{id}\n" for id in made if id).encode())
        work(mine, turn)


def publish(writer: Writer, ends: bool) -> str:
    """Make a call; the id of its end, or nothing for one that stays open."""
    call = CallFacts(call_id=ids(), at_ns=1)
    writer.offer(CallStarted(id=ids(), at_ns=1, call=call), 500)
    if not ends:
        return ""
    event = CallSucceeded(id=ids(), at_ns=2, call=call)
    writer.offer(event, 500)
    return event.id


def work(journal: Journal, turn: int) -> None:
    """What a worker, a compactor and the command line do."""
    journal.register(KEPT, "webhook")
    journal.lease(KEPT, "child", 15)
    seqs = [queued.seq for queued in journal.due(KEPT, 5, 1 << 20)]
    journal.settle(
        KEPT, "child", accepted=seqs[:2], dead=dict.fromkeys(seqs[2:3], "bad"), retry=dict.fromkeys(seqs[3:], 1)
    )
    journal.revive(KEPT)
    journal.release(KEPT, "child")
    journal.enqueue(SHED, [end(turn)])
    journal.shed_content(loss_row)
    journal.drop_oldest(loss_row, SHED)
    journal.sweep()
    compact(journal)
    if turn % 5 == 4:
        salvage.suspect(journal.home, "a test says so")
        journal.close()
        Journal.open(journal.home).close()


def compact(journal: Journal) -> None:
    """Write half of the hot rows to a file and register it, as the compactor does with Parquet."""
    hot = journal.snapshot().hot
    hot = hot[: (len(hot) + 1) // 2]
    if not hot or not journal.lease("ledger", "child", 15):
        return
    path = journal.home / f"{hot[0][0]}-{hot[-1][0]}.json"
    path.write_bytes(msgspec.json.encode([msgspec.Raw(body) for _, body in hot]))
    file = LedgerFile(path.name, "2026-01-01", len(hot), hot[0][0], hot[-1][0], 1, "calls")
    journal.register_files("child", [file], hot[-1][0])


def die_at(point: str, count: int) -> None:
    """End the process the `count`th time a fault point is passed."""
    passed: Counter[str] = Counter()

    def handler(name: str) -> None:
        passed[name] += 1
        if name == point and passed[name] >= count:
            os._exit(137)

    faultpoints.handler = handler


if __name__ == "__main__":
    if len(sys.argv) > 4:
        die_at(sys.argv[4], int(sys.argv[5]))
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
