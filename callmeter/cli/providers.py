"""Who can be called: providers with their wire, address and where their key is looked for.

WORDS narrow the list to providers whose name, alias or display name contains each of them.
"""

from typing import TYPE_CHECKING, Annotated

import typer

from callmeter.cli import ExitCode
from callmeter.cli._options import Csv, Json
from callmeter.cli._output import Report, form_of, print_report

if TYPE_CHECKING:
    from callmeter.client.providers import Provider


def providers(
    words: Annotated[list[str] | None, typer.Argument(help="Parts of names, as in `open router`.")] = None,
    json: Json = False,
    csv: Csv = False,
) -> ExitCode:
    from callmeter.client.providers import PROVIDERS

    found = [row for row in PROVIDERS if all(_called(row, word.lower()) for word in words or ())]
    print_report(report(found), form_of(json=json, csv=csv))
    return ExitCode.OK if found else ExitCode.NOTHING


def _called(row: "Provider", word: str) -> bool:
    return any(word in name.lower() for name in (row.name, row.display, *row.aliases))


def report(rows: "list[Provider]") -> Report:
    """The rows as a table."""
    from callmeter.client.codecs import exists

    return Report(
        title="Providers",
        columns=("provider", "name", "wire", "key", "address", "serves", "aliases"),
        rows=[
            (
                row.name,
                row.display or row.name,
                row.codec if exists(row.codec) else f"{row.codec}, not callable yet",
                " or ".join(row.key_env) if row.needs_key else "none needed",
                row.base_url or f"your own, in {' or '.join(row.base_env)}",
                ", ".join(row.serves),
                ", ".join(row.aliases) or None,
            )
            for row in rows
        ],
        notes=[f"{len(rows)} providers" if rows else "no provider has such a name"],
        brief=("provider", "name", "wire", "key"),
    )
