"""The journal's part in the ledger: hot rows, registered files, and what may be deleted."""

from collections.abc import Sequence

from callmeter.events.journal_schema import (
    CORRUPT,
    LEDGER,
    LEDGER_LEASE,
    HotRows,
    LedgerFile,
    Snapshot,
    event_crc,
    text_crc,
)
from callmeter.events.outbox import BURY, Outbox
from callmeter.events.store import commit_points

REMEMBER_NS = 48 * 3600 * 10**9
"""How long an event's id is remembered after it left: the window in which it might be appended again."""

REMEMBER_MAX = 500_000
"""And how many at most (about 30 MB)."""

SWEEP_ROWS = 10_000
"""Rows deleted in one transaction, so that nobody waits long for it."""

FEW_ROWS = 500
FEW_BYTES = 1 << 20
"""So little of the events is put back. Deleting all of a table takes SQLite no look at its pages; deleting rows changes
each page, which is then written to the log and to the database although nothing is in it any more."""

_RETIRED = "retired/"
"""What the keys in `meta` begin with that name files taken out of the ledger."""

_register = commit_points("files.register", "Parquet files registered, their rows deleted")
_drop = commit_points("files.drop", "Parquet files forgotten")
_forget_retired = commit_points("files.forget", "deleted Parquet files forgotten")
_sweep = commit_points("sweep", "rows deleted that nobody needs")
_set_aside = commit_points("hot.set_aside", "damaged ledger rows set aside")

_DELETE_UNNEEDED = """
DELETE FROM events WHERE seq > ?1 AND seq <= ?2 AND (ledger = 0 OR seq <= ?3)
AND NOT EXISTS (SELECT 1 FROM outbox WHERE sink IN (SELECT n FROM sinks) AND outbox.seq = events.seq)
"""

_STILL_NEEDED = """
SELECT seq, length(body) FROM events WHERE seq > ?1
UNION ALL SELECT seq, length(body) FROM outbox JOIN events USING (seq) WHERE sink IN (SELECT n FROM sinks) LIMIT ?2
"""

_HOT = """
SELECT seq, id, call_id, kind, at_ns, ledger, crc, body FROM events WHERE ledger = 1 AND seq > ? ORDER BY seq
"""

_MEASURED = """
SELECT coalesce(sum(length(body)), 0), coalesce(max(seq), ?1) FROM events INDEXED BY events_ledger
WHERE ledger = 1 AND seq > ?1
"""


