"""What DuckDB reads of an event: leaving out what is there twice changes no row, and money is exact however written."""

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
from callmeter.events.rows import CALLS, COST_ITEMS, NESTED, _money, selected
from callmeter.events.schema import MONEY
from callmeter.sinks.duckdb import staging
from callmeter.sinks.duckdb.staging import line, open_memory, stage
from tests.sinks.duckdb.made import plain_call, several_calls

QUERIES = (f"SELECT {selected(CALLS)} FROM staged ORDER BY seq", f"SELECT {NESTED[1].stored} FROM staged ORDER BY seq")


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    connection = open_memory(tmp_path_factory.mktemp("spill"))
    yield connection
    connection.close()


def plain_line(seq: int, body: bytes) -> bytes:
    return b'{"seq":%d,%b\n' % (seq, body[1:])


def rows_of(db: Any, events: list[CallEnded], scratch: Path) -> list[Any]:
    stage(db, [(n, msgspec.json.encode(event)) for n, event in enumerate(events, 1)], scratch)
    return [db.execute(query).fetchall() for query in QUERIES]


def is_cut(event: CallEnded) -> bool:
    return b'"cost_cut":true' in line(1, msgspec.json.encode(event))


@given(several_calls())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rows_are_the_same_whether_the_cost_is_read_once_or_twice(
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
    found = rows_of(db, events + hostile, tmp_path / "a.json")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(staging, "line", plain_line)
        assert rows_of(db, events + hostile, tmp_path / "b.json") == found


def test_the_cost_of_an_only_attempt_is_left_out_and_nothing_else() -> None:
    call = plain_call(1)
    body = msgspec.json.encode(call)
    cost = msgspec.json.encode(call.cost)
    assert body.count(cost) == 2
    short = line(7, body)
    assert msgspec.json.decode(short)["seq"] == 7
    assert short.count(cost) == 1
    assert "cost" not in msgspec.json.decode(short)["attempts"][0]


def test_where_anything_differs_the_whole_event_is_read() -> None:
    call = plain_call(1)
    (attempt,) = call.attempts
    dearer = replace(call, cost=replace(call.cost, total=Decimal(5)))
    twice = replace(call, attempts=(attempt, replace(attempt, number=2)))
    unpriced = replace(call, attempts=(replace(attempt, cost=None),))
    assert [is_cut(event) for event in (call, dearer, twice, unpriced)] == [True, False, False, False]


def test_an_attempt_whose_usage_alone_differs_keeps_its_cost_and_lines(db: Any, tmp_path: Path) -> None:
    call = plain_call(1)
    (attempt,) = call.attempts
    other = replace(call, attempts=(replace(attempt, usage=replace(attempt.usage, input_tokens=99)),))
    assert is_cut(other)
    stage(db, [(1, msgspec.json.encode(other))], tmp_path / "x.json")
    ((tries, items),) = db.execute(f"SELECT {NESTED[0].stored}, {NESTED[1].stored} FROM staged").fetchall()
    assert (tries[0]["same"], tries[0]["input_tokens"], tries[0]["cost"]) == (False, 99, call.cost.total)
    assert tries[0]["cost_status"] == "priced"
    assert [item["amount"] for item in items] == [call.cost.items[0].amount]
    assert {column.name for column in COST_ITEMS.columns if column.stored} == set(items[0])


@given(st.decimals(-(10**20), 10**20, places=18) | st.decimals(-1, 1, places=18), st.booleans())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_money_is_read_alike_through_64_bits_and_128(db: Any, amount: Decimal, exponent: bool) -> None:
    text = f"{amount:E}" if exponent else str(amount)
    quick, sure = db.execute(f"SELECT {_money('t')}, CAST(t AS {MONEY}) FROM (SELECT ? AS t)", [text]).fetchone()
    assert quick == sure
