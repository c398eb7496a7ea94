"""Reports on stdout: a table on a terminal, aligned columns in a pipe, JSON or CSV where asked for."""

import csv
import io
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, tzinfo
from decimal import Decimal
from typing import Literal

import msgspec
from msgspec import Struct

from callmeter.cli._figures import plain, printable, shown
from callmeter.errors import ConfigError

Form = Literal["text", "json", "csv"]

SHORT_ID = 16
"""So much of a call's id, the instant it began, tells it from others; `callmeter explain` takes as much."""


class Report(Struct, frozen=True, kw_only=True):
    """A table and what has to be said beside it."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    totals: Sequence[object] | None = None
    notes: Sequence[str] = ()
    zone: tzinfo = UTC
    zone_name: str = "UTC"
    brief: Sequence[str] = ()
    """The columns that a terminal has room for, where ids are cut short; all, and whole, if empty."""


def form_of(*, json: bool, csv: bool = False) -> Form:
    """The form that two flags ask for. Raises `ConfigError` for both."""
    if json and csv:
        raise ConfigError("--json and --csv exclude each other; give one of them")
    return "json" if json else "csv" if csv else "text"


def print_report(report: Report, form: Form = "text") -> None:
    """Write a report to stdout. CSV has no place for notes: they go to stderr."""
    if form == "json":
        print(as_json(report))
    elif form == "csv":
        print(as_csv(report), end="")
        for note in report.notes:
            print(f"callmeter: {note}", file=sys.stderr)
    elif sys.stdout.isatty():
        _draw(report)
    else:
        print(as_text(report))


def prepare_streams() -> None:
    """A terminal that lacks a character shows its code: no output fails for it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def busy(what: str) -> Iterator[None]:
    """Show on a terminal that something is going on."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(what):
        yield


def as_json(report: Report) -> str:
    """One document in one line: title, zone, rows as objects, totals, notes."""
    names = _distinct(report.columns)

    def record(values: Sequence[object]) -> dict[str, object]:
        return {name: plain(value, report.zone) for name, value in zip(names, values, strict=True)}

    document: dict[str, object] = {
        "title": report.title,
        "zone": report.zone_name,
        "rows": [record(row) for row in report.rows],
    }
    if report.totals is not None:
        document["totals"] = record(report.totals)
    if report.notes:
        document["notes"] = list(report.notes)
    return msgspec.json.encode(document).decode()


def as_csv(report: Report) -> str:
    """Column names and rows, as RFC 4180 has them; neither totals nor notes."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_distinct(report.columns))
    for row in report.rows:
        writer.writerow("" if (cell := plain(value, report.zone)) is None else _flat(cell) for value in row)
    return out.getvalue()


def as_text(report: Report) -> str:
    """Columns aligned by blanks, without colour: for pipes, files and mails."""
    body = [*report.rows, *([report.totals] if report.totals is not None else [])]
    cells = [[shown(v, report.zone, column=n) for n, v in zip(report.columns, row, strict=True)] for row in body]
    lines = [list(report.columns), *cells]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    right = _numeric(report)
    aligned = [
        "  ".join(cell.rjust(width) if number else cell.ljust(width) for cell, width, number in zip(*row, strict=True))
        for row in ((line, widths, right) for line in lines)
    ]
    notes = ["", *map(printable, report.notes)] if report.notes else []
    return "\n".join(line.rstrip() for line in (report.title, "", *aligned, *notes))


def _draw(report: Report) -> None:
    """The report as a table of Rich's, with no more columns than fit."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    at = [i for i, name in enumerate(report.columns) if name in (report.brief or report.columns)]
    table = Table(
        box=SIMPLE_HEAD, title=Text(report.title), title_justify="left", show_footer=report.totals is not None
    )
    numeric = _numeric(report)
    for i in at:
        name = report.columns[i]
        total = "" if report.totals is None else shown(report.totals[i], report.zone, column=name, grouped=True)
        table.add_column(Text(name), Text(total), justify="right" if numeric[i] else "left", overflow="fold")
    for row in report.rows:
        cells = [shown(row[i], report.zone, column=report.columns[i], grouped=True) for i in at]
        short = [cell[:SHORT_ID] if report.columns[i] == "call_id" else cell for i, cell in zip(at, cells, strict=True)]
        table.add_row(*map(Text, short if report.brief else cells))
    console = Console(highlight=False)
    console.print(table)
    for note in report.notes:
        console.print(Text(printable(note), style="yellow"))


def _numeric(report: Report) -> list[bool]:
    """Which columns hold numbers, to be aligned on the right."""
    columns = zip(*report.rows, strict=True) if report.rows else ([] for _ in report.columns)
    return [any(isinstance(v, int | float | Decimal) and not isinstance(v, bool) for v in column) for column in columns]


def _distinct(names: Sequence[str]) -> list[str]:
    """Names of which none is another's: a second `x` becomes `x_2`."""
    seen: Counter[str] = Counter()
    found = []
    for name in names:
        seen[name] += 1
        found.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return found


def _flat(cell: object) -> object:
    return msgspec.json.encode(cell).decode() if isinstance(cell, list | dict) else cell
