"""Re-pricing as the library does it: exact, idempotent, and whole after a crash at any instant."""

import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from callmeter import repricing
from callmeter.errors import JournalError
from callmeter.events.journal import Journal
from callmeter.events.model import CallEnded
from callmeter.pricing import PriceBook
from callmeter.pricing.archive import Archive
from callmeter.repricing import reprice, verify
from callmeter.sinks.duckdb.connect import Ledger
from callmeter.traffic import Period, days
from callmeter.types import Cost, Usage
from tests.sinks.duckdb.conftest import FixedClock
from tests.sinks.duckdb.made import START_NS, plain_call, row

EVERYTHING = Period()
UNPRICED = Cost(status="unpriced", reason="unknown model", table="openai@0")
MODELS = ("gpt-4o", "gpt-4o-mini", "o3-mini", "no-such-model")


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    read, plain, out = draw(st.integers(0, 10**6)), draw(st.integers(0, 10**6)), draw(st.integers(0, 10**5))
    return Usage(
        input_tokens=read + plain,
        cache_read_tokens=read,
        output_tokens=out,
        reasoning_tokens=draw(st.none() | st.integers(0, out)),
        units=draw(st.sampled_from([{}, {}, {"search.web": 2}])),
    )


@st.composite
def ends(draw: st.DrawFn, number: int) -> CallEnded:
    """A call of one or two attempts, unpriced or priced at random."""
    made = plain_call(number, at_ns=START_NS + draw(st.integers(0, 2 * 86_400 * 10**9)))
    model, usage = draw(st.sampled_from(MODELS)), draw(st.none() | usages())
    random = st.integers(0, 10**15).map(lambda n: Cost(total=Decimal(n).scaleb(-15), status="priced", table="openai@1"))
    cost = draw(st.just(UNPRICED) | random) if usage is not None else Cost(status="no_usage")
    last = replace(made.attempts[0], model=model, usage=usage, cost=cost)
    facts = replace(made.call, model=model)
    if usage is None or usage.units or not draw(st.booleans()):
        return replace(made, call=facts, usage=usage, cost=cost, attempts=(last,))
    twice = Usage(
        input_tokens=2 * usage.input_tokens,
        output_tokens=2 * usage.output_tokens,
        cache_read_tokens=2 * usage.cache_read_tokens,
        reasoning_tokens=None if usage.reasoning_tokens is None else 2 * usage.reasoning_tokens,
    )
    return replace(made, call=facts, usage=twice, cost=cost, attempts=(last, replace(last, number=2)))


several = st.integers(1, 8).flatmap(lambda count: st.tuples(*(ends(n) for n in range(count))))


def kept(home: Path, *events: CallEnded) -> Ledger:
    journal = Journal.open(home)
    journal.append([row(event) for event in events])
    journal.close()
    return Ledger(home)


@settings(deadline=None, max_examples=40)
@given(several)
def test_the_books_say_what_the_table_says_once_and_to_the_last_digit(events: tuple[CallEnded, ...]) -> None:
    book = PriceBook()
    with TemporaryDirectory() as folder, kept(Path(folder) / "home", *events) as ledger:
        found = reprice(ledger, EVERYTHING, book=book)
        assert found.looked_at == len(events)
        rows = ledger.execute("SELECT call_id, cost, cost_status, cost_original FROM calls").fetchall()
        costs = {call_id: rest for call_id, *rest in rows}
        changed = 0
        for event in events:
            total, status, original = costs[event.call.call_id]
            assert original == event.cost.total
            new = expected(event, book)
            if new is None or (event.cost.status == "priced" and new.status not in ("priced", "free")):
                assert (total, status) == (event.cost.total, event.cost.status)
            else:
                assert (total, status) == (new.total, new.status)
                changed += (total, status) != (event.cost.total, event.cost.status)
        assert found.appended == changed == sum(group.calls for group in found.groups.values())
        together = repricing.together(found.groups.values())
        moved = ledger.execute(
            "SELECT coalesce(sum(coalesce(new, 0)), 0), coalesce(sum(coalesce(old, 0)), 0) FROM adjustments"
        ).fetchone()
        assert (together.new, together.old) == moved
        lines = ledger.execute("SELECT new, list_sum([i.amount for i in items]) FROM adjustments WHERE new > 0")
        assert all(new == added for new, added in lines.fetchall())
        assert reprice(ledger, EVERYTHING, book=book).appended == 0
        again = verify(ledger, EVERYTHING, Archive())
        assert (again.agreed, again.disagreed) == (changed, 0)


