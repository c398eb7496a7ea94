"""The ledger as a file of one's own: a DuckDB database, a Parquet file or CSV."""

import os
from pathlib import Path

from callmeter.errors import ConfigError
from callmeter.events.rows import TABLES
from callmeter.faultpoints import point
from callmeter.sinks.duckdb.connect import Ledger

_before_rename = point("export.rename.before", "the export is complete under a temporary name")

FORMATS = {
    ".parquet": "FORMAT parquet, COMPRESSION zstd",
    ".csv": "FORMAT csv, HEADER",
}


def export(ledger: Ledger, target: Path, *, overwrite: bool = False) -> int:
    """Write the ledger to `target` and return how many calls went in.

    The suffix decides: `.duckdb` has every table and the view `daily_spend`, `.parquet` and `.csv` the table `calls`.
    The file appears when it is complete. Raises `ConfigError` for another suffix or an existing file.
    """
    suffix = target.suffix.lower()
    if suffix != ".duckdb" and suffix not in FORMATS:
        raise ConfigError(f"cannot export to {str(target)!r}: name it *.duckdb, *.parquet or *.csv")
    if target.exists() and not overwrite:
        raise ConfigError(f"{target} exists; choose another name or allow overwriting it")
    unfinished = target.with_name(f".{target.name}.{os.getpid()}.unfinished")
    try:
        if suffix == ".duckdb":
            calls = _to_database(ledger, unfinished)
        else:
            ordered = 'SELECT * FROM calls ORDER BY "at", call_id'
            copy = f"COPY ({ordered}) TO {_literal(unfinished)} ({FORMATS[suffix]})"
            calls = int(ledger.execute(copy).fetchone()[0])
        unfinished.chmod(0o600)
        _before_rename()
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)
    return calls


def _to_database(ledger: Ledger, path: Path) -> int:
    ledger.execute("SELECT 1 FROM content LIMIT 0")
    database = ledger.connection
    database.execute(f"ATTACH {_literal(path)} AS exported")
    try:
        for table in TABLES:
            database.execute(f"CREATE TABLE exported.{table.name} AS SELECT * FROM memory.main.{table.name}")  # noqa: S608
        definition = database.execute("SELECT sql FROM duckdb_views() WHERE view_name = 'daily_spend'").fetchone()[0]
        database.execute("USE exported")
        database.execute(definition)
        return int(database.execute("SELECT count(*) FROM exported.calls").fetchone()[0])
    finally:
        database.execute("USE memory")
        database.execute("DETACH exported")


def _literal(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"
