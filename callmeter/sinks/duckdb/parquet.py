"""The ledger's Parquet files: what they are called, how one comes to be, and whether it is still what was written.

`ledger/day=YYYY-MM-DD/<first seq>-<last seq>-<table>-<journal>-<unique>-<digest>.parquet`. DuckDB does not check what
it reads (a flipped bit changes a sum and nobody is told), so the name carries a digest of the whole file.
`<journal>` tells the files of this home's journal from those of one that was lost: only the former are ever deleted.
"""

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from msgspec import Struct

from callmeter.errors import JournalError
from callmeter.events.journal_schema import LedgerFile
from callmeter.events.rows import CONTENT
from callmeter.faultpoints import point
from callmeter.sinks.duckdb import import_duckdb

ROW_GROUP = 30_720
"""Rows that are read at least: half as many find one call a fifth faster and take 2 % more space."""

ROW_GROUP_BYTES = 1 << 20
"""The same for prompts and answers: a whole group is held in memory, and a row may have hundreds of kilobytes."""

_NAME = re.compile(r"(\d+)-(\d+)-([a-z_]+)-([0-9a-f]{8})-([0-9a-f]{8})-([0-9a-f]{32})\.parquet")

_before_write = point("ledger.write.before", "nothing of the Parquet file is written")
_after_write = point("ledger.write.after", "the Parquet file is written under a temporary name")
_before_rename = point("ledger.rename.before", "the file is on disk, not yet under its own name")
_after_rename = point("ledger.rename.after", "the file has its own name and is not registered")


class FileName(Struct, frozen=True):
    """What a Parquet file's name says."""

    first_seq: int
    last_seq: int
    table: str
    journal: str
    digest: str


class Origin(Struct, frozen=True):
    """Where the rows of a file come from: the range of the journal's numbers, and which journal."""

    first_seq: int
    last_seq: int
    journal: str


def journal_tag(hash_key: bytes) -> str:
    """Eight hex digits that stand for a journal in file names."""
    return hashlib.blake2b(hash_key, digest_size=4, person=b"callmeter-tag").hexdigest()


def parse_name(name: str) -> FileName | None:
    """What the name of a ledger file says; None for any other."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    first, last, table, journal, _unique, digest = found.groups()
    return FileName(int(first), int(last), table, journal, digest)


def new_name(origin: Origin, table: str, digest: str) -> str:
    """A name for a file of these bytes that no other has."""
    stem = f"{origin.first_seq}-{origin.last_seq}-{table}-{origin.journal}-{os.urandom(4).hex()}"
    return f"{stem}-{digest}.parquet"


def write_file(connection: Any, query: str, home: Path, day: str, table: str, origin: Origin) -> LedgerFile:
    """Write the rows of `query` as a file of `table` for one UTC day; it is on disk when this returns, not registered.

    Raises `duckdb.Error` or `OSError` where it cannot be written; nothing is left behind then.
    """
    folder = home / "ledger" / f"day={day}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    unfinished = folder / f".{os.urandom(4).hex()}.unfinished"
    try:
        _before_write()
        bytes_too = f", ROW_GROUP_SIZE_BYTES {ROW_GROUP_BYTES}" if table == CONTENT.name else ""
        options = f"(FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, ROW_GROUP_SIZE {ROW_GROUP}{bytes_too})"
        rows = connection.execute(f"COPY ({query}) TO '{escaped(unfinished)}' {options}").fetchone()[0]
        _after_write()
        unfinished.chmod(0o600)
        _flush(unfinished)
        final = folder / new_name(origin, table, digest_of(unfinished))
        size = unfinished.stat().st_size
        _before_rename()
        unfinished.rename(final)
        _flush(folder)
        _after_rename()
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    return LedgerFile(
        path=str(final.relative_to(home)),
        day=day,
        rows=rows,
        first_seq=origin.first_seq,
        last_seq=origin.last_seq,
        bytes=size,
        kind=table,
    )


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Make one clear `JournalError`, the same each time, of whatever a disk does that is full or broken."""
    duckdb = import_duckdb()
    try:
        yield
    except (OSError, duckdb.IOException) as error:
        code = error.errno if isinstance(error, OSError) else _errno_in(str(error))
        reason = os.strerror(code) if code else str(error).partition("\n")[0]
        raise JournalError(
            f"the ledger cannot write to {folder}: {reason}; free disk space or check the disk;"
            " calls wait in the journal until then"
        ) from error


def _errno_in(message: str) -> int | None:
    found = re.search(r"errno\D+(\d+)", message)
    return int(found[1]) if found else None


def problem_with(home: Path, file: LedgerFile) -> str:
    """What is wrong with a registered file, as a sentence about it; empty if it is what was written."""
    path = home / file.path
    name = parse_name(path.name)
    try:
        if name is None:
            return f"{path} has a name that is not the ledger's; its {file.rows} rows are left out"
        if path.stat().st_size != file.bytes or digest_of(path) != name.digest:
            return f"{path} is damaged; its {file.rows} rows are left out: restore it from a backup"
    except FileNotFoundError:
        return f"{path} is missing; its {file.rows} rows are left out: restore it from a backup"
    except OSError as error:
        return f"{path} cannot be read ({error.strerror}); its {file.rows} rows are left out"
    return ""


def digest_of(path: Path) -> str:
    """The first half of the SHA-256 of a file's bytes, 32 hex digits: with today's processors the fastest there is."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:32]


def read_files(paths: list[Path], *, partitioned: bool = True) -> str:
    """SQL that reads files of one table; older files may lack newer columns. `partitioned`: the folder is the day.

    DuckDB takes a path that exists as it is; only one that does not would be a pattern.
    """
    listed = ", ".join(f"'{escaped(path)}'" for path in paths)
    day = ", hive_partitioning = true, hive_types = {'day': DATE}" if partitioned else ", hive_partitioning = false"
    return f"read_parquet([{listed}], union_by_name = true{day})"


def escaped(path: Path) -> str:
    """A path within an SQL literal's quotes."""
    return str(path).replace("'", "''")


def _flush(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
