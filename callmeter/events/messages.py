"""Captured prompts and answers as the messages of OpenTelemetry's GenAI conventions: roles with typed parts. Pure.

What comes is what a stored event holds: plain JSON of OpenAI's format, possibly cut to size. Nothing here fails on it.
Source: https://github.com/open-telemetry/semantic-conventions-genai/blob/main/docs/gen-ai/gen-ai-input-messages.json
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

Part = dict[str, Any]


def input_messages(messages: Any) -> str:
    """JSON of the messages that were sent; a prompt that is no list of messages is one of the user's."""
    listed = messages if isinstance(messages, list) else [messages]
    return msgspec.json.encode([_message(message) for message in listed]).decode()


def output_messages(completion: Any) -> str:
    """JSON of one message for each choice of the answer, with the reason it ended."""
    choices = completion.get("choices") if isinstance(completion, Mapping) else None
    if not isinstance(choices, list):
        return msgspec.json.encode([{"role": "assistant", "parts": [_text(completion)], "finish_reason": ""}]).decode()
    return msgspec.json.encode([_choice(choice) for choice in choices]).decode()


def _choice(choice: Any) -> dict[str, Any]:
    given = choice if isinstance(choice, Mapping) else {"text": choice}
    message = given.get("message") or {"content": given.get("text")}
    spoken = message if isinstance(message, Mapping) else {"content": message}
    return {**_message({"role": "assistant", **spoken}), "finish_reason": given.get("finish_reason") or ""}


def _message(message: Any) -> dict[str, Any]:
    if not isinstance(message, Mapping):
        return {"role": "user", "parts": [_text(message)]}
    role = message.get("role")
    shown: dict[str, Any] = {"role": role if isinstance(role, str) else "user", "parts": list(_parts(message))}
    if message.get("name"):
        shown["name"] = message["name"]
    return shown


def _parts(message: Mapping[str, Any]) -> Iterator[Part]:
    if message.get("role") == "tool":
        yield {"type": "tool_call_response", "id": message.get("tool_call_id"), "response": message.get("content")}
        return
    if message.get("reasoning_content"):
        yield {**_text(message["reasoning_content"]), "type": "reasoning"}
    content = message.get("content")
    for piece in content if isinstance(content, list) else () if content is None else (content,):
        yield _piece(piece)
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list) else ():
        yield _tool_call(call)


def _piece(piece: Any) -> Part:
    kind = piece.get("type") if isinstance(piece, Mapping) else None
    if kind in ("text", "input_text", "output_text"):
        return _text(piece.get("text"))
    if kind == "image_url" and isinstance(piece.get("image_url"), Mapping | str):
        image = piece["image_url"]
        return {"type": "uri", "modality": "image", "uri": image.get("url") if isinstance(image, Mapping) else image}
    return dict(piece) if isinstance(kind, str) else _text(piece)


def _tool_call(call: Any) -> Part:
    given = call if isinstance(call, Mapping) else {}
    function = given.get("function")
    named = function if isinstance(function, Mapping) else {}
    return {
        "type": "tool_call",
        "id": given.get("id"),
        "name": named.get("name") or "",
        "arguments": _decoded(named.get("arguments")),
    }


def _decoded(arguments: Any) -> Any:
    """Arguments as the object they are; as the text that came where they are none, cut ones for instance."""
    try:
        return msgspec.json.decode(arguments) if isinstance(arguments, str) else arguments
    except msgspec.DecodeError:
        return arguments


def _text(value: Any) -> Part:
    return {"type": "text", "content": value if isinstance(value, str) else msgspec.json.encode(value).decode()}
