"""`callmeter demo`: real calls, and the ledger they leave."""

import json
import os
import shlex
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from callmeter.testing import FakeProvider
from tests.cli.conftest import Run, environment, run_command


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The home of a demo, and what it said. A proxy that does not answer must not be in its way."""
    home = tmp_path_factory.mktemp("demo") / "home"
    nowhere = "http://127.0.0.1:9"
    done = run_command("demo", "--home", home, HTTP_PROXY=nowhere, http_proxy=nowhere)
    assert (done.returncode, done.stderr) == (0, "")
    return home, done.stdout


def document(run: Run, home: Path, *arguments: str) -> dict:  # type: ignore[type-arg]
    return json.loads(run(*arguments, "--json", "--home", home).stdout)  # type: ignore[no-any-return]


def test_it_makes_every_kind_of_call(run: Run, demo: tuple[Path, str]) -> None:
    rows = document(run, demo[0], "calls", "--limit", "1000")["rows"]
    assert {row["provider"] for row in rows} == {"openai", "anthropic", "ollama"}
    assert {row["ended"] for row in rows} == {"stop", "tool_calls", "cancelled", "AuthenticationError"}
    assert {row["cost_status"] for row in rows} == {"priced", "free", "unpriced", "no_usage"}
    assert {row["stream"] for row in rows} == {True, False}
    assert {row["project"] for row in rows} == {"search", "support"}
    attempts = document(run, demo[0], "sql", "SELECT reason, count(*) AS n FROM attempts GROUP BY ALL")["rows"]
    counted = {row["reason"]: row["n"] for row in attempts}
    assert counted["retry"] == 1
    assert counted["fallback"] == 1


def test_the_servers_and_the_ledger_count_the_same_requests(run: Run, demo: tuple[Path, str]) -> None:
    (row,) = document(run, demo[0], "sql", "SELECT count(*) AS n FROM attempts")["rows"]
    assert f"The servers answered {row['n']} requests." in demo[1]


def test_it_shows_spend_with_what_is_unpriced(run: Run, demo: tuple[Path, str]) -> None:
    home, said = demo
    assert run("spend", "--home", home).stdout in said
    assert "acme-tuned-7b" in said
    assert "unpriced" in said


def test_it_explains_the_call_that_read_a_cache(run: Run, demo: tuple[Path, str]) -> None:
    # 1,000 tokens at 3 USD a million, 9,000 at 0.30, 2,000 at 6 and 310 at 15.
    cost = Decimal(1000 * 300 + 9000 * 30 + 2000 * 600 + 310 * 1500) / 100_000_000
    assert f"cost: {cost.normalize()} USD (priced), the sum of its 4 lines" in demo[1]


def test_what_it_says_to_go_on_with_works(run: Run, demo: tuple[Path, str]) -> None:
    home, said = demo
    commands = [shlex.split(line) for line in said.partition("Go on with:")[2].splitlines() if line]
    assert len(commands) == 4
    for command in commands:
        assert command[0] == "callmeter"
        assert run(*command[1:]).returncode == 0
        assert str(home) in command


def test_where_the_command_is_not_on_the_path_it_is_shown_with_its_own(tmp_path: Path) -> None:
    script = Path(sys.executable).with_name("callmeter")
    done = subprocess.run(
        [script, "demo", "--home", tmp_path / "home"],
        capture_output=True, text=True, env=environment(PATH=os.defpath), cwd=script.parents[1], timeout=60,
    )  # fmt: skip
    said = [line.split()[0] for line in done.stdout.partition("Go on with:")[2].splitlines() if line]
    assert said == ["bin/callmeter"] * 4


def test_live_without_a_key_names_the_variable_to_set(run: Run, tmp_path: Path) -> None:
    done = run("demo", "--live", "gpt-4o", "--home", tmp_path / "home")
    assert (done.returncode, done.stdout) == (2, "")
    assert "OPENAI_API_KEY" in done.stderr
    assert done.stderr.count("\n") == 1


def test_live_makes_one_plain_and_one_streamed_call(run: Run, tmp_path: Path) -> None:
    with FakeProvider() as provider:
        environ = {"OPENAI_API_KEY": "sk-canary", "OPENAI_BASE_URL": provider.openai_base}
        done = run("demo", "--live", "gpt-4o", "--home", tmp_path / "home", **environ)
        assert (done.returncode, done.stderr) == (0, "")
        assert [json.loads(heard.body).get("stream", False) for heard in provider.requests] == [False, True]
    assert "sk-canary" not in done.stdout
    assert "streamed  Hello" in done.stdout


def test_live_that_fails_says_so_and_keeps_the_failure(run: Run, tmp_path: Path) -> None:
    home = tmp_path / "home"
    with FakeProvider() as provider:
        provider.answer(404)
        environ = {"OPENAI_API_KEY": "sk-canary", "OPENAI_BASE_URL": provider.openai_base}
        done = run("demo", "--live", "gpt-4o", "--home", home, **environ)
    assert done.returncode == 1
    assert "gpt-4o did not answer" in done.stderr
    assert [row["ended"] for row in document(run, home, "calls")["rows"]] == ["NotFoundError"]
