"""Every console example in docs/prices.md runs, in order, and shows what the page says."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from callmeter.cli._group import FOLDER, names
from tests.cli.conftest import ROOT, environment
from tests.cli.test_cli_page import BLOCK, narrow, pattern
from tests.pricing.tables import Publisher, changed, newer, packaged, times

PAGE = (ROOT / "docs" / "prices.md").read_text()
TOML = re.compile(r"^```toml\n(.*?)^```", re.MULTILINE | re.DOTALL)


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
def place(spent: Path, tmp_path: Path) -> dict[str, str]:
    """The page's files in the working directory, a home with calls, and the key pinned."""
    publisher = Publisher()
    dearer = newer(changed(packaged(), "openai", "gpt-4o", times("output", 11, 10)))
    publisher.publish(dearer, tmp_path / "prices.json")
    (block,) = TOML.findall(PAGE)
    (tmp_path / "contracts.toml").write_text(block)
    shutil.copytree(spent, tmp_path / "home")
    return environment(CALLMETER_HOME=str(tmp_path / "home"), CALLMETER_PRICE_KEY=publisher.key)


def test_every_example_shows_what_the_page_says(place: dict[str, str], tmp_path: Path) -> None:
    for (program, *arguments), lines in examples():
        assert program == "callmeter"
        done = subprocess.run(
            [sys.executable, "-m", "callmeter", *arguments],
            capture_output=True, text=True, cwd=tmp_path, timeout=60, env=place,
        )  # fmt: skip
        assert (arguments, done.returncode, done.stderr) == (arguments, 0, "")
        missing = [line for line in lines if not re.search(pattern(line), narrow(done.stdout), re.MULTILINE)]
        assert (arguments, missing) == (arguments, []), done.stdout


def test_every_subcommand_stands_in_the_table_and_has_an_example() -> None:
    known = set(names(FOLDER / "prices"))
    assert {arguments[2] for arguments, _ in examples()} == known
    assert [name for name in known if f"| `callmeter prices {name}" not in PAGE] == []
