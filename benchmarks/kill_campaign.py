"""Kills clients amid a replay, at random instants and at fault points, and checks that nothing kept is lost or doubled.

    python benchmarks/kill_campaign.py [--instants 200] [--points] [--durability process|sync] [--window-ms 10]

Each round has a home and a provider of its own. A client process replays requests with the ledger on and notes, in a
file of its own, the numbers of the calls whose end was acknowledged: with `sync` when the call returned, with `process`
when a flush after it said that the journal has it. SIGKILL ends it at an instant drawn from the seed; or, with
`--points`, it ends itself at a named fault point. Another process then opens the home, recovers and compacts, and
`replay_check.py` compares: what was acknowledged is there once and agrees to the digit; of the rest, what reached the
provider is `process_died` or began within the window before the kill. Every round proves that the kill happened. Exit
code 1 if any round is unsound.
"""

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

from benchmarks.replay_check import Deaths, Report, check, verdict
from benchmarks.replay_client import Share, requests
from benchmarks.replay_mix import asked
from benchmarks.replay_provider import FailFirst
from benchmarks.replay_trace import ROOT, environment
from benchmarks.replay_victim import Victim
from callmeter.clock import SystemClock
from callmeter.events.journal import Journal
from callmeter.events.recovery import recover
from callmeter.sinks.duckdb.compactor import Compactor
from callmeter.testing import FakeProvider

OUT_OF_REACH = {
    "journal.quarantine": "needs a damaged journal",
    "journal.salvage": "needs a damaged journal",
    "journal.set_aside": "needs a damaged row",
    "journal.hot.set_aside": "needs a damaged row",
    "journal.revive": "needs `callmeter dead-letters replay`",
    "journal.enqueue": "needs `callmeter replay`",
    "journal.files.drop": "needs days past their retention",
    "journal.shed": "needs a full disk or journal",
    "journal.drop": "needs a full disk or journal",
    "export.rename": "needs `callmeter export`",
    "ledger.restore": "needs files that no journal knows",
}
"""Fault points that no client passes, by the beginning of their names; each is a test's beside the module it is in."""

CALLS = 4_000
"""More than a client makes before it is killed."""

FEW_CALLS = 2_000
"""Enough for a client to pass every fault point within reach."""

LATEST_S = 0.8
"""The kill comes at most this long after the provider's first answer."""

PATIENCE_S = 60.0


class Later(SystemClock):
    """A clock by which a dead compactor's lease has run out."""

    @staticmethod
    def wall_ns() -> int:
        """An hour from now."""
        return time.time_ns() + 3600 * 10**9


class Round(Struct, frozen=True, kw_only=True):
    """One client's death and what came of it."""

    cause: str
    """The instant or the fault point."""
    acknowledged: int
    report: Report

    def __str__(self) -> str:
        calls = sum(part.calls for part in self.report.ledger.values())
        oldest_ms = max(self.report.missing.values(), default=0) / 1e6
        died, missing = self.report.died, [*self.report.missing]
        return (
            f"{self.cause}: {self.acknowledged} acknowledged, {calls} ended, process_died {died}, "
            f"missing {missing} (oldest {oldest_ms:.1f} ms)\n    {verdict(self.report)}"
        )


Client = subprocess.Popen[bytes]


