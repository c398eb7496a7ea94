"""`callmeter simulate` on the ledger and on files, against sums done by hand."""

import csv
import io
import json
from decimal import Decimal
from pathlib import Path

import pytest

from tests.cli.conftest import Run

TRACE = "TIMESTAMP,ContextTokens,GeneratedTokens\n" + "".join(
    f"2023-11-{day} 23:30:00.0000000,{1000 * day},{day}\n" for day in (16, 17, 19)
)
MINI = (Decimal(52_000) * Decimal("0.15") + Decimal(52) * Decimal("0.6")) / 1_000_000


def asked(run: Run, *arguments: object, code: int = 0) -> dict:  # type: ignore[type-arg]
    done = run("simulate", *arguments, "--json")
    assert (done.returncode, done.stderr) == (code, "")
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def row(document: dict, model: str) -> dict:  # type: ignore[type-arg]
    return next(row for row in document["rows"] if row["model"] == model)  # type: ignore[no-any-return]


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    file = tmp_path / "trace.csv"
    file.write_text(TRACE)
    return file


def test_the_calls_of_the_ledger_on_another_model(run: Run, spent: Path) -> None:
    found = asked(run, "--model", "gpt-4o-mini", "--model", "gpt-4o", "--of", "gpt-4o", "--home", spent)
    actual, same, mini = (row(found, name) for name in ("(as it was)", "gpt-4o", "gpt-4o-mini"))
    assert actual["cost_usd"] == same["cost_usd"]
    assert same["difference_usd"] == "0.00"
    # Input and output are both 16 2/3 times cheaper.
    assert Decimal(mini["cost_usd"]) * 50 == Decimal(same["cost_usd"]) * 3
    assert Decimal(mini["difference_usd"]) == Decimal(mini["cost_usd"]) - Decimal(actual["cost_usd"])
    assert mini["per_cent"] == "-94"
    assert mini["fits"] == "yes"
    assert any(note.startswith("cheapest that fits: gpt-4o-mini") for note in found["notes"])
    assert "left out, because nothing is known to have been used: 1 call" in found["notes"]


def test_calls_without_a_price_are_compared_with_nothing_and_said(run: Run, spent: Path) -> None:
    found = asked(run, "--model", "gpt-4o-mini", "--home", spent)
    assert row(found, "(as it was)")["unpriced"] == 1
    assert "gpt-4o-mini: the difference is over the 7 calls priced then and now" in found["notes"]


def test_a_file_is_priced_to_the_last_digit_and_compared_with_the_first_model(run: Run, trace: Path) -> None:
    found = asked(run, "--from-csv", trace, "--model", "gpt-4o", "--model", "gpt-4o-mini", "--zone", "UTC")
    mini = row(found, "gpt-4o-mini")
    assert Decimal(mini["cost_usd"]) == MINI
    assert Decimal(mini["per_day_usd"]) == MINI / 4  # the 16th to the 19th
    assert Decimal(mini["difference_usd"]) == MINI - Decimal(row(found, "gpt-4o")["cost_usd"])
    assert "columns: input=ContextTokens, output=GeneratedTokens, at=TIMESTAMP" in found["notes"]


def test_days_are_those_of_the_readers_zone_and_add_up(run: Run, trace: Path) -> None:
    here = run("simulate", "--from-csv", trace, "--model", "gpt-4o-mini", "--by", "day", "--csv", "--zone", "UTC")
    there = run(
        "simulate", "--from-csv", trace, "--model", "gpt-4o-mini", "--by", "day", "--csv", "--zone", "Europe/Berlin"
    )
    days = [list(csv.DictReader(io.StringIO(done.stdout))) for done in (here, there)]
    assert [each["day"] for each in days[0]] == ["2023-11-16", "2023-11-17", "2023-11-19"]
    assert [each["day"] for each in days[1]] == ["2023-11-17", "2023-11-18", "2023-11-20"]
    assert sum(Decimal(each["cost_usd"]) for each in days[0]) == MINI


def test_what_a_model_cannot_serve_is_named_and_it_is_not_the_cheapest(run: Run, trace: Path) -> None:
    found = asked(run, "--from-csv", trace, "--model", "gpt-4", "--model", "gpt-4o")
    assert (row(found, "gpt-4")["fits"], row(found, "gpt-4")["unfit"]) == ("no", 3)
    assert "gpt-4 does not fit 3 calls: longer than its context of 8,192 tokens" in found["notes"]
    assert any(note.startswith("cheapest that fits: gpt-4o,") for note in found["notes"])


def test_a_request_that_a_model_cannot_price_is_never_0(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "pages.csv"
    file.write_text('input,output,units\n1000,0,"{""page"": 2}"\n')
    found = asked(run, "--from-csv", file, "--model", "gpt-4o", code=1)
    assert (row(found, "gpt-4o")["cost_usd"], row(found, "gpt-4o")["unpriced"]) == (None, 1)
    assert "gpt-4o cannot price 1 call, in no sum: no rate for page" in found["notes"]
    assert "none of these" in found["notes"][-2]


def test_prices_of_another_day_and_tier(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "one.csv"
    file.write_text("at,input,output\n2023-03-02,1000000,0\n")
    for arguments, cost in (
        (("--at", "2023-03-02"), "2.00"),
        (("--at", "then"), "2.00"),
        ((), "0.50"),
        (("--tier", "batch"), "0.25"),
    ):
        found = asked(run, "--from-csv", file, "--model", "gpt-3.5-turbo", *arguments)
        assert row(found, "gpt-3.5-turbo")["cost_usd"] == cost, arguments


def test_an_export_of_the_ledger_gives_what_the_ledger_gives(run: Run, spent: Path, tmp_path: Path) -> None:
    file = tmp_path / "calls.csv"
    assert run("export", file, "--home", spent).returncode == 0
    exported = asked(run, "--from-csv", file, "--model", "gpt-4o-mini", "--model", "anthropic/claude-haiku-4-5")
    direct = asked(run, "--model", "gpt-4o-mini", "--model", "anthropic/claude-haiku-4-5", "--home", spent)
    assert exported["rows"] == direct["rows"]


def test_no_calls_is_exit_code_1(run: Run, spent: Path) -> None:
    found = asked(run, "--model", "gpt-4o", "--until", "2001-01-01", "--home", spent, code=1)
    assert found["rows"] == []
    assert found["notes"] == ["there are no calls with usage to price"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["--model"]),
        (["--model", "gpt-99"], ["gpt-99", "provider/model"]),
        (["--model", "gpt-4o", "--from-csv", "nowhere.csv"], ["nowhere.csv"]),
        (["--model", "gpt-4o", "--from-csv", "x.csv", "--since", "1d"], ["--from-csv", "--since"]),
        (["--model", "gpt-4o", "--columns", "input=a"], ["--columns", "--from-csv"]),
        (["--model", "gpt-4o", "--at", "soon"], ["--at", "soon"]),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(run: Run, spent: Path, arguments: list[str], words: list[str]) -> None:
    done = run("simulate", *arguments, CALLMETER_HOME=str(spent))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert [word for word in words if word not in done.stderr] == []
