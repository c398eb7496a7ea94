"""The local ledger: ask it in SQL, have one call explained, export it.

    with callmeter.ledger.connect() as ledger:
        ledger.sql("SELECT model, sum(cost) FROM calls GROUP BY model").show()

`DESCRIBE calls` lists the columns. `"at"` and `"user"` are words of SQL's own and want their quotes; the columns
`started_at` and `user_id` are the same without.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from msgspec import Struct

from callmeter.errors import JournalError
from callmeter.settings import home_of, load
from callmeter.sinks.duckdb.connect import Ledger
from callmeter.sinks.duckdb.export import export as export_ledger

__all__ = ["Explanation", "Ledger", "connect", "explain", "export", "find"]

Record = Mapping[str, Any]

MOST_MATCHES = 20


class Explanation(Struct, frozen=True):
    """One call with everything that led to its cost. Records are column → value, as in the views of the same names."""

    call: Record
    attempts: tuple[Record, ...]
    items: tuple[Record, ...]
    adjustments: tuple[Record, ...]


def connect(home: str | Path | None = None, *, since: date | None = None, guarded: bool = False) -> Ledger:
    """The ledger in `home` (default: the settings' home) as a DuckDB connection over its views.

    A home without a ledger gives an empty one whose `problems` say so. `since` leaves out earlier UTC days unopened;
    `guarded` allows questions only. Raises `MissingExtraError` without DuckDB.
    """
    return Ledger(Path(home) if home is not None else home_of(load()), since=since, guarded=guarded)


def export(target: str | Path, *, home: str | Path | None = None, overwrite: bool = False) -> int:
    """Write the ledger to a `.duckdb`, `.parquet` or `.csv` file; how many calls went in."""
    with connect(home) as ledger:
        return export_ledger(ledger, Path(target), overwrite=overwrite)


def find(ledger: Ledger, call_id: str) -> list[str]:
    """Ids of calls that begin with `call_id`, the newest first, at most 20."""
    prefix = call_id.strip().lower()
    return [id for id, _day in _found(ledger, prefix)]


def _found(ledger: Ledger, prefix: str) -> list[tuple[str, date]]:
    # Our ids begin with the time, which names the day and with it the files; an id may also be the caller's own.
    return _found_between(ledger, prefix, *_days_of(prefix)) or _found_between(ledger, prefix, date.min, date.max)


def _found_between(ledger: Ledger, prefix: str, first: date, last: date) -> list[tuple[str, date]]:
    # A range instead of LIKE: row groups keep their least and greatest id, so most need not be read.
    query = """
        SELECT call_id, day FROM calls WHERE day BETWEEN $first AND $last AND call_id >= $prefix
        AND call_id <= $prefix || chr(1114111) ORDER BY call_id DESC LIMIT $most
    """
    bounds = {"first": first, "last": last, "prefix": prefix, "most": MOST_MATCHES}
    found: list[tuple[str, date]] = ledger.execute(query, bounds).fetchall()
    return found


def _days_of(prefix: str) -> tuple[date, date]:
    """The first and last UTC day on which ids with this beginning were minted, and a day more on either side."""
    try:
        first, last = (int(prefix[:16].ljust(16, fill), 16) // 10**9 for fill in "0f")
        around = timedelta(days=1)
        return datetime.fromtimestamp(first, UTC).date() - around, datetime.fromtimestamp(last, UTC).date() + around
    except (ValueError, OverflowError, OSError):
        return date.min, date.max


def explain(call_id: str, *, home: str | Path | None = None, ledger: Ledger | None = None) -> Explanation:
    """One call, by its id or the beginning of it: its row, attempts, cost lines and adjustments.

    Raises `JournalError` where there is no such call, or more than one.
    """
    if ledger is None:
        with connect(home) as opened:
            return explain(call_id, ledger=opened)
    found = _found(ledger, call_id.strip().lower())
    if not found:
        missing = "; ".join(("", *ledger.problems))
        raise JournalError(f"there is no call {call_id!r} in the ledger in {ledger.home}{missing}")
    if len(found) > 1:
        several = ", ".join(id for id, _day in found)
        raise JournalError(f"{call_id!r} is the beginning of several calls: {several}; give more of it")
    (one,) = found
    records = (
        _records(ledger, "SELECT * FROM calls WHERE call_id = ? AND day = ?", one),
        _records(ledger, "SELECT * FROM attempts WHERE call_id = ? AND day = ? ORDER BY number", one),
        _records(ledger, "SELECT * FROM cost_items WHERE call_id = ? AND day = ?", one),
        _records(ledger, "SELECT * FROM adjustments WHERE call_id = ? ORDER BY id", one[:1]),
    )
    return Explanation(records[0][0], *records[1:])


def _records(ledger: Ledger, query: str, values: tuple[Any, ...]) -> tuple[Record, ...]:
    result = ledger.execute(query, list(values))
    names = [column[0] for column in result.description]
    return tuple(dict(zip(names, row, strict=True)) for row in result.fetchall())
