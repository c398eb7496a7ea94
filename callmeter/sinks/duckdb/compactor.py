"""The compactor: hot rows of the journal become Parquet files, small files larger ones, old days go.

Any process may compact, one at a time under a lease, and each may be killed at any moment: a row is in the journal
until the transaction that registers its file takes it out. What a killed compactor left lies unregistered, is read by
nobody and is swept later. A `step(now) → next wake`, like the writer and the workers.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from msgspec import Struct

from callmeter.clock import Clock, SystemClock
from callmeter.errors import CallmeterError, JournalError
from callmeter.events.journal import Journal
from callmeter.events.journal_schema import LEDGER_LEASE, LedgerFile, Snapshot
from callmeter.events.rows import CONTENT
from callmeter.faultpoints import point
from callmeter.sinks.duckdb import import_duckdb
from callmeter.sinks.duckdb.lines import Lines
from callmeter.sinks.duckdb.merging import to_merge
from callmeter.sinks.duckdb.parquet import (
    Origin,
    journal_tag,
    parse_name,
    problem_with,
    read_files,
    write_file,
    writing,
)
from callmeter.sinks.duckdb.restoring import (
    Unknown,
    count_missing,
    is_whole,
    renamed,
    set_aside,
    unknown_files,
    write_missing,
)
from callmeter.sinks.duckdb.staging import open_memory

log = logging.getLogger("callmeter")

MAX_HOT_ROWS = 10_000
MAX_HOT_AGE_NS = 60 * 10**9
"""The journal keeps at most so many of the ledger's rows, for so long."""

POLL_NS = 10**9
RETRY_NS = 30 * 10**9

TIDY_EVERY_NS = 600 * 10**9
"""How often one looks for old days and orphans when nothing is compacted."""

MAX_HOT_BYTES = 64 << 20
"""And of so many bytes: with captured content ten thousand rows can be gigabytes."""

PAGE_ROWS = 500
PAGE_BYTES = 1 << 20
"""Rows that are held in memory at a time."""

MEMORY = "512MB"
SPILL = ".spill"
"""DuckDB's part of the memory while compacting; what needs more goes to files in this folder of the ledger's."""

LEASE_S = 5.0
MERGED_ROWS_A_SECOND = 50_000
"""A dead compactor's lease is free after this long, and while it merged after a second more for so many rows: a third
of what merging was seen to do, as one statement cannot renew the lease. A million rows, the most there are, are 25 s.
"""

GRACE_NS = 600 * 10**9
"""A file nobody registers any more stays this long, for statements that are still reading it."""

_NO_ROWS = 1 << 62
"""A number no row has reached: asks the journal for its files alone."""

_before_register = point("ledger.register.before", "files are in place, the journal still has their rows")
_after_register = point("ledger.register.after", "files are registered, their rows have left the journal")
_before_delete = point("ledger.delete.before", "a file that is not registered is about to be deleted")
_after_delete = point("ledger.delete.after", "a file that is not registered was deleted")


class LeaseLost(CallmeterError):
    """Another process compacts now. Nothing was registered; what was written is swept later."""


class _Part(Struct, frozen=True):
    """Rows that were written together, up to a number of the journal's."""

    files: list[LedgerFile]
    rows: int
    last_seq: int
    more: bool


