"""A DuckDB connection, and stored events as JSON lines, which it reads several times faster than rows from Python."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from callmeter.events.schema import EVENT
from callmeter.sinks.duckdb import import_duckdb
from callmeter.sinks.duckdb.parquet import escaped

_COLUMNS = "{" + ", ".join(f"\"{name}\": '{kind}'" for name, kind in EVENT.items()) + "}"

SPARE_BYTES = 1 << 20
"""Room beyond the longest event in the buffer that DuckDB reads events into."""

BUFFER_BYTES = 1 << 17
"""Written at once: the usual buffer takes four events."""


def open_memory(spill: Path | None = None, *, threads: int | None = None, memory_limit: str | None = None) -> Any:
    """A connection to a database in memory that never downloads anything and works in UTC.

    What does not fit into memory goes to files in `spill`, which is made when it is needed; without one it is an error.
    """
    settings: dict[str, Any] = {
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "temp_directory": str(spill or ""),
    }
    if threads is not None:
        settings["threads"] = threads
    if memory_limit is not None:
        settings["memory_limit"] = memory_limit
    connection = import_duckdb().connect(":memory:", config=settings)
    connection.execute("SET TimeZone = 'UTC'")
    # It would be printed into whatever the process prints, once a statement takes two seconds.
    connection.execute("SET enable_progress_bar = false")
    # A Parquet file of ours never changes, so what its end says of its parts need be read once.
    connection.execute("SET parquet_metadata_cache = true")
    return connection


def source(paths: Sequence[Path], longest: int) -> str:
    """SQL that reads files of JSON lines as events, of which the longest has so many bytes."""
    listed = ", ".join(f"'{escaped(path)}'" for path in paths)
    return (
        f"read_json([{listed}], format = 'newline_delimited', records = true,"
        f" maximum_object_size = {longest + SPARE_BYTES}, columns = {_COLUMNS})"
    )


def stage(connection: Any, events: Sequence[tuple[int, bytes]], scratch: Path) -> None:
    """Make the temporary table `staged` of events (seq, JSON as stored), one row an event.

    `scratch` is a file that is gone afterwards.
    """
    try:
        with open(scratch, "xb", buffering=BUFFER_BYTES) as lines:
            # Every body is a JSON object without line breaks, and `seq` becomes its first member.
            lines.writelines(b'{"seq":%d,%b\n' % (seq, body[1:]) for seq, body in events)
        longest = max((len(body) for _, body in events), default=0)
        connection.execute(f"CREATE OR REPLACE TEMP TABLE staged AS SELECT * FROM {source([scratch], longest)}")  # noqa: S608
    finally:
        scratch.unlink(missing_ok=True)
