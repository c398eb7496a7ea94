"""The JSON schema that `response_format` asks for."""

from typing import Any, Literal, NamedTuple

from callmeter.client.codecs.messages import as_dict
from callmeter.errors import BadRequestError

JSON = dict[str, Any]


class Wanted(NamedTuple):
    """What form the answer is to have; `schema` is an open object for `json_object`."""

    form: Literal["json_object", "json_schema"]
    schema: JSON
    name: str = ""


def wanted(response_format: Any) -> Wanted | None:
    """`response_format` read: one of OpenAI's three objects or a pydantic class; None asks for plain text.

    Raises `BadRequestError` for anything else.
    """
    if response_format is None:
        return None
    if hasattr(response_format, "model_json_schema"):
        return Wanted("json_schema", response_format.model_json_schema(), response_format.__name__)
    given = as_dict(response_format, "response_format")
    match given:
        case {"type": "text"}:
            return None
        case {"type": "json_schema", "json_schema": {"schema": dict(schema), **rest}}:
            return Wanted("json_schema", schema, str(rest.get("name") or ""))
        case {"type": "json_object"}:
            return Wanted("json_object", {"type": "object", "additionalProperties": True})
    raise BadRequestError(
        f"response_format {str(given)[:200]} is not known: pass a pydantic class, or an object of type "
        "text, json_object or json_schema (with json_schema.schema)."
    )


def closed(schema: Any) -> Any:
    """The schema with `additionalProperties: false` on every object that does not say otherwise."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    copy = {key: _closed_under(key, value) for key, value in schema.items()}
    kind = copy.get("type")
    if kind == "object" or (isinstance(kind, list) and "object" in kind) or "properties" in copy:
        copy.setdefault("additionalProperties", False)
    return copy


_DATA = frozenset({"enum", "const", "default", "examples"})
"""Keywords whose values are data, not schemas."""

_BY_NAME = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
"""Keywords whose values map names of the caller's to schemas."""


def _closed_under(keyword: str, value: Any) -> Any:
    if keyword in _DATA:
        return value
    if keyword in _BY_NAME and isinstance(value, dict):
        return {name: closed(item) for name, item in value.items()}
    return closed(value)
