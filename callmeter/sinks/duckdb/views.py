"""SQL of the views people query, over the tables of hot rows and the Parquet files of a snapshot.

Everything that is not for people lives in the schema `ledger`: `ledger.hot_<table>` holds hot rows as they would be
stored, `ledger.repriced` the last adjustment of each call that has one.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from callmeter.events.rows import CALLS, CONTENT, FILED, NESTED, REPRICED, condition, selected, shown
from callmeter.events.schema import Nested, Table
from callmeter.sinks.duckdb.parquet import escaped, read_files

_DAILY_SPEND = """
SELECT day, environment, project, provider, model,
  count(*) AS calls, count(*) FILTER (status = 'failure') AS failures,
  count(*) FILTER (cost IS NULL AND cost_status <> 'no_usage') AS unpriced_calls,
  sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens, sum(cost) AS cost
FROM calls GROUP BY ALL
"""

LAST_ADJUSTMENTS = """
CREATE OR REPLACE TABLE ledger.repriced AS
SELECT call_id AS repriced_call, last.new AS repriced_cost, last.new_table AS repriced_table,
  last.status AS repriced_status, last.why AS repriced_reason
FROM (
  SELECT call_id, arg_max({'new': new, 'new_table': new_table, 'status': status, 'why': why}, id) AS last
  FROM adjustments GROUP BY call_id
)
"""
"""An adjustment's id is time-ordered. The last one may well say that no price is known any more."""


class HotContent(Struct, frozen=True):
    """Files of hot prompts and answers, of which rows up to `compacted_seq` are in the ledger's files by now."""

    paths: tuple[Path, ...] = ()
    compacted_seq: int = 0


def hot_tables() -> list[str]:
    """Statements that make the empty tables of hot rows, from an empty `staged`."""
    tables = [f"CREATE TABLE ledger.hot_{t.name} AS SELECT seq, {selected(t)} FROM staged LIMIT 0" for t in FILED]  # noqa: S608
    return [*tables, f"CREATE TABLE ledger.repriced ({', '.join(f'{n} {kind}' for n, kind in REPRICED.items())})"]


def insert_hot(table: Table) -> str:
    """Adds the staged events to the hot rows of a table."""
    rows = f"SELECT seq, {selected(table)} FROM staged WHERE {condition(table)}"  # noqa: S608
    return f"INSERT INTO ledger.hot_{table.name} BY NAME {rows}"


def has_rows(table: Table) -> str:
    """Gives a row if any staged event belongs to a table."""
    return f"SELECT 1 FROM staged WHERE {condition(table)} LIMIT 1"  # noqa: S608


def copy_hot(table: Table, path: Path) -> str:
    """Writes the staged events that are hot rows of a table to a file of their own."""
    rows = f"SELECT seq, {selected(table)} FROM staged WHERE {condition(table)}"  # noqa: S608
    return f"COPY ({rows}) TO '{escaped(path)}' (FORMAT parquet, COMPRESSION zstd)"


def views(files: Mapping[str, Sequence[Path]], hot: HotContent | None = None, *, repriced: bool) -> list[str]:
    """Statements that make the views over these files by table. `repriced` tells whether any call was priced anew."""
    statements = [
        _view(f"ledger.stored_{t.name}", _stored(t, files.get(t.name, ()), hot or HotContent())) for t in FILED
    ]
    beside = "LEFT JOIN ledger.repriced ON call_id = repriced_call" if repriced else f", {_not_repriced()}"
    statements.append(_view("calls", f"SELECT {shown(CALLS)} FROM ledger.stored_calls {beside}"))  # noqa: S608
    statements += [_view(nested.table.name, _unnested(nested)) for nested in NESTED]
    for table in FILED:
        if table is not CALLS:
            statements.append(_view(table.name, f"SELECT {shown(table)} FROM ledger.stored_{table.name}"))  # noqa: S608
    return [*statements, _view("daily_spend", _DAILY_SPEND)]


def _view(name: str, query: str) -> str:
    return f"CREATE OR REPLACE VIEW {name} AS {query}"


def _stored(table: Table, files: Sequence[Path], content: HotContent) -> str:
    parts = [f"SELECT * EXCLUDE (seq) FROM ledger.hot_{table.name}"]  # noqa: S608
    if table is CONTENT and content.paths:
        listed = read_files(list(content.paths), partitioned=False)
        parts.append(f"SELECT * EXCLUDE (seq) FROM {listed} WHERE seq > {content.compacted_seq}")  # noqa: S608
    if files:
        kept = "*" if table is CALLS else "* EXCLUDE (day)"
        parts.append(f"SELECT {kept} FROM {read_files(list(files))}")  # noqa: S608
    return " UNION ALL BY NAME ".join(parts)


def _not_repriced() -> str:
    # Joining with an empty table would read every call's id, which is half of what a sum of costs takes.
    nulls = ", ".join(f"CAST(NULL AS {kind}) AS {name}" for name, kind in REPRICED.items())
    return f"(SELECT {nulls}) AS repriced"


def _unnested(nested: Nested) -> str:
    rows = f"SELECT *, unnest({nested.name}) AS each FROM ledger.stored_calls"  # noqa: S608
    return f"SELECT {shown(nested.table)} FROM ({rows})"  # noqa: S608
