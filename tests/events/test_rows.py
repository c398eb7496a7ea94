"""An event as rows, made by DuckDB from its JSON."""

from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import msgspec
import pytest
from hypothesis import given, settings
from msgspec.structs import replace

from callmeter.events.model import CallEnded, CallFacts, CallFailed, CallSucceeded
from callmeter.events.rows import CALLS, FILED, TABLES
from callmeter.events.schema import MONEY
from callmeter.events.trace import span_id_of
from callmeter.sinks.duckdb.staging import open_memory, stage
from callmeter.sinks.duckdb.views import hot_tables, insert_hot, views
from callmeter.types import Cost, Usage
from tests.sinks.duckdb.made import plain_call, several_calls

DECIDED = """call_id parent_id trace_id span_id at operation stream provider model model_requested deployment region
service_tier api_base project user team key_id customer feature session_id environment tags metadata status
finish_reason error_class http_status attempts input_tokens output_tokens total_tokens cache_read_tokens
cache_write_tokens cache_write_1h_tokens reasoning_tokens input_audio_tokens output_audio_tokens
cache_read_audio_tokens input_image_tokens output_image_tokens input_video_tokens units usage_source cost cost_status
cost_input cost_output cost_cache_read cost_cache_write cost_other cache_saved cost_reported price_table latency_s
time_to_first_chunk_s overhead_s retry_wait_s prompt_bytes answer_bytes prompt_hash""".split()


def tables_of(*events: Any) -> Any:
    """A DuckDB connection whose views show these events."""
    db = open_memory(threads=1)
    db.execute("CREATE SCHEMA ledger")
    with TemporaryDirectory() as folder:
        bodies = [msgspec.json.encode(event) for event in events] or [b'{"type":"nothing"}']
        stage(db, list(enumerate(bodies, 1)), Path(folder) / "lines")
    for statement in (*hot_tables(), *(insert_hot(table) for table in FILED), *views({}, repriced=False)):
        db.execute(statement)
    return db


def row_of(event: CallEnded) -> dict[str, Any]:
    found = tables_of(event).execute("SELECT * FROM calls")
    names = [column[0] for column in found.description]
    return dict(zip(names, found.fetchone(), strict=True))


def test_the_columns_people_rely_on_are_there_in_their_order() -> None:
    assert [column.name for column in CALLS.columns][: len(DECIDED)] == DECIDED


def test_what_sql_reserves_has_a_second_name_that_needs_no_quotes() -> None:
    call = replace(plain_call(1), call=replace(plain_call(1).call, user="ada"))
    db = tables_of(call)
    assert db.execute('SELECT count(*) FROM calls WHERE started_at = "at" AND user_id = "user"').fetchone() == (1,)
    assert db.execute('SELECT count(*) FROM attempts WHERE started_at = "at"').fetchone() == (1,)
    assert db.execute("SELECT user_id FROM calls ORDER BY started_at").fetchone() == ("ada",)
    with pytest.raises(duckdb.ParserException):
        db.execute("SELECT at FROM calls")


def test_the_views_have_the_columns_and_types_that_are_declared() -> None:
    db = tables_of(plain_call(1))
    for table in TABLES:
        shown = db.execute(f"DESCRIBE {table.name}").fetchall()
        assert [(name, kind) for name, kind, *_ in shown] == [
            (c.name, "TIMESTAMP WITH TIME ZONE" if c.type == "TIMESTAMPTZ" else c.type) for c in table.columns
        ]


def test_every_column_says_what_it_means() -> None:
    unexplained = [f"{table.name}.{c.name}" for table in TABLES for c in table.columns if not c.about]
    assert set(unexplained) <= {
        f"calls.{name}" for name in "project user team customer feature session_id environment".split()
    }


def test_money_is_exact_to_a_femtodollar() -> None:
    assert MONEY == "DECIMAL(38,15)"
    row = row_of(plain_call(1, femto_usd=1))
    assert row["cost"] == row["cost_input"] == Decimal("0.000000000000001")


def test_what_the_json_leaves_out_is_put_back() -> None:
    row = row_of(plain_call(7))
    assert row["operation"] == "chat"
    assert row["stream"] is False
    assert row["trace_id"] == row["call_id"]
    assert row["span_id"] == span_id_of(row["call_id"])
    assert row["cache_read_tokens"] == 0
    assert (row["input_tokens"], row["output_tokens"], row["total_tokens"]) == (1, 2, 3)
    assert row["tags"] == []
    assert row["metadata"] == {}
    assert row["user"] is None


def test_what_is_not_known_is_null_and_not_zero() -> None:
    row = row_of(CallFailed(id="e", at_ns=1, call=CallFacts(call_id="c")))
    assert row["cost_status"] == "no_usage"
    for name in ("cost", "cost_input", "cost_other", "input_tokens", "total_tokens", "units", "reasoning_tokens"):
        assert row[name] is None, name


def test_a_cost_without_a_status_of_its_own_is_unpriced_and_keeps_its_reason() -> None:
    event = CallSucceeded(
        id="e", at_ns=1, call=CallFacts(call_id="c"), usage=Usage(input_tokens=3), cost=Cost(reason="unknown model 'x'")
    )
    row = row_of(event)
    assert (row["cost"], row["cost_status"], row["cost_reason"]) == (None, "unpriced", "unknown model 'x'")


@settings(max_examples=40, deadline=None)
@given(events=several_calls(6))
def test_parts_items_and_attempts_add_up_to_the_cost_whatever_the_events(events: list[CallEnded]) -> None:
    db = tables_of(*events)
    amounts = db.execute("SELECT cost, COLUMNS('^cost_(input|output|cache_read|cache_write|other)$') FROM calls")
    for cost, *parts in amounts.fetchall():
        assert len(parts) == 5
        assert (cost is None and set(parts) == {None}) or cost == sum(parts)
    expected = {e.call.call_id: (e.cost.total, e.cost.status) for e in events}
    found = db.execute("SELECT call_id, cost, cost_status FROM calls").fetchall()
    assert {call_id: (cost, status) for call_id, cost, status in found} == expected
    items = dict(db.execute("SELECT call_id, sum(amount) FROM cost_items GROUP BY 1").fetchall())
    assert items == {e.call.call_id: e.cost.total for e in events if e.cost.items}
    attempts = db.execute("SELECT call_id, number, cost, input_tokens FROM attempts").fetchall()
    assert sorted(attempts, key=lambda row: row[:2]) == sorted(
        (
            (e.call.call_id, a.number, a.cost.total if a.cost else None, a.usage.input_tokens if a.usage else None)
            for e in events
            for a in e.attempts
        ),
        key=lambda row: row[:2],
    )


@settings(max_examples=40, deadline=None)
@given(events=several_calls(4))
def test_text_tags_metadata_and_units_come_back_as_they_went_in(events: list[CallEnded]) -> None:
    db = tables_of(*events)
    found = {
        call_id: rest
        for call_id, *rest in db.execute('SELECT call_id, "user", tags, metadata, units FROM calls').fetchall()
    }
    for event in events:
        units = None if event.usage is None else {k: Decimal(v) for k, v in event.usage.units.items()}
        facts = event.call
        assert found[facts.call_id] == [facts.user or None, list(facts.tags), dict(facts.metadata), units]
