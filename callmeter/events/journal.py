"""The journal: where an event becomes durable. One SQLite file a host, shared by every process that makes calls.

An event is appended once, with an outbox row for each sink that wants it; acknowledging deletes that row; the counters
of a sink move in the same transaction. So for each sink, always, also after kill -9:
accepted = delivered + waiting + dead + dropped. A call's start is kept until its end arrives, and a call has one end.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from callmeter.clock import Clock, SystemClock
from callmeter.events.bounds import Bounds
from callmeter.events.journal_schema import (
    ADJUSTED,
    ATTEMPT,
    CORRUPT,
    DROPPED,
    END,
    START,
    Accounts,
    DeadLetter,
    LedgerFile,
    Loss,
    OpenCall,
    Queued,
    Row,
    Snapshot,
    text_crc,
)
from callmeter.events.outbox import seen_key
from callmeter.events.store import commit_points

__all__ = [
    "ADJUSTED",
    "ATTEMPT",
    "DROPPED",
    "END",
    "START",
    "Accounts",
    "DeadLetter",
    "Journal",
    "LedgerFile",
    "Loss",
    "OpenCall",
    "Queued",
    "Row",
    "Snapshot",
]

_append = commit_points("append", "a group of events")
_close_calls = commit_points("close_calls", "ends of calls whose process died")

_OPEN = "INSERT OR IGNORE INTO open VALUES (?, ?, ?, ?, ?, ?)"
_SEEN = "SELECT key FROM seen WHERE key IN (SELECT value FROM json_each(?))"
_OPENED = "SELECT call_id FROM open WHERE call_id IN (SELECT value FROM json_each(?))"
_SEE = "INSERT OR IGNORE INTO seen VALUES (?, ?)"


class Journal(Bounds):
    """One connection to the journal, used by one thread at a time. Every thread opens its own."""

    @classmethod
    def open(
        cls,
        home: Path,
        *,
        clock: Clock | None = None,
        power: bool = False,
        create: bool = True,
        read_only: bool = False,
    ) -> "Journal":
        """Open the journal of a home, making both if need be.

        `power` flushes every commit to the disk. A damaged file is put in quarantine, what can be read is salvaged,
        and opening succeeds. Raises `JournalError` where the home is a link, somebody else's or not writable, where
        its file system has no locks, and where a newer callmeter wrote the file.
        """
        return cls(home, clock or SystemClock(), power=power, create=create, read_only=read_only)

    @property
    def hash_key(self) -> bytes:
        """16 random bytes, made with the journal: the key of the hashes of prompts."""
        return self._read(lambda: bytes(self._meta("hash_key")))

    def append(self, rows: Sequence[Row]) -> int:
        """Store events in one transaction; how many were new.

        An id that was taken before, and a second end of a call, are passed over and move no counter.
        """

        def work() -> int:
            fresh = self._fresh(rows)
            ends = [row.call_id for row in fresh if row.kind == END]
            here = set(ends).intersection(row.call_id for row in fresh if row.kind == START)
            now = self.clock.wall_ns()
            self._db.executemany(_SEE, [(seen_key(row), now) for row in fresh if row.kind != START])
            # Most calls of a group that is written late begin and end in it; those are never open.
            starts = [row for row in fresh if row.kind == START and row.call_id not in here]
            self._db.executemany(_OPEN, [_open_row(row) for row in starts])
            self._db.executemany("DELETE FROM open WHERE call_id = ?", [(end,) for end in ends if end not in here])
            self._insert([row for row in fresh if row.sinks or (row.ledger and row.kind != START)])
            return len(fresh)

        return self._write(work, _append)

    def _fresh(self, rows: Sequence[Row]) -> list[Row]:
        """The rows that were not appended before, in order. A start counts as known once its call is open or ended."""
        seen = self._known(_SEEN, [row.call_id if row.kind == START else seen_key(row) for row in rows])
        opened = self._known(_OPENED, [row.call_id for row in rows if row.kind == START])
        fresh = []
        for row in rows:
            if row.kind == START:
                if row.call_id in seen or row.call_id in opened:
                    continue
                opened.add(row.call_id)
            else:
                key = seen_key(row)
                if key in seen:
                    continue
                seen.add(key)
            fresh.append(row)
        return fresh

    def _known(self, sql: str, keys: Sequence[str]) -> set[str]:
        if not keys:
            return set()
        return {key for (key,) in self._db.execute(sql, (msgspec.json.encode(keys).decode(),))}

    def _is_new(self, row: Row) -> bool:
        """Note the end of a call that nobody else has ended meanwhile."""
        self._db.execute(_SEE, (seen_key(row), self.clock.wall_ns()))
        return bool(self._db.changes())

    def open_calls(self, owners: Sequence[str]) -> list[OpenCall]:
        """The calls of these owners that have started and not ended."""
        wanted = set(owners)

        def read() -> list[OpenCall]:
            rows = self._db.execute("SELECT call_id, owner, ledger, sinks, crc, body FROM open").fetchall()
            return [_open_call(*row) for row in rows if row[1] in wanted]

        return self._read(read)

    def open_starts(self, owners_dead: Sequence[str]) -> list[bytes]:
        """Bodies of the starts whose call has no end, of these owners."""
        return [call.body for call in self.open_calls(owners_dead) if call.body]

    def close_calls(self, ends: Sequence[tuple[OpenCall, Row | None]]) -> int:
        """Give open calls their ends; how many were new. A call whose start is damaged is forgotten and counted."""

        def work() -> int:
            fresh = [end for call, end in ends if end is not None and self._is_new(end)]
            self._insert([end for end in fresh if end.ledger or end.sinks])
            self._db.executemany("DELETE FROM open WHERE call_id = ?", [(call.call_id,) for call, _ in ends])
            damaged = sum(end is None for _, end in ends)
            if damaged:
                self._count_loss(Loss("", CORRUPT, damaged))
            return len(fresh)

        return self._write(work, _close_calls) if ends else 0

    def owners(self) -> list[str]:
        """The owners of starts whose call has no end."""
        return self._read(lambda: [row[0] for row in self._db.execute("SELECT DISTINCT owner FROM open")])

    def size(self) -> tuple[int, float]:
        """Bytes of the journal in use, and the fraction of its disk that is free."""
        disk = os.statvfs(self.home)
        return self._read(self._used_bytes), disk.f_bavail / max(1, disk.f_blocks)


def _open_row(start: Row) -> tuple[str, str, int, str, int, bytes]:
    facts = (start.call_id, start.owner, int(start.ledger), "\n".join(start.end_sinks))
    return (*facts, text_crc(*facts, start.body), start.body)


def _open_call(call_id: str, owner: str, ledger: int, sinks: str, crc: int, body: bytes) -> OpenCall:
    fits = crc == text_crc(call_id, owner, ledger, sinks, body)
    return OpenCall(call_id, owner, bool(ledger), tuple(sinks.split("\n")) if sinks else (), body if fits else b"")
