"""What DuckDB reads of an event: usage and cost of an only attempt are read once, and money is exact however written."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from callmeter.events.model import CallEnded, Content
from callmeter.events.rows import CALLS, COST_ITEMS, FILED, NESTED, _money, selected
from callmeter.events.schema import MONEY
from callmeter.sinks.duckdb.staging import open_memory, stage
from callmeter.sinks.duckdb.views import hot_tables, insert_hot, views
from tests.sinks.duckdb.made import plain_call, several_calls, stored

SHOWN = ("calls", "attempts", "cost_items")


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    connection = open_memory(tmp_path_factory.mktemp("spill"))
    connection.execute("CREATE SCHEMA ledger")
    stage(connection, [(0, b'{"type":"nothing"}')], tmp_path_factory.mktemp("scratch") / "x")
    for statement in (*hot_tables(), *views({}, repriced=False)):
        connection.execute(statement)
    yield connection
    connection.close()


def shown(db: Any, bodies: list[bytes], scratch: Path) -> list[list[Any]]:
    """What people see of these events."""
    stage(db, list(enumerate(bodies, 1)), scratch)
    for table in FILED:
        db.execute(f"DELETE FROM ledger.hot_{table.name}")
        db.execute(insert_hot(table))
    return [db.execute(f"SELECT * FROM {view} ORDER BY ALL").fetchall() for view in SHOWN]


@given(several_calls())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rows_are_the_same_whether_usage_and_cost_are_stored_once_or_twice(
    db: Any, tmp_path: Path, events: list[CallEnded]
) -> None:
    hostile = [
        replace(
            event,
            raw_usage={"cost": {"total": "1"}, "attempts": [{"number": 1, "cost": {"total": "1"}}]},
            content=Content(messages=[{"x": 1, "attempts": [{"number": 2}], "usage": {}, "cost": {"total": "7"}}]),
        )
        for event in events
    ]
    twice = shown(db, [msgspec.json.encode(event) for event in events + hostile], tmp_path / "a.json")
    assert shown(db, [stored(event) for event in events + hostile], tmp_path / "b.json") == twice


def test_an_attempt_whose_usage_alone_differs_keeps_its_cost_and_lines(db: Any, tmp_path: Path) -> None:
    call = plain_call(1)
    (attempt,) = call.attempts
    other = replace(call, attempts=(replace(attempt, usage=replace(attempt.usage, input_tokens=99)),))
    stage(db, [(1, stored(other))], tmp_path / "x.json")
    ((tries, items),) = db.execute(f"SELECT {NESTED[0].stored}, {NESTED[1].stored} FROM staged").fetchall()
    assert (tries[0]["same"], tries[0]["input_tokens"], tries[0]["cost"]) == (False, 99, call.cost.total)
    assert tries[0]["cost_status"] == "priced"
    assert [item["amount"] for item in items] == [call.cost.items[0].amount]
    assert {column.name for column in COST_ITEMS.columns if column.stored} == set(items[0])


def test_what_is_read_of_an_event_is_all_that_its_row_is_made_of(db: Any, tmp_path: Path) -> None:
    stage(db, [(7, stored(plain_call(1)))], tmp_path / "x.json")
    assert db.execute(f"SELECT seq, call_id FROM (SELECT seq, {selected(CALLS)} FROM staged)").fetchall() == [
        (7, plain_call(1).call.call_id)
    ]


def test_no_progress_bar_is_printed_into_the_output_of_whoever_asks(db: Any) -> None:
    assert db.execute("SELECT current_setting('enable_progress_bar')").fetchone() == (False,)


@given(st.decimals(-(10**20), 10**20, places=18) | st.decimals(-1, 1, places=18), st.booleans())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_money_is_read_alike_through_64_bits_and_128(db: Any, amount: Decimal, exponent: bool) -> None:
    text = f"{amount:E}" if exponent else str(amount)
    quick, sure = db.execute(f"SELECT {_money('t')}, CAST(t AS {MONEY}) FROM (SELECT ? AS t)", [text]).fetchone()
    assert quick == sure
