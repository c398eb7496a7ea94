"""Stored events on their way into Parquet: as JSON lines in files, apart by UTC day, a bounded number at a time.

DuckDB takes a file of lines into memory as a whole, up to 32 MB, and parts of it several times over. So lines go into
many small files, which it reads one after the other.
"""

import logging
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import Annotated, Self

import msgspec
from msgspec import Meta, Struct

from callmeter.events.rows import CALLS, CONTENT, DAY_NS, FILED, condition, selected
from callmeter.events.schema import Table
from callmeter.events.stored import event_of
from callmeter.sinks.duckdb.staging import source

log = logging.getLogger("callmeter")

MAX_ROWS = 30_720
MAX_BYTES = 64 << 20
"""So much, and at most a page more, becomes one Parquet file a table and day before the next is begun."""

FILE_BYTES = 8 << 20
CONTENT_FILE_BYTES = 1 << 20
"""A file of lines has at most so many bytes, unless a single page of rows has more. Opening one takes a millisecond;
where there are prompts and answers, what is read of it at a time is all of it."""

UNREADABLE = (msgspec.MsgspecError, ValueError, OverflowError, RecursionError)
"""What reading bytes raises that are no event."""

_EPOCH = date(1970, 1, 1).toordinal()

Rows = Sequence[tuple[int, bytes]]
"""Rows of the journal: number, and the event as stored."""


_Nanoseconds = Annotated[int, Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
"""What DuckDB has room for; a number beyond is no instant."""


class _Call(Struct, frozen=True, gc=False):
    at_ns: _Nanoseconds | None = None


class _Content(Struct, frozen=True, gc=False):
    """Of which it matters only that there is any."""


class _Head(Struct, frozen=True, gc=False):
    """As much of an event as it takes to know where it belongs."""

    type: str
    at_ns: _Nanoseconds
    call: _Call | None = None
    content: _Content | None = None


_heads = msgspec.json.Decoder(_Head)


class _Day:
    """What was written of one UTC day."""

    def __init__(self) -> None:
        self.paths: list[Path] = []
        self.room = 0
        self.types: set[str] = set()
        self.has_content = False

    def has(self, table: Table) -> bool:
        """Whether there are rows of a table."""
        return self.has_content if table is CONTENT else not self.types.isdisjoint(table.events)


class Lines:
    """Files of JSON lines in a folder, by UTC day; they are gone when it is left.

    `strictly`: every event is read as a whole when it comes, slow as that is, to find those that are none.
    """

    def __init__(self, folder: Path, quarantine: Path, *, strictly: bool = False) -> None:
        self._folder, self._quarantine, self._strictly = folder, quarantine, strictly
        self._stem = f".{os.urandom(4).hex()}"
        self._days: defaultdict[int, _Day] = defaultdict(_Day)
        self._files = self._longest = 0
        self.rows = self.bytes = 0
        self.last_seq = 0
        """The number of the last row that was added."""

    def __enter__(self) -> Self:
        self._folder.mkdir(mode=0o700, exist_ok=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for day in self._days.values():
            for path in day.paths:
                path.unlink(missing_ok=True)

    @property
    def full(self) -> bool:
        """Whether no more should come."""
        return self.rows >= MAX_ROWS or self.bytes >= MAX_BYTES

    def add(self, rows: Rows) -> None:
        """Write a page of rows. What is no event is kept in the quarantine, where it holds up nothing.

        Raises `OSError`.
        """
        bodies_of: defaultdict[int, list[bytes]] = defaultdict(list)
        for head, body in self._read(rows):
            number = _day_of(head)
            bodies_of[number].append(body)
            day = self._days[number]
            day.types.add(head.type)
            if head.content is not None:
                day.has_content = True
        for number, bodies in bodies_of.items():
            self._write(self._days[number], bodies)
        if rows:
            self.last_seq = rows[-1][0]
        self.rows += len(rows)

    def queries(self) -> Iterator[tuple[Table, str, str]]:
        """What is to be filed: table, UTC day (`YYYY-MM-DD`), and SQL that gives the rows."""
        for number, day in sorted(self._days.items()):
            events = source(day.paths, self._longest)
            for table in FILED:
                if day.has(table):
                    kept = "* EXCLUDE (day)" if table is CALLS else "*"
                    rows = f"SELECT {selected(table)} FROM {events} WHERE {condition(table)}"  # noqa: S608
                    yield table, date.fromordinal(_EPOCH + number).isoformat(), f"SELECT {kept} FROM ({rows})"  # noqa: S608

    def _read(self, rows: Rows) -> list[tuple[_Head, bytes]]:
        """What each of the rows is, as far as they are readable."""
        bodies = [body for _, body in rows]
        if not self._strictly:
            try:
                # Every body is a JSON object without line breaks.
                return list(zip(_heads.decode_lines(b"\n".join(bodies)), bodies, strict=True))
            except UNREADABLE:
                pass
        return [(head, body) for seq, body in rows if (head := self._read_alone(seq, body)) is not None]

    def _read_alone(self, seq: int, body: bytes) -> _Head | None:
        try:
            if self._strictly:
                event_of(body)
            return _heads.decode(body)
        except UNREADABLE as error:
            self._quarantine.mkdir(mode=0o700, exist_ok=True)
            path = self._quarantine / f"event-{seq}.json"
            path.write_bytes(body)
            log.warning("ledger: event %d is not readable (%s); kept as %s", seq, error, path)
            return None

    def _write(self, day: _Day, bodies: Sequence[bytes]) -> None:
        data = b"\n".join((*bodies, b""))
        if day.room < len(data):
            day.paths.append(self._folder / f"{self._stem}-{self._files}.unfinished")
            day.room = CONTENT_FILE_BYTES if day.has_content else FILE_BYTES
            self._files += 1
        with open(day.paths[-1], "ab") as file:
            file.write(data)
        day.room -= len(data)
        self.bytes += len(data)
        self._longest = max(self._longest, *map(len, bodies))


def _day_of(head: _Head) -> int:
    """The UTC day, as `rows.DAY` says it in SQL, where division truncates."""
    at_ns = head.at_ns if head.call is None or head.call.at_ns is None else head.call.at_ns
    return at_ns // DAY_NS if at_ns >= 0 else -(-at_ns // DAY_NS)