class Hot(Outbox):
    """The part of the journal that the compactor and the ledger's readers use."""

    _swept = 0

    def snapshot(
        self, after_seq: int = 0, *, limit_rows: int | None = None, limit_bytes: int | None = None
    ) -> Snapshot:
        """Files and hot rows of one instant; of the hot rows only those after `after_seq`, in order.

        A row may hold captured content, so all of them may be gigabytes: with limits it ends after as many rows, or
        once the bodies have as many bytes, and always gives one. Rows that do not fit their checksum are left out,
        and set aside as dead letters of the ledger.
        """
        damaged: list[int] = []

        def read() -> Snapshot:
            hot = self._hot_rows(after_seq, limit_rows, limit_bytes, damaged)
            last = self._number("next_seq") - 1
            return Snapshot(self._files(), self._number("compacted_seq"), hot.rows, last, hot.more, hot.read_seq)

        found = self._read(read)
        self._set_aside_hot(damaged)
        return found

    def hot_rows(self, after_seq: int, *, limit_rows: int, limit_bytes: int) -> HotRows:
        """The hot rows of a snapshot alone: what comes after a part that was read."""
        damaged: list[int] = []
        found = self._read(lambda: self._hot_rows(after_seq, limit_rows, limit_bytes, damaged))
        self._set_aside_hot(damaged)
        return found

    def _hot_rows(self, after_seq: int, limit_rows: int | None, limit_bytes: int | None, damaged: list[int]) -> HotRows:
        damaged.clear()
        rows: list[tuple[int, bytes]] = []
        size, reached, more = 0, max(after_seq, self._number("compacted_seq")), False
        for seq, id, call_id, kind, at_ns, ledger, crc, body in self._db.execute(_HOT, (reached,)):
            if len(rows) == limit_rows or (limit_bytes is not None and size >= limit_bytes):
                more = True
                break
            reached = seq
            if crc == event_crc(seq, id, call_id, kind, at_ns, ledger, body):
                rows.append((seq, body))
                size += len(body)
            else:
                damaged.append(seq)
        return HotRows(rows, more, reached)

    def _set_aside_hot(self, damaged: Sequence[int]) -> None:
        if damaged and not self._read_only:
            self._write(lambda: self._bury_hot(damaged), _set_aside)

    def _files(self) -> tuple[LedgerFile, ...]:
        sql = "SELECT path, day, rows, first_seq, last_seq, bytes, kind, crc FROM files ORDER BY day, first_seq, path"
        rows = self._db.execute(sql).fetchall()
        return tuple(LedgerFile(*row[:-1]) for row in rows if row[-1] == text_crc(*row[:-1]))

    def _bury_hot(self, seqs: Sequence[int]) -> None:
        """Make damaged ledger rows dead letters of the ledger; whatever else waits for them finds them damaged too."""
        now = self.clock.wall_ns()
        for seq in seqs:
            if self._db.execute("SELECT 1 FROM events WHERE seq = ? AND ledger = 1", (seq,)).fetchone():
                self._db.execute(BURY, (1, seq, now, CORRUPT, seq))
                self._db.execute("UPDATE events SET ledger = 0 WHERE seq = ?", (seq,))
        self._forget(seqs)

    def hot_size(self) -> tuple[int, int | None]:
        """How many rows wait for the compactor, and the wall-clock time of the oldest, ns."""
        return self._read(self._hot_count)

    def hot_bytes(self, after_seq: int) -> tuple[int, int]:
        """Bytes of the rows after a number that wait for the compactor, and the number of the last one.

        Takes time for each of these rows, so whoever asks often asks for those it has not measured yet.
        """

        def read() -> tuple[int, int]:
            size, last = self._db.execute(_MEASURED, (max(after_seq, self._number("compacted_seq")),)).fetchone()
            return size, last

        return self._read(read)

    def register_files(
        self, owner: str, files: Sequence[LedgerFile], upto_seq: int, replaces: Sequence[str] = ()
    ) -> bool:
        """Make files part of the ledger in place of `replaces` and of every hot row up to `upto_seq`.

        False, with nothing changed, if `owner` does not hold the ledger's lease any more.
        """

        def work() -> bool:
            if not self._is_ours(LEDGER_LEASE, owner):
                return False
            self._retire(replaces)
            self._db.executemany(
                "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?)", [_file_row(file) for file in files]
            )
            before = self._number("compacted_seq")
            if upto_seq > before:
                self._advance(before, upto_seq)
            return True

        return self._write(work, _register)

    def _advance(self, before: int, upto: int) -> None:
        sql = "SELECT count(*) FROM events WHERE ledger = 1 AND seq > ? AND seq <= ?"
        compacted = self._db.execute(sql, (before, upto)).fetchone()[0]
        self._db.execute("UPDATE sinks SET delivered = delivered + ? WHERE identity = ?", (compacted, LEDGER))
        self._set_meta("compacted_seq", upto)
        if not self._clear_all_but_few(upto, compacted):
            self._delete_unneeded(before, upto)

    def drop_files(self, owner: str, paths: Sequence[str]) -> bool:
        """Forget files, as retention does. False, with nothing changed, if the lease is not ours."""

        def work() -> bool:
            if not self._is_ours(LEDGER_LEASE, owner):
                return False
            self._retire(paths)
            return True

        return self._write(work, _drop)

    def _retire(self, paths: Sequence[str]) -> None:
        """Take files out of the ledger. Each is noted until it is deleted: one that is neither was lost by damage."""
        now = self.clock.wall_ns()
        self._db.executemany("DELETE FROM files WHERE path = ?", [(path,) for path in paths])
        for path in paths:
            self._set_meta(_RETIRED + path, now)

    def retired(self) -> dict[str, int]:
        """Files that were taken out of the ledger and may still be on disk, with when that was, in ns."""
        sql = "SELECT key, value, crc FROM meta WHERE key > ?1 AND key < ?1 || char(1114111)"

        def read() -> dict[str, int]:
            rows = self._db.execute(sql, (_RETIRED,)).fetchall()
            return {key.removeprefix(_RETIRED): int(value) for key, value, crc in rows if crc == text_crc(key, value)}

        return self._read(read)

    def forget_retired(self, paths: Sequence[str]) -> None:
        """Forget files that are not on disk any more."""
        rows = [(_RETIRED + path,) for path in paths]
        self._write(lambda: self._db.executemany("DELETE FROM meta WHERE key = ?", rows), _forget_retired)

    def sweep(self) -> int:
        """Delete events nobody needs and ids not worth remembering, some thousands at a time; how many rows went."""

        def find() -> tuple[int, list[tuple[str]]]:
            # Keys begin with the time they were minted, so the old ones are the first ones.
            sql = "SELECT key, at_ns < ? FROM seen ORDER BY key LIMIT ?"
            first = self._db.execute(sql, (self.clock.wall_ns() - REMEMBER_NS, SWEEP_ROWS)).fetchall()
            surplus = self._db.execute("SELECT count(*) FROM seen").fetchone()[0] - REMEMBER_MAX
            old = [(key,) for place, (key, is_old) in enumerate(first) if is_old or place < surplus]
            # Looking at all rows would take long while a sink is away; each sweep looks at the next few.
            after = self._swept if self._swept < self._number("next_seq") else 0
            return after, old

        after, old = self._read(find)

        def work() -> int:
            self._db.executemany("DELETE FROM seen WHERE key = ?", old)
            return len(old) + self._delete_unneeded(after, after + SWEEP_ROWS)

        self._swept = after + SWEEP_ROWS
        return self._write(work, _sweep)

    def _clear_all_but_few(self, upto: int, compacted: int) -> bool:
        """Delete what nobody needs by putting back what somebody does, where that is little; whether it was."""
        most = min(FEW_ROWS, compacted // 2)
        found = self._db.execute(_STILL_NEEDED, (upto, most + 1)).fetchall()
        if len(found) > most or sum(size for _, size in found) > FEW_BYTES:
            return False
        rows = [self._db.execute("SELECT * FROM events WHERE seq = ?", (seq,)).fetchone() for seq, _ in set(found)]
        self._db.execute("DELETE FROM events")
        self._db.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
        return True

    def _delete_unneeded(self, after: int, upto: int) -> int:
        self._db.execute(_DELETE_UNNEEDED, (after, upto, self._number("compacted_seq")))
        return int(self._db.changes())


def _file_row(file: LedgerFile) -> tuple[object, ...]:
    row = (file.path, file.day, file.rows, file.first_seq, file.last_seq, file.bytes, file.kind)
    return (*row, text_crc(*row))
