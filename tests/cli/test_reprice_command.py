"""`callmeter reprice`: what it appends, what stays, and that both prices stand in the books."""

import json
import shutil
import sqlite3
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from callmeter.events.journal import Journal
from callmeter.events.model import Attempt, CallEnded
from callmeter.pricing.compile import compiled
from callmeter.pricing.table import Table, load_table
from callmeter.types import Cost, CostItem, Usage
from tests.cli.conftest import Run
from tests.sinks.duckdb.made import plain_call, row

MILLION = 1_000_000
OPENAI = f"openai@{load_table('openai').hash}"
USED = Usage(input_tokens=1000, output_tokens=100)
LIST_PRICE = Decimal("0.0035")  # gpt-4o: 2.5 and 10 USD a million


def call(number: int, cost: Cost, **changes: object) -> CallEnded:
    """A call to gpt-4o with 1000 tokens in and 100 out that was charged so."""
    made = plain_call(number)
    attempt = replace(made.attempts[0], usage=USED, cost=cost)
    return replace(made, usage=USED, cost=cost, attempts=(attempt,), **changes)


UNPRICED = Cost(status="unpriced", reason="unknown model 'gpt-4o' at openai", table="openai@0123456789abcdef")


def own(amount: str) -> Cost:
    item = CostItem("input", 1000, "token", Decimal(amount) / 1000, Decimal(amount), "user")
    return Cost(total=Decimal(amount), status="priced", items=(item,), table="user")


def charged(amount: str, table: str = OPENAI) -> Cost:
    item = CostItem("input", 1000, "token", Decimal(amount) / 1000, Decimal(amount), "test")
    return Cost(total=Decimal(amount), status="priced", items=(item,), table=table)


@pytest.fixture
def books(tmp_path: Path) -> Path:
    """Unpriced, wrongly priced, rightly priced, at own rates, at a host without prices, and of an unknown model."""
    home = tmp_path / "home"
    elsewhere = Cost(status="unpriced", reason="vllm.example has no prices")
    host = replace(plain_call(5).call, api_base="https://vllm.example/v1")
    unknown = replace(plain_call(6).call, model="acme-tuned-7b")
    gone = replace(plain_call(7).call, model="gone-model")
    keep(
        home,
        call(1, UNPRICED),
        call(2, charged("0.35")),
        call(3, Cost(total=LIST_PRICE, status="priced", items=(), table=OPENAI)),
        call(4, own("0.001")),
        call(5, elsewhere, call=host),
        call(6, UNPRICED, call=unknown),
        call(7, charged("0.07"), call=gone),
    )
    return home


def keep(home: Path, *events: CallEnded) -> None:
    journal = Journal.open(home)
    journal.append([row(event) for event in events])
    journal.close()


def asked(run: Run, *arguments: object, code: int = 0) -> dict:  # type: ignore[type-arg]
    done = run(*arguments, "--json")
    assert (done.returncode, done.stderr) == (code, "")
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def costs(run: Run, home: Path) -> list[tuple[str | None, str | None]]:
    query = 'SELECT cost, cost_original FROM calls ORDER BY "at"'
    return [(r["cost"], r["cost_original"]) for r in asked(run, "sql", query, "--home", home)["rows"]]


BEFORE = [
    (None, None),
    ("0.35", "0.35"),
    ("0.0035", "0.0035"),
    ("0.001", "0.001"),
    (None, None),
    (None, None),
    ("0.07", "0.07"),
]
AFTER = [("0.0035", None), ("0.0035", "0.35"), *BEFORE[2:]]


def test_a_dry_run_says_what_would_change_and_changes_nothing(run: Run, books: Path) -> None:
    found = asked(run, "reprice", "--since", "2000-01-01", "--dry-run", "--home", books)
    (gpt,) = found["rows"]
    assert (gpt["calls"], gpt["newly_priced"], gpt["old_usd"], gpt["new_usd"]) == (2, 1, "0.35", "0.007")
    assert gpt["difference_usd"] == "-0.343"
    assert "nothing was written" in found["notes"][0]
    assert costs(run, books) == BEFORE