class Compactor:
    """Moves rows from the journal to Parquet. Used by one thread."""

    def __init__(
        self,
        open_journal: Callable[[], Journal],
        home: Path,
        *,
        owner: str,
        clock: Clock | None = None,
        retention_days: int = 0,
        content_retention_days: int = 0,
    ) -> None:
        self._open_journal, self._home, self._owner = open_journal, home, owner
        self._clock = clock or SystemClock()
        self._retention_days, self._content_retention_days = retention_days, content_retention_days
        self._journal: Journal | None = None
        self._db: Any = None
        self._tidy_at = 0
        self._measured_seq = self._measured_bytes = 0
        self._complained = ""

    def step(self, now_ns: int) -> int:
        """One turn: compact if there is reason to. Returns when to come back.

        Both times are monotonic nanoseconds. Failures are logged once and tried again; nothing gets out.
        """
        unopened = self._journal is None
        try:
            due = self._is_due()
            if due or now_ns >= self._tidy_at:
                self.compact(move=due)
                self._tidy_at = now_ns + TIDY_EVERY_NS
        except LeaseLost:
            return now_ns + POLL_NS
        except Exception as error:
            self._complain(error, quietly=unopened and self._journal is None)
            self.close()
            return now_ns + RETRY_NS
        self._complained = ""
        return now_ns + POLL_NS

    def compact(self, *, move: bool = True) -> int:
        """Move every hot row now, restore, merge, retain and sweep; how many rows were moved.

        Without `move` only the tidying, which needs no DuckDB unless there is something to merge. 0 where another
        process is at it. Raises `LeaseLost`, `JournalError`, `OSError` or `duckdb.Error`; whatever was not registered
        is still in the journal. A disk that is full is a `JournalError`.
        """
        with self._leased() as journal:
            if journal is None:
                return 0
            moved = self._move(journal) if move else 0
            self._measured_bytes = 0
            moved += self._restore(journal)
            self._merge(journal)
            self._retain(journal)
            self._sweep(journal)
            return moved

    def restore(self) -> bool:
        """Make files part of the ledger again that are not registered any more. Raises as `compact` does.

        False where another process is at it.
        """
        with self._leased() as journal:
            if journal is not None:
                self._restore(journal)
            return journal is not None

    @contextmanager
    def _leased(self) -> Iterator[Journal | None]:
        """The journal while the ledger's lease is ours; None where it is another's."""
        journal = self._opened()
        if not journal.lease(LEDGER_LEASE, self._owner, LEASE_S):
            yield None
            return
        try:
            yield journal
        except BaseException:
            # On a full disk this fails too, and must not hide why: a lease that is not released lapses.
            with suppress(JournalError):
                journal.release(LEDGER_LEASE, self._owner)
            raise
        journal.release(LEDGER_LEASE, self._owner)

    def close(self) -> None:
        """Close the journal and the database in memory. The next step opens them again."""
        journal, self._journal = self._journal, None
        db, self._db = self._db, None
        if journal is not None:
            journal.close()
        if db is not None:
            db.close()

    # --- moving

    def _move(self, journal: Journal) -> int:
        """Move what was there at the beginning, a bounded part at a time: all of it may be gigabytes of content."""
        begun = journal.snapshot(_NO_ROWS)
        moved, done, more = 0, compacted_upto(begun), True
        while more and done < begun.last_seq:
            with writing(self._home / "ledger"):
                part = self._filed(journal, done)
            if part.rows:
                self._register(journal, part.files, part.last_seq)
            moved, done, more = moved + part.rows, part.last_seq, part.more
        return moved

    def _filed(self, journal: Journal, after_seq: int) -> _Part:
        """Write the next hot rows to files."""
        duckdb = import_duckdb()
        try:
            return self._written(journal, after_seq, strictly=False)
        except (duckdb.IOException, duckdb.OutOfMemoryException):
            raise
        except duckdb.Error:
            # Something among them is no event, and only reading each one tells which.
            return self._written(journal, after_seq, strictly=True)

    def _written(self, journal: Journal, after_seq: int, *, strictly: bool) -> _Part:
        with Lines(self._home / "ledger", self._home / "quarantine", strictly=strictly) as lines:
            more = self._gather(journal, after_seq, lines)
            origin = Origin(after_seq + 1, lines.last_seq, journal_tag(journal.hash_key))
            files = []
            for table, day, query in lines.queries():
                self._hold(journal, LEASE_S)
                files.append(write_file(self._connection(), query, self._home, day, table.name, origin))
            return _Part(files, lines.rows, lines.last_seq, more)

    def _gather(self, journal: Journal, after_seq: int, lines: Lines) -> bool:
        """Write hot rows out, holding a page of them at a time; whether there may be more."""
        self._hold(journal, LEASE_S)
        more = True
        while more and not lines.full:
            page = journal.hot_rows(after_seq, limit_rows=PAGE_ROWS, limit_bytes=PAGE_BYTES)
            lines.add(page.rows)
            after_seq, more = page.read_seq, page.more
        return lines.full

    # --- restoring

    def _restore(self, journal: Journal) -> int:
        """See to files that are not registered; how many hot rows had to be moved for that."""
        if not self._unknown(journal):
            return 0
        # A killed compactor's file holds rows that are hot: once they are moved, they are found to be there already.
        moved = self._move(journal)
        restored = list(filter(None, [self._restored(journal, file) for file in self._unknown(journal)]))
        if restored:
            log.warning(
                "ledger: %d files in %s/ledger were in no list, and are part of the ledger again with %d rows",
                len(restored), self._home, sum(restored),
            )  # fmt: skip
        return moved

    def _unknown(self, journal: Journal) -> list[Unknown]:
        return unknown_files(self._home, known_files(journal))

    def _restored(self, journal: Journal, file: Unknown) -> int:
        """Make a file part of the ledger but for rows that are in it already; how many rows came with it."""
        if not is_whole(file):
            set_aside(self._home, file, "is in no list and is damaged")
            return 0
        tag, db = journal_tag(journal.hash_key), self._connection()
        of_table = [f for f in journal.snapshot(_NO_ROWS).files if (f.day, f.kind) == (file.day, file.name.table)]
        beside = [self._home / f.path for f in of_table if not problem_with(self._home, f)]
        rows, missing = count_missing(db, file, beside)
        self._hold(journal, LEASE_S + rows / MERGED_ROWS_A_SECOND)
        if missing == rows:
            self._register(journal, [renamed(self._home, file, rows, tag)], 0)
        elif missing:
            self._register(journal, [write_missing(db, self._home, file, beside, tag)], 0)
        if file.name.journal == tag:
            if missing < rows:
                self._delete(file.path)
        elif missing == rows:
            file.path.unlink()
        else:
            set_aside(self._home, file, "is of another journal, and its rows are in other files")
        return missing

    # --- merging

    def _merge(self, journal: Journal) -> None:
        files = journal.snapshot(_NO_ROWS).files
        for group in to_merge([file for file in files if parse_name(Path(file.path).name)]):
            sound = [file for file in group if not problem_with(self._home, file)]
            # A damaged file stays as it is, named by every reader, rather than being laundered into a sound one.
            if len(sound) < 2:
                continue
            self._hold(journal, LEASE_S + sum(file.rows for file in sound) / MERGED_ROWS_A_SECOND)
            try:
                with writing(self._home / "ledger"):
                    merged = self._merged(journal, sound)
            except import_duckdb().OutOfMemoryException:
                # Many files are slower to read than few, and that is all: nothing else has to wait for it.
                log.warning("ledger: %d files of %s stay as they are: too large to merge", len(sound), sound[0].day)
                continue
            self._register(journal, [merged], 0, [file.path for file in sound])

    def _merged(self, journal: Journal, files: Sequence[LedgerFile]) -> LedgerFile:
        first = files[0]
        origin = Origin(
            min(file.first_seq for file in files),
            max(file.last_seq for file in files),
            journal_tag(journal.hash_key),
        )
        source = read_files([self._home / file.path for file in files])
        # Sorting needs all rows at once.
        order = "" if first.kind == CONTENT.name else ' ORDER BY "at"'
        query = f"SELECT * EXCLUDE (day) FROM {source}{order}"  # noqa: S608
        return write_file(self._connection(), query, self._home, first.day, first.kind, origin)

    # --- retention and orphans

    def _retain(self, journal: Journal) -> None:
        bound = self._first_kept(self._retention_days)
        content_bound = max(bound, self._first_kept(self._content_retention_days))
        if not content_bound:
            return
        files = journal.snapshot(_NO_ROWS).files
        old = [file.path for file in files if file.day < (content_bound if file.kind == CONTENT.name else bound)]
        if old and not journal.drop_files(self._owner, old):
            raise LeaseLost(f"{self._owner} lost the ledger's lease")

    def _first_kept(self, days: int) -> str:
        """The first UTC day that is kept; empty, which is before all days, where every day is."""
        if days <= 0:
            return ""
        now = datetime.fromtimestamp(self._clock.wall_ns() // 10**9, UTC)
        return (now - timedelta(days=days)).date().isoformat()

    def _sweep(self, journal: Journal) -> None:
        """Delete what was taken out of the ledger or never finished, once nobody can be reading it."""
        now = self._clock.wall_ns()
        old = [path for path, at_ns in journal.retired().items() if now - at_ns >= GRACE_NS]
        for path in old:
            self._hold(journal, LEASE_S)
            self._delete(self._home / path)
        if old:
            journal.forget_retired(old)
        for left_over in _unfinished(self._home):
            if now - left_over.stat().st_mtime_ns >= GRACE_NS:
                self._hold(journal, LEASE_S)
                self._delete(left_over)
        journal.sweep()

    def _delete(self, path: Path) -> None:
        _before_delete()
        path.unlink(missing_ok=True)
        _after_delete()

    # --- the rest

    def _is_due(self) -> bool:
        journal = self._opened()
        rows, oldest_ns = journal.hot_size()
        if oldest_ns is None:
            return False
        # A clock that was set back makes the oldest row seem to be of the future; that is reason enough too.
        aged = abs(self._clock.wall_ns() - oldest_ns) >= MAX_HOT_AGE_NS
        return aged or rows >= MAX_HOT_ROWS or self._hot_bytes(journal) >= MAX_HOT_BYTES

    def _hot_bytes(self, journal: Journal) -> int:
        """Bytes that arrived since this compactor last moved rows: about what is hot, without looking at it all."""
        size, self._measured_seq = journal.hot_bytes(self._measured_seq)
        self._measured_bytes += size
        return self._measured_bytes

    def _register(self, journal: Journal, files: list[LedgerFile], upto: int, replaces: Sequence[str] = ()) -> None:
        _before_register()
        if not journal.register_files(self._owner, files, upto, replaces):
            raise LeaseLost(f"{self._owner} lost the ledger's lease while it was writing")
        _after_register()

    def _hold(self, journal: Journal, ttl_s: float) -> None:
        if not journal.lease(LEDGER_LEASE, self._owner, ttl_s):
            raise LeaseLost(f"{self._owner} lost the ledger's lease")

    def _opened(self) -> Journal:
        if self._journal is None:
            self._journal = self._open_journal()
        return self._journal

    def _connection(self) -> Any:
        if self._db is None:
            # One core: calls matter more than compacting them.
            self._db = open_memory(self._home / "ledger" / SPILL, threads=1, memory_limit=MEMORY)
            # Or else the bytes of a row group are not bounded. One thread keeps the order all the same.
            self._db.execute("SET preserve_insertion_order = false")
        return self._db

    def _complain(self, error: Exception, *, quietly: bool) -> None:
        text = f"{type(error).__name__}: {error}"
        if text != self._complained:
            # Of a journal that cannot be opened the writer says so, who needs it more often.
            log.log(
                logging.INFO if quietly else logging.WARNING, "the ledger's compactor failed and tries again: %s", text
            )
            self._complained = text


def compacted_upto(snapshot: Snapshot) -> int:
    """The last row that is in a file. The files themselves say so too, should the journal's number have been lost."""
    return max([snapshot.compacted_seq, *(file.last_seq for file in snapshot.files)])


def known_files(journal: Journal) -> set[str]:
    """Paths of files that are registered, or were and may not be deleted yet."""
    return {file.path for file in journal.snapshot(_NO_ROWS).files} | set(journal.retired())


def _unfinished(home: Path) -> list[Path]:
    """What a compactor that was killed left half-written in the ledger's folders."""
    every = (home / "ledger").rglob("*")
    return [path for path in every if path.suffix == ".unfinished" or path.parent.name == SPILL]
