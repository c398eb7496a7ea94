"""Rows of the journal as lines for DuckDB: apart by day, in small files that are gone afterwards."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callmeter.events.model import EventsDropped
from callmeter.events.rows import DAY
from callmeter.sinks.duckdb import lines as writing
from callmeter.sinks.duckdb.lines import Lines
from callmeter.sinks.duckdb.staging import open_memory, stage
from tests.sinks.duckdb.made import START_NS, adjusted, call_with_content, plain_call, stored

DAY_NS = 86_400 * 10**9
DROPPED = EventsDropped(id="d", at_ns=START_NS, sink="s", reason="r", count=1)


def filed(lines: Lines) -> dict[tuple[str, str], int]:
    """Rows by table and day."""
    db = open_memory(threads=1)
    found = {
        (table.name, day): db.execute(f"SELECT count(*) FROM ({query})").fetchone()[0]
        for table, day, query in lines.queries()
    }
    db.close()
    return found


def test_each_row_is_filed_in_its_table_and_day(tmp_path: Path) -> None:
    plain, later = plain_call(1), plain_call(2, at_ns=START_NS + DAY_NS - 1)
    events = (plain, later, call_with_content(3, "x"), DROPPED, adjusted(1, plain, None))
    with Lines(tmp_path, tmp_path / "quarantine") as lines:
        lines.add([(n, stored(event)) for n, event in enumerate(events, 1)])
        assert filed(lines) == {
            ("calls", "2025-11-25"): 3,
            ("content", "2025-11-25"): 1,
            ("events_dropped", "2025-11-25"): 1,
            ("adjustments", "2025-11-25"): 1,
        }
        lines.add([(9, stored(plain_call(9, at_ns=START_NS + DAY_NS)))])
        assert filed(lines)["calls", "2025-11-26"] == 1
        assert (lines.rows, lines.last_seq) == (6, 9)


def test_files_are_small_and_gone_when_it_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = stored(plain_call(1))
    monkeypatch.setattr(writing, "FILE_BYTES", 3 * len(body) + 3)
    with Lines(tmp_path, tmp_path / "quarantine") as lines:
        for n in range(8):
            lines.add([(n, body)])
        assert [path.stat().st_size // len(body) for path in sorted(tmp_path.iterdir())] == [3, 3, 2]
        assert filed(lines) == {("calls", "2025-11-25"): 8}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "junk",
    [
        b"",
        b"{",
        b"7",
        b'{"type":7}',
        b'{"type":"call.failed","at_ns":9223372036854775808}',
        b'{"a":1}\n{"b":2}',
        b"\xff",
    ],
)
def test_what_is_no_event_is_set_aside_and_the_others_are_filed(tmp_path: Path, junk: bytes) -> None:
    body = stored(plain_call(1))
    with Lines(tmp_path / "ledger", tmp_path / "quarantine") as lines:
        lines.add([(1, body), (2, junk), (3, body)])
        assert filed(lines) == {("calls", "2025-11-25"): 2}
        assert (lines.rows, lines.last_seq) == (3, 3)
    assert [path.read_bytes() for path in (tmp_path / "quarantine").iterdir()] == [junk]


def test_strictly_read_an_event_of_the_wrong_shape_is_none_either(tmp_path: Path) -> None:
    shapeless = b'{"type":"call.succeeded","id":7,"at_ns":1,"call":{"call_id":"x"}}'
    for strictly, kept in ((False, 2), (True, 1)):
        with Lines(tmp_path / "ledger", tmp_path / "quarantine", strictly=strictly) as lines:
            lines.add([(1, stored(plain_call(1))), (2, shapeless)])
            assert sum(path.read_bytes().count(b"\n") for path in (tmp_path / "ledger").iterdir()) == kept


@given(instants=st.lists(st.integers(-(1 << 63), (1 << 63) - 1 - 10**8), min_size=1, max_size=20))
@settings(max_examples=15, deadline=None)
def test_the_days_are_those_that_sql_says(instants: list[int], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("day")
    rows = [(n, stored(plain_call(n, at_ns=at_ns))) for n, at_ns in enumerate(instants)]
    with Lines(folder, folder / "quarantine") as lines:
        lines.add(rows)
        days = [day for _table, day, _query in lines.queries()]
    db = open_memory(threads=1)
    stage(db, rows, folder / "x")
    said = db.execute(f"SELECT DISTINCT DATE '1970-01-01' + CAST({DAY} AS INTEGER) FROM staged ORDER BY 1").fetchall()
    db.close()
    assert days == [day.isoformat() for (day,) in said]
