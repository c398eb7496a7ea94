"""A process that publishes some calls and ends in a given way.

python -m tests.events.publisher HOME COUNT WAY
"""

import asyncio
import multiprocessing
import os
import sys
import threading
from pathlib import Path

from callmeter.clock import IdSource, SystemClock
from callmeter.events.intake import Want
from callmeter.events.journal import Journal
from callmeter.events.model import CallFacts, CallStarted, CallSucceeded
from callmeter.events.writer import Writer
from callmeter.settings import Settings

SINK = "webhook:a"
ids = IdSource()


def writer_of(home: Path) -> Writer:
    """A writer with the ledger and one sink on."""
    return Writer(
        lambda: Journal.open(home),
        clock=SystemClock(),
        ids=ids,
        settings=Settings(),
        sinks=lambda: (Want(SINK, (CallSucceeded,)),),
        ledger=True,
    )


def publish(writer: Writer, count: int) -> None:
    """Make so many calls."""
    for _ in range(count):
        call = CallFacts(call_id=ids(), at_ns=1)
        writer.offer(CallStarted(id=ids(), at_ns=1, call=call), 500)
        writer.offer(CallSucceeded(id=ids(), at_ns=2, call=call), 500)


def publish_in_child(home: Path, count: int) -> None:
    """What a spawned process runs: it has no writer yet."""
    publish(writer_of(home), count)


async def publish_async(writer: Writer) -> None:
    """One call within a loop of its own."""
    await asyncio.sleep(0)
    publish(writer, 1)


def main(home: Path, count: int, way: str) -> None:
    writer = writer_of(home)
    if way == "asyncio":
        for _ in range(count):
            asyncio.run(publish_async(writer))
    elif way in ("fork", "spawn", "forkserver"):
        publish(writer, 1)
        context = multiprocessing.get_context(way)
        work = (publish, (writer, count - 1)) if way == "fork" else (publish_in_child, (home, count - 1))
        child = context.Process(target=work[0], args=work[1])
        child.start()
        child.join()
        sys.exit(child.exitcode)
    elif way == "daemon":
        thread = threading.Thread(target=publish, args=(writer, count), daemon=True)
        thread.start()
        thread.join()
    elif way == "late":
        # What is published once everything was stopped, as a stream's finaliser may do.
        writer.stop()
        publish(writer, count)
    else:
        publish(writer, count)
    if way == "sys.exit":
        sys.exit(3)
    if way == "uncaught":
        raise ValueError("on purpose")
    if way == "os._exit":
        writer.commit(10)
        os._exit(4)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
