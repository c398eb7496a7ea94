"""One transaction at a time on the journal's database, and what happens when one fails.

Nothing here knows about events. Every write is one `BEGIN IMMEDIATE` transaction that ends in a commit or leaves no
trace. A damaged file is put in quarantine and salvaged, once, and the write is tried again on the new one.
"""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

from callmeter.errors import JournalError
from callmeter.events import salvage
from callmeter.events.forkgate import gate
from callmeter.events.home import locked
from callmeter.events.opening import Damaged, Opened
from callmeter.faultpoints import point

log = logging.getLogger("callmeter")
T = TypeVar("T")

ATTEMPTS = 3
"""On a damaged file: as it is, after checking every page, and on what was salvaged."""

CHECKPOINT_PAGES = 1000
"""The log is moved into the database once it has this many pages (8 MB)."""

_before_checkpoint = point("journal.checkpoint.before", "the log is full and about to be moved into the database")
_after_checkpoint = point("journal.checkpoint.after", "the log was moved into the database as far as readers allow")


class Points(NamedTuple):
    """The two fault points of a transaction."""

    before: Callable[[], None]
    after: Callable[[], None]


def commit_points(name: str, what: str) -> Points:
    """Fault points around the commit of `what`."""
    return Points(
        point(f"journal.{name}.before_commit", f"{what}: written, not committed"),
        point(f"journal.{name}.after_commit", f"{what}: committed, nobody told yet"),
    )


class Store(Opened):
    """One connection to one journal, used by one thread at a time."""

    def _write(self, work: Callable[[], T], points: Points) -> T:
        """Run `work` in one transaction. Raises `JournalError` with nothing changed if that cannot be."""
        for attempt in range(ATTEMPTS):
            try:
                with gate.passing(), self._transaction():
                    result = work()
                    points.before()
                points.after()
                with gate.passing():
                    self._checkpoint_if_due()
                return result
            except self._damage as error:
                self._suspect(attempt, error)
            except self._apsw.Error as error:
                raise self._failed(error) from error
        raise AssertionError("unreachable")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._require_writable()
        self._db.execute("BEGIN IMMEDIATE")
        try:
            # Only now: holding the lock while waiting for SQLite's would keep out who has to replace the file.
            with locked(self._lock_fd, self.home, exclusive=False):
                self._refuse_moved()
                yield
                self._db.execute("COMMIT")
        except BaseException:
            self._rollback()
            raise

    def _read(self, work: Callable[[], T]) -> T:
        """Run `work` in one read transaction, so that it sees one instant."""
        for attempt in range(ATTEMPTS):
            try:
                with gate.passing(), self._reading():
                    return work()
            except self._damage as error:
                self._suspect(attempt, error)
            except self._apsw.Error as error:
                raise self._failed(error) from error
        raise AssertionError("unreachable")

    @contextmanager
    def _reading(self) -> Iterator[None]:
        if self._db is None or not self._is_current():
            self._connect()
        self._db.execute("BEGIN")
        try:
            yield
        finally:
            self._rollback()

    def _require_writable(self) -> None:
        if self._read_only:
            raise JournalError(f"{self.path} was opened for reading only")
        if self._db is None or not self._is_current():
            self._connect()

    def _is_current(self) -> bool:
        try:
            found = os.stat(self.path)
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == self._inode

    def _refuse_moved(self) -> None:
        if not self._is_current():
            raise Damaged("another process replaced it")

    def _rollback(self) -> None:
        self._numbers.clear()
        if self._db is not None and self._db.in_transaction:
            try:
                self._db.execute("ROLLBACK")
            except self._apsw.Error:
                self._disconnect()

    def _suspect(self, attempt: int, error: Exception) -> None:
        """Something on a page is not as it should be: open anew, which salvages if there is reason to.

        At first every page is checked; if that finds nothing and the damage shows again, the file is replaced anyhow.
        """
        by_us = attempt > 0 and isinstance(error, self._apsw.ConstraintError)
        if self._read_only or by_us or attempt + 1 == ATTEMPTS:
            raise self._failure(error) from error
        if self._is_current():
            salvage.suspect(self.home, "" if attempt == 0 else f"it could not be read: {error}")
        with gate.passing():
            self._connect()

    def _failed(self, error: Exception) -> JournalError:
        """The error to raise. After a failed write or flush the connection's own view is not to be trusted."""
        if isinstance(error, self._apsw.IOError | self._apsw.CantOpenError | self._apsw.ReadOnlyError):
            self._disconnect()
        return self._failure(error)

    def _checkpoint_if_due(self) -> None:
        if self._wal_pages < CHECKPOINT_PAGES:
            return
        _before_checkpoint()
        mode = self._apsw.SQLITE_CHECKPOINT_PASSIVE
        try:
            self._db.wal_checkpoint(mode=mode)
        except self._apsw.Error:
            # What was committed stays committed; the log is moved another time.
            log.debug("moving the log of %s into the database failed", self.path, exc_info=True)
        self._wal_pages = 0
        _after_checkpoint()
