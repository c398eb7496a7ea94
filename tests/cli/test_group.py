"""The command as a whole: its help, its errors, its exit codes."""

import ast
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from callmeter.cli._group import FOLDER, names, summary
from tests.cli.conftest import ROOT, Run, environment

PROBE = """
import sys
from callmeter.cli import main
code = main({arguments})
print("loaded", *sorted(sys.modules), file=sys.stderr)
sys.exit(code)
"""


def loaded_by(*arguments: str) -> set[str]:
    """The modules that a command loads."""
    probe = [sys.executable, "-c", PROBE.format(arguments=list(arguments))]
    done = subprocess.run(probe, capture_output=True, text=True, env=environment(), timeout=60)
    return set(done.stderr.rpartition("loaded ")[2].split())


def command_modules() -> set[str]:
    return {f"callmeter.cli.{name.replace('-', '_')}" for name in names()}


def test_help_imports_no_command_and_no_engine() -> None:
    loaded = loaded_by("--help")
    assert "callmeter.cli._group" in loaded
    assert loaded & (command_modules() | {"duckdb", "apsw", "httpx2", "pyreqwest", "rich.table"}) == set()


def test_a_command_imports_no_other_engine_than_it_needs(spent: Path) -> None:
    loaded = loaded_by("sinks", "--home", str(spent))
    assert "apsw" in loaded
    assert loaded & {"duckdb", "httpx2", "pyreqwest"} == set()


def test_help_lists_every_command_with_the_first_line_of_its_docstring(run: Run) -> None:
    listed = " ".join(run("--help").stdout.split())
    assert len(names()) > 10
    for name in names():
        assert f"{name} {summary(name)}" in listed


FILES = [path for path in sorted(FOLDER.rglob("*.py")) if not path.name.startswith("_")]
GROUPS = [path.parent for path in sorted(FOLDER.glob("*/__init__.py"))]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(FOLDER)))
def test_a_command_is_one_public_function_with_the_files_name(path: Path) -> None:
    stem = path.stem
    tree = ast.parse(path.read_text())
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == stem]
    assert len(functions) == 1
    assert ast.unparse(functions[0].returns or ast.Constant(None)) == "ExitCode"


@pytest.mark.parametrize("name", names())
def test_every_command_has_help(run: Run, name: str) -> None:
    done = run(name, "--help")
    assert done.returncode == 0
    assert summary(name).split()[0] in done.stdout


@pytest.mark.parametrize("group", GROUPS, ids=lambda path: path.name)
def test_a_folder_is_a_command_whose_help_imports_none_of_its_own(run: Run, group: Path) -> None:
    assert group.name in names()
    listed = " ".join(run(group.name).stdout.split())
    for name in names(group):
        assert f"{name} {summary(name, group)}" in listed
    package = f"callmeter.cli.{group.name}"
    assert {module for module in loaded_by(group.name) if module.startswith(f"{package}.")} == set()


@pytest.mark.parametrize("path", [path for path in FILES if path.parent != FOLDER], ids=lambda path: path.stem)
def test_every_subcommand_has_help(run: Run, path: Path) -> None:
    done = run(path.parent.name, path.stem, "--help")
    assert done.returncode == 0
    assert f"callmeter {path.parent.name} {path.stem}" in done.stdout
    assert summary(path.stem, path.parent).split()[0] in done.stdout


def test_without_arguments_there_is_help(run: Run) -> None:
    assert run().stdout == run("--help").stdout


def test_the_version_is_the_packages(run: Run) -> None:
    import callmeter

    assert run("--version").stdout == f"callmeter {callmeter.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["spnd"], ["spnd", "callmeter --help"]),
        (["spend", "--bye"], ["--bye", "callmeter spend --help"]),
        (["calls", "--limit", "many"], ["--limit", "callmeter calls --help"]),
        (["calls", "--status", "fine"], ["fine", "success", "failure"]),
        (["explain"], ["argument", "callmeter explain --help"]),
        (["spend", "--json", "--csv"], ["--json", "--csv"]),
    ],
)
def test_wrong_arguments_are_one_sentence_that_names_them(run: Run, arguments: list[str], words: list[str]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("callmeter: ")
    assert done.stderr.count("\n") == 1
    assert [word for word in words if word not in done.stderr] == []


def test_without_its_packages_it_names_the_extra() -> None:
    # -S leaves out site-packages, where Typer and Rich are.
    bare = subprocess.run(
        [sys.executable, "-S", "-m", "callmeter", "spend"], capture_output=True, text=True, env=environment(), cwd=ROOT
    )
    assert (bare.returncode, bare.stdout) == (2, "")
    assert bare.stderr == "callmeter: the command line needs typer and rich; pip install 'callmeter[cli]'\n"


def test_a_reader_that_leaves_is_no_error(spent: Path) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "w") as gone:
        done = subprocess.run(
            [sys.executable, "-m", "callmeter", "calls", "--home", str(spent)],
            stdout=gone, stderr=subprocess.PIPE, text=True, env=environment(), timeout=60,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_an_interrupt_ends_it_without_a_word(spent: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "callmeter", "tail", "--home", str(spent)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
    ) as tail:  # fmt: skip
        assert tail.stdout is not None
        assert tail.stdout.readline() != ""
        tail.send_signal(signal.SIGINT)
        _, said = tail.communicate(timeout=30)
    assert (tail.returncode, said) == (130, "")


def test_the_shell_completes_commands_and_options(run: Run) -> None:
    def completions(words: str, at: int) -> list[str]:
        asked = {"_CALLMETER_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(at)}
        return run(**asked).stdout.split()

    assert completions("callmeter sp", 1) == ["spend"]
    assert "--since" in completions("callmeter spend --", 2)


def test_a_terminal_that_lacks_a_character_gets_its_code(run: Run, tmp_path: Path) -> None:
    done = run("spend", "--home", tmp_path / "käse", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert done.returncode == 3
    assert "k\\xe4se" in done.stderr


def test_every_list_in_json_has_the_same_form(run: Run, spent: Path) -> None:
    for command in (["spend"], ["calls"], ["sinks"], ["sql", "SELECT 1 AS one"], ["sql", "--list"], ["doctor"]):
        document = json.loads(run(*command, "--json", "--home", spent).stdout)
        assert {"title", "zone", "rows"} <= document.keys()
        assert document["rows"]
