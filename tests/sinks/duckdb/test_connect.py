"""The ledger as people query it: one instant, each call once, and what is damaged named and left out."""

import random
import subprocess
import sys
import time
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

import callmeter.ledger
from callmeter.errors import ConfigError, JournalError
from callmeter.events.journal import Journal
from callmeter.events.model import CallEnded, EventsDropped
from callmeter.sinks.duckdb.compactor import Compactor
from callmeter.sinks.duckdb.connect import Ledger
from tests.sinks.duckdb.made import FEMTO, START_NS, adjusted, plain_call, row, several_calls

TOTALS = "SELECT count(*), count(DISTINCT call_id), sum(cost) FROM calls"


def test_a_home_that_does_not_exist_is_an_empty_ledger_that_says_so(home: Path) -> None:
    with callmeter.ledger.connect(home) as ledger:
        assert ledger.execute(TOTALS).fetchone() == (0, 0, None)
        assert str(home) in ledger.problems[0]
    assert not home.exists()


def test_a_ledger_opened_before_its_journal_sees_the_first_calls(home: Path) -> None:
    with Ledger(home) as ledger:
        journal = Journal.open(home)
        journal.append([row(plain_call(1))])
        assert ledger.execute("SELECT count(*) FROM calls").fetchone() == (1,)
        assert ledger.problems == ()
        journal.close()


def test_new_rows_are_there_at_the_next_statement_and_compacted_ones_are_not_counted_twice(
    journal: Journal, home: Path, compactor: Compactor
) -> None:
    with Ledger(home) as ledger:
        for n in range(1, 8):
            journal.append([row(plain_call(n))])
            assert ledger.execute(TOTALS).fetchone() == (n, n, n * 10**9 * FEMTO)
            if n % 3 == 0:
                compactor.compact()
                assert ledger.sql(TOTALS).fetchall() == [(n, n, n * 10**9 * FEMTO)]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=several_calls())
