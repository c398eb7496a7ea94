"""A conversation as the Responses API's list of items: messages, reasoning, calls and their outputs.

Source: https://platform.openai.com/docs/api-reference/responses/create#responses-create-input
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from callmeter.client.codecs.messages import JSON, as_dict, parts, plain_messages, refuse
from callmeter.errors import BadRequestError


def items(messages: Sequence[Any]) -> list[JSON]:
    """All items. Raises `BadRequestError` naming the role or part that has no form here."""
    found: list[JSON] = []
    custom: set[str] = set()
    for n, message in enumerate(plain_messages(messages)):
        role = message.get("role")
        match role:
            case "system" | "developer" | "user":
                found.append({"type": "message", "role": role, "content": _content(message.get("content"))})
            case "assistant":
                found += _answered(message, custom)
            case "tool":
                found.append(_result(message, custom))
            case _:
                raise BadRequestError(
                    f"messages[{n}] has role {role!r}: the Responses API knows system, developer, user, assistant "
                    "and tool."
                )
    return found


def _content(content: Any) -> Any:
    return content if isinstance(content, str) else [_part(part) for part in parts(content)]


def _part(part: JSON) -> JSON:
    match part.get("type"):
        case "text":
            return {"type": "input_text", "text": part.get("text") or ""}
        case "image_url":
            image = part.get("image_url")
            given = dict(image) if isinstance(image, Mapping) else {"url": image}
            detail = {"detail": given["detail"]} if given.get("detail") else {}
            return {"type": "input_image", "image_url": given.get("url"), **detail}
        case "file":
            file = as_dict(part.get("file") or {}, "file")
            kept = {name: file[name] for name in ("file_id", "file_data", "file_url", "filename") if file.get(name)}
            return {"type": "input_file", **kept}
        case "input_text" | "input_image" | "input_file":
            return part
    raise refuse(part, "the Responses API", "use text, image_url or file, or a model of the chat API")


def _answered(message: JSON, custom: set[str]) -> Iterable[JSON]:
    """An earlier answer: its reasoning as it came, its text, its calls; `custom` collects the ids of custom calls."""
    for detail in message.get("reasoning_details") or ():
        if isinstance(detail, Mapping) and detail.get("type") == "reasoning":
            yield {name: value for name, value in detail.items() if name != "status" and value is not None}
    said = [_said(part) for part in parts(message.get("content"))]
    if message.get("refusal"):
        said.append({"type": "refusal", "refusal": message["refusal"]})
    if said:
        yield {"type": "message", "role": "assistant", "content": said}
    for n, given in enumerate(message.get("tool_calls") or ()):
        yield _call(as_dict(given, f"tool_calls[{n}]"), n, custom)


def _said(part: JSON) -> JSON:
    if part.get("type") == "refusal":
        return {"type": "refusal", "refusal": part.get("refusal") or ""}
    return {"type": "output_text", "text": part.get("text") or ""}


def _call(call: JSON, n: int, custom: set[str]) -> JSON:
    call_id = str(call.get("id") or "")
    if call.get("custom") is not None:
        custom.add(call_id)
        inner = as_dict(call["custom"], f"tool_calls[{n}].custom")
        named = {"name": inner.get("name"), "input": inner.get("input") or ""}
        return {"type": "custom_tool_call", "call_id": call_id, **named}
    if call.get("function") is None:
        raise BadRequestError(f"tool_calls[{n}] is of type {call.get('type')!r}: only function and custom are known.")
    function = as_dict(call["function"], f"tool_calls[{n}].function")
    named = {"name": function.get("name"), "arguments": function.get("arguments") or "{}"}
    return {"type": "function_call", "call_id": call_id, **named}


def _result(message: JSON, custom: set[str]) -> JSON:
    call_id = str(message.get("tool_call_id") or "")
    kind = "custom_tool_call_output" if call_id in custom else "function_call_output"
    return {"type": kind, "call_id": call_id, "output": _content(message.get("content"))}
