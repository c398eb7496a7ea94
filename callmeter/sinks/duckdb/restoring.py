"""Files of the ledger that no journal knows: the journal was lost, or its list of files was.

Such a file is made part of the ledger again, but for rows that are there already: what a killed compactor left and what
was merged into larger files looks just the same. Rows are told by the call's id, or the event's where it has its own.
"""

import logging
import os
import shutil
from collections.abc import Container, Iterator, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from callmeter.events.journal_schema import LedgerFile
from callmeter.events.rows import FILED
from callmeter.faultpoints import point
from callmeter.sinks.duckdb.parquet import FileName, Origin, digest_of, new_name, parse_name, read_files, write_file

log = logging.getLogger("callmeter")

KEYS = {table.name: "id" if any(c.name == "id" for c in table.columns) else "call_id" for table in FILED}
"""By table, the column that tells its rows apart."""

NOWHERE = Origin(0, 0, "")
"""The range of a restored file: another journal's numbers, if any, must hide no row of this one."""

_after_link = point("ledger.restore.after_link", "a lost file has a name of this journal's beside its own")


class Unknown(Struct, frozen=True):
    """A file of the ledger that is not registered."""

    path: Path
    day: str
    name: FileName


def unknown_files(home: Path, known: Container[str]) -> list[Unknown]:
    """The ledger's files whose path, relative to the home, is not known; by day and table, the largest first."""
    found = [each for each in _files(home) if str(each.path.relative_to(home)) not in known]
    return sorted(found, key=lambda each: (each.day, each.name.table, -each.path.stat().st_size))


def has_files(home: Path) -> bool:
    """Whether there is any file of the ledger's in a home."""
    return next(_files(home), None) is not None


def _files(home: Path) -> Iterator[Unknown]:
    for path in (home / "ledger").glob("day=*/*.parquet"):
        name = parse_name(path.name)
        if name is not None and name.table in KEYS:
            yield Unknown(path, path.parent.name.removeprefix("day="), name)


def is_whole(file: Unknown) -> bool:
    """Whether a file is what was once written."""
    try:
        return digest_of(file.path) == file.name.digest
    except OSError:
        return False


def count_missing(db: Any, file: Unknown, beside: Sequence[Path]) -> tuple[int, int]:
    """How many rows a file has, and how many of these are in none of the files beside it."""
    rows = db.execute(f"SELECT count(*) FROM {read_files([file.path])}").fetchone()[0]  # noqa: S608
    missing = db.execute(f"SELECT count(*) FROM ({_missing(file, beside)})").fetchone()[0]  # noqa: S608
    return rows, missing


def _missing(file: Unknown, beside: Sequence[Path]) -> str:
    rows = f"SELECT * EXCLUDE (day) FROM {read_files([file.path])}"  # noqa: S608
    if not beside:
        return rows
    key = KEYS[file.name.table]
    return f"{rows} ANTI JOIN (SELECT {key} FROM {read_files(list(beside))}) USING ({key})"  # noqa: S608


def write_missing(db: Any, home: Path, file: Unknown, beside: Sequence[Path], journal: str) -> LedgerFile:
    """A new file of the rows that are in none of the files beside it. Raises `duckdb.Error` or `OSError`."""
    origin = Origin(NOWHERE.first_seq, NOWHERE.last_seq, journal)
    return write_file(db, _missing(file, beside), home, file.day, file.name.table, origin)


def renamed(home: Path, file: Unknown, rows: int, journal: str) -> LedgerFile:
    """The file under a name of this journal's, beside its old one, which a file of this journal's own keeps."""
    path = file.path
    if file.name.journal != journal:
        origin = Origin(NOWHERE.first_seq, NOWHERE.last_seq, journal)
        path = path.with_name(new_name(origin, file.name.table, file.name.digest))
        _link(file.path, path)
        _after_link()
    return LedgerFile(
        path=str(path.relative_to(home)),
        day=file.day,
        rows=rows,
        first_seq=NOWHERE.first_seq,
        last_seq=NOWHERE.last_seq,
        bytes=path.stat().st_size,
        kind=file.name.table,
    )


def _link(old: Path, new: Path) -> None:
    try:
        os.link(old, new)
    except OSError:
        # Not every file system has links.
        shutil.copyfile(old, new)
        new.chmod(0o600)


def set_aside(home: Path, file: Unknown, why: str) -> None:
    """Move a file to the quarantine."""
    folder = home / "quarantine"
    folder.mkdir(mode=0o700, exist_ok=True)
    file.path.rename(folder / file.path.name)
    log.warning("ledger: %s %s; it is kept as %s", file.path, why, folder / file.path.name)
