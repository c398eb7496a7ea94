"""Answers on disk: one SQLite file that all processes of a host may share."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from callmeter.clock import Clock
from callmeter.errors import MissingExtraError

_SWEEP_EVERY = 32
"""Puts of one process between looks at what is over or too much."""

_inherited: list[Any] = []
"""Connections of a parent process. Closing one in the child would drop the parent's locks."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, value BLOB NOT NULL, until_ns INTEGER, size INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS answers_over ON answers (until_ns) WHERE until_ns IS NOT NULL;
CREATE INDEX IF NOT EXISTS answers_size ON answers (size);
"""


class DiskStore:
    """The oldest go first once there are more than `max_bytes` of answers."""

    waits = True

    def __init__(self, folder: Path, clock: Clock, *, max_bytes: int, timeout_s: float) -> None:
        try:
            # The standard library's SQLite may be one that loses commits of several processes: see `events/opening.py`.
            import apsw
        except ImportError:
            raise MissingExtraError(
                "a cache on disk needs apsw: pip install 'callmeter[ledger]', or use type='local'"
            ) from None
        self._apsw = apsw
        self.path = folder / "answers.sqlite3"
        self._clock = clock
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self._pid = 0
        self._lock = threading.Lock()
        self._db: Any = None
        self._puts = 0

    def get(self, key: str) -> bytes | None:
        """See `Store`."""
        with self._opened() as db:
            query = "SELECT value FROM answers WHERE key = ? AND (until_ns IS NULL OR until_ns > ?)"
            row = db.execute(query, (key, self._clock.wall_ns())).fetchone()
        return None if row is None else row[0]

    async def aget(self, key: str) -> bytes | None:
        """See `Store`."""
        import asyncio

        return await asyncio.wait_for(asyncio.to_thread(self.get, key), self._timeout_s)

    def put(self, key: str, value: bytes, until_ns: int | None) -> None:
        """See `Store`. What is larger than all that may be kept is not."""
        if len(value) > self._max_bytes:
            return
        with self._opened() as db:
            db.execute("REPLACE INTO answers VALUES (?, ?, ?, ?)", (key, value, until_ns, len(value)))
            self._puts += 1
            if self._puts % _SWEEP_EVERY == 1:
                self._sweep(db)

    def delete(self, key: str) -> None:
        """See `Store`."""
        with self._opened() as db:
            db.execute("DELETE FROM answers WHERE key = ?", (key,))

    def clear(self, namespace: str) -> None:
        """See `Store`."""
        with self._opened() as db:
            start = namespace + ":"
            db.execute("DELETE FROM answers WHERE substr(key, 1, ?) = ?", (len(start), start))

    def _sweep(self, db: Any) -> None:
        with db:
            db.execute("DELETE FROM answers WHERE until_ns <= ?", (self._clock.wall_ns(),))
            over = db.execute("SELECT coalesce(sum(size), 0) FROM answers").fetchone()[0] - self._max_bytes
            while over > 0:
                row, size = db.execute("SELECT rowid, size FROM answers ORDER BY rowid LIMIT 1").fetchone()
                db.execute("DELETE FROM answers WHERE rowid = ?", (row,))
                over -= size

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        """The connection of this process, for one statement at a time."""
        if self._pid != os.getpid():
            # A lock that another thread held when the process forked is never given back in the child.
            self._pid, self._lock = os.getpid(), threading.Lock()
            _inherited.append(self._db)
            self._db = None
        with self._lock:
            if self._db is None:
                self._db = self._connected()
            yield self._db

    def _connected(self) -> Any:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Answers are for nobody else's eyes; SQLite gives the files beside it the same mode.
        os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
        db = self._apsw.Connection(str(self.path))
        db.set_busy_timeout(int(self._timeout_s * 1000))
        db.execute("PRAGMA trusted_schema = off")
        db.execute("PRAGMA journal_mode = wal").fetchone()
        # A power cut may cost the newest answers, which can be had again.
        db.execute("PRAGMA synchronous = normal")
        db.execute(_SCHEMA)
        return db
