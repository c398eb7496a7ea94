"""The journal's database file: created, checked, mended if need be, and opened; or refused with one clear message."""

import logging
import os
import weakref
from pathlib import Path
from typing import Any

from callmeter.clock import Clock
from callmeter.errors import HomeError, JournalError, MissingExtraError
from callmeter.events import salvage
from callmeter.events.forkgate import gate
from callmeter.events.home import check_home, locked, open_lock, refuse_foreign
from callmeter.events.journal_schema import (
    APPLICATION_ID,
    LEDGER,
    PAGE_BYTES,
    TABLES,
    VERSION,
    create_tables,
    text_crc,
)

log = logging.getLogger("callmeter")

_ACTIVE = ("trigger", "view")
"""What somebody may have put into our own file to have it act on our rows."""

BUSY_S = 5.0
"""How long a write waits for another process."""


def import_apsw() -> Any:
    """The SQLite we use: the standard library's may have the WAL-reset race of releases before 3.51.3."""
    try:
        import apsw
    except ImportError:
        raise MissingExtraError("the journal needs apsw; pip install 'callmeter[ledger]'") from None
    return apsw


_all: "weakref.WeakSet[Opened]" = weakref.WeakSet()
_inherited: list[Any] = []
"""Connections of the parent's. Closing one in the child would touch the parent's files."""


def _abandon_all() -> None:
    for one in list(_all):
        one._abandon()


os.register_at_fork(after_in_child=_abandon_all)


class Damaged(Exception):
    """The file is not, or no longer, a journal of this version."""


