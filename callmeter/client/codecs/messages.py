"""Messages as callers hand them over, read as plain data.

A message, a part or a tool call may be a dict, a shape of ours handed back, or an object of another package with
`model_dump()`. The codecs of wires other than OpenAI's read them here and nowhere else.
"""

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from callmeter.errors import BadRequestError

JSON = dict[str, Any]


def as_dict(value: Any, what: str) -> JSON:
    """An object of the conversation as a dict. Raises `BadRequestError` naming `what` when it is not one."""
    if isinstance(value, dict):
        return value
    if isinstance(value, Mapping):
        return dict(value)
    dump = getattr(value, "model_dump", None)
    if dump is None:
        raise BadRequestError(f"{what} is a {type(value).__name__}: pass a dict, or an object with model_dump().")
    dumped: JSON = dump(exclude_none=True)
    return dumped


def plain_messages(messages: Sequence[Any]) -> list[JSON]:
    """The conversation as dicts. Parts and tool calls within may still be objects: see `parts` and `tool_calls`."""
    return [as_dict(message, f"messages[{n}]") for n, message in enumerate(messages)]


def parts(content: Any) -> list[JSON]:
    """A message's content as parts: a string is one text part, null is none."""
    if content is None:
        return []
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if isinstance(content, Mapping) or not isinstance(content, Iterable):
        raise BadRequestError(f"content is a {type(content).__name__}: pass a string or a list of parts.")
    return [
        {"type": "text", "text": part} if isinstance(part, str) else as_dict(part, f"content[{n}]")
        for n, part in enumerate(content)
    ]


Turns = list[tuple[str, list[JSON]]]
"""Whose turn it is and the blocks it has, for wires whose roles alternate."""


def add_turn(turns: Turns, role: str, blocks: list[JSON], is_result: Callable[[JSON], bool]) -> None:
    """Put blocks into the last turn if it is the same side's, else into a new one. Tools' results lead their turn."""
    if not turns or turns[-1][0] != role:
        turns.append((role, []))
    turn = turns[-1][1]
    if blocks and is_result(blocks[0]):
        led = sum(map(is_result, turn))
        turn[led:led] = blocks
    else:
        turn += blocks


def refuse(part: JSON, wire: str, cure: str) -> BadRequestError:
    """The error for a part that a wire cannot express; `cure` says what to do instead."""
    return BadRequestError(f"{wire} takes no content part of type {part.get('type')!r}: {cure}.")


class WireToolCall(NamedTuple):
    """A tool call of an earlier answer."""

    id: str
    name: str
    arguments: JSON


def tool_calls(message: JSON) -> list[WireToolCall]:
    """The calls an assistant message made, arguments parsed.

    Raises `BadRequestError` for arguments that are not a JSON object, and for calls that are not of functions.
    """
    found = []
    for n, item in enumerate(message.get("tool_calls") or ()):
        call = as_dict(item, f"tool_calls[{n}]")
        if call.get("function") is None:
            raise BadRequestError(f"tool_calls[{n}] is of type {call.get('type')!r}: only function calls are known.")
        function = as_dict(call["function"], f"tool_calls[{n}].function")
        name, call_id = str(function.get("name") or ""), str(call.get("id") or "")
        found.append(WireToolCall(call_id, name, _arguments(function.get("arguments"), call_id or name)))
    return found


def _arguments(given: Any, call: str) -> JSON:
    if not given:
        return {}
    try:
        value = msgspec.json.decode(given) if isinstance(given, str) else given
    except msgspec.DecodeError:
        value = None
    if not isinstance(value, Mapping):
        cut = str(given)[:200]
        raise BadRequestError(f"The arguments of tool call {call!r} are not a JSON object: {cut!r}. Send valid JSON.")
    return dict(value)


class DataURL(NamedTuple):
    """What a `data:` URL holds."""

    media_type: str
    data: str
    """Base64."""

    def text(self) -> str:
        """The data as UTF-8 text. Raises `BadRequestError` when it is not that."""
        try:
            return base64.b64decode(self.data).decode()
        except ValueError:
            raise BadRequestError(f"The data URL of type {self.media_type} does not hold UTF-8 text.") from None


def data_url(url: str) -> DataURL | None:
    """A base64 `data:` URL taken apart; None for any other URL. The data itself is not looked at.

    Raises `BadRequestError` for a `data:` URL that is not base64. Source: RFC 2397.
    """
    if url[:5].lower() != "data:":
        return None
    head, comma, data = url[5:].partition(",")
    media_type, *options = head.split(";")
    if not comma or "base64" not in options:
        raise BadRequestError(f"The data URL {url[:60]!r} is not base64: write data:<type>;base64,<data>.")
    return DataURL(media_type.strip().lower(), data)


def encode_body(body: Mapping[str, Any]) -> bytes:
    """A request body as UTF-8 JSON. Lone surrogates, which UTF-8 cannot hold, become U+FFFD.

    Raises `BadRequestError` for what is nested too deeply to be written, thousands of levels.
    """
    try:
        try:
            return msgspec.json.encode(body, enc_hook=_dumped)
        except UnicodeEncodeError:
            return msgspec.json.encode(_without_surrogates(msgspec.to_builtins(body, enc_hook=_dumped)))
    except RecursionError:
        deep = next((name for name in body if _is_too_deep(body[name])), "the request")
        raise BadRequestError(f"{deep} is nested too deeply to be written as JSON: flatten it") from None


def _is_too_deep(value: Any) -> bool:
    try:
        msgspec.json.encode(value, enc_hook=lambda _: None)
    except RecursionError:
        return True
    except ValueError:
        pass
    return False


def _dumped(value: Any) -> Any:
    return as_dict(value, "A value in the request")


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        # Two halves of a pair side by side become the character they stand for; what stays alone is replaced.
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {_without_surrogates(k): _without_surrogates(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_without_surrogates(v) for v in value]
    return value
