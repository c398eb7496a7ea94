"""Answers that stay in their API's own shape: mappings that also read like objects, all the way down."""

from collections.abc import Mapping
from typing import Any, Self

import msgspec


class Record(dict[str, Any]):
    """A JSON object whose members are attributes too. Members within are records or lists of them."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        super().__init__({name: _recorded(value) for name, value in given.items()})

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"{type(self).__name__!r} has no member {name!r}; it has {', '.join(self)}") from None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.items())})"

    def model_dump(self, *, exclude_none: bool = False, **_: Any) -> dict[str, Any]:
        """Plain dicts and lists all the way down."""
        return {
            name: _plain(value, exclude_none) for name, value in self.items() if not (exclude_none and value is None)
        }

    def model_dump_json(self, *, indent: int | None = None, exclude_none: bool = False, **_: Any) -> str:
        """The same as JSON text."""
        body = msgspec.json.encode(self.model_dump(exclude_none=exclude_none))
        return (msgspec.json.format(body, indent=indent) if indent else body).decode()

    def copy(self) -> Self:
        """Another one that shares nothing changeable with this one."""
        return type(self)(self)


def _recorded(value: Any) -> Any:
    if isinstance(value, dict):
        return Record(value)
    return [_recorded(item) for item in value] if isinstance(value, list) else value


def _plain(value: Any, exclude_none: bool) -> Any:
    if isinstance(value, Record):
        return value.model_dump(exclude_none=exclude_none)
    return [_plain(item, exclude_none) for item in value] if isinstance(value, list) else value


class ResponsesAnswer(Record):
    """A whole answer of the Responses API: `id`, `output`, `usage`, `status` and whatever else came.

    `_hidden_params` carries what is known of the call beyond it, as on a `Completion`.
    """

    def __init__(self, given: Mapping[str, Any]) -> None:
        super().__init__(given)
        self._known: Any = None
        self.response_ms: float | None = None
        """Milliseconds from the call to its last byte."""

    @property
    def output_text(self) -> str:
        """All text of the answer's messages."""
        return "".join(
            part.get("text") or ""
            for item in self.get("output") or ()
            if item.get("type") == "message"
            for part in item.get("content") or ()
            if part.get("type") == "output_text"
        )

    def redact(self, text: str) -> None:
        """Put nothing in place of all that was asked and written; what is left is about the call."""
        for name in self.keys() & {"output", "instructions", "prompt", "text", "tools", "metadata"}:
            self[name] = [] if isinstance(self[name], list) else None

    @property
    def _hidden_params(self) -> dict[str, Any]:
        known = self._known
        if callable(known):
            self._known = known = known()
        return dict(known or {})


class ResponsesEvent(Record):
    """An event of a streamed answer of the Responses API, told by `type`; the last has the whole `response`."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        super().__init__(given)
        if isinstance(response := self.get("response"), Record):
            self["response"] = ResponsesAnswer(response)
