"""Prices and discounts of your own contracts: show what they do, or check a file before it is used.

They are read from the TOML file that the setting price_overrides names, else from prices/overrides.toml in the home:
[[model]] entries with rates of your own, and [[discount]] entries with a percentage off the table's. `list` shows those
in use; `check FILE` shows what FILE would do, and exits with 2 and the place of the first mistake in it.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

import typer

from callmeter.cli import ExitCode
from callmeter.cli._home import Home, path_of, settings_for
from callmeter.cli._options import Csv, Json, Zone, period
from callmeter.cli._output import Report, form_of, print_report
from callmeter.cli.prices import _read
from callmeter.errors import ConfigError
from callmeter.pricing.contracts import USER, Contract, Discount, Overrides
from callmeter.pricing.difference import in_force, percent
from callmeter.pricing.match import find
from callmeter.pricing.overrides import load
from callmeter.pricing.plan import STANDARD
from callmeter.pricing.rates import Rate
from callmeter.pricing.shelf import FOLDER, OVERRIDES, Tables, chosen, fitted, overrides_of, place_of
from callmeter.pricing.table import Model, Table

COLUMNS = ("provider", "model", "line", "condition", "list", "yours", "percent", "per", "from", "until", "reason")
BRIEF = ("provider", "model", "line", "condition", "list", "yours", "from", "until", "reason")


def override(
    action: Annotated[Literal["list", "check"], typer.Argument(help="list or check.")] = "list",
    file: Annotated[Path | None, typer.Argument(help="File to check.", show_default=False)] = None,
    zone: Zone = None,
    json: Json = False,
    csv: Csv = False,
    home: Home = None,
) -> ExitCode:
    form, when = form_of(json=json, csv=csv), period(zone=zone)
    overrides, tables = _asked(action, file, home)
    rows = list(_rows(overrides, tables)) if overrides is not None else []
    report = Report(
        title=f"Prices of your own in USD, {overrides.path if overrides is not None else 'none'}",
        columns=COLUMNS,
        rows=rows,
        notes=_notes(overrides, tables, home),
        zone=when.zone,
        zone_name=when.zone_name,
        brief=BRIEF,
    )
    print_report(report, form)
    return ExitCode.OK if rows else ExitCode.NOTHING


def _asked(action: str, file: Path | None, home: str | None) -> tuple[Overrides | None, Tables]:
    """The overrides that are meant, fitted to the tables in use. Raises `ConfigError` for the first mistake."""
    place = place_of(settings_for(home))
    if action == "check" and file is None:
        raise ConfigError("check needs the file to check; `callmeter prices override list` shows those in use")
    if action == "list" and file is not None:
        raise ConfigError(f"list shows the overrides in use and takes no file; write `check {file}`")
    found = load(file) if file is not None else overrides_of(place)
    tables, _ = chosen(place, _warn)
    return (fitted(found, tables) if found is not None else None), tables


def _warn(sentence: str) -> None:
    typer.echo(f"callmeter: {sentence}", err=True)


Row = tuple[object, ...]


def _rows(overrides: Overrides, tables: Tables) -> Iterator[Row]:
    """Each rate of a contract beside the table's, and each discount with how many models it is for."""
    known = tables.index().providers

    def table(provider: str) -> Table | None:
        return tables.table(provider) if provider in known else None

    for contract in overrides.models:
        yield from _of_contract(contract, table(contract.provider))
    for discount in overrides.discounts:
        yield _of_discount(discount, table(discount.provider))


def _of_contract(contract: Contract, table: Table | None) -> Iterator[Row]:
    listed = _listed(contract, table)
    if contract.model.free:
        free = ("all", "free", None, Decimal(0), None, "unit", None, None)
        yield (contract.provider, contract.model.id, *free, contract.reason or USER)
    for rate in contract.model.rates:
        before = _before(rate, listed)
        prices = (_read.price_of(rate.line, before), _read.price_of(rate.line, rate.femtos))
        span = (_read.instant(rate.start_s), _read.instant(rate.until_s))
        what = (contract.provider, contract.model.id, rate.line, _read.condition(rate), *prices)
        yield (*what, percent(before, rate.femtos), _read.per_unit(rate.line)[1], *span, rate.source)


def _listed(contract: Contract, table: Table | None) -> Model | None:
    if table is None:
        return None
    positions = (find(name, table)[0] for name in contract.names)
    return next((table.models[position] for position in positions if position is not None), None)


def _before(rate: Rate, listed: Model | None) -> int | None:
    """The table's rate in place of which one is, when that begins, or now if it has begun."""
    if listed is None:
        return None
    at_s = max(rate.start_s, int(datetime.now(UTC).timestamp()))
    if rate.until_s is not None and at_s >= rate.until_s:
        at_s = rate.start_s
    rates = in_force(listed.rates, at_s)
    key = (rate.line, "" if rate.tier == STANDARD else rate.tier, rate.region, rate.window, rate.over)
    return rates.get(key)


def _of_discount(discount: Discount, table: Table | None) -> Row:
    models = sum(1 for _ in discount.models(table)) if table is not None else 0
    line = ", ".join(sorted(discount.lines)) or "all"
    span = (_read.instant(discount.start_s), _read.instant(discount.until_s))
    what = (discount.provider, discount.pattern, line, f"{models} models", None, None)
    return (*what, -discount.percent, None, *span, discount.label)


def _notes(overrides: Overrides | None, tables: Tables, home: str | None) -> list[str]:
    if overrides is None:
        return [f"there are none: neither price_overrides nor {path_of(home) / FOLDER / OVERRIDES} names any"]
    known = tables.index().providers
    notes = []
    for discount in overrides.discounts:
        table = tables.table(discount.provider) if discount.provider in known else None
        if table is None or not any(True for _ in discount.models(table)):
            notes.append(f"the discount on {discount.provider}/{discount.pattern} is for no model of the table")
    count = f"{len(overrides.models)} models, {len(overrides.discounts)} discounts"
    return [*notes, f"{count}; they are read when a process prices its first call"]
