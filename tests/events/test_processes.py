"""The writer in real processes: forks, many of them on one home, and every way a process can end."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
import pytest

from callmeter.events.journal import Journal
from callmeter.events.model import AnyEvent
from tests.events.publisher import SINK, publish, writer_of

ROOT = Path(__file__).parents[2]
_event = msgspec.json.Decoder(AnyEvent)


def spawn(home: Path, count: int, way: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "tests.events.publisher", str(home), str(count), way]
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}
    return subprocess.Popen(command, cwd=ROOT, env=environ, stderr=subprocess.PIPE)


def calls_in(home: Path) -> int:
    """Ended calls in the journal, each once and each ended; the accounts add up."""
    journal = Journal.open(home)
    events = [_event.decode(body) for _, body in journal.snapshot().hot]
    calls = [event.call.call_id for event in events]
    assert len(set(calls)) == len(calls)
    assert journal.owners() == []
    for account in journal.accounts():
        assert account.missing == 0
        assert account.accepted == len(calls)
    journal.close()
    return len(calls)


@pytest.mark.parametrize(
    ("way", "code"),
    [
        ("normal", 0),
        ("sys.exit", 3),
        ("uncaught", 1),
        ("os._exit", 4),
        ("daemon", 0),
        ("late", 0),
        ("asyncio", 0),
        ("fork", 0),
        ("spawn", 0),
        ("forkserver", 0),
    ],
)
def test_whatever_way_a_process_ends_its_calls_are_in_the_journal(way: str, code: int, tmp_path: Path) -> None:
    child = spawn(tmp_path / "home", 100, way)
    _, errors = child.communicate(timeout=60)
    assert child.returncode == code, errors.decode()
    assert b"never awaited" not in errors
    assert calls_in(tmp_path / "home") == 100


def test_eight_processes_share_one_home(tmp_path: Path) -> None:
    home = tmp_path / "home"
    children = [spawn(home, 300, "normal") for _ in range(8)]
    for child in children:
        _, errors = child.communicate(timeout=120)
        assert child.returncode == 0, errors.decode()
    assert calls_in(home) == 8 * 300
    assert not list((home / "live").iterdir())


FORKS = 100


def test_a_fork_at_any_moment_never_hangs_and_both_sides_keep_their_calls(tmp_path: Path) -> None:
    home = tmp_path / "home"
    writer = writer_of(home)
    busy, forked = threading.Event(), 0
    published = 0

    def keep_publishing() -> None:
        nonlocal published
        while not busy.is_set():
            publish(writer, 5)
            published += 5
            writer.commit(20)

    thread = threading.Thread(target=keep_publishing)
    thread.start()
    try:
        for _ in range(FORKS):
            pid = os.fork()
            if not pid:
                publish(writer, 1)
                os._exit(0 if writer.commit(20) else 9)
            forked += 1
            assert _exit_code(pid) == 0
    finally:
        busy.set()
        thread.join(30)
    assert writer.stop(20)
    assert published > 0
    assert calls_in(home) == published + forked


def _exit_code(pid: int) -> int:
    deadline = time.monotonic() + 30
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            pytest.fail("a forked child hangs")
        threading.Event().wait(0.001)


def test_a_forked_child_holds_a_lock_of_its_own(tmp_path: Path) -> None:
    home = tmp_path / "home"
    writer = writer_of(home)
    publish(writer, 1)
    assert writer.commit(20)
    (parents,) = (path.name for path in (home / "live").iterdir())
    pid = os.fork()
    if not pid:
        publish(writer, 1)
        writer.commit(20)
        os._exit(0 if len(list((home / "live").iterdir())) == 2 else 9)
    assert _exit_code(pid) == 0
    writer.stop(20)
    assert parents not in [path.name for path in (home / "live").iterdir()]
    assert SINK in [account.sink for account in Journal.open(home).accounts()]
