"""Kills processes that make calls, and checks what the journal they leave behind says against what was acknowledged."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
from msgspec import Struct

from callmeter.clock import SystemClock
from callmeter.events.journal import Journal
from callmeter.events.model import AnyEvent, CallFailed, CallSucceeded
from callmeter.events.recovery import recover

ROOT = Path(__file__).parents[2]
_events = msgspec.json.Decoder(list[AnyEvent])


class Outcome(Struct):
    """What a crash left behind."""

    acknowledged: int
    ended: int
    died: int
    open_s: float


def start_child(home: Path, acks: Path, seed: int, *fault: str) -> "subprocess.Popen[bytes]":
    """Start a process that makes calls."""
    command = [sys.executable, "-m", "tests.events.crash_child", str(home), str(acks), str(seed), *fault]
    return subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE)


def kill_at_random(home: Path, acks: Path, seed: int) -> None:
    """Let a process make calls and kill it at a random instant after the first were acknowledged."""
    child = start_child(home, acks, seed)
    before = acks.stat().st_size if acks.exists() else 0
    deadline = time.monotonic() + 30
    while not acks.exists() or acks.stat().st_size == before:
        assert child.poll() is None, child.communicate()[1]
        assert time.monotonic() < deadline, "no call was acknowledged within 30 s"
        time.sleep(0.005)
    time.sleep(random.Random(seed).random() * 0.3)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert child.stderr
    child.stderr.close()


def check(home: Path, acks: Path) -> Outcome:
    """Recover, then compare: each acknowledged end is there once, each call has one end, the accounts add up."""
    began = time.perf_counter()
    journal = Journal.open(home)
    open_s = time.perf_counter() - began
    recover(journal, SystemClock())
    assert journal.owners() == []
    snapshot = journal.snapshot()
    bodies = [body for _, body in snapshot.hot]
    events = _events.decode(b"[" + b",".join(bodies) + b"]")
    for file in snapshot.files:
        events += _events.decode((home / file.path).read_bytes())
    ends = [event for event in events if isinstance(event, CallSucceeded | CallFailed)]
    ids = [event.id for event in ends]
    calls = [event.call.call_id for event in ends]
    assert len(ids) == len(set(ids)), "an event is there twice"
    assert len(calls) == len(set(calls)), "a call has two ends"
    acknowledged = set(acks.read_text().split()) if acks.exists() else set()
    assert acknowledged <= set(ids), f"{len(acknowledged - set(ids))} acknowledged ends are lost"
    died = [event for event in ends if isinstance(event, CallFailed)]
    assert all(event.error is not None and event.error.error_class == "process_died" for event in died)
    assert [account for account in journal.accounts() if account.missing] == []
    journal.close()
    return Outcome(len(acknowledged), len(ends), len(died), open_s)
