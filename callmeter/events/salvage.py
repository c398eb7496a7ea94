"""What can be saved from a damaged journal: every row that can be read and fits its checksum. The rest is counted."""

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct

from callmeter.clock import Clock
from callmeter.events.journal_schema import (
    CORRUPT,
    LEDGER,
    PAGE_BYTES,
    TABLES,
    create_tables,
    event_crc,
    outbox_crc,
    text_crc,
)
from callmeter.faultpoints import point

log = logging.getLogger("callmeter")

_before_quarantine = point("journal.quarantine.before", "the journal is damaged and still in its place")
_after_quarantine = point("journal.quarantine.after", "the damaged journal was moved away, there is no new one yet")

_before_commit = point("journal.salvage.before_commit", "what could be read is in the new journal, not committed")
_after_commit = point("journal.salvage.after_commit", "the new journal is complete, the note is still there")

_KEYS = {
    "meta": ("key",),
    "sinks": ("n",),
    "files": ("path",),
    "losses": ("sink", "reason"),
    "events": ("seq",),
    "outbox": ("sink", "seq"),
    "dead": ("sink", "seq"),
    "open": ("call_id",),
    "seen": ("key",),
}
"""Tables in the order in which they are copied, with their keys. Leases lapse by themselves."""

_CHECKS: dict[str, Callable[[tuple[Any, ...]], bool]] = {
    "meta": lambda row: row[2] == text_crc(row[0], row[1]),
    "files": lambda row: row[7] == text_crc(*row[:7]),
    "events": lambda row: row[6] == event_crc(*(*row[:6], row[7])),
    "outbox": lambda row: row[2] == outbox_crc(row[0], row[1]),
    "open": lambda row: row[4] == text_crc(*row[:4], row[5]),
}
"""Whether a row, its columns in the table's order, fits its checksum."""


_NOTE = "journal.suspect"
_MOVING = "being salvaged from quarantine/"

_PAGE_COUNT = slice(28, 32)
"""Where a database's header says how many pages it has. Source: https://www.sqlite.org/fileformat2.html#the_database_header"""


class Salvaged(Struct):
    """How many rows of each table were saved, and how many were seen to be damaged."""

    kept: dict[str, int]
    damaged: dict[str, int]
    lost: dict[str, int]
    """By sink: events that were accepted and are in no table any more."""

    def sentence(self) -> str:
        """For the log."""
        lost = ", ".join(f"{count} of {sink}" for sink, count in self.lost.items() if count) or "none"
        return f"{self.kept.get('events', 0)} events were salvaged, lost and counted as dropped: {lost}"


def suspect(home: Path, reason: str) -> None:
    """Note for whoever opens the journal next: check every page; with a reason, replace the file in any case."""
    (home / _NOTE).write_text(reason)


def suspicion(home: Path) -> str | None:
    """What the note says; None where there is none."""
    try:
        return (home / _NOTE).read_text(errors="replace")
    except FileNotFoundError:
        return None


def clear(home: Path) -> None:
    """Remove the note."""
    (home / _NOTE).unlink(missing_ok=True)


def quarantine(home: Path, clock: Clock) -> Path:
    """Move the journal with its log into `quarantine/<nanoseconds>/`; the database's new path.

    The note names the folder until the new journal is complete. If it already names one, a process died on the way:
    what it had not moved is moved, and the unfinished new journal is deleted.
    """
    folder = _unfinished(home)
    if folder is None:
        folder = home / "quarantine" / str(clock.wall_ns())
        while folder.exists():
            folder = folder.with_name(folder.name + "+")
        folder.mkdir(mode=0o700, parents=True)
        suspect(home, f"{_MOVING}{folder.name}")
    _before_quarantine()
    moved = (folder / "journal.sqlite3").exists()
    # The log first: a log without its database is ignored, a new database beside an old log would not be.
    for suffix in ("-wal", "-shm", ""):
        source = home / f"journal.sqlite3{suffix}"
        if not source.exists():
            continue
        if moved:
            source.unlink()
        else:
            os.rename(source, folder / source.name)
    _after_quarantine()
    return folder / "journal.sqlite3"


def _unfinished(home: Path) -> Path | None:
    """The folder that the note names, if any."""
    note = suspicion(home) or ""
    folder = home / "quarantine" / note.removeprefix(_MOVING)
    return folder if note.startswith(_MOVING) and folder.is_dir() else None


def salvage(apsw: Any, old: Path, new: Any) -> Salvaged:
    """Copy what can be read from the file at `old` into the fresh journal behind the connection `new`."""
    found = Salvaged({}, {}, {})
    source = _opened(apsw, old)
    if source is None:
        log.warning("nothing could be read from %s", old)
        return found
    try:
        with new:
            for table in _KEYS:
                _copy(apsw, source, new, table, found)
            _mend_numbers(new)
            _name_lost_sinks(new)
            found.lost = reconcile(new)
            _before_commit()
        _after_commit()
    finally:
        _close(apsw, source)
    return found


