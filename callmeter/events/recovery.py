"""Calls whose process died: who is alive, and the end event for those who are not."""

import fcntl
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from callmeter.clock import Clock
from callmeter.errors import HomeError
from callmeter.events import spool
from callmeter.events.home import refused
from callmeter.events.journal import END, Journal, OpenCall, Row
from callmeter.events.model import CallFailed, CallStarted, ErrorFacts
from callmeter.faultpoints import point
from callmeter.types import Cost

_before_append = point("recovery.before_append", "a dead process's lock is ours, its calls are still open")
_before_unlink = point("recovery.before_unlink", "a dead process's calls are closed, its lock file is still there")

_start = msgspec.json.Decoder(CallStarted)


class Liveness:
    """A lock held for the life of this process: `live/<32 random hex digits>` in the home.

    It is a `flock`, which belongs to the open file and so is shared with forked children until they close it; a child
    must call `abandon` and take one of its own. Nothing relies on process numbers, which containers repeat.
    """

    def __init__(self, home: Path) -> None:
        folder = home / "live"
        folder.mkdir(mode=0o700, exist_ok=True)
        self._fd = -1
        while self._fd < 0:
            self.name = os.urandom(16).hex()
            self.path = folder / self.name
            self._fd = _locked(self.path, os.O_CREAT | os.O_EXCL)

    def abandon(self) -> None:
        """Close the file without unlocking it: in a forked child, where the lock is still the parent's."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def release(self) -> None:
        """Give the lock up, for a process that leaves no call open."""
        if self._fd >= 0:
            self.path.unlink(missing_ok=True)
            self.abandon()


def _locked(path: Path, flags: int = 0) -> int:
    """A descriptor that holds the file's lock, or -1 where somebody else does or removed the file meanwhile."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | flags, 0o600)
    except FileNotFoundError:
        return -1
    except OSError as error:
        raise refused(error, f"cannot use {path}: {error.strerror}; make it writable or remove it") from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(fd).st_nlink:
            return fd
    except BlockingIOError:
        pass
    except OSError as error:
        os.close(fd)
        raise HomeError(f"no locks on the file system of {path} ({error.strerror}); use a local disk") from None
    os.close(fd)
    return -1


def recover(journal: Journal, clock: Clock, own: str = "") -> int:
    """Append what dead processes had not committed, and close their calls as failed with `process_died`; how many.

    An owner is dead if its lock can be taken or its file is gone. Any number of processes may do this at once: the
    end's id follows from the start's, and a call takes one end. `own` is the caller's own lock.
    """
    folder = journal.home / "live"
    closed = 0
    for owner in (set(journal.owners()) | spool.owners(journal.home)) - {own}:
        fd = _locked(folder / owner) if _is_name(owner) else -1
        if fd < 0 and _is_name(owner) and (folder / owner).exists():
            continue
        try:
            _before_append()
            _append_spooled(journal, owner)
            closed += journal.close_calls(_ends(journal.open_calls([owner]), clock))
            _before_unlink()
            if fd >= 0:
                (folder / owner).unlink(missing_ok=True)
        finally:
            if fd >= 0:
                os.close(fd)
    _remove_stale(folder, own)
    return closed


def _append_spooled(journal: Journal, owner: str) -> None:
    """What was appended before, by the process itself or by another recovery, the journal passes over."""
    for path in spool.files_of(journal.home, owner) if _is_name(owner) else ():
        for rows in spool.read(path):
            journal.append(rows)
        spool.discard(path)


def _is_name(owner: str) -> bool:
    return len(owner) == 32 and owner.isalnum()


def _remove_stale(folder: Path, own: str) -> None:
    """Remove the lock files of processes that died without an open call."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.name == own:
            continue
        fd = _locked(path)
        if fd >= 0:
            path.unlink(missing_ok=True)
            os.close(fd)


def _ends(calls: Sequence[OpenCall], clock: Clock) -> list[tuple[OpenCall, Row | None]]:
    return [(call, _end(call, clock)) for call in calls]


def _end(call: OpenCall, clock: Clock) -> Row | None:
    """The end of a call whose process died; None where its start is damaged."""
    try:
        start = _start.decode(call.body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    now = clock.wall_ns()
    end = CallFailed(
        id=derived_id(start.id),
        at_ns=now,
        call=start.call,
        cost=Cost(status="no_usage", reason="the process died before the answer's usage was known"),
        usage_source="none",
        latency_s=max(0, now - start.at_ns) / 1e9,
        error=ErrorFacts(error_class="process_died", message="the process that made this call died before it ended"),
    )
    return Row(end.id, call.call_id, END, now, msgspec.json.encode(end), call.ledger, call.sinks)


def derived_id(start_id: str) -> str:
    """The id of the end that follows from a start's id: ordered by time like it, the same for whoever derives it."""
    return start_id[:16] + hashlib.blake2b(start_id.encode(), digest_size=8, person=b"process_died").hexdigest()
