"""How the ledger's tables are described, and how DuckDB reads the JSON of a stored event."""

import types
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Struct

from callmeter.events.model import CallEnded, CostAdjusted, EventsDropped

MONEY = "DECIMAL(38,15)"
"""USD, exact to 1e-15."""

QUANTITY = "DECIMAL(38,9)"


class Column(Struct, frozen=True):
    """A column of a table that people query."""

    name: str
    type: str
    about: str
    stored: str
    """SQL over the event's JSON (`EVENT`) that gives what a Parquet file keeps; empty where nothing need be kept."""
    shown: str = ""
    """SQL over the stored columns that gives the value; empty where it is kept as it is."""


class Table(Struct, frozen=True):
    """A table that people query, and the events it is made of."""

    name: str
    about: str
    events: tuple[str, ...]
    """Values of `type`."""
    columns: tuple[Column, ...]


class Nested(Struct, frozen=True):
    """A list kept in a row of `calls` and shown as a table of its own: one row an element."""

    table: Table
    name: str
    """The stored column that holds the list."""
    stored: str
    """SQL over the event's JSON that gives the list; its structs have the table's stored columns."""


def json_type(kind: Any) -> str:
    """The DuckDB type as which a field's JSON is read. Decimals stay text until they are cast: no float sees them."""
    if isinstance(kind, type) and issubclass(kind, Struct):
        hints = get_type_hints(kind)
        return "STRUCT(" + ", ".join(f'"{name}" {json_type(hints[name])}' for name in kind.__struct_fields__) + ")"
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        inner = [argument for argument in arguments if argument is not types.NoneType]
        return json_type(inner[0]) if len(inner) == 1 else "VARCHAR"
    if origin is Annotated:
        return json_type(arguments[0])
    if origin is tuple or origin is Sequence:
        return json_type(arguments[0]) + "[]"
    if origin is Mapping:
        return f"MAP(VARCHAR, {json_type(arguments[1])})"
    scalars = {str: "VARCHAR", int: "BIGINT", float: "DOUBLE", bool: "BOOLEAN", Decimal: "VARCHAR", Any: "JSON"}
    return "VARCHAR" if origin is Literal else scalars[kind]


_UNREAD = {"raw_usage", "kwargs", "request_body"}


def _event_types() -> dict[str, str]:
    found = {"seq": "BIGINT", "type": "VARCHAR"}
    for event in (CallEnded, EventsDropped, CostAdjusted):
        hints = get_type_hints(event)
        found |= {n: json_type(hints[n]) for n in event.__struct_fields__ if n not in _UNREAD and n != "content"}
    return found | {"content": "STRUCT(messages JSON, completion JSON)"}


EVENT = _event_types()
"""Type by name of every field read from a stored event. `seq` is the journal's number, where it is in the JSON."""


def described(owner: type[Struct], name: str) -> str:
    """The description in a field's metadata; empty where it has none."""
    extra = get_type_hints(owner, include_extras=True)[name]
    notes = [note.description for note in getattr(extra, "__metadata__", ()) if note.description]
    return notes[0] if notes else ""


def field(owner: type[Struct], path: str, name: str) -> str:
    """SQL for a field; what the JSON leaves out because it is the default is put back, except empty text."""
    default = next(f.default for f in msgspec.structs.fields(owner) if f.name == name)
    place = f'{path}."{name}"' if path else f'"{name}"'
    if isinstance(default, bool | int | float):
        return f"coalesce({place}, {default})"
    return f"coalesce({place}, '{default}')" if isinstance(default, str) and default else place
