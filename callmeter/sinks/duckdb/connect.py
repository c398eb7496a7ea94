"""A DuckDB connection over the ledger as it is now: the Parquet files and the journal's newest rows."""

import logging
import tempfile
import weakref
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

from callmeter.clock import SystemClock
from callmeter.errors import CallmeterError, JournalError
from callmeter.events.journal import Journal
from callmeter.events.journal_schema import LedgerFile, Snapshot
from callmeter.events.rows import CONTENT, FILED
from callmeter.sinks.duckdb import import_duckdb
from callmeter.sinks.duckdb.compactor import GRACE_NS, Compactor, compacted_upto, known_files
from callmeter.sinks.duckdb.parquet import journal_tag, problem_with
from callmeter.sinks.duckdb.restoring import has_files, unknown_files
from callmeter.sinks.duckdb.staging import open_memory, stage
from callmeter.sinks.duckdb.views import LAST_ADJUSTMENTS, HotContent, copy_hot, has_rows, hot_tables, insert_hot, views

log = logging.getLogger("callmeter")

PART_BYTES = 16 << 20
"""Hot rows that are held in memory at a time."""

RESTORING = "restoring"
"""What the problem is about that files could not be restored."""

Parameters = Sequence[Any] | Mapping[str, Any] | None


class Ledger:
    """DuckDB over the views `calls`, `attempts`, `cost_items`, `daily_spend`, `adjustments` and two more.

    Before each statement the journal is read in one short transaction, which holds up no writer: rows that were
    committed before are seen, each once. `problems` names what had to be left out. Used by one thread at a time.

    Files of prompts and answers are opened with the first statement that names `content`; so ask for them through
    `sql` and `execute`, not through `connection`. `since` leaves out files of earlier UTC days, which then are not even
    opened. `guarded` is for SQL from elsewhere: only questions are allowed, no file but the ledger's can be read, and
    no setting can be changed.
    """

    def __init__(self, home: Path, *, since: date | None = None, guarded: bool = False) -> None:
        self.home, self._since, self._guarded = home.absolute(), since, guarded
        self._journal: Journal | None = None
        self._files: tuple[LedgerFile, ...] | None = None
        self._content_asked = False
        self._problems: dict[str, str] = {}
        self._sound: set[str] = set()
        self._last_seq = self._done = 0
        self._hot_content: dict[Path, int] = {}
        self._scratch = tempfile.TemporaryDirectory(prefix="callmeter-")
        self.connection = open_memory(Path(self._scratch.name))
        self._finalizer = weakref.finalize(self, _close, self.connection, self._scratch)
        self._prepare()
        self._restore()
        self.refresh()

    @property
    def problems(self) -> tuple[str, ...]:
        """What could not be read, one sentence each; empty if everything is there."""
        return tuple(self._problems.values())

    def sql(self, query: str, params: Parameters = None) -> Any:
        """DuckDB's `sql()`: a relation, or None for a statement that gives none."""
        self._admit(query)
        self._prepare_for(query)
        self.refresh()
        return self.connection.sql(query, params=params)

    def execute(self, query: str, parameters: Parameters = None) -> Any:
        """DuckDB's `execute()`: the connection, ready for `fetchone`, `fetchall`, `description`, …"""
        self._admit(query)
        self._prepare_for(query)
        self.refresh()
        return self.connection.execute(query, parameters)

    def refresh(self) -> None:
        """Read what was committed since the last time, a bounded part at a time."""
        if RESTORING in self._problems:
            self._restore()
        goal: int | None = None
        while (part := self._next_part()) is not None:
            self._take(part)
            goal = part.last_seq if goal is None else goal
            # Rows that are compacted between two parts leave the hot ones and come with the files: each counts once.
            if not part.more or self._last_seq >= goal:
                return

    def _next_part(self) -> Snapshot | None:
        """The next hot rows, and the files of the same instant. None where the journal cannot be read."""
        journal = self._opened()
        if journal is None:
            return None
        try:
            part = journal.snapshot(self._last_seq, limit_bytes=PART_BYTES)
            if part.last_seq < self._last_seq:
                # Somebody made the journal anew, and it counts from 1.
                self._forget(self._last_seq)
                self._last_seq = 0
                part = journal.snapshot(limit_bytes=PART_BYTES)
            return part
        except JournalError as error:
            self._journal = None
            journal.close()
            self._lose(str(error))
            return None

    def _restore(self) -> None:
        """Have files that are in no list made part of the ledger again, or say that they are not."""
        journal = self._opened()
        if journal is None:
            return
        try:
            unknown = unknown_files(self.home, known_files(journal))
            if unknown and not self._restored():
                # A compactor at work has a file of its own that is not registered yet; an old one is another matter.
                tag, now = journal_tag(journal.hash_key), SystemClock.wall_ns()
                if any(f.name.journal != tag or now - f.path.stat().st_mtime_ns > GRACE_NS for f in unknown):
                    raise JournalError("another process is at it, ask again in some seconds")
            self._problems.pop(RESTORING, None)
        except (CallmeterError, OSError, import_duckdb().Error) as error:
            reason = str(error).partition("\n")[0]
            self._complain(RESTORING, f"{self.home}/ledger has files that are in no list and are left out: {reason}")

    def _restored(self) -> bool:
        with closing(Compactor(lambda: Journal.open(self.home), self.home, owner=uuid4().hex)) as compactor:
            return compactor.restore()

    def _take(self, part: Snapshot) -> None:
        done = compacted_upto(part)
        new = [row for row in part.hot if row[0] > done]
        files_changed = part.files != self._files
        self._done = done
        if files_changed:
            self._forget(done)
        if new:
            self._load(new)
            self._last_seq = new[-1][0]
        self._last_seq = max(done, self._last_seq, part.read_seq)
        if files_changed or new:
            self._define(part.files)

    def close(self) -> None:
        """Close the database in memory and the journal. Idempotent."""
        journal, self._journal = self._journal, None
        if journal is not None:
            journal.close()
        self._finalizer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    # --- inside

    def _prepare(self) -> None:
        self.connection.execute("CREATE SCHEMA ledger")
        stage(self.connection, [(0, b'{"type":"nothing"}')], Path(self._scratch.name) / "hot.json")
        for statement in hot_tables():
            self.connection.execute(statement)
        self._define(())
        if self._guarded:
            self.connection.execute(
                "SET allowed_directories = $folders", {"folders": [f"{self.home}/ledger/", f"{self._scratch.name}/"]}
            )
            self.connection.execute("SET enable_external_access = false")
            self.connection.execute("SET lock_configuration = true")

    def _prepare_for(self, query: str) -> None:
        """Open files of prompts and answers once somebody asks for them.

        They may be a thousand times as large as all the rest, are read to the end to see that they are what was
        written, and most questions are about money.
        """
        if not self._content_asked and CONTENT.name in query.casefold():
            self._content_asked, self._files = True, None

    def _load(self, rows: Sequence[tuple[int, bytes]], into: Sequence[Any] = FILED) -> None:
        scratch = Path(self._scratch.name)
        stage(self.connection, rows, scratch / "hot.json")
        for table in into:
            if table is not CONTENT:
                self.connection.execute(insert_hot(table))
            elif self.connection.execute(has_rows(CONTENT)).fetchone():
                # Prompts and answers may be many times the rest: they wait on disk until somebody asks for them.
                path = scratch / f"content-{rows[-1][0]}.parquet"
                self.connection.execute(copy_hot(CONTENT, path))
                self._hot_content[path] = rows[-1][0]
        self.connection.execute("DROP TABLE staged")

    def _forget(self, upto: int) -> None:
        """Leave out hot rows that are in files by now."""
        for table in FILED:
            self.connection.execute(f"DELETE FROM ledger.hot_{table.name} WHERE seq <= ?", [upto])  # noqa: S608
        for path in [path for path, last in self._hot_content.items() if last <= upto]:
            del self._hot_content[path]
            path.unlink()

    def _define(self, files: tuple[LedgerFile, ...]) -> None:
        """Make the views over the files that are what was written."""
        if files != self._files:
            self._files = files
            self._verify(files)
        chosen: dict[str, list[Path]] = defaultdict(list)
        # The newest first: a question for the latest calls then finds them before it has read all others.
        for file in sorted(files, key=lambda file: (file.day, file.last_seq), reverse=True):
            if file.path in self._sound:
                chosen[file.kind].append(self.home / file.path)
        hot = HotContent(tuple(self._hot_content), self._done)
        for statement in views(chosen, hot, repriced=False):
            self.connection.execute(statement)
        if self.connection.execute("SELECT 1 FROM adjustments LIMIT 1").fetchone():
            self.connection.execute(LAST_ADJUSTMENTS)
            for statement in views(chosen, hot, repriced=True):
                self.connection.execute(statement)

    def _verify(self, files: Sequence[LedgerFile]) -> None:
        listed = {file.path for file in files}
        self._sound &= listed
        for gone in [path for path in self._problems if path.endswith(".parquet") and path not in listed]:
            del self._problems[gone]
        for file in files:
            if self._since is not None and file.day < self._since.isoformat():
                continue
            if file.kind == CONTENT.name and not self._content_asked:
                continue
            if file.path in self._sound or file.path in self._problems:
                continue
            problem = problem_with(self.home, file)
            if problem:
                self._complain(file.path, problem)
            else:
                self._sound.add(file.path)

    def _opened(self) -> Journal | None:
        """The journal; None while there is none, which is an empty ledger."""
        if self._journal is None:
            try:
                self._journal = open_journal(self.home)
            except JournalError as error:
                self._lose(str(error))
                return None
            self._problems.pop("", None)
        return self._journal

    def _lose(self, problem: str) -> None:
        """Say that the journal cannot be read. With the home gone too, this is the empty ledger of any such home."""
        self._complain("", problem)
        if self._files and not self.home.exists():
            self._forget(self._last_seq)
            self._last_seq = self._done = 0
            self._define(())

    def _complain(self, about: str, problem: str) -> None:
        if self._problems.get(about) != problem:
            self._problems[about] = problem
            log.warning("ledger: %s", problem)

    def _admit(self, query: str) -> None:
        if not self._guarded:
            return
        kinds = import_duckdb().StatementType
        for statement in self.connection.extract_statements(query):
            if statement.type not in (kinds.SELECT, kinds.EXPLAIN):
                raise JournalError(
                    f"only questions (SELECT, DESCRIBE, EXPLAIN) are allowed here, not {statement.type.name};"
                    " use callmeter.ledger.connect() in Python, or `callmeter export`"
                )


def open_journal(home: Path) -> Journal:
    """Open for reading and writing if possible: SQLite's readers take part in its log's bookkeeping.

    Where there are files of the ledger without a journal, that was lost and is made anew. Raises `JournalError`.
    """
    try:
        if not (home / "journal.sqlite3").exists() and has_files(home):
            Journal.open(home).close()
        return Journal.open(home, create=False)
    except JournalError:
        return Journal.open(home, create=False, read_only=True)


def _close(connection: Any, scratch: "tempfile.TemporaryDirectory[str]") -> None:
    connection.close()
    scratch.cleanup()