def test_unpriced_calls_get_a_price_wrong_ones_the_right_one_and_the_rest_stays(run: Run, books: Path) -> None:
    found = asked(run, "reprice", "--since", "2000-01-01", "--reason", "a price was published", "--home", books)
    assert found["notes"][0] == "7 calls looked at, 2 cost something else now; 2 adjustments were appended"
    assert "left as they are: 1 call: charged at rates of your own" in found["notes"]
    assert "left as they are: 1 call: sent to a host whose prices are not known" in found["notes"]
    assert any("priced then, and today's table cannot: unknown model 'gone-model'" in note for note in found["notes"])
    assert costs(run, books) == AFTER


def test_a_second_run_appends_nothing(run: Run, books: Path) -> None:
    for appended in (2, 0, 0):
        found = asked(run, "reprice", "--since", "2000-01-01", "--home", books)
        assert f"{appended} adjustments were appended" in found["notes"][0]
        assert run("drain", "--home", books).returncode == 0  # from the journal into the files
    assert len(asked(run, "sql", "SELECT * FROM adjustments", "--home", books)["rows"]) == 2
    assert costs(run, books) == AFTER


def test_spend_shows_the_last_price_and_says_so(run: Run, books: Path) -> None:
    before = asked(run, "spend", "--home", books)
    assert not any("priced anew" in note for note in before["notes"])
    run("reprice", "--since", "2000-01-01", "--home", books)
    after = asked(run, "spend", "--home", books)
    assert Decimal(after["totals"]["cost_usd"]) == Decimal(before["totals"]["cost_usd"]) - Decimal("0.343")
    (said,) = [note for note in after["notes"] if "priced anew" in note]
    assert said.startswith("priced anew since: 2 calls")
    assert "0.35 USD when made, 0.007 USD now" in said


def test_explain_shows_both_prices_and_the_lines_of_the_new_one(run: Run, books: Path) -> None:
    run("reprice", "--since", "2000-01-01", "--reason", "the price was wrong", "--home", books)
    id = plain_call(2).call.call_id
    text = run("explain", id, "--home", books).stdout
    assert "cost: 0.35 USD (priced), the sum of its 1 line; priced anew since: 0.0035 USD (priced)" in text
    assert "the price was wrong" in text
    found = asked(run, "explain", id, "--home", books)
    (adjustment,) = found["adjustments"]
    assert (adjustment["old"], adjustment["new"], adjustment["new_table"]) == ("0.35", "0.0035", OPENAI)
    assert [(i["line"], i["quantity"], i["amount"]) for i in adjustment["items"]] == [
        ("input", "1000", "0.0025"),
        ("output", "100", "0.001"),
    ]
    first = run("explain", plain_call(1).call.call_id, "--home", books).stdout
    assert "cost: unpriced: unknown model 'gpt-4o' at openai; priced anew since: 0.0035 USD (priced)" in first


def test_only_the_calls_that_are_meant_are_looked_at(run: Run, books: Path) -> None:
    asked(run, "reprice", "--since", "2000-01-01", "--until", "2001-01-01", "--home", books, code=1)
    found = asked(run, "reprice", "--since", "2000-01-01", "--model", "acme-tuned-7b", "--home", books)
    assert found["notes"][0].startswith("1 calls looked at, 0 cost")
    found = asked(run, "reprice", "--since", "2000-01-01", "--provider", "anthropic", "--home", books, code=1)
    assert costs(run, books) == BEFORE


