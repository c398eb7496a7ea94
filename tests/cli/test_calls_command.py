"""`callmeter calls` and `callmeter tail`."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from callmeter.testing import FakeProvider
from tests.cli.conftest import Run, ask, environment, runtime

DEADLINE_S = 30


def rows(run: Run, home: Path, *filters: str) -> list[dict]:  # type: ignore[type-arg]
    return json.loads(run("calls", "--json", "--home", home, *filters).stdout)["rows"]  # type: ignore[no-any-return]


def test_the_newest_call_comes_first(run: Run, spent: Path) -> None:
    found = [row["call_id"] for row in rows(run, spent)]
    assert len(found) == 9
    assert found == sorted(found, reverse=True)


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        (["--model", "gpt-4o"], 6),
        (["--provider", "ollama"], 1),
        (["--status", "failure"], 1),
        (["--user", "grace"], 3),
        (["--project", "search"], 2),
        (["--tag", "y"], 2),
        (["--user", "ada", "--status", "success"], 4),
        (["--limit", "3"], 3),
        (["--since", "1h"], 9),
        (["--user", "nobody' OR 1=1 --"], 0),
    ],
)
def test_filters_keep_what_fits_all_of_them(run: Run, spent: Path, filters: list[str], count: int) -> None:
    assert len(rows(run, spent, *filters)) == count


def test_nothing_that_fits_is_exit_code_1(run: Run, spent: Path) -> None:
    done = run("calls", "--user", "nobody", "--home", spent)
    assert done.returncode == 1
    assert "no calls match" in done.stdout


def test_how_a_call_ended_is_said(run: Run, spent: Path) -> None:
    found = rows(run, spent)
    assert {row["ended"] for row in found} == {"stop", "cancelled", "AuthenticationError"}
    assert [row["cost"] for row in found if row["cost_status"] in ("unpriced", "no_usage")] == [None, None]
    text = run("calls", "--home", spent).stdout
    assert "unpriced" in text
    assert "no usage" in text


def test_a_pipe_gets_neither_colour_nor_boxes(run: Run, spent: Path) -> None:
    text = run("calls", "--home", spent, FORCE_COLOR="1").stdout
    assert text.isascii()
    assert text.replace("\n", "").isprintable()


def test_a_terminal_gets_a_table_with_short_ids_and_grouped_thousands(run: Run, spent: Path) -> None:
    newest = rows(run, spent)[0]["call_id"]
    text = on_terminal("calls", "--home", str(spent))
    assert "─" in text
    assert newest[:16] in text
    assert newest not in text
    assert "1,000" in text


def on_terminal(*arguments: str) -> str:
    """What a command shows on a terminal of 200 columns."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "callmeter", *arguments]
    with subprocess.Popen(command, stdout=theirs, env=environment(COLUMNS="200", TERM="xterm")) as process:
        os.close(theirs)
        shown = b"".join(iter(lambda: _read(ours), b""))
        assert process.wait(DEADLINE_S) == 0
    os.close(ours)
    return shown.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux's end of file on a terminal
        return b""


# --- tail


def test_tail_begins_with_the_latest_calls_oldest_first(run: Run, spent: Path) -> None:
    done = run("tail", "--once", "-n", "2", "--json", "--home", spent)
    assert done.returncode == 0
    shown = [json.loads(line)["call_id"] for line in done.stdout.splitlines()]
    assert shown == [row["call_id"] for row in rows(run, spent, "--limit", "2")][::-1]


def test_a_line_of_tail_holds_time_model_tokens_and_cost(run: Run, spent: Path) -> None:
    (line,) = run("tail", "--once", "-n", "1", "--home", spent).stdout.splitlines()
    assert line.split()[3:8] == ["gpt-4o", "stop", "4", "1", "0.00002"]


def test_tail_shows_a_call_once_it_has_ended_and_only_once(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with FakeProvider() as provider, runtime(home) as made:
        ask(provider, "gpt-4o", 1)
        made.flush(10)
        tail = [sys.executable, "-m", "callmeter", "tail", "--json", "--home", str(home)]
        with subprocess.Popen(tail, stdout=subprocess.PIPE, env=environment()) as process:
            lines = _lines(process)
            assert json.loads(next(lines))["input_tokens"] == 1
            for prompt in (2, 3):
                ask(provider, "gpt-4o", prompt)
                made.flush(10)
                assert json.loads(next(lines))["input_tokens"] == prompt
            process.send_signal(signal.SIGINT)
            assert list(lines) == []
            assert process.wait(DEADLINE_S) == 130


def _lines(process: "subprocess.Popen[bytes]") -> Iterator[bytes]:
    """Lines as they come, until the process ends. Fails where none comes in time."""
    assert process.stdout is not None
    descriptor, held = process.stdout.fileno(), b""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        assert select.select([descriptor], [], [], deadline - time.monotonic())[0], "tail stayed silent"
        more = os.read(descriptor, 65536)
        if not more:
            return
        *whole, held = (held + more).split(b"\n")
        yield from whole