def _opened(apsw: Any, old: Path) -> Any:
    """A connection through which the tables can be read, if need be with a first page of our own; else None."""
    for path in (old, old.with_name("mended.sqlite3")):
        db = apsw.Connection(str(path))
        try:
            if dict(db.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL").fetchall()) == TABLES:
                return db
            raise apsw.CorruptError("the schema is damaged")
        except (apsw.Error, UnicodeDecodeError) as error:
            log.debug("opening %s: %s", path, error)
            if path == old:
                _mend_first_page(apsw, db, old)
        _close(apsw, db)
    return None


def _mend_first_page(apsw: Any, db: Any, old: Path) -> None:
    """Copy the file and give the copy the first page of a fresh journal: the header, the schema, the root pages.

    These are the same in every journal, because the tables are always created in the same order.
    """
    try:
        db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    except apsw.Error as error:
        log.debug("the log of %s could not be applied: %s", old, error)
    fresh = apsw.Connection(":memory:")
    fresh.execute(f"PRAGMA page_size = {PAGE_BYTES}")
    create_tables(fresh)
    mended = old.with_name("mended.sqlite3")
    shutil.copyfile(old, mended)
    page = bytearray(fresh.serialize("main")[:PAGE_BYTES])
    page[_PAGE_COUNT] = (mended.stat().st_size // PAGE_BYTES).to_bytes(4, "big")
    with mended.open("r+b") as file:
        file.write(page)


def _close(apsw: Any, db: Any) -> None:
    try:
        db.close()
    except apsw.Error:
        log.debug("closing a damaged journal failed", exc_info=True)


def _copy(apsw: Any, source: Any, new: Any, table: str, found: Salvaged) -> None:
    width = len(new.execute(f"PRAGMA table_info({table})").fetchall())
    marks = ", ".join("?" * width)
    fits = _CHECKS.get(table)
    for row in _readable(apsw, source, table):
        if table == "sinks":
            row = (*row[:4], *(count if isinstance(count, int) else 0 for count in row[4:7]), *row[7:])
        try:
            if len(row) != width or (fits is not None and not fits(row)):
                raise TypeError("the row does not fit its checksum")
            new.execute(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", row)  # noqa: S608 - a name of our own
            found.kept[table] = found.kept.get(table, 0) + 1
        except (apsw.Error, TypeError):
            found.damaged[table] = found.damaged.get(table, 0) + 1


def _readable(apsw: Any, source: Any, table: str) -> Iterator[tuple[Any, ...]]:
    """Rows from the front up to the first damaged page, then from the back down to the last damaged one."""
    keys = _KEYS[table]
    reached: set[tuple[Any, ...]] = set()
    for order in ("ASC", "DESC"):
        by = ", ".join(f"{key} {order}" for key in keys)
        try:
            for row in source.execute(f"SELECT * FROM {table} ORDER BY {by}"):  # noqa: S608 - names of our own
                key = tuple(row[: len(keys)])
                # A damaged key may be another row's: only the second pass passes over what it knows.
                if order == "ASC" or key not in reached:
                    yield row
                reached.add(key)
            return
        except (apsw.Error, UnicodeDecodeError) as error:
            log.debug("reading %s of the damaged journal: %s", table, error)


def unexplained(db: Any) -> dict[str, int]:
    """By sink, what the accounts cannot explain: accepted events that are nowhere; negative the other way round."""
    compacted = int(db.execute("SELECT value FROM meta WHERE key = 'compacted_seq'").fetchone()[0])
    sql = "SELECT count(*) FROM events INDEXED BY events_ledger WHERE ledger = 1 AND seq > ?"
    hot = db.execute(sql, (compacted,)).fetchone()[0]
    sql = """SELECT identity, accepted - delivered - dropped - (SELECT count(*) FROM dead WHERE sink = n)
               - iif(identity = ?, ?, (SELECT count(*) FROM outbox WHERE sink = n)) FROM sinks"""
    return {identity: missing for identity, missing in db.execute(sql, (LEDGER, hot)).fetchall() if missing}


def reconcile(db: Any) -> dict[str, int]:
    """Make the accounts add up again: what is in no table counts as dropped, reason `corrupt`.

    Where there is more than was accepted, the counters themselves were damaged, and `accepted` follows. Within a
    transaction; returns the losses by sink.
    """
    found = unexplained(db)
    for identity, missing in found.items():
        if missing < 0:
            db.execute("UPDATE sinks SET accepted = accepted - ? WHERE identity = ?", (missing, identity))
            continue
        db.execute("UPDATE sinks SET dropped = dropped + ? WHERE identity = ?", (missing, identity))
        db.execute(
            "INSERT INTO losses VALUES (?, ?, ?, 0) ON CONFLICT DO UPDATE SET count = count + excluded.count",
            (identity, CORRUPT, missing),
        )
    return {identity: missing for identity, missing in found.items() if missing > 0}


def _name_lost_sinks(db: Any) -> None:
    """Give sinks a name again whose own row was lost and whose events were not."""
    sql = "SELECT sink FROM outbox UNION SELECT sink FROM dead EXCEPT SELECT n FROM sinks"
    for (sink,) in db.execute(sql).fetchall():
        db.execute("INSERT INTO sinks (n, identity, name, endpoint) VALUES (?, ?, 'unknown', '')", (sink, f"?:{sink}"))


def _mend_numbers(db: Any) -> None:
    """Point the next number and the compactor's position behind everything that is known."""
    stored = dict(db.execute("SELECT key, value FROM meta").fetchall())
    known = db.execute(
        "SELECT max(ifnull((SELECT max(seq) FROM events), 0), ifnull((SELECT max(seq) FROM dead), 0),"
        " ifnull((SELECT max(seq) FROM outbox), 0), ifnull((SELECT max(last_seq) FROM files), 0))"
    ).fetchone()[0]
    in_files = db.execute("SELECT ifnull(max(last_seq), 0) FROM files").fetchone()[0]
    numbers = {
        "next_seq": max(int(stored.get("next_seq", 1)), known + 1),
        "compacted_seq": max(int(stored.get("compacted_seq", 0)), in_files),
    }
    for key, number in numbers.items():
        value = str(number).encode()
        db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?, ?)", (key, value, text_crc(key, value)))
