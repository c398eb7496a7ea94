"""Find models by words in their names, with what they cost now: USD for a million tokens, or for one of what is named.

All words have to be in a model's name, in one of its other names, or in its provider's.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Literal

import typer

from callmeter.cli import ExitCode
from callmeter.cli._home import Home
from callmeter.cli._options import Csv, Json
from callmeter.cli._output import Report, form_of, print_report
from callmeter.cli.prices import _read
from callmeter.cli.prices._read import Provider, Reading
from callmeter.pricing.plan import STANDARD, build
from callmeter.pricing.table import Model, Table

Sort = Literal["name", "input", "output", "context"]

COLUMNS = ("provider", "model", "mode", "input", "output", "cache_read", "other", "context", "max_output")
BRIEF = ("provider", "model", "mode", "input", "output", "other", "context")
_SHOWN = ("input", "output", "cache_read")
"""The lines that have a column of their own."""

_COLUMN: Mapping[Sort, int] = {"name": 1, "input": 3, "output": 4, "context": 7}


def search(
    words: Annotated[list[str] | None, typer.Argument(help="Parts of names.", show_default=False)] = None,
    provider: Provider = None,
    mode: Annotated[str | None, typer.Option(help="Only chat, embedding, image_generation, …", metavar="NAME")] = None,
    sort: Annotated[Sort, typer.Option(help="By name, from the cheapest, or from the longest context.")] = "name",
    limit: Annotated[int, typer.Option(help="Models at most.", min=1)] = 50,
    json: Json = False,
    csv: Csv = False,
    home: Home = None,
) -> ExitCode:
    form = form_of(json=json, csv=csv)
    reading = _read.reading(home)
    found = sorted(_matching(reading, words or (), provider, mode), key=lambda row: _rank(row, sort))
    report = Report(
        title=f"Models and what they cost now in USD, {reading.said}",
        columns=COLUMNS,
        rows=found[:limit],
        notes=_notes(len(found), limit, words or ()),
        brief=BRIEF,
    )
    print_report(report, form)
    return ExitCode.OK if found else ExitCode.NOTHING


Row = tuple[object, ...]


def _matching(reading: Reading, words: Sequence[str], provider: str | None, mode: str | None) -> Iterator[Row]:
    wanted = [word.casefold() for word in words]
    at_ns = int(datetime.now(UTC).timestamp()) * 10**9
    for slug in reading.providers(provider):
        table = reading.shelf.table(slug)
        for model, text in _texts(table) if table is not None else ():
            if all(word in text for word in wanted) and mode in (None, model.mode):
                yield _row(slug, model, at_ns)


def _texts(table: Table) -> Iterator[tuple[Model, str]]:
    """Models with all of what a word may be in."""
    names: dict[int, list[str]] = {}
    for name, position in table.names.items():
        names.setdefault(position, []).append(name)
    for position, model in enumerate(table.models):
        yield model, " ".join((table.provider, model.id.casefold(), *names.get(position, ())))


def _row(provider: str, model: Model, at_ns: int) -> Row:
    sheets = build(model, STANDARD, "").in_force(at_ns)
    charges = sheets[-1].charges if sheets else {}
    # Rates that stand in for missing ones say nothing new.
    own = {line for line, charge in charges.items() if not charge.via}
    prices = {line: _read.price_of(line, charge.femtos) for line, charge in charges.items()}
    main = [Decimal(0) if model.free else prices.get(line) for line in _SHOWN]
    other = {line: price for line, price in prices.items() if line not in _SHOWN and line in own}
    limits = model.limits
    window = (limits.context or limits.input, limits.output) if limits is not None else (None, None)
    return (provider, model.id, model.mode, *main, other, *window)


def _rank(row: Row, sort: Sort) -> tuple[object, ...]:
    """Unknown values last, whichever way the known ones go."""
    value = row[_COLUMN[sort]]
    name = (row[1], row[0])
    if sort == "name":
        return name
    if not isinstance(value, int | Decimal):
        return (1, 0, *name)
    return (0, -value if sort == "context" else value, *name)


def _notes(count: int, limit: int, words: Sequence[str]) -> list[str]:
    if not count:
        return [f"no model has {' and '.join(map(repr, words))} in its name" if words else "no models match"]
    return [f"{count - limit} more; --limit shows them"] if count > limit else []
