"""Finds the commands, and hands the arguments to the one that is meant. A folder here is a group of its own."""

import ast
import logging
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from callmeter import __version__
from callmeter.cli import ExitCode
from callmeter.errors import ConfigError

FOLDER = Path(__file__).parent

COMPLETING = "_CALLMETER_COMPLETE"
"""Set by the shell's completion, which asks what could come next."""

UsageError: Any = typer.BadParameter.__base__
"""Base of what is wrong with arguments. Typer has no name of its own for it."""


def names(folder: Path = FOLDER) -> list[str]:
    """Every command there is in a folder: its files, and its own folders, which are groups of commands."""
    found = [path.stem for path in folder.glob("[a-z]*.py")]
    found += [path.parent.name for path in folder.glob("[a-z]*/__init__.py")]
    return sorted(stem.replace("_", "-") for stem in found)


def summary(name: str, folder: Path = FOLDER) -> str:
    """The first line of a command's docstring, read without importing it."""
    stem = folder / name.replace("-", "_")
    path = stem / "__init__.py" if stem.is_dir() else stem.with_suffix(".py")
    return (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").partition("\n")[0]


class Commands(TyperGroup):
    """The group of all commands of a folder. Its help imports none of them."""

    folder = FOLDER
    package = "callmeter.cli"

    def list_commands(self, ctx: Any) -> list[str]:
        """Their names, in order."""
        return names(self.folder)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name, imported now; None where there is none."""
        return load(cmd_name, self.folder, self.package) if cmd_name in names(self.folder) else None

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The commands as a section of the help."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary(name, self.folder)) for name in names(self.folder)])


def load(name: str, folder: Path = FOLDER, package: str = "callmeter.cli") -> Any:
    """A command, ready to parse its arguments."""
    stem = name.replace("-", "_")
    module = import_module(f"{package}.{stem}")
    if (folder / stem).is_dir():
        return _group_of(name, folder / stem, module)
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command(name, help=module.__doc__)(getattr(module, stem))
    return typer.main.get_command(app)


def _group_of(name: str, folder: Path, module: Any) -> Any:
    """A folder's commands as one command with subcommands; alone, it shows what there are."""
    kind = type("Commands", (Commands,), {"folder": folder, "package": module.__name__})
    app = typer.Typer(
        name=name,
        cls=kind,
        add_completion=False,
        rich_markup_mode=None,
        invoke_without_command=True,
        help=module.__doc__,
    )
    app.callback()(_shown_alone)
    return typer.main.get_command(app)


def _shown_alone(ctx: typer.Context) -> int:
    if ctx.invoked_subcommand is None:
        print(ctx.get_help())
    return ExitCode.OK


def run(arguments: list[str]) -> int:
    """Run the command that the arguments name. Raises `ConfigError` where they are wrong."""
    log_to_stderr()
    app = typer.Typer(cls=Commands, rich_markup_mode=None, invoke_without_command=True)
    app.callback()(_callmeter)
    group: Any = typer.main.get_command(app)
    if COMPLETING in os.environ:
        group.main(prog_name="callmeter")
    try:
        # Not `main()`, which has its own idea of what a broken pipe is.
        with group.make_context("callmeter", arguments) as context:
            code = group.invoke(context)
    except typer.Exit as done:
        return done.exit_code
    except UsageError as error:
        of = error.ctx.command_path if getattr(error, "ctx", None) else "callmeter"
        raise ConfigError(f"{error.format_message().rstrip('.')}; see `{of} --help`") from None
    except typer.Abort:
        return ExitCode.INTERRUPTED
    return code if isinstance(code, int) else ExitCode.OK


def _callmeter(version: bool = typer.Option(False, "--version", help="Show the version and exit.")) -> int:
    """One completion() for every LLM, and an exact account of what each call cost.

    Commands read the home that --home or CALLMETER_HOME names, else the platform's state directory. They exit with 0;
    with 1 if nothing was found or a check failed, 2 for wrong arguments or settings, 3 if the home cannot be read.
    """
    if version:
        print(f"callmeter {__version__}")
    return ExitCode.OK


def log_to_stderr() -> None:
    """Show the library's warnings as the command's own, one line each."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("callmeter: %(message)s"))
    logger = logging.getLogger("callmeter")
    logger.handlers, logger.propagate = [handler], False