def test_a_check_agrees_with_what_was_really_charged(run: Run, spent: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(spent, home)
    found = asked(run, "reprice", "--check", "--home", home)
    assert found["rows"] == []
    assert found["notes"][0] == "9 calls looked at: 8 costs agree with their table, 0 do not"
    assert asked(run, "reprice", "--since", "1h", "--home", home)["rows"] == []


def test_a_check_names_each_cost_that_its_table_does_not_give(run: Run, books: Path) -> None:
    found = asked(run, "reprice", "--check", "--home", books, code=1)
    (wrong, gone) = found["rows"]
    assert (wrong["call_id"], wrong["stored_usd"], wrong["computed_usd"]) == (
        plain_call(2).call.call_id,
        "0.35",
        "0.0035",
    )
    assert gone["computed_usd"] is None
    assert "not checked: 2: its price table openai@0123456789abcdef is not at hand" in found["notes"]
    # What was appended since agrees with its table; the first costs still do not.
    run("reprice", "--since", "2000-01-01", "--home", books)
    again = asked(run, "reprice", "--check", "--home", books, code=1)
    assert again["notes"][0] == "7 calls looked at: 3 costs agree with their table, 2 do not"


def test_the_table_of_then_is_found_in_a_folder_and_gives_the_cost_of_then(run: Run, tmp_path: Path) -> None:
    old = msgspec.json.decode(compiled()["openai.json"], type=Table)
    models = tuple(
        replace(m, rates=tuple(replace(r, femtos=2 * r.femtos) for r in m.rates)) if m.id == "gpt-4o" else m
        for m in old.models
    )
    then = replace(old, models=models, hash="feedfacefeedface")
    home, folder = tmp_path / "home", tmp_path / "tables"
    folder.mkdir()
    (folder / "notes.json").write_text("[]")
    (folder / "tables-3.json").write_bytes(msgspec.json.encode({"version": 3, "providers": {"openai": then}}))
    keep(home, call(1, charged("0.007", "openai@feedfacefeedface")))
    without = asked(run, "reprice", "--check", "--home", home)
    assert "not checked: 1: its price table openai@feedfacefeedface is not at hand" in without["notes"]
    found = asked(run, "reprice", "--check", "--tables", folder, "--home", home)
    assert found["notes"] == ["1 calls looked at: 1 costs agree with their table, 0 do not"]


def test_a_call_of_several_attempts_is_priced_attempt_by_attempt(run: Run, tmp_path: Path) -> None:
    home, made = tmp_path / "home", plain_call(1)
    cut = replace(made.attempts[0], usage=Usage(input_tokens=1000, output_tokens=10), cost=UNPRICED, status="failure")
    answered = Attempt(number=2, provider="openai", model="gpt-4o-mini", usage=USED, cost=UNPRICED)
    total = Usage(input_tokens=2000, output_tokens=110)
    facts = replace(made.call, model="gpt-4o-mini")
    keep(home, replace(made, usage=total, cost=UNPRICED, attempts=(cut, answered), call=facts))
    run("reprice", "--since", "2000-01-01", "--home", home)
    gpt = 1000 * Decimal("2.5") + 10 * Decimal(10)
    mini = 1000 * Decimal("0.15") + 100 * Decimal("0.6")
    assert [Decimal(cost or 0) for cost, _ in costs(run, home)] == [(gpt + mini) / MILLION]


def test_a_base_models_price_is_the_one_that_applies(run: Run, tmp_path: Path) -> None:
    home = tmp_path / "home"
    keep(home, call(1, UNPRICED, call=replace(plain_call(1).call, model="our-deployment", base_model="gpt-4o")))
    run("reprice", "--since", "2000-01-01", "--home", home)
    assert costs(run, home) == [("0.0035", None)]


def test_two_at_once_do_not_append_twice(run: Run, books: Path) -> None:
    journal = Journal.open(books)
    assert journal.lease("reprice", "somebody", 60)
    done = run("reprice", "--since", "2000-01-01", "--home", books)
    assert (done.returncode, done.stdout) == (3, "")
    assert "being priced anew by another process" in done.stderr
    journal.release("reprice", "somebody")
    journal.close()
    assert run("reprice", "--since", "2000-01-01", "--home", books).returncode == 0
    assert costs(run, books) == AFTER


def test_a_damaged_ledger_is_not_priced_anew(run: Run, books: Path) -> None:
    assert run("drain", "--home", books).returncode == 0
    (file,) = (books / "ledger").rglob("*.parquet")
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    done = run("reprice", "--since", "2000-01-01", "--home", books)
    assert (done.returncode, done.stdout) == (3, "")
    assert "not complete" in done.stderr
    with sqlite3.connect(books / "journal.sqlite3") as db:
        assert db.execute("SELECT count(*) FROM events").fetchone() == (0,)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["--since", "30d"]),
        (["--since", "soon"], ["--since", "soon"]),
        (["--check", "--dry-run"], ["--check", "--dry-run"]),
        (["--since", "1d", "--tables", "x"], ["--tables", "--check"]),
        (["--check", "--tables", "nowhere"], ["nowhere", "folder"]),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(run: Run, books: Path, arguments: list[str], words: list[str]) -> None:
    done = run("reprice", *arguments, "--home", books)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert [word for word in words if word not in done.stderr] == []