def test_the_ledgers_totals_are_the_sums_to_the_last_digit(
    events: list[CallEnded], tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = tmp_path_factory.mktemp("totals") / "home"
    journal = Journal.open(home)
    half = len(events) // 2
    journal.append([row(event) for event in events[:half]])
    compactor = Compactor(lambda: Journal.open(home), home, owner="x")
    compactor.compact()
    compactor.close()
    journal.append([row(event) for event in events[half:]])
    known = [event.cost.total for event in events if event.cost.total is not None]
    with Ledger(home) as ledger:
        assert ledger.execute(TOTALS).fetchone() == (len(events), len(events), sum(known) if known else None)
        assert ledger.execute("SELECT sum(cost) FROM daily_spend").fetchone() == (sum(known) if known else None,)
        expected_items = sum(len(event.cost.items) for event in events)
        assert ledger.execute("SELECT count(*) FROM cost_items").fetchone() == (expected_items,)
    journal.close()


def test_a_call_priced_anew_costs_what_was_said_last_and_keeps_its_first_price(
    journal: Journal, home: Path, compactor: Compactor
) -> None:
    first, second, third = (plain_call(n) for n in range(3))
    journal.append([row(event) for event in (first, second, third)])
    with Ledger(home) as ledger:
        journal.append([row(adjusted(1, first, Decimal(5))), row(adjusted(2, first, Decimal(7)))])
        compactor.compact()
        journal.append([row(adjusted(3, first, Decimal(9))), row(adjusted(4, second, None))])
        found = ledger.execute("SELECT cost, cost_original, cost_status, price_table FROM calls ORDER BY call_id")
        original = first.cost.total
        assert found.fetchall() == [
            (Decimal(9), original, "priced", "t3"),
            (None, original, "unpriced", "t4"),
            (original, original, "priced", "t"),
        ]
        assert ledger.execute("SELECT count(*) FROM adjustments").fetchone() == (4,)
        assert len(callmeter.ledger.explain(first.call.call_id, ledger=ledger).adjustments) == 3


def test_dropped_events_and_captured_content_have_tables_of_their_own(
    journal: Journal, home: Path, compactor: Compactor
) -> None:
    from msgspec.structs import replace

    from callmeter.events.model import Content

    dropped = EventsDropped(id="d", at_ns=START_NS, sink="langfuse", reason="full", count=3, bytes=100)
    asked = [{"role": "user", "content": "hé\u0000 \U0001f600"}]
    journal.append([row(replace(plain_call(1), content=Content(messages=asked))), row(dropped), row(plain_call(2))])
    compactor.compact()
    with Ledger(home) as ledger:
        found = ledger.execute("SELECT sink, reason, count, bytes FROM events_dropped").fetchall()
        assert found == [("langfuse", "full", 3, 100)]
        ((messages,),) = ledger.execute("SELECT messages FROM content").fetchall()
        assert __import__("json").loads(messages) == asked


def test_a_file_that_is_missing_is_named_once_and_the_rest_is_readable(
    journal: Journal, home: Path, compactor: Compactor, caplog: pytest.LogCaptureFixture
) -> None:
    for n in range(2):
        journal.append([row(plain_call(n))])
        compactor.compact()
    gone = home / journal.snapshot().files[0].path
    gone.unlink()
    with Ledger(home) as ledger:
        for _ in range(3):
            assert ledger.execute("SELECT count(*) FROM calls").fetchone() == (1,)
        assert len(ledger.problems) == 1
        assert f"{gone} is missing; its 1 rows are left out" in ledger.problems[0]
    assert sum(gone.name in record.getMessage() for record in caplog.records) == 1


def test_a_file_nobody_registered_is_not_read(journal: Journal, home: Path, compactor: Compactor) -> None:
    journal.append([row(plain_call(1))])
    compactor.compact()
    known = home / journal.snapshot().files[0].path
    (known.parent / f"x{known.name}").write_bytes(known.read_bytes())
    with Ledger(home) as ledger:
        assert ledger.execute("SELECT count(*) FROM calls").fetchone() == (1,)


def test_a_journal_that_lost_its_place_counts_no_call_twice(journal: Journal, home: Path, compactor: Compactor) -> None:
    """Rows that a sink still waits for stay in the journal after they were compacted."""
    import apsw

    journal.register("slow:1", "slow")
    from msgspec.structs import replace

    journal.append([replace(row(plain_call(n)), sinks=("slow:1",)) for n in range(3)])
    compactor.compact()
    files = journal.snapshot().files
    compactor.close()
    journal.close()
    from callmeter.events.journal_schema import text_crc

    with apsw.Connection(str(home / "journal.sqlite3")) as db:
        crc = text_crc("compacted_seq", b"0")
        db.execute("UPDATE meta SET value = ?, crc = ? WHERE key = 'compacted_seq'", (b"0", crc))
        assert db.changes() == 1
    db.close()
    with Ledger(home) as ledger:
        assert ledger.execute(TOTALS).fetchone()[:2] == (3, 3)
        again = Compactor(lambda: Journal.open(home), home, owner="again")
        again.compact()
        again.close()
        assert ledger.execute(TOTALS).fetchone()[:2] == (3, 3)
    assert len(files) == 1


@pytest.mark.parametrize("seed", range(60))
def test_a_flipped_bit_in_a_file_never_changes_a_sum(seed: int, flippable: tuple[Path, Path], tmp_path: Path) -> None:
    home, victim = flippable
    data = victim.read_bytes()
    chance = random.Random(seed)
    place = chance.randrange(len(data))
    changed = bytearray(data)
    changed[place] ^= 1 << chance.randrange(8)
    victim.write_bytes(changed)
    try:
        with Ledger(home) as ledger:
            assert ledger.execute(TOTALS).fetchone() == (5, 5, 5 * 10**9 * FEMTO)
            assert [str(victim) in problem for problem in ledger.problems] == [True]
    finally:
        victim.write_bytes(data)


@pytest.fixture(scope="module")
def flippable(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A home with two files, one of which may be damaged: ten calls, five in each."""
    home = tmp_path_factory.mktemp("flipped") / "home"
    journal = Journal.open(home)
    compactor = Compactor(lambda: Journal.open(home), home, owner="x")
    for start in (0, 5):
        journal.append([row(plain_call(n)) for n in range(start, start + 5)])
        compactor.compact()
    victim = home / journal.snapshot().files[0].path
    compactor.close()
    journal.close()
    return home, victim


def test_since_leaves_out_earlier_days_without_opening_their_files(
    journal: Journal, home: Path, compactor: Compactor
) -> None:
    journal.append([row(plain_call(n, at_ns=START_NS + n * 86_400 * 10**9)) for n in range(3)])
    compactor.compact()
    (home / journal.snapshot().files[0].path).unlink()
    with callmeter.ledger.connect(home, since=date(2025, 11, 26)) as ledger:
        assert ledger.execute("SELECT count(*) FROM calls").fetchone() == (2,)
        assert ledger.problems == ()


def test_a_guarded_ledger_answers_questions_and_does_nothing_else(
    journal: Journal, home: Path, compactor: Compactor, tmp_path: Path
) -> None:
    journal.append([row(plain_call(1))])
    compactor.compact()
    secret = tmp_path / "secret"
    secret.write_text("x")
    with callmeter.ledger.connect(home, guarded=True) as ledger:
        journal.append([row(plain_call(2))])
        compactor.compact()
        assert ledger.execute("WITH c AS (FROM calls) SELECT count(*) FROM c").fetchone() == (2,)
        for statement in (
            "COPY calls TO 'x.csv'",
            "ATTACH 'x.db'",
            "SET threads = 1",
            "INSTALL httpfs",
            "DROP VIEW calls",
        ):
            with pytest.raises(JournalError, match="only questions"):
                ledger.execute(statement)
        with pytest.raises(JournalError, match="only questions"):
            ledger.sql("SELECT 1; DROP VIEW calls")
        with pytest.raises(Exception, match="Cannot access file"):
            ledger.execute("SELECT * FROM read_text(?)", [str(secret)])
        assert ledger.execute("SELECT count(*) FROM calls").fetchone() == (2,)


def test_a_call_is_found_by_the_beginning_of_its_id_if_that_is_enough(journal: Journal, home: Path) -> None:
    calls = [plain_call(n) for n in range(2)]
    journal.append([row(call) for call in calls])
    with Ledger(home) as ledger:
        explained = callmeter.ledger.explain(calls[1].call.call_id[:16], ledger=ledger)
        assert explained.call["call_id"] == calls[1].call.call_id
        assert [item["amount"] for item in explained.items] == [10**9 * FEMTO]
        assert explained.attempts[0]["cost"] == 10**9 * FEMTO
        with pytest.raises(JournalError, match="beginning of several calls"):
            callmeter.ledger.explain(calls[1].call.call_id[:4], ledger=ledger)
        with pytest.raises(JournalError, match="no call 'ffff'"):
            callmeter.ledger.explain("ffff", ledger=ledger)


@pytest.mark.parametrize("name", ["spend.duckdb", "spend.parquet", "it's spend.csv"])
def test_an_export_has_every_call_and_the_same_sum(
    name: str, journal: Journal, home: Path, compactor: Compactor, tmp_path: Path
) -> None:
    import duckdb

    journal.append([row(plain_call(n)) for n in range(3)])
    compactor.compact()
    journal.append([row(plain_call(n)) for n in range(3, 5)])
    target = tmp_path / name
    assert callmeter.ledger.export(target, home=home) == 5
    if target.suffix == ".duckdb":
        with duckdb.connect(str(target), read_only=True) as found:
            assert found.execute("SELECT count(*), sum(cost) FROM calls").fetchone() == (5, 5 * 10**9 * FEMTO)
            assert found.execute("SELECT sum(cost) FROM daily_spend").fetchone() == (5 * 10**9 * FEMTO,)
            assert found.execute("SELECT count(*) FROM cost_items").fetchone() == (5,)
    else:
        found = duckdb.from_parquet(str(target)) if target.suffix == ".parquet" else duckdb.read_csv(str(target))
        assert found.aggregate("count(*), sum(CAST(cost AS DECIMAL(38,15)))").fetchall()[0] == (5, 5 * 10**9 * FEMTO)
    assert [path.name for path in tmp_path.iterdir() if "unfinished" in path.name] == []
    with pytest.raises(ConfigError, match="exists"):
        callmeter.ledger.export(target, home=home)


def test_an_export_to_an_unknown_kind_of_file_names_the_kinds_there_are(home: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\*\.duckdb, \*\.parquet or \*\.csv"):
        callmeter.ledger.export(tmp_path / "spend.xlsx", home=home)


WRITER = """
import sys
from pathlib import Path
from callmeter.events.journal import Journal
from tests.sinks.duckdb.made import plain_call, row
journal = Journal.open(Path(sys.argv[1]))
for n in range(int(sys.argv[2])):
    journal.append([row(plain_call(n))])
journal.close()
"""

COMPACTORS = """
import sys
from pathlib import Path
from callmeter.events.journal import Journal
from callmeter.sinks.duckdb.compactor import Compactor
home = Path(sys.argv[1])
compactor = Compactor(lambda: Journal.open(home), home, owner="other process")
moved = 0
while moved < int(sys.argv[2]):
    moved += compactor.compact()
compactor.close()
"""


def test_every_question_sees_one_instant_while_others_write_and_compact(home: Path) -> None:
    """Calls are appended in order, so what is there must be the first n of them: none missing, none twice."""
    expected = 3000
    Journal.open(home).close()
    commands = [[sys.executable, "-c", code, str(home), str(expected)] for code in (WRITER, COMPACTORS)]
    processes = [subprocess.Popen(command) for command in commands]
    seen, files, deadline = 0, 0, time.monotonic() + 120
    query = "SELECT count(*), count(DISTINCT call_id), coalesce(max(call_id), ''), sum(cost) FROM calls"
    try:
        with Ledger(home) as ledger:
            while seen < expected and time.monotonic() < deadline:
                count, distinct, last, cost = ledger.execute(query).fetchone()
                assert count == distinct
                assert count >= seen
                if count:
                    assert last == plain_call(count - 1).call.call_id
                    assert cost == count * 10**9 * FEMTO
                seen, files = count, max(files, len(list((home / "ledger").rglob("*.parquet"))))
            assert ledger.problems == ()
        assert [process.wait(60) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert seen == expected
    assert files > 1, "nothing was compacted while it was queried"
