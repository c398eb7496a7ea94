"""Every console example in docs/cli.md runs, in order, and shows what the page says."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from callmeter.cli._group import names
from callmeter.events.journal import END, Journal, Row
from tests.cli.conftest import ROOT, environment

PAGE = (ROOT / "docs" / "cli.md").read_text()
BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
SINK = "webhook:0123456789ab"


def examples() -> list[tuple[list[str], list[str]]]:
    """Commands, and the lines of their output that the page shows."""
    found: list[tuple[list[str], list[str]]] = []
    for line in "".join(BLOCK.findall(PAGE)).splitlines():
        if line.startswith("$ "):
            found.append((shlex.split(line[2:]), []))
        else:
            found[-1][1].append(line)
    return found


@pytest.fixture
def home(spent: Path, tmp_path: Path) -> Path:
    """Calls, and one dead letter."""
    home = tmp_path / "home"
    shutil.copytree(spent, home)
    journal = Journal.open(home)
    journal.append([Row("event-1", "call-1", END, 1, b"{}", False, (SINK,))])
    assert journal.lease(SINK, "me", 60)
    (queued,) = journal.due(SINK, 10, 1000)
    assert journal.settle(SINK, "me", dead={queued.seq: "400 Bad Request"})
    journal.close()
    return home


def test_every_example_shows_what_the_page_says(home: Path, tmp_path: Path) -> None:
    for (program, *arguments), lines in examples():
        assert program == "callmeter"
        done = subprocess.run(
            [sys.executable, "-m", "callmeter", *arguments],
            capture_output=True, text=True, cwd=tmp_path, timeout=60, env=environment(CALLMETER_HOME=str(home)),
        )  # fmt: skip
        assert (arguments, done.returncode, done.stderr.count("Traceback")) == (arguments, 0, 0), done.stderr
        missing = [line for line in lines if not re.search(pattern(line), narrow(done.stdout), re.MULTILINE)]
        assert (arguments, missing) == (arguments, []), done.stdout


def pattern(line: str) -> str:
    """A line of the page as a regular expression; `…` stands for anything."""
    return "^" + ".*".join(map(re.escape, narrow(line).split("…"))) + "$"


def narrow(text: str) -> str:
    """Text without what depends on the widths of columns."""
    return re.sub(r"^ +|(?<= ) +", "", text, flags=re.MULTILINE)


def test_every_command_has_an_example() -> None:
    assert {arguments[1] for arguments, _ in examples()} == set(names())


def test_every_command_stands_in_the_table() -> None:
    assert [name for name in names() if f"| `callmeter {name}" not in PAGE] == []


def test_every_exit_code_stands_in_the_table() -> None:
    from callmeter.cli import ExitCode

    assert [code for code in ExitCode if f"| {int(code)} |" not in PAGE] == []
