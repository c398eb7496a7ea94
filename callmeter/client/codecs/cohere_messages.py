"""The conversation in Cohere's form: the same roles, other parts.

Source: https://docs.cohere.com/reference/chat#request.body.messages
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from callmeter.client.codecs.messages import JSON, parts, plain_messages, refuse, tool_calls
from callmeter.errors import BadRequestError

ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool"}


def messages(given: Sequence[Any]) -> list[JSON]:
    """All messages. Raises `BadRequestError` naming the role or part that Cohere does not take."""
    return [_message(message, n) for n, message in enumerate(plain_messages(given))]


def _message(message: JSON, n: int) -> JSON:
    role = ROLES.get(str(message.get("role")))
    if role is None:
        raise BadRequestError(
            f"messages[{n}] has role {message.get('role')!r}: Cohere knows system, user, assistant and tool."
        )
    if role == "assistant":
        return {"role": role, **_answered(message)}
    said: JSON = {"role": role, "content": _content(message.get("content"))}
    if role == "tool":
        said["tool_call_id"] = str(message.get("tool_call_id") or "")
    return said


def _content(content: Any) -> Any:
    """A string as it is, anything else part by part."""
    return content if isinstance(content, str) else [_part(part) for part in parts(content)]


def _part(part: JSON) -> JSON:
    match part.get("type"):
        case "text":
            return {"type": "text", "text": part.get("text") or ""}
        case "image_url":
            image = part.get("image_url")
            given = dict(image) if isinstance(image, Mapping) else {"url": image}
            return {"type": "image_url", "image_url": {k: given[k] for k in ("url", "detail") if given.get(k)}}
        case "document":
            return {"type": "document", "document": part.get("document")}
    raise refuse(part, "Cohere", "use text, image_url or, in tool results, document")


def _answered(message: JSON) -> JSON:
    """An answer sent back: its thinking as it came, its plan where tools were called."""
    said: JSON = {}
    thoughts = [
        {"type": "thinking", "thinking": block["thinking"]}
        for block in message.get("thinking_blocks") or ()
        if block.get("thinking")
    ]
    texts = [
        {"type": "text", "text": part.get("text") or part.get("refusal") or ""}
        for part in parts(message.get("content"))
        if part.get("type") in ("text", "refusal")
    ]
    if thoughts:
        said["content"] = [*thoughts, *texts]
    elif texts:
        said["content"] = "".join(text["text"] for text in texts)
    notes = message.get("provider_specific_fields") or {}
    if calls := tool_calls(message):
        said["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": msgspec.json.encode(call.arguments).decode()},
            }
            for call in calls
        ]
        if plan := notes.get("tool_plan"):
            said["tool_plan"] = plan
    if citations := notes.get("citations"):
        said["citations"] = citations
    return said