class Opened:
    """An open connection to the journal of a home, or none after a failure; `_connect` opens it anew."""

    def __init__(self, home: Path, clock: Clock, *, power: bool, create: bool, read_only: bool) -> None:
        self.home, self.clock = home, clock
        self.path = home / "journal.sqlite3"
        self._power, self._create, self._read_only = power, create, read_only
        self._apsw = import_apsw()
        # Rows have their columns' types, so one that cannot be changed for its types is damaged.
        apsw_damage = (self._apsw.CorruptError, self._apsw.NotADBError, self._apsw.ConstraintError)
        self._damage: tuple[type[Exception], ...] = (Damaged, UnicodeDecodeError, *apsw_damage)
        self._db: Any = None
        self._lock_fd = -1
        self._inode = (0, 0)
        self._wal_pages = 0
        self._numbers: dict[str, int] = {}
        _all.add(self)
        with gate.passing():
            self._connect()

    def _connect(self) -> None:
        """Open the file, making or mending it under the exclusive lock if need be."""
        self.close()
        check_home(self.home, self._create and not self._read_only)
        if self._read_only:
            self._db = self._opened_read_only()
            return
        try:
            self._lock_fd = open_lock(self.home / "journal.lock")
            for exclusive in (False, True):
                with locked(self._lock_fd, self.home, exclusive):
                    if self._opened(exclusive):
                        return
        except self._apsw.Error as error:
            raise self._failure(error) from error
        raise JournalError(f"there is no journal in {self.home}; make a call with a sink or the ledger on first")

    def _opened(self, exclusive: bool) -> bool:
        """Try to open as it is; only under the exclusive lock may the file be created or replaced."""
        suspicion = salvage.suspicion(self.home)
        if not exclusive and (suspicion is not None or not self.path.exists()):
            return False
        try:
            ready = self._opened_as_it_is(exclusive, suspicion)
        except self._damage as error:
            self._disconnect()
            if not exclusive:
                return False
            self._replace(error)
            ready = True
        if ready:
            salvage.clear(self.home)
            found = os.stat(self.path)
            self._inode = (found.st_dev, found.st_ino)
        else:
            self._disconnect()
        return ready

    def _opened_as_it_is(self, exclusive: bool, suspicion: str | None) -> bool:
        if suspicion:
            raise Damaged(suspicion)
        if not self.path.exists():
            if not self._create:
                return False
            _make_file(self.path)
        self._db = self._opened_file(self.path)
        if suspicion is not None:
            self._check_pages()
        if not self._check_schema(exclusive):
            return False
        self._check_accounts()
        return True

    def _opened_file(self, path: Path) -> Any:
        refuse_foreign(path)
        db = self._apsw.Connection(str(path))
        db.set_busy_timeout(int(BUSY_S * 1000))
        db.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        db.execute("PRAGMA trusted_schema = off")
        mode = db.execute("PRAGMA journal_mode = wal").fetchone()[0]
        if mode != "wal":
            raise HomeError(
                f"{path} is on a file system without shared memory or locks (journal mode {mode!r}); "
                "set CALLMETER_HOME to a directory on a local disk"
            )
        if self._power:
            db.execute("PRAGMA synchronous = full")
            db.execute("PRAGMA fullfsync = on")
        else:
            db.execute("PRAGMA synchronous = normal")
        db.execute("PRAGMA wal_autocheckpoint = 0")
        db.transaction_mode = "IMMEDIATE"
        db.execute(f"PRAGMA journal_size_limit = {64 << 20}")
        db.set_wal_hook(self._count_wal)
        return db

    def _opened_read_only(self) -> Any:
        if not self.path.exists():
            raise JournalError(f"there is no journal in {self.home}; make a call with a sink or the ledger on first")
        try:
            db = self._opened_uri("mode=ro")
        except (self._apsw.CantOpenError, self._apsw.ReadOnlyError) as error:
            # Reading takes shared memory beside the file. In a read-only directory there can be none, nor a writer.
            if os.access(self.home, os.W_OK) or self.path.with_name(self.path.name + "-wal").exists():
                raise self._failure(error) from error
            db = self._opened_uri("mode=ro&immutable=1")
        except self._apsw.Error as error:
            raise self._failure(error) from error
        found = os.stat(self.path)
        self._inode = (found.st_dev, found.st_ino)
        return db

    def _opened_uri(self, query: str) -> Any:
        flags = self._apsw.SQLITE_OPEN_READONLY | self._apsw.SQLITE_OPEN_URI
        db = self._apsw.Connection(f"{self.path.absolute().as_uri()}?{query}", flags=flags)
        db.set_busy_timeout(int(BUSY_S * 1000))
        db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        return db

    def _check_pages(self) -> None:
        for (finding,) in self._db.execute("PRAGMA integrity_check(1)"):
            if finding != "ok":
                raise Damaged(finding)

    def _check_schema(self, exclusive: bool) -> bool:
        """Whether the tables are there, all as they should be. Creates them in an empty database if allowed."""
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        owner = self._db.execute("PRAGMA application_id").fetchone()[0]
        schema = self._db.execute("SELECT name, sql, type FROM sqlite_schema WHERE sql IS NOT NULL").fetchall()
        found = {name: sql for name, sql, _ in schema}
        if not found and version == 0:
            if exclusive:
                self._create_tables()
            return exclusive
        if found == TABLES and version == VERSION:
            for key in ("hash_key", "next_seq", "compacted_seq"):
                if self._meta(key) is None:
                    raise Damaged(f"its {key!r} is missing")
            return True
        # A version never changes without the schema, so an odd version with our schema is damage too.
        if owner == APPLICATION_ID and version > VERSION and found != TABLES:
            self._disconnect()
            raise HomeError(
                f"{self.path} was written by a newer callmeter (journal version {version}, this one knows {VERSION}); "
                "upgrade callmeter or set another CALLMETER_HOME"
            )
        foreign = [n for n, _, kind in schema if n not in TABLES and (owner != APPLICATION_ID or kind in _ACTIVE)]
        if foreign:
            self._disconnect()
            raise HomeError(f"{self.path} contains {foreign[0]!r}, which is not ours; set another CALLMETER_HOME")
        raise Damaged("its schema is not the journal's")

    def _check_accounts(self) -> None:
        """Make accounts that do not add up do so, and say it: only damage or a bug can have caused it."""
        self._db.execute("BEGIN")
        found = salvage.unexplained(self._db)
        self._db.execute("ROLLBACK")
        if not found:
            return
        self._check_pages()
        with self._db:
            found = salvage.unexplained(self._db)
            salvage.reconcile(self._db)
        log.error(
            "the accounts in %s did not add up by %s and were mended; what is missing counts as dropped",
            self.path,
            found,
        )

    def _create_tables(self) -> None:
        with self._db:
            create_tables(self._db)
            self._db.execute("INSERT INTO sinks (n, identity, name, endpoint) VALUES (1, ?, ?, '')", (LEDGER, LEDGER))
            self._set_meta("hash_key", os.urandom(16))
            self._set_meta("next_seq", 1)
            self._set_meta("compacted_seq", 0)

    def _replace(self, reason: Exception) -> None:
        """Quarantine the file and open a new one with what could be salvaged. Called under the exclusive lock.

        A process killed on the way leaves a note; the next one to open the journal goes on from there.
        """
        old = salvage.quarantine(self.home, self.clock)
        _make_file(self.path)
        self._db = self._opened_file(self.path)
        self._create_tables()
        found = salvage.salvage(self._apsw, old, self._db)
        log.warning(
            "the journal %s was damaged (%s) and is now in %s; %s", self.path, reason, old.parent, found.sentence()
        )

    def _failure(self, error: Exception) -> JournalError:
        apsw = self._apsw
        cures: dict[type, str] = {
            apsw.FullError: "free disk space; events wait in memory until then",
            apsw.BusyError: f"another process kept it locked for {BUSY_S:g} s; see `callmeter doctor`",
            apsw.ReadOnlyError: "make it writable or set another CALLMETER_HOME",
            apsw.CantOpenError: "make it readable and writable or set another CALLMETER_HOME",
            apsw.IOError: "check the disk; events wait in memory until then",
            apsw.ProtocolError: "its file system has no working locks: set CALLMETER_HOME to a local disk",
        }
        cure = next((text for kind, text in cures.items() if isinstance(error, kind)), "see `callmeter doctor`")
        kind = HomeError if isinstance(error, apsw.ProtocolError) or self._refuses_us(error) else JournalError
        return kind(f"the journal {self.path} failed: {error}; {cure}")

    def _refuses_us(self, error: Exception) -> bool:
        """Whether the file system does not let us write: SQLite says the same of a lack of descriptors."""
        if not isinstance(error, self._apsw.ReadOnlyError | self._apsw.CantOpenError):
            return False
        return not os.access(self.home, os.W_OK | os.X_OK) or not os.access(self.path, os.R_OK | os.W_OK)

    def _count_wal(self, _db: Any, _name: str, pages: int) -> int:
        self._wal_pages = pages
        return 0

    # --- meta

    def _meta(self, key: str, default: Any = None) -> Any:
        found = self._db.execute("SELECT value, crc FROM meta WHERE key = ?", (key,)).fetchone()
        if found is None:
            return default
        if found[1] != text_crc(key, found[0]):
            raise Damaged(f"the journal's {key!r} does not fit its checksum")
        return found[0]

    def _number(self, key: str) -> int:
        return int(self._meta(key, b"0"))

    def _set_meta(self, key: str, value: int | bytes) -> None:
        stored = value if isinstance(value, bytes) else str(value).encode()
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?, ?)", (key, stored, text_crc(key, stored)))

    # --- closing

    def _disconnect(self) -> None:
        if self._db is not None:
            db, self._db = self._db, None
            try:
                db.close()
            except self._apsw.Error:
                log.debug("closing %s failed", self.path, exc_info=True)
        self._numbers.clear()

    def close(self) -> None:
        """Close the connection; the last one on the host moves the log into the database."""
        with gate.passing():
            self._disconnect()
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    def _abandon(self) -> None:
        """In a forked child: leave the parent's connection alone and open one of our own when next used."""
        _inherited.append(self._db)
        self._db = None
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1


def _make_file(path: Path) -> None:
    """Make an empty database that is the owner's alone; SQLite gives its other files the same mode."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
