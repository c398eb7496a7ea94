"""`callmeter sql` and `callmeter export`."""

import csv
import json
from pathlib import Path

import duckdb
import pytest

from tests.cli.conftest import Run


def test_the_documented_views_can_be_asked(run: Run, spent: Path) -> None:
    done = run("sql", 'SELECT "user", count(*) AS calls FROM calls GROUP BY ALL ORDER BY 1', "--json", "--home", spent)
    assert json.loads(done.stdout)["rows"] == [
        {"user": "ada", "calls": 5},
        {"user": "grace", "calls": 3},
        {"user": None, "calls": 1},
    ]
    for view in ("attempts", "cost_items", "daily_spend", "adjustments", "events_dropped"):
        assert run("sql", f"SELECT count(*) FROM {view}", "--home", spent).returncode == 0


def test_money_stays_exact_and_columns_of_one_name_stay_apart(run: Run, spent: Path) -> None:
    done = run("sql", "SELECT 0.1::DECIMAL(38,15) AS x, 2 AS x, [1, 2] AS many", "--json", "--home", spent)
    assert json.loads(done.stdout)["rows"] == [{"x": "0.10", "x_2": 2, "many": [1, 2]}]


def test_csv_is_what_a_spreadsheet_reads(run: Run, spent: Path) -> None:
    done = run("sql", "SELECT 'a,b' AS x, NULL AS y, [1] AS z", "--csv", "--home", spent)
    assert list(csv.reader(done.stdout.splitlines())) == [["x", "y", "z"], ["a,b", "", "[1]"]]


def test_questions_are_listed_and_answered_by_name(run: Run, spent: Path) -> None:
    from callmeter.dashboards import queries

    listed = json.loads(run("sql", "--list", "--json").stdout)["rows"]
    assert [row["name"] for row in listed] == queries.names()
    unpriced = json.loads(run("sql", "unpriced", "--json", "--home", spent).stdout)["rows"]
    assert [row["model"] for row in unpriced] == ["acme-tuned-7b"]
    by_user = run("sql", "spend_by", "--param", "by=user", "--param", "limit=1", "--json", "--home", spent)
    assert len(json.loads(by_user.stdout)["rows"]) == 1


def test_no_rows_is_exit_code_1(run: Run, spent: Path) -> None:
    assert run("sql", "SELECT 1 WHERE false", "--home", spent).returncode == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["SELEC 1"], ["SELEC 1", "syntax error"]),
        (["SELECT nope FROM calls"], ["nope"]),
        (["SELECT * FROM read_csv('/etc/passwd')"], ["/etc/passwd"]),
        (["COPY calls TO '/tmp/stolen.csv'"], ["COPY", "callmeter export"]),
        (["DROP VIEW calls"], ["DROP"]),
        (["SET enable_external_access = true"], ["SET"]),
        (["unpriced", "--param", "colour=red"], ["colour", "since"]),
        (["unpriced", "--param", "since"], ["since", "name=value"]),
        (["SELECT 1", "--param", "a=b"], ["a=b", "--list"]),
        (["spend_by"], ["by"]),
        ([], ["no SQL"]),
    ],
)
def test_what_is_no_question_is_one_sentence(run: Run, spent: Path, arguments: list[str], words: list[str]) -> None:
    done = run("sql", *arguments, "--home", spent)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert [word for word in words if word not in done.stderr] == []
    assert not Path("/tmp/stolen.csv").exists()


@pytest.mark.parametrize("suffix", ["duckdb", "parquet", "csv"])
def test_an_export_holds_every_call(run: Run, spent: Path, tmp_path: Path, suffix: str) -> None:
    target = tmp_path / f"spend.{suffix}"
    done = run("export", target, "--home", spent)
    assert (done.returncode, done.stdout) == (0, f"9 calls written to {target}\n")
    table = "calls" if suffix == "duckdb" else f"'{target}'"
    with duckdb.connect(str(target) if suffix == "duckdb" else ":memory:") as opened:
        assert opened.execute(f"SELECT count(*) FROM {table}").fetchone() == (9,)


def test_an_export_replaces_nothing_unasked(run: Run, spent: Path, tmp_path: Path) -> None:
    target = tmp_path / "spend.csv"
    target.write_text("mine")
    done = run("export", target, "--home", spent)
    assert (done.returncode, target.read_text()) == (2, "mine")
    assert str(target) in done.stderr
    assert run("export", target, "--force", "--home", spent).returncode == 0
    assert target.read_text().startswith("call_id,")


def test_an_export_of_another_kind_is_refused(run: Run, spent: Path, tmp_path: Path) -> None:
    done = run("export", tmp_path / "spend.xlsx", "--home", spent)
    assert done.returncode == 2
    assert "spend.xlsx" in done.stderr
    assert "*.parquet" in done.stderr


def test_an_export_into_no_directory_says_so(run: Run, spent: Path, tmp_path: Path) -> None:
    done = run("export", tmp_path / "nowhere" / "spend.csv", "--home", spent)
    assert (done.returncode, done.stdout) == (3, "")
    assert "nowhere" in done.stderr
    assert done.stderr.count("\n") == 1
