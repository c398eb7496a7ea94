"""One host with a journal, a clock of its own and as many processes' workers as a test wants."""

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from random import Random

import msgspec

from callmeter.events.journal import Accounts, Journal, Row
from callmeter.events.journal_schema import END
from callmeter.events.model import AnyEvent, Attempt, CallFacts, CallSucceeded, Content
from callmeter.sinks.base import Sink
from callmeter.sinks.sending import Sender
from callmeter.sinks.worker import Worker
from callmeter.testing.clocks import FixedClock
from callmeter.transport import sync_transport
from callmeter.types import Cost, Usage

SENDER = sync_transport()


def ended(number: int, content_chars: int = 0) -> CallSucceeded:
    """The end of a call; its id is the number in 32 hex digits."""
    usage = Usage(input_tokens=10, output_tokens=number)
    cost = Cost(total=Decimal("0.000125"), status="priced")
    return CallSucceeded(
        id=f"{number:032x}",
        at_ns=1_750_000_000_000_000_000 + number,
        call=CallFacts(call_id=f"call-{number}", model="gpt-5", provider="openai"),
        usage=usage,
        cost=cost,
        attempts=(Attempt(number=1, provider="openai", model="gpt-5", usage=usage, cost=cost),),
        content=Content(messages=[{"role": "user", "content": "x" * content_chars}]) if content_chars else None,
    )


def ids(numbers: Sequence[int] | range) -> list[str]:
    """The ids of these events."""
    return [f"{number:032x}" for number in numbers]


def row(event: AnyEvent, *sinks: str) -> Row:
    """The event as the writer would append it."""
    call = event.call.call_id if hasattr(event, "call") else event.id
    body = msgspec.json.encode(event)
    return Row(id=event.id, call_id=call, kind=END, at_ns=event.at_ns, body=body, ledger=False, sinks=sinks)


class Host:
    """A home directory, its clock, and the processes on it, played one step at a time."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.clock = FixedClock()
        self.sender: Sender = SENDER
        self.journal = self.open()
        self.workers: list[Worker] = []

    def open(self) -> Journal:
        """A connection to the journal, as each process has its own."""
        return Journal.open(self.home, clock=self.clock)

    def worker(self, sink: Sink, owner: str = "live/one") -> Worker:
        """A process's worker for the sink, which the journal knows from here on."""
        self.journal.register(sink.identity(), sink.name, sink.endpoint)
        worker = Worker(sink, self.open, owner=owner, sender=self.sender, clock=self.clock, rng=Random(7))
        self.workers.append(worker)
        return worker

    def publish(self, sink: Sink, numbers: Sequence[int] | range, content_chars: int = 0) -> None:
        """Events for one sink, committed."""
        self.append(sink, [ended(number, content_chars) for number in numbers])

    def append(self, sink: Sink, events: Sequence[AnyEvent]) -> None:
        """These events for one sink, committed."""
        rows = [row(event, sink.identity()) for event in events]
        assert self.journal.append(rows) == len(rows)

    def turn(self, worker: Worker) -> float:
        """One step; returns seconds until the next. The accounts add up after every one."""
        now_ns = self.clock.mono_ns()
        wake_ns = worker.step(now_ns)
        self.accounts(worker.sink)
        assert wake_ns >= now_ns
        return (wake_ns - now_ns) / 1e9

    def run(self, worker: Worker, seconds: float, at_least_s: float = 0.001) -> None:
        """Let time pass, stepping whenever the worker asks to be woken."""
        end_ns = self.clock.mono_ns() + int(seconds * 1e9)
        while (left_s := (end_ns - self.clock.mono_ns()) / 1e9) > 0:
            wait_s = self.turn(worker)
            self.clock.advance(min(max(wait_s, at_least_s), left_s))

    def accounts(self, sink: Sink) -> Accounts:
        """The sink's accounts, which add up."""
        (found,) = [a for a in self.journal.accounts() if a.sink == sink.identity()]
        assert found.accepted == found.delivered + found.waiting + found.dead + found.dropped
        return found

    def dead(self, sink: Sink) -> dict[str, str]:
        """Reasons of the sink's dead letters by id."""
        return {letter.id: letter.reason for letter in self.journal.dead_letters(sink.identity(), limit=10_000)}

    def close(self) -> None:
        """End every process and the journal."""
        for worker in self.workers:
            worker.close()
        self.journal.close()
