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
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from msgspec import Struct

from callmeter.errors import ConfigError
from callmeter.sinks.duckdb.connect import Ledger

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


def run(ledger: Ledger, name: str, *, by: str | None = None, **parameters: Any) -> Answer:
    """Ask a question. Parameters that are not given are NULL, which every query reads as `no limit`.

    Raises `ConfigError` for a parameter or dimension the query does not have.
    """
    query = load(name)
    unknown = sorted(set(parameters) - set(query.parameters))
    if unknown:
        raise ConfigError(f"query {name!r} has no parameter {unknown[0]!r}; it has {', '.join(query.parameters)}")
    if query.dimensions and by not in query.dimensions:
        raise ConfigError(f"query {name!r} cannot group by {by!r}; it can by {', '.join(query.dimensions)}")
    if by is not None and not query.dimensions:
        raise ConfigError(f"query {name!r} does not group; leave out by={by!r}")
    sql = query.sql
    if by is not None:
        sql = sql.replace("{grouped}", query.dimensions[by].grouped).replace("{shown}", query.dimensions[by].shown)
    used = {key: parameters.get(key) for key in query.parameters if f"${key}" in sql.split("\n\n", 1)[1]}
    result = ledger.execute(sql, used)
    columns = tuple(column[0] for column in result.description)
    return Answer(query.title.replace("{by}", by or ""), query.unit, query.chart, columns, result.fetchall())
