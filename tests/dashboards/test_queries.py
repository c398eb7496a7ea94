"""The questions in dashboards/queries: each answers, and nothing of a caller's becomes SQL."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from msgspec.structs import replace

from callmeter.dashboards import queries
from callmeter.errors import ConfigError
from callmeter.events.journal import Journal
from callmeter.events.model import CallFacts, CallFailed, ErrorFacts
from callmeter.sinks.duckdb.connect import Ledger
from callmeter.types import Cost
from tests.sinks.duckdb.made import FEMTO, START_NS, plain_call, row

USD = 10**9 * FEMTO


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """Three priced calls an hour before midnight UTC, one of them tagged twice, an unpriced one and a failure."""
    night = START_NS + 23 * 3600 * 10**9
    calls = [plain_call(n, at_ns=night + n) for n in range(3)]
    calls[0] = replace(calls[0], call=replace(calls[0].call, tags=("a", "b"), user="ann"))
    unpriced = replace(
        plain_call(3, at_ns=night + 3), cost=Cost(status="unpriced", reason="unknown model 'x'"), attempts=()
    )
    error = ErrorFacts(error_class="RateLimitError", http_status=429, message="slow down")
    failed = CallFailed(id="f", at_ns=night, call=CallFacts(call_id="f", at_ns=night, model="m"), error=error)
    home = tmp_path / "home"
    journal = Journal.open(home)
    journal.append([row(event) for event in (*calls, unpriced, failed)])
    with Ledger(home) as opened:
        yield opened
    journal.close()


def test_every_question_answers_by_every_dimension(ledger: Ledger) -> None:
    for name in queries.names():
        query = queries.load(name)
        assert query.title
        assert query.chart in ("bar", "table")
        for by in query.dimensions or (None,):
            answer = queries.run(ledger, name, by=by)
            assert "{" not in answer.title
            assert answer.columns


def test_spend_by_any_dimension_but_tags_adds_up_to_the_whole(ledger: Ledger) -> None:
    for by in queries.load("spend_by").dimensions:
        rows = queries.run(ledger, "spend_by", by=by).rows
        if by != "tag":
            assert (sum(r[1] for r in rows), sum(r[5] or 0 for r in rows)) == (5, 3 * USD), by


def test_spend_by_any_two_dimensions_is_each_combination_once(ledger: Ledger) -> None:
    dimensions = list(queries.load("spend_by").dimensions)
    for first, second in zip(dimensions, dimensions[1:] + dimensions[:1], strict=True):
        answer = queries.run(ledger, "spend_by", by=(first, second))
        assert answer.columns[:3] == (first, second, "calls")
        assert len({r[:2] for r in answer.rows}) == len(answer.rows)
        if "tag" not in (first, second):
            assert (sum(r[2] for r in answer.rows), sum(r[6] or 0 for r in answer.rows)) == (5, 3 * USD)
    assert (
        queries.run(ledger, "spend_by", by="day,hour").rows == queries.run(ledger, "spend_by", by=["day", "hour"]).rows
    )


def test_a_call_counts_under_each_of_its_tags(ledger: Ledger) -> None:
    rows = {r[0]: (r[1], r[5]) for r in queries.run(ledger, "spend_by", by="tag").rows}
    assert rows == {"a": (1, USD), "b": (1, USD), None: (4, 2 * USD)}


def test_days_are_those_of_the_readers_zone(ledger: Ledger) -> None:
    assert [r[0] for r in queries.run(ledger, "spend_by", by="day").rows] == [date(2025, 11, 25)]
    assert [r[0] for r in queries.run(ledger, "spend_by", by="day", zone="Asia/Kathmandu").rows] == [date(2025, 11, 26)]


def test_since_and_until_bound_the_beginning_of_a_call(ledger: Ledger) -> None:
    night = datetime(2025, 11, 25, 23, tzinfo=UTC)
    assert queries.run(ledger, "spend_by", by="model", until=night).rows == []
    assert len(queries.run(ledger, "calls_list", since=night).rows) == 5


def test_failures_and_missing_prices_are_listed_with_their_reasons(ledger: Ledger) -> None:
    (failure,) = queries.run(ledger, "errors").rows
    assert (failure[2], failure[3], failure[4], failure[7]) == ("RateLimitError", 429, 1, "slow down")
    (unpriced,) = queries.run(ledger, "unpriced").rows
    assert unpriced[2:5] == ("unpriced", "unknown model 'x'", 1)


def test_the_lines_of_a_call_are_its_cost(ledger: Ledger) -> None:
    answer = queries.run(ledger, "call_explain", call_id=plain_call(0, at_ns=START_NS + 23 * 3600 * 10**9).call.call_id)
    assert [dict(zip(answer.columns, r, strict=True))["amount"] for r in answer.rows] == [Decimal(USD)]


def test_values_are_bound_and_names_come_from_the_files_list(ledger: Ledger) -> None:
    assert queries.run(ledger, "calls_list", user="ann").rows[0][7] == "ann"
    assert queries.run(ledger, "calls_list", user="' OR 1=1 --").rows == []
    with pytest.raises(ConfigError, match="cannot group by '1; DROP'"):
        queries.run(ledger, "spend_by", by="1; DROP")
    with pytest.raises(ConfigError, match="no parameter 'where'"):
        queries.run(ledger, "calls_list", where="1=1")
    with pytest.raises(ConfigError, match=r"no query '\.\./x'"):
        queries.load("../x")
