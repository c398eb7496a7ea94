"""`callmeter spend` against sums done by hand."""

import csv
import io
import json
from decimal import Decimal
from pathlib import Path

import pytest

import callmeter
from tests.cli.conftest import QUESTION, Run, runtime

# USD for a million tokens: gpt-4o 2.5 in and 10 out, claude-sonnet-4-5 3 in, 0.3 cached and 15 out.
GPT = Decimal(2 * (1000 * 25 + 100 * 100) + (2000 * 25 + 50 * 100) + (4 * 25 + 1 * 100)) / 10_000_000
CLAUDE = Decimal(600 * 30 + 400 * 3 + 100 * 150) / 10_000_000


def asked(run: Run, home: Path, *arguments: str) -> dict:  # type: ignore[type-arg]
    done = run("spend", "--json", "--home", home, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def row(document: dict, name: str, by: str = "model") -> dict:  # type: ignore[type-arg]
    return next(row for row in document["rows"] if row[by] == name)  # type: ignore[no-any-return]


def test_spend_by_model_is_what_the_calls_cost(run: Run, spent: Path) -> None:
    found = asked(run, spent)
    cut_short = Decimal(row(found, "gpt-4o")["cost_usd"]) - GPT
    assert Decimal(0) < cut_short < Decimal("0.00525")  # estimated: 500 tokens in, fewer than 400 out
    assert Decimal(row(found, "claude-sonnet-4-5")["cost_usd"]) == CLAUDE
    assert row(found, "llama3.2")["cost_usd"] == "0.00"
    assert row(found, "gpt-4o")["calls"] == 6
    assert row(found, "gpt-4o")["failures"] == 1


def test_an_unpriced_model_is_named_and_never_zero(run: Run, spent: Path) -> None:
    found = asked(run, spent)
    assert row(found, "acme-tuned-7b")["cost_usd"] is None
    assert row(found, "acme-tuned-7b")["unpriced"] == 1
    text = run("spend", "--home", spent).stdout
    line = next(line for line in text.splitlines() if line.startswith("acme-tuned-7b"))
    assert "unpriced" in line
    assert "0.00" not in line
    assert any("acme-tuned-7b" in note and "1 call" in note for note in found["notes"])


def test_an_estimated_call_is_said(run: Run, spent: Path) -> None:
    found = asked(run, spent)
    assert row(found, "gpt-4o")["estimated"] == 1
    assert any(note.startswith("estimated") and "gpt-4o (1)" in note for note in found["notes"])


@pytest.mark.parametrize("by", ["model", "provider", "user", "project", "feature", "day", "hour"])
def test_the_rows_add_up_to_the_total(run: Run, spent: Path, by: str) -> None:
    found = asked(run, spent, "--by", by)
    costs = [Decimal(each["cost_usd"]) for each in found["rows"] if each["cost_usd"] is not None]
    assert sum(costs) == Decimal(found["totals"]["cost_usd"])
    assert sum(each["calls"] for each in found["rows"]) == found["totals"]["calls"] == 9


def test_a_call_with_two_tags_counts_under_both_and_once_in_the_total(run: Run, spent: Path) -> None:
    found = asked(run, spent, "--by", "tag")
    assert (row(found, "x", "tag")["calls"], row(found, "y", "tag")["calls"]) == (1, 2)
    assert found["totals"]["calls"] == 9


def test_a_limit_leaves_rows_out_and_the_total_whole(run: Run, spent: Path) -> None:
    found = asked(run, spent, "--limit", "1")
    assert [each["model"] for each in found["rows"]] == ["gpt-4o"]
    assert found["totals"]["calls"] == 9


def test_calls_without_a_label_stand_under_none(run: Run, spent: Path) -> None:
    assert row(asked(run, spent, "--by", "project"), None, "project")["calls"] == 6  # type: ignore[arg-type]
    assert "(none)" in run("spend", "--by", "project", "--home", spent).stdout


def test_several_dimensions_are_one_table_by_all_of_them(run: Run, spent: Path) -> None:
    found = asked(run, spent, "--by", "user", "--by", "model")
    assert list(found["rows"][0])[:3] == ["user", "model", "calls"]
    pairs = [(each["user"], each["model"]) for each in found["rows"]]
    assert len(set(pairs)) == len(pairs)
    assert {("ada", "gpt-4o"), ("ada", "acme-tuned-7b"), ("grace", "llama3.2"), (None, "gpt-4o")} <= set(pairs)
    users = [user for user, _ in pairs]
    assert [user for place, user in enumerate(users) if users[:place][-1:] != [user]] == ["ada", "grace", None]
    assert sum(each["calls"] for each in found["rows"]) == found["totals"]["calls"] == 9
    costs = [Decimal(each["cost_usd"]) for each in found["rows"] if each["cost_usd"] is not None]
    assert sum(costs) == Decimal(found["totals"]["cost_usd"])
    for user in ("ada", "grace"):
        alone = row(asked(run, spent, "--by", "user"), user, "user")
        assert sum(each["calls"] for each in found["rows"] if each["user"] == user) == alone["calls"]


def test_one_table_by_several_in_text_and_csv(run: Run, spent: Path) -> None:
    several = ("--by", "day", "--by", "user", "--by", "day", "--home", spent)
    text = run("spend", *several).stdout
    assert text.startswith("Spend by day and user,")
    assert text.count("total ") == 1
    rows = list(csv.DictReader(io.StringIO(run("spend", "--csv", *several).stdout)))
    assert {each["user"] for each in rows} == {"ada", "grace", ""}
    assert all(each["day"][:2] == "20" for each in rows)


def test_a_limit_keeps_the_combinations_that_cost_most(run: Run, spent: Path) -> None:
    every = asked(run, spent, "--by", "user", "--by", "model")["rows"]
    known = sorted((Decimal(each["cost_usd"]) for each in every if each["cost_usd"]), reverse=True)
    kept = asked(run, spent, "--by", "user", "--by", "model", "--limit", "2")["rows"]
    assert sorted((Decimal(each["cost_usd"]) for each in kept), reverse=True) == known[:2]


def test_the_readers_zone_is_named_and_days_are_theirs(run: Run, spent: Path) -> None:
    there = asked(run, spent, "--by", "day", "--zone", "Pacific/Kiritimati")  # 14 hours ahead of UTC
    here = asked(run, spent, "--by", "day", "--zone", "Pacific/Niue")  # 11 hours behind
    assert "Pacific/Kiritimati" in there["title"]
    assert there["zone"] == "Pacific/Kiritimati"
    assert [each["day"] for each in there["rows"]] != [each["day"] for each in here["rows"]]


def test_a_time_without_calls_has_no_spend_and_exit_code_1(run: Run, spent: Path) -> None:
    done = run("spend", "--until", "2026-01-01", "--json", "--home", spent)
    assert done.returncode == 1
    assert json.loads(done.stdout)["rows"] == []
    assert asked(run, spent, "--since", "1h")["totals"]["calls"] == 9


def test_csv_is_rows_alone_with_what_is_unknown_on_stderr(run: Run, spent: Path) -> None:
    done = run("spend", "--csv", "--home", spent)
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert {each["model"] for each in rows} == {"gpt-4o", "claude-sonnet-4-5", "llama3.2", "acme-tuned-7b"}
    assert next(each for each in rows if each["model"] == "acme-tuned-7b")["cost_usd"] == ""
    assert "acme-tuned-7b" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--by", "colour"], ["colour", "model", "provider"]),
        (["--since", "soon"], ["--since", "soon", "7d"]),
        (["--zone", "Mars/Olympus"], ["Mars/Olympus", "Europe/Berlin"]),
        (["--by", "day", "--by", "colour"], ["colour", "model", "provider"]),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(run: Run, spent: Path, arguments: list[str], words: list[str]) -> None:
    done = run("spend", *arguments, "--home", spent)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert [word for word in words if word not in done.stderr] == []


def test_mocked_calls_are_said_never_to_have_been_charged(run: Run, tmp_path: Path) -> None:
    home = tmp_path / "home"
    with runtime(home):
        callmeter.completion("gpt-3.5-turbo", QUESTION, mock_response="hi")
    # A mock counts 10 tokens in and 20 out, at 0.5 and 1.5 USD a million.
    assert (
        "made with mock_response and so never charged: 1 call, 0.000035 USD of the total" in asked(run, home)["notes"]
    )


def test_without_mocked_calls_nothing_is_said_of_them(run: Run, spent: Path) -> None:
    assert not any("mock_response" in note for note in asked(run, spent)["notes"])
