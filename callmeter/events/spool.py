"""What a process has encoded and not yet committed, in a file that outlives its kill.

A commit takes several steps into SQLite, and after each the writer has to wait for the interpreter's lock, milliseconds
where another thread computes. Appending to a file is one system call: once it was made, the bytes are the kernel's.
So events go here at once and into the journal a little later; a group's file is removed once the group is committed.
Whoever recovers a dead process's calls first appends to the journal what its files still hold.

A file is a sequence of records: length and CRC-32 of the payload, four bytes each, and the payload, rows as msgpack.
"""

import logging
import os
import re
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import msgspec

from callmeter.events.journal_schema import Row
from callmeter.faultpoints import point

log = logging.getLogger("callmeter")

_HEAD = struct.Struct("<II")
_NAME = re.compile(r"([0-9a-f]{32})\.(\d+)")
UNSTORABLE = (ValueError, OverflowError)
"""What text that is none, and numbers beyond 64 bits, raise."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Row]).decode

_before_write = point("spool.write.before", "rows are encoded, nothing of them is anywhere but in memory")
_after_write = point("spool.write.after", "rows are in the spool and not in the journal")
_before_remove = point("spool.remove.before", "rows are in the journal, their spool is still there")


class Spooled(NamedTuple):
    """A file that takes no more, to be removed once its rows are in the journal."""

    path: Path
    fd: int


class Spool:
    """The files of one process, `spool/<owner>.<number>` in the home: one for each group that is not committed.

    Between an event and its safety lies one system call, because each means another wait for the interpreter's lock:
    files are made beforehand, by `prepare`, and closed afterwards, by `remove`.
    """

    def __init__(self, home: Path, owner: str) -> None:
        self._folder, self._owner = home / "spool", owner
        self._number = -1
        self._current: Spooled | None = None
        self._next: Spooled | None = None
        self._size = 0

    def prepare(self) -> None:
        """Have a file ready for the next group. Not for two threads at once."""
        if self._next is not None:
            return
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        path = self._folder / f"{self._owner}.{self._number + 1}"
        try:
            if self._number < 0:
                self._folder.mkdir(mode=0o700, exist_ok=True)
            self._next = Spooled(path, os.open(path, flags, 0o600))
            self._number += 1
        except OSError as error:
            # The journal's own trouble is told by the writer; here it only means that the window is longer.
            log.debug("the spool in %s cannot be used (%s)", self._folder, error)

    def append(self, rows: Sequence[Row]) -> bool:
        """Put rows beyond the reach of a kill. False where the file system refuses: then the journal does alone."""
        record = _record(rows)
        size = sum(map(len, record))
        if self._current is None:
            self._current, self._next, self._size = self._next, None, 0
        if self._current is None:
            return False
        _before_write()
        try:
            written = os.writev(self._current.fd, record)
            if written == size:
                self._size += written
                _after_write()
                return True
            # A part of a record would hide those after it.
            os.ftruncate(self._current.fd, self._size)
        except OSError as error:
            log.debug("the spool %s cannot be written to (%s)", self._current.path, error)
        return False

    def cut(self) -> Spooled | None:
        """End the group's file; what follows goes into another. None where nothing was written since the last time."""
        ended, self._current = self._current, None
        return ended

    def close(self) -> None:
        """Remove what was prepared and is not needed. Everything is committed."""
        spare, self._next = self._next, None
        remove(spare)

    def forget_parent(self) -> None:
        """In a forked child: these files are the parent's."""
        for fd in {one.fd for one in (self._current, self._next) if one is not None}:
            os.close(fd)
        self._current = self._next = None


def _record(rows: Sequence[Row]) -> tuple[bytes, bytes]:
    try:
        payload = _encode(rows)
    except UNSTORABLE:
        # The journal refuses such rows too, and counts them; the others belong here all the same.
        payload = _encode([row for row in rows if _is_storable(row)])
    return _HEAD.pack(len(payload), crc32(payload)), payload


def _is_storable(row: Row) -> bool:
    try:
        return bool(_encode(row))
    except UNSTORABLE:
        return False


def remove(ended: Spooled | None) -> None:
    """The rows of this file are in the journal."""
    if ended is not None:
        os.close(ended.fd)
        discard(ended.path)


def discard(path: Path) -> None:
    """Remove a file, whose rows are in the journal."""
    _before_remove()
    path.unlink(missing_ok=True)


def owners(home: Path) -> set[str]:
    """The processes that have files here."""
    return {name[1] for path in (home / "spool").glob("*.*") if (name := _NAME.fullmatch(path.name))}


def files_of(home: Path, owner: str) -> list[Path]:
    """The files of one process, oldest first."""
    return sorted((home / "spool").glob(f"{owner}.*"), key=lambda path: int(path.suffix[1:]))


def read(path: Path) -> Iterator[list[Row]]:
    """The groups of rows in a file, up to the first record that is torn or damaged.

    A kill tears at most the last record, whose rows nobody was told of.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return
    at = 0
    while at + _HEAD.size <= len(data):
        length, crc = _HEAD.unpack_from(data, at)
        payload = data[at + _HEAD.size : at + _HEAD.size + length]
        if len(payload) < length or crc32(payload) != crc:
            log.debug("%s ends in a torn record at byte %d", path, at)
            return
        yield _decode(payload)
        at += _HEAD.size + length
