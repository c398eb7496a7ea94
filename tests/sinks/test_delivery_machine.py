"""Whatever a destination does and whoever is killed: nothing lost, nothing doubled at a sink that upserts."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from callmeter.events.model import AnyEvent
from callmeter.sinks.base import Batch, Delivery, Misconfigured, Refused, RetryLater, TooLarge
from callmeter.sinks.worker import Worker
from callmeter.testing.host import Host, ids
from tests.sinks.rig import Scripted

OUTCOMES = (
    "take",
    "take",
    "part",
    "refuse one",
    "refuse all",
    "busy",
    "away",
    "lost answer",
    "too large",
    "forbidden",
    "raise",
    "nonsense",
    "die",
)


class Small(Scripted):
    name = "small"
    batch = Batch(max_events=8)


class DeliveryMachine(RuleBasedStateMachine):
    """Two processes share a sink; the destination upserts by id and answers as drawn."""

    processes = Bundle("processes")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.host = Host(Path(self.folder.name))
        self.sink = Small(self.export)
        self.host.journal.register(self.sink.identity(), "small")
        self.workers: dict[str, Worker] = {}
        self.outcomes: list[str] = []
        self.there: set[str] = set()
        self.confirmed: set[str] = set()
        self.published = 0
        self.healthy = False

    # --- the destination

    def export(self, events: Sequence[AnyEvent]) -> object:
        sent = [event.id for event in events]
        assert not self.confirmed.intersection(sent), "sent again after it was acknowledged"
        assert len(set(sent)) == len(sent) <= 8
        outcome = "take" if self.healthy else self.outcomes.pop(0) if self.outcomes else "take"
        match outcome:
            case "take":
                return self.take(sent)
            case "part":
                return self.take(sent[::2])
            case "refuse one":
                taken = self.take(sent[1:])
                return Delivery(accepted=taken.accepted, refused={sent[0]: "odd"})
            case "lost answer":
                self.there.update(sent)
                raise RetryLater("reset", uncertain=True)
            case "nonsense":
                self.there.update(sent)
                return sent
        raise {
            "refuse all": Refused("odd"),
            "busy": RetryLater("429", 30.0),
            "away": RetryLater("503"),
            "too large": TooLarge("413"),
            "forbidden": Misconfigured("403"),
            "raise": KeyError("bug"),
            "die": SystemExit("gone"),
        }[outcome]

    def take(self, sent: Sequence[str]) -> Delivery:
        self.there.update(sent)
        self.confirmed.update(sent)
        return Delivery(accepted=sent)

    # --- what happens

    @initialize(target=processes)
    def begin(self) -> str:
        return self.start("live/0")

    @rule(target=processes, number=st.integers(0, 2))
    def start_process(self, number: int) -> str:
        return self.start(f"live/{number}")

    def start(self, owner: str) -> str:
        if owner not in self.workers:
            self.workers[owner] = self.host.worker(self.sink, owner)
        return owner

    @rule(count=st.integers(1, 20))
    def publish(self, count: int) -> None:
        self.host.publish(self.sink, range(self.published, self.published + count))
        self.published += count

    @rule(owner=processes, outcomes=st.lists(st.sampled_from(OUTCOMES), max_size=6))
    def step(self, owner: str, outcomes: list[str]) -> None:
        if owner in self.workers:
            self.outcomes = outcomes
            self.turn(self.workers[owner])

    def turn(self, worker: Worker) -> None:
        try:
            worker.step(self.host.clock.mono_ns())
        except SystemExit:
            pass

    @rule(seconds=st.sampled_from([0.1, 1.0, 3.0, 10.0, 61.0, 1000.0]))
    def wait(self, seconds: float) -> None:
        self.host.clock.advance(seconds)

    @rule(owner=processes)
    def kill_process(self, owner: str) -> None:
        self.workers.pop(owner, None)

    @rule(owner=processes)
    def end_process(self, owner: str) -> None:
        worker: Any = self.workers.pop(owner, None)
        if worker is not None:
            worker.close()

    @rule()
    def replay_dead_letters(self) -> None:
        dead = self.host.accounts(self.sink).dead
        assert self.host.journal.revive(self.sink.identity()) == dead

    # --- what always holds

    @invariant()
    def the_accounts_add_up_and_nothing_is_confirmed_that_is_not_counted(self) -> None:
        accounts = self.host.accounts(self.sink)
        assert accounts.accepted == self.published
        assert accounts.delivered == len(self.confirmed)
        assert accounts.dropped == 0
        assert self.confirmed <= self.there <= set(ids(range(self.published)))
        assert not self.confirmed.intersection(self.host.dead(self.sink))

    def teardown(self) -> None:
        self.healthy = True
        self.host.journal.revive(self.sink.identity())
        worker = self.host.worker(self.sink, "live/last")
        for other in self.workers.values():
            other.close()
        for _ in range(200):
            self.turn(worker)
            self.host.clock.advance(10)
        accounts = self.host.accounts(self.sink)
        assert (accounts.delivered, accounts.waiting, accounts.dead) == (self.published, 0, 0)
        assert self.there == set(ids(range(self.published)))
        self.host.close()
        self.folder.cleanup()


TestDelivery = DeliveryMachine.TestCase
TestDelivery.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
