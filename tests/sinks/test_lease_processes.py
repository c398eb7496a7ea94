"""Three processes with the same sink: one delivers, and another when it is killed or paused (faults 2, 13, 16)."""

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from callmeter.events.journal import Accounts, Journal
from callmeter.testing.faultserver import FaultServer
from callmeter.testing.host import Host, ended, ids, row
from tests.sinks.one_process import Signed
from tests.sinks.rig import until

NAMES = ("a", "b", "c")


class Trio:
    """The processes, and the journal they share."""

    def __init__(self, home: Path, server: FaultServer) -> None:
        self.server, self.sink = server, Signed(server.url)
        self.journal = Journal.open(home)
        self.running = {
            name: subprocess.Popen(
                [sys.executable, "-m", "tests.sinks.one_process", home, server.url, name],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )
            for name in NAMES
        }  # fmt: skip
        for process in self.running.values():
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"

    def publish(self, numbers: range) -> None:
        self.journal.append([row(ended(n), self.sink.identity()) for n in numbers])

    def accounts(self) -> Accounts:
        (found,) = self.journal.accounts()
        assert found.accepted == found.delivered + found.waiting + found.dead + found.dropped
        return found

    def holder(self) -> str:
        return self.accounts().lease_owner.removeprefix("live/")

    def senders(self) -> Counter[str]:
        return Counter(r.headers["x-process"] for r in self.server.received)

    def close(self) -> None:
        for process in self.running.values():
            process.communicate()
        self.journal.close()


@pytest.fixture
def trio(tmp_path: Path, server: FaultServer) -> Iterator[Trio]:
    one = Trio(tmp_path / "home", server)
    yield one
    one.close()


def test_one_of_three_processes_delivers_and_another_follows_when_it_is_killed(trio: Trio) -> None:
    for first in range(0, 500, 50):
        trio.publish(range(first, first + 50))
    until(lambda: trio.accounts().delivered == 500, "delivery")
    killed = trio.holder()
    assert set(trio.senders()) == {killed}
    trio.running[killed].kill()
    assert trio.running[killed].wait() == -signal.SIGKILL
    trio.publish(range(500, 600))
    until(lambda: trio.accounts().delivered == 600, "delivery by another process")
    assert trio.holder() in set(NAMES) - {killed}
    assert trio.server.taken == dict.fromkeys(ids(range(600)), 1)


def test_a_process_killed_in_the_middle_of_a_send_loses_nothing(trio: Trio) -> None:
    trio.server.hang(times=1)
    trio.publish(range(100))
    until(lambda: trio.server.acts["hang"], "the send to hang")
    killed = trio.holder()
    trio.running[killed].kill()
    assert trio.running[killed].wait() == -signal.SIGKILL
    until(lambda: trio.accounts().delivered == 100, "delivery by another process")
    assert set(trio.server.taken) == set(ids(range(100)))


def test_a_paused_process_finds_its_lease_gone_and_sends_nothing_twice(trio: Trio) -> None:
    trio.publish(range(10))
    until(lambda: trio.accounts().delivered == 10, "delivery")
    paused = trio.holder()
    os.kill(trio.running[paused].pid, signal.SIGSTOP)
    trio.publish(range(10, 20))
    until(lambda: trio.accounts().delivered == 20, "delivery by another process")
    assert trio.holder() != paused
    os.kill(trio.running[paused].pid, signal.SIGCONT)
    for first in range(20, 40, 10):
        trio.publish(range(first, first + 10))
        until(lambda first=first: trio.accounts().delivered == first + 10, "delivery")  # type: ignore[misc]
    assert trio.holder() != paused
    assert trio.server.taken == dict.fromkeys(ids(range(40)), 1)


def test_a_process_that_ends_hands_its_lease_over_at_once(trio: Trio) -> None:
    trio.publish(range(10))
    until(lambda: trio.accounts().delivered == 10, "delivery")
    ending = trio.holder()
    trio.running.pop(ending).communicate()
    until(lambda: trio.holder() not in ("", ending), "another holder", deadline_s=10.0)


POINTS = [
    *(f"worker.send.{side}" for side in ("before", "after")),
    *(f"journal.{what}.{side}_commit" for what in ("register", "lease", "settle") for side in ("before", "after")),
    *(f"journal.release.{side}_commit" for side in ("before", "after")),
]


@pytest.mark.parametrize("point", POINTS)
def test_a_process_that_dies_at_any_point_of_a_delivery_loses_nothing(
    host: Host, server: FaultServer, point: str
) -> None:
    sink = Signed(server.url)
    host.publish(sink, range(100))
    command = [sys.executable, "-m", "tests.sinks.one_process", host.home, server.url, "dying", point]
    assert subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL).returncode == 137
    host.run(host.worker(sink), 5)
    assert host.accounts(sink).delivered == 100
    assert set(server.taken) == set(ids(range(100)))
    sent_before_it_died = {"worker.send.after", "journal.settle.before_commit"}
    assert set(server.taken.values()) == {2 if point in sent_before_it_died else 1}