def expected(event: CallEnded, book: PriceBook) -> Cost | None:
    """The cost by the book, attempt by attempt; None without usage."""
    if event.usage is None:
        return None
    each = [
        book.price(event.call.model, attempt.usage, provider="openai", at=event.call.at_ns)
        for attempt in event.attempts
    ]
    totals = [cost.total for cost in each if cost.total is not None]
    return replace(each[-1], total=sum(totals, Decimal()) if totals else None)


CHILD = """
import os, sys
from pathlib import Path
from callmeter import faultpoints, repricing
from callmeter.sinks.duckdb.connect import Ledger
from callmeter.traffic import Period

repricing.calls_of.__globals__["PAGE_ROWS"] = 10
wanted, passed = sys.argv[2], []
def handler(name):
    if name == wanted:
        passed.append(name)
        if len(passed) == int(sys.argv[3]):
            os._exit(137)
faultpoints.handler = handler
with Ledger(Path(sys.argv[1])) as ledger:
    repricing.reprice(ledger, Period())
"""


@pytest.mark.parametrize("point", ["journal.append.before_commit", "journal.append.after_commit"])
@pytest.mark.parametrize("time", [1, 2, 3])
def test_killed_at_any_commit_it_goes_on_where_it_was(tmp_path: Path, point: str, time: int) -> None:
    usage = Usage(input_tokens=1000, output_tokens=100)
    calls = [replace(plain_call(n), usage=usage, cost=UNPRICED) for n in range(30)]
    home = tmp_path / "home"
    kept(home, *calls).close()
    killed = subprocess.run([sys.executable, "-c", CHILD, str(home), point, str(time)], timeout=60)
    assert killed.returncode == 137
    with Ledger(home) as ledger:
        done = ledger.execute("SELECT count(*) FROM adjustments").fetchone()[0]
        assert done == 10 * (time - point.endswith("before_commit"))
        clock = FixedClock()
        clock.now_ns = START_NS * 2
        if done < 30:
            with pytest.raises(JournalError, match="being priced anew by another process"):
                reprice(ledger, EVERYTHING)
        assert reprice(ledger, EVERYTHING, clock=clock).appended == 30 - done
        totals = "SELECT count(*), count(DISTINCT call_id), sum(cost) FROM calls"
        assert ledger.execute(totals).fetchone() == (30, 30, Decimal("0.105"))
        assert ledger.execute("SELECT count(*) FROM adjustments").fetchone() == (30,)


def test_many_adjustments_move_to_the_ledgers_files_as_it_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repricing, "MAX_HOT_ROWS", 20)
    monkeypatch.setattr("callmeter.traffic.PAGE_ROWS", 7)
    calls = [replace(plain_call(n), cost=UNPRICED) for n in range(60)]
    with kept(tmp_path / "home", *calls) as ledger:
        assert reprice(ledger, EVERYTHING).appended == 60
        hot = Journal.open(tmp_path / "home")
        assert hot.hot_size()[0] < 20
        hot.close()
        assert ledger.execute("SELECT count(*), count(DISTINCT call_id) FROM adjustments").fetchone() == (60, 60)
        assert reprice(ledger, EVERYTHING).appended == 0


def test_adjustments_written_before_they_had_lines_are_still_read(tmp_path: Path) -> None:
    call = plain_call(1)
    old = {
        "type": "cost.adjusted", "id": "f" * 32, "at_ns": START_NS, "call_id": call.call.call_id,
        "old": "1", "new": "2", "old_table": "a", "new_table": "b", "reason": "r",
    }  # fmt: skip
    with kept(tmp_path / "home", call) as ledger:
        journal = Journal.open(tmp_path / "home")
        adjusted = repricing.Row(
            "f" * 32, call.call.call_id, repricing.ADJUSTED, START_NS, msgspec.json.encode(old), True
        )
        journal.append([adjusted])
        journal.close()
        found = ledger.execute("SELECT status, why, items FROM adjustments").fetchone()
        assert found == ("priced", None, [])
        assert ledger.execute("SELECT cost, cost_status FROM calls").fetchone() == (2, "priced")


def test_a_period_bounds_the_beginning_of_a_call(tmp_path: Path) -> None:
    from datetime import UTC, datetime

    night = datetime.fromtimestamp(START_NS // 10**9 + 5, UTC)
    with kept(tmp_path / "home", *(plain_call(n) for n in range(10))) as ledger:
        assert sum(count for _, count in days(ledger, Period(since=night))) == 5
        assert sum(count for _, count in days(ledger, Period(until=night))) == 5
        assert days(ledger, Period(model="no-such-model")) == []