class Scene:
    """A home, a provider and the files of one round."""

    def __init__(self, folder: Path, durability: str, seed: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.home, self.served, self.acks = folder / "home", folder / "served.jsonl", folder / "acks"
        self.taken, self.died = folder / "taken", folder / "died"
        self.durability, self.seed = durability, seed
        self.served.touch()

    @contextmanager
    def provider(self) -> Iterator[FakeProvider]:
        """A provider whose count is complete once it has stopped."""
        with FakeProvider(count_file=str(self.served), keep=0) as provider:
            provider.script(FailFirst(), times=None)
            yield provider
            # The clients are gone: each of their connections ends, and is counted.
            provider.wait_for(lambda p: p.open_connections == 0, PATIENCE_S)

    def victim(self, provider: FakeProvider, share: Share, die_at: str = "", after: int = 0) -> Client:
        """A client process, about to begin."""
        at_once = self.durability == "sync"
        share = msgspec.structs.replace(share, url=provider.url, acks=str(self.acks), at_once=at_once, in_flight=16)
        victim = Victim(share=share, taken=str(self.taken), die_at=die_at, after=after, died=str(self.died))
        command = [sys.executable, "-m", "benchmarks.replay_victim", msgspec.json.encode(victim).decode()]
        environ = environment(self.home, durability=self.durability)
        process = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        return process

    def kill(self, provider: FakeProvider, share: Share, delay_s: float) -> int:
        """A client killed so long after its first answer. Returns the wall time of the kill."""
        before = provider.counts.calls
        with self.victim(provider, share) as process:
            provider.wait_for(lambda p: p.counts.calls > before, PATIENCE_S)
            time.sleep(delay_s)
            at_ns = time.time_ns()
            process.kill()
        if process.returncode != -signal.SIGKILL:
            raise RuntimeError(f"the client ended with {process.returncode} before it was killed; give it more calls")
        return at_ns

    def reopened(self, at_ns: Sequence[int], window_ns: int) -> tuple[int, Report]:
        """Recover, compact and compare; how many calls had been acknowledged, and the report."""
        with closing(Journal.open(self.home)) as journal:
            recover(journal, SystemClock())
        compactor = Compactor(lambda: Journal.open(self.home, clock=Later()), self.home, owner="campaign")
        with closing(compactor):
            compactor.compact()
        known = frozenset(map(int, self.acks.read_text().split())) if self.acks.exists() else frozenset[int]()
        deaths = Deaths(acknowledged=known, at_ns=tuple(at_ns), window_ns=0 if self.durability == "sync" else window_ns)
        every = requests(Share(url="", seed=self.seed, count=CALLS))
        report = check(self.home, self.served, lambda number: asked(number, every[number], self.seed), deaths)
        self._check_sink(report)
        return len(known), report

    def _check_sink(self, report: Report) -> None:
        taken = set(self.taken.read_text().split()) if self.taken.exists() else set[str]()
        for account in report.accounts:
            if account.sink.startswith("keeper:") and account.delivered > len(taken):
                report.differences.append(f"{account.delivered} events count as delivered, {len(taken)} arrived")


def at_instant(folder: Path, seed: int, durability: str, window_ms: float) -> Round:
    """One round of SIGKILL at an instant drawn from the seed."""
    scene, delay_s = Scene(folder, durability, seed), random.Random(seed).uniform(0, LATEST_S)
    with scene.provider() as provider:
        at_ns = scene.kill(provider, Share(url="", seed=seed, count=CALLS), delay_s)
    acknowledged, report = scene.reopened([at_ns], int(window_ms * 1e6))
    return Round(cause=f"seed {seed}, killed {delay_s:.3f} s in", acknowledged=acknowledged, report=report)


def at_point(folder: Path, point: str, seed: int, durability: str, window_ms: float) -> Round | None:
    """One round of death at a fault point; None where the client was done without passing it.

    The home has seen a death before: a first client is killed, and what it left is the second's to recover.
    """
    chance = random.Random(f"{seed}:{point}")
    # Some points are passed only before the first acknowledgement, some only where frequent commits make many small
    # files, and those of the spool only where no call waits for its commit. They have another chance, in another home.
    chances = ((durability, chance.randint(10, 60)), (durability, 0), ("sync", 0), ("process", 0))
    for number, (kept, after) in enumerate(dict.fromkeys(chances)):
        scene = Scene(folder / str(number), kept, seed)
        first = Share(url="", seed=seed, count=CALLS, every=2)
        second = msgspec.structs.replace(first, count=FEW_CALLS, first=1)
        with scene.provider() as provider:
            killed_ns = scene.kill(provider, first, chance.uniform(0, LATEST_S / 2))
            with scene.victim(provider, second, point, after) as process:
                pass
        if scene.died.exists():
            name, _, at = scene.died.read_text().partition(" ")
            if (process.returncode, name) != (137, point):
                raise RuntimeError(f"the client ended with {process.returncode} at {name!r}, not 137 at {point!r}")
            acknowledged, report = scene.reopened([killed_ns, int(at)], int(window_ms * 1e6))
            return Round(cause=f"seed {seed}, {kept}, died at {point}", acknowledged=acknowledged, report=report)
    return None


def points() -> list[str]:
    """Names of the fault points within reach of a client."""
    from callmeter.faultpoints import POINTS

    return [name for name in POINTS if not name.startswith(tuple(OUT_OF_REACH))]


def main() -> None:
    """Run the rounds asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--instants", type=int, default=200, help="rounds of SIGKILL at random instants")
    parser.add_argument("--points", action="store_true", help="a round at each fault point too")
    parser.add_argument("--durability", choices=("process", "sync"), help="default: the two by turns")
    parser.add_argument("--seed", type=int, default=1, help="of the first round; the others follow")
    parser.add_argument("--window-ms", type=float, default=10.0, help="how old a missing call may be")
    given = parser.parse_args()
    unsound = 0
    causes = [*range(given.seed, given.seed + given.instants), *(points() if given.points else ())]
    for number, cause in enumerate(causes):
        durability = given.durability or ("process", "sync")[number % 2]
        with tempfile.TemporaryDirectory(prefix="callmeter-kill-") as folder:
            if isinstance(cause, int):
                found: Round | None = at_instant(Path(folder), cause, durability, given.window_ms)
            else:
                found = at_point(Path(folder), cause, given.seed, durability, given.window_ms)
        unsound += found is None or not found.report.sound
        print(f"{number + 1}/{len(causes)} {durability}: {found or f'{cause} was never passed'}", flush=True)
    print(f"{len(causes)} rounds, {unsound} unsound")
    sys.exit(1 if unsound else 0)


if __name__ == "__main__":
    main()
