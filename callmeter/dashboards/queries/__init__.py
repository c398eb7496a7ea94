"""The questions people ask the ledger: one SQL file each, with title, unit, chart and parameters in its head.

    -- title: Spend by {by}
    -- unit: USD
    -- chart: bar
    -- param since: timestamp or none; calls that began at or after it
    -- by model: model
    -- by day: SQL grouped by => SQL shown, which calls what was grouped by `slot`

Parameters are bound, never written into the SQL. What `by` may be is the file's own list; nothing else of a caller's
ever becomes SQL.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from msgspec import Struct

from callmeter.errors import ConfigError
from callmeter.sinks.duckdb.connect import Ledger

_SLOT = re.compile(r"\bslot\b")
_PART = re.compile(r"\{(grouped|shown|places|outer|last)\}")
_HEAD = re.compile(r"-- (title|unit|chart|param \w+|by \w+): (.+)")


class Dimension(Struct, frozen=True):
    """What calls are grouped by, and how a group is shown, as SQL."""

    grouped: str
    shown: str = "slot"


class Query(Struct, frozen=True):
    """A question. `parameters` and `dimensions` are by name, in the order of the file."""

    name: str
    title: str
    unit: str
    chart: str
    parameters: Mapping[str, str]
    dimensions: Mapping[str, Dimension]
    sql: str


class Answer(Struct, frozen=True):
    """The rows of an answer, with the query's title, unit and chart."""

    title: str
    unit: str
    chart: str
    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]


def names() -> list[str]:
    """Every question there is."""
    return sorted(file.name[:-4] for file in files(__name__).iterdir() if file.name.endswith(".sql"))


@cache
def load(name: str) -> Query:
    """The question of that name. Raises `ConfigError` with the names there are."""
    if name not in names():
        raise ConfigError(f"there is no query {name!r}; there are {', '.join(names())}")
    text = (files(__name__) / f"{name}.sql").read_text("utf-8")
    head = dict(_HEAD.findall(text))
    parameters = {key[6:]: value for key, value in head.items() if key.startswith("param ")}
    dimensions = {key[3:]: Dimension(*value.split(" => ")) for key, value in head.items() if key.startswith("by ")}
    return Query(name, head["title"], head["unit"], head["chart"], parameters, dimensions, text)


def run(ledger: Ledger, name: str, *, by: str | Sequence[str] | None = None, **parameters: Any) -> Answer:
    """Ask a question. Parameters that are not given are NULL, which every query reads as `no limit`.

    `by` is a dimension, or several for one row each combination, as a sequence or parted by commas. The first columns
    are then named after the dimensions; that of a single one is `name`. Raises `ConfigError` for a parameter or
    dimension the query does not have.
    """
    query = load(name)
    unknown = sorted(set(parameters) - set(query.parameters))
    if unknown:
        raise ConfigError(f"query {name!r} has no parameter {unknown[0]!r}; it has {', '.join(query.parameters)}")
    chosen = _dimensions(query, by)
    sql = _grouped(query, chosen) if chosen else query.sql
    used = {key: parameters.get(key) for key in query.parameters if f"${key}" in sql.split("\n\n", 1)[1]}
    result = ledger.execute(sql, used)
    columns = tuple(column[0] for column in result.description)
    title = query.title.replace("{by}", " and ".join(chosen))
    return Answer(title, query.unit, query.chart, columns, result.fetchall())


def _dimensions(query: Query, by: str | Sequence[str] | None) -> list[str]:
    """The dimensions that are meant, each once. Raises `ConfigError` for one that the query does not have."""
    wanted = by.split(",") if isinstance(by, str) else by or ()
    names = list(dict.fromkeys(each.strip() for each in wanted))
    if names and not query.dimensions:
        raise ConfigError(f"query {query.name!r} does not group; leave out by={by!r}")
    unknown = [each for each in names if each not in query.dimensions]
    if unknown or (query.dimensions and not names):
        wrong = unknown[0] if unknown else by
        raise ConfigError(f"query {query.name!r} cannot group by {wrong!r}; it can by {', '.join(query.dimensions)}")
    return names


def _grouped(query: Query, names: Sequence[str]) -> str:
    """The query's SQL for these dimensions, each with a slot and a column of its own."""
    columns = ["name"] if len(names) == 1 else names
    grouped, shown = [], []
    for place, (name, column) in enumerate(zip(names, columns, strict=True), 1):
        dimension = query.dimensions[name]
        grouped.append(f"{dimension.grouped} AS slot_{place}")
        shown.append(f'{_SLOT.sub(f"slot_{place}", dimension.shown)} AS "{column}"')
    parts = {
        "grouped": ", ".join(grouped),
        "shown": ", ".join(shown),
        "places": ", ".join(str(place) for place in range(1, len(names) + 1)),
        "outer": "".join(f"{place}, " for place in range(1, len(names))),
        "last": str(len(names)),
    }
    return _PART.sub(lambda found: parts[found[1]], query.sql)
