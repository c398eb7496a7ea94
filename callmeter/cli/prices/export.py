"""Write the price table in use to one JSON file, as `callmeter prices update` takes it once it is signed.

Overrides have no part in it. --version gives it a version of its own, which has to be higher than that of every table
it is to follow.
"""

import os
from pathlib import Path
from typing import Annotated

import typer
from msgspec.structs import replace

from callmeter.cli import ExitCode
from callmeter.cli._home import Home
from callmeter.cli.prices import _read
from callmeter.errors import ConfigError, PriceTableError
from callmeter.pricing.document import MAX_VERSION, checked, document_of, encoded, issued


def export(
    path: Annotated[Path, typer.Argument(help="File to write: prices.json.")],
    version: Annotated[
        int | None, typer.Option(help="Day and number of the issue, as in 2026112501; default: as it is.", metavar="N")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
    home: Home = None,
) -> ExitCode:
    if path.exists() and not force:
        raise ConfigError(f"{path} exists; give another name, or --force to replace it")
    document = document_of(_read.reading(home).sound())
    if version is not None:
        document = replace(document, version=version, made_at=_day(version))
    checked(document)
    # Whoever reads the file in the meantime finds the old one or the new one, whole.
    new = path.with_name(f".{path.name}.{os.getpid()}")
    new.write_bytes(encoded(document))
    new.replace(path)
    models = sum(len(table.models) for table in document.providers.values())
    print(f"{models} models of {len(document.providers)} providers, version {document.version}, written to {path}")
    return ExitCode.OK


def _day(version: int) -> str:
    """When a version was made, as far as it says so itself. Raises `ConfigError` for one that is none."""
    try:
        if version <= MAX_VERSION:
            return issued(version).isoformat().replace("+00:00", "Z")
    except PriceTableError:
        pass
    raise ConfigError(f"--version {version} is none: write the day and two digits, as in 2026112501")
