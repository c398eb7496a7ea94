import json
from decimal import Decimal
from pathlib import Path

import pytest

from tests.cli.conftest import Run


def ids(run: Run, home: Path, *filters: str) -> list[str]:
    """Ids of calls, newest first."""
    document = json.loads(run("calls", "--json", "--home", home, *filters).stdout)
    return [row["call_id"] for row in document["rows"]]


def explained(run: Run, home: Path, call: str) -> dict:  # type: ignore[type-arg]
    done = run("explain", call, "--json", "--home", home)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def test_every_line_is_quantity_times_rate_and_they_add_up_to_the_cost(run: Run, spent: Path) -> None:
    (claude,) = ids(run, spent, "--provider", "anthropic")
    found = explained(run, spent, claude)
    lines = {item["line"]: item for item in found["items"]}
    assert {name: item["quantity"] for name, item in lines.items()} == {
        "input": "600",
        "cache_read": "400",
        "output": "100",
    }
    for item in lines.values():
        assert Decimal(item["quantity"]) * Decimal(item["rate"]) == Decimal(item["amount"])
        assert item["source"]
        assert item["since"] < found["call"]["at"]
    assert (
        sum(Decimal(item["amount"]) for item in lines.values()) == Decimal(found["call"]["cost"]) == Decimal("0.00342")
    )
    assert found["adds_up"] is True
    assert Decimal(found["sum"]) == Decimal("0.00342")
    assert found["call"]["price_table"].startswith("anthropic")


def test_it_says_every_cent_in_words(run: Run, spent: Path) -> None:
    (claude,) = ids(run, spent, "--provider", "anthropic")
    text = run("explain", claude, "--home", spent).stdout
    assert "cost: 0.00342 USD (priced), the sum of its 3 lines" in text
    (line,) = [line.split() for line in text.splitlines() if "cache_read " in line and "token " in line]
    assert line[:6] == ["1", "cache_read", "400", "token", "0.0000003", "0.00012"]


def test_a_retried_call_shows_its_attempts_with_waits_and_errors(run: Run, spent: Path) -> None:
    (retried,) = ids(run, spent, "--project", "support")
    first, second = explained(run, spent, retried)["attempts"]
    assert (first["status"], first["error_class"], first["http_status"]) == ("failure", "RateLimitError", 429)
    assert (second["status"], second["reason"]) == ("success", "retry")
    text = run("explain", retried, "--home", spent).stdout
    assert "429" in text
    assert "wait_s" in text


def test_an_unpriced_call_says_why(run: Run, spent: Path) -> None:
    (unpriced,) = ids(run, spent, "--model", "acme-tuned-7b")
    text = run("explain", unpriced, "--home", spent).stdout
    assert "cost: unpriced: unknown model 'acme-tuned-7b'" in text
    assert "0.00 USD" not in text


def test_a_cut_stream_says_that_its_cost_is_estimated(run: Run, spent: Path) -> None:
    cut = [
        row for row in json.loads(run("calls", "--json", "--home", spent).stdout)["rows"] if row["ended"] == "cancelled"
    ]
    text = run("explain", cut[0]["call_id"], "--home", spent).stdout
    assert "estimated because we counted the tokens" in text


def test_last_is_the_newest_call(run: Run, spent: Path) -> None:
    assert explained(run, spent, "last")["call"]["call_id"] == ids(run, spent)[0]


def test_the_beginning_of_an_id_is_enough(run: Run, spent: Path) -> None:
    newest = ids(run, spent)[0]
    assert explained(run, spent, newest[:16])["call"]["call_id"] == newest
    assert explained(run, spent, newest[:16].upper())["call"]["call_id"] == newest


def test_a_beginning_that_fits_several_calls_lists_them(run: Run, spent: Path) -> None:
    newest = ids(run, spent)[0]
    done = run("explain", newest[:6], "--home", spent)
    assert (done.returncode, done.stdout) == (2, "")
    assert newest in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_unknown_call_is_named_with_exit_code_1(run: Run, spent: Path) -> None:
    done = run("explain", "ffffffffffff", "--home", spent)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"callmeter: there is no call 'ffffffffffff' in {spent}; see `callmeter calls`\n"


@pytest.mark.parametrize("call", ["abc", ""])
def test_too_short_an_id_is_refused(run: Run, spent: Path, call: str) -> None:
    done = run("explain", call, "--home", spent)
    assert done.returncode == 2
    assert "6 characters" in done.stderr
