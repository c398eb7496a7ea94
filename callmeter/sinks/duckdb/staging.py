"""A DuckDB connection, and stored events as a table in it."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from callmeter.events.model import AnyEvent
from callmeter.events.rows import CALLS, DAY, FILED, SAME, condition, selected
from callmeter.events.schema import EVENT, Table
from callmeter.sinks.duckdb import import_duckdb

log = logging.getLogger("callmeter")

_COLUMNS = "{" + ", ".join(f"\"{name}\": '{kind}'" for name, kind in EVENT.items()) + "}"

SPARE_BYTES = 1 << 20
"""Room beyond the longest event in the buffer that DuckDB reads events into."""


BUFFER_BYTES = 1 << 18
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
    # A Parquet file of ours never changes, so what its end says of its parts need be read once.
    connection.execute("SET parquet_metadata_cache = true")
    return connection


def stage(connection: Any, events: Sequence[tuple[int, bytes]], scratch: Path) -> None:
    """Make the temporary table `staged` of events (seq, JSON as stored), one row an event.

    DuckDB reads a file of JSON lines several times faster than it takes rows from Python. `scratch` is that file; it is
    gone afterwards.
    """
    try:
        with open(scratch, "xb", buffering=BUFFER_BYTES) as lines:
            lines.writelines(line(seq, body) for seq, body in events)
        # DuckDB allocates for the longest event it may meet, so a generous limit would cost more than the reading.
        longest = max((len(body) for _, body in events), default=0) + SPARE_BYTES
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE staged AS SELECT *, {SAME} AS same FROM read_json($path,"  # noqa: S608
            f" format = 'newline_delimited', maximum_object_size = {longest}, columns = {_COLUMNS})",
            {"path": str(scratch)},
        )
    finally:
        scratch.unlink(missing_ok=True)


def readable(events: Sequence[tuple[int, bytes]], quarantine: Path) -> list[tuple[int, bytes]]:
    """The rows without those that are no events, which are kept in a folder of their own and hold up nothing."""
    decoder = msgspec.json.Decoder(AnyEvent)
    good = []
    for seq, body in events:
        try:
            decoder.decode(body)
            good.append((seq, body))
        except msgspec.MsgspecError as error:
            quarantine.mkdir(mode=0o700, exist_ok=True)
            path = quarantine / f"event-{seq}.json"
            path.write_bytes(body)
            log.warning("ledger: event %d is not readable (%s); kept as %s", seq, error, path)
    return good


def line(seq: int, body: bytes) -> bytes:
    """An event as a line of JSON with its number, and without the cost of an only attempt that is the call's cost.

    Nearly every call has one attempt, and reading and comparing its cost is a fifth of all work; here it is a
    comparison of bytes. Nothing after `attempts` has members of anybody else's, so the last one is the event's own;
    within text these patterns cannot occur, as quotes are escaped there. Where anything looks different, nothing is
    left out.
    """
    # Every body is a JSON object without line breaks, and `seq` becomes its first member.
    attempts = body.rfind(b',"attempts":[{"number":')
    call_cost = body.rfind(b',"cost":{', 0, attempts) if attempts > 0 else -1
    if call_cost > 0 and body.find(b'{"number":', attempts + 15) < 0:
        cost = body[call_cost:attempts]
        at = body.find(b',"cost":{', attempts)
        if at > 0 and body.startswith(cost, at) and body[at + len(cost) : at + len(cost) + 1] in (b",", b"}"):
            return b'{"seq":%d,"cost_cut":true,%b%b\n' % (seq, body[1:at], body[at + len(cost) :])
    return b'{"seq":%d,%b\n' % (seq, body[1:])


def staged_days(db: Any) -> Iterator[tuple[Table, str]]:
    """Tables and UTC days (`YYYY-MM-DD`) of the staged events."""
    for table in FILED:
        days = f"SELECT DISTINCT {DAY} AS day FROM staged WHERE {condition(table)}"  # noqa: S608
        found = db.execute(f"SELECT DATE '1970-01-01' + CAST(day AS INTEGER) FROM ({days}) ORDER BY 1")  # noqa: S608
        for (day,) in found.fetchall():
            yield table, day.isoformat()


def staged_rows(table: Table, day: str) -> str:
    """SQL for what a file of one table and UTC day stores of the staged events."""
    kept = "* EXCLUDE (day)" if table is CALLS else "*"
    of_day = f"{DAY} = date_diff('day', DATE '1970-01-01', DATE '{day}')"
    return f"SELECT {kept} FROM (SELECT {selected(table)} FROM staged WHERE {condition(table)} AND {of_day})"  # noqa: S608
