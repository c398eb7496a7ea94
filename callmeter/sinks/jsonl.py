"""Events to a file, one JSON object a line, for log shippers and for `jq`."""

import errno
import fcntl
import os
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import msgspec

from callmeter.events.model import AnyEvent
from callmeter.sinks.base import Batch, Delivery, Misconfigured, RetryLater, Sink

TAIL_BYTES = 16 << 20
"""How far back a file is read for what it already has: more than the largest batch that could have been written."""

_OURS_TO_MEND = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.EISDIR, errno.EROFS})


class _Line(msgspec.Struct):
    id: str


class JsonLines(Sink):
    """Append every call's end to a file as the event itself: `{"type": "call.succeeded", "id": …, …}`.

    A batch is one write, so a reader never sees half a line of a process that was killed. What a batch that was cut
    short by a full disk had written is taken back. A batch that is sent again leaves no second line: before the first
    write, and whenever somebody else has written meanwhile, the ids at the file's end are read. A file that was moved
    away (by log rotation) is made anew. Other programs may read the file; only callmeter may write to it.
    """

    name: ClassVar[str] = "jsonl"
    dedupe_key: ClassVar[str] = "id"
    batch: ClassVar[Batch] = Batch(max_events=1000)

    def __init__(self, path: str | os.PathLike[str], *, capture_content: bool = False) -> None:
        self._path = Path(path).expanduser().absolute()
        self.endpoint = str(self._path)
        self.capture_content = capture_content
        self._fd = -1
        self._end = -1
        """Where the file ended after our own last write."""

    def export(self, events: Sequence[AnyEvent]) -> Delivery:
        """Append what the file does not have. `Misconfigured` where it cannot be written to, `RetryLater` when full."""
        try:
            self._reach()
            fcntl.flock(self._fd, fcntl.LOCK_EX)
            try:
                self._append(events)
            finally:
                fcntl.flock(self._fd, fcntl.LOCK_UN)
        except OSError as error:
            self.close()
            problem = f"{self._path} cannot be written to: {error.strerror}"
            if error.errno in _OURS_TO_MEND:
                raise Misconfigured(f"{problem}; make its folder, or set CALLMETER_JSONL_PATH to another") from error
            raise RetryLater(problem) from error
        return Delivery(accepted=[event.id for event in events])

    def close(self) -> None:
        """Close the file; the next export opens it again."""
        fd, self._fd, self._end = self._fd, -1, -1
        if fd >= 0:
            os.close(fd)

    def _reach(self) -> None:
        """Have the file open that is at the path now."""
        if self._fd >= 0 and not _is_at(self._path, self._fd):
            self.close()
        if self._fd < 0:
            self._fd = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def _append(self, events: Sequence[AnyEvent]) -> None:
        size = os.fstat(self._fd).st_size
        known: set[str] = set()
        if size != self._end:
            tail = os.pread(self._fd, TAIL_BYTES, max(0, size - TAIL_BYTES))
            known, size = _ids(tail), size - self._torn(tail, size)
        lines = b"".join(msgspec.json.encode(self.shown(e)) + b"\n" for e in events if e.id not in known)
        try:
            written = os.write(self._fd, lines)
            if written < len(lines):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            os.ftruncate(self._fd, size)
            raise
        self._end = size + written

    def _torn(self, tail: bytes, size: int) -> int:
        """Take back a last line that a power failure cut short; how many bytes that was."""
        rest = tail[tail.rfind(b"\n") + 1 :]
        if rest:
            os.ftruncate(self._fd, size - len(rest))
        return len(rest)


def _is_at(path: Path, fd: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(fd))
    except FileNotFoundError:
        return False


def _ids(tail: bytes) -> set[str]:
    """The ids of the whole lines in a piece of the file, whose first line may be the end of one."""
    read = msgspec.json.Decoder(_Line).decode
    found = set()
    for line in tail.split(b"\n")[:-1]:
        try:
            found.add(read(line).id)
        except msgspec.MsgspecError:
            continue
    return found
