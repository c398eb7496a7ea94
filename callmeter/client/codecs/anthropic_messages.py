"""A conversation in OpenAI's format as Anthropic's `system` and `messages`.

Source: https://docs.anthropic.com/en/api/messages
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from callmeter.client.codecs.messages import (
    JSON,
    Turns,
    add_turn,
    data_url,
    parts,
    plain_messages,
    refuse,
    tool_calls,
)
from callmeter.errors import BadRequestError

FILES_BETA = "files-api-2025-04-14"
"""Needed where a block names an uploaded file."""

NATIVE_BLOCKS = frozenset(
    {"image", "document", "tool_use", "tool_result", "thinking", "redacted_thinking", "search_result"}
    | {"server_tool_use", "web_search_tool_result", "web_fetch_tool_result", "container_upload"}
)
"""Anthropic's own blocks within an OpenAI message: they pass as they are."""

IMAGE_TYPES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})


class Conversation(NamedTuple):
    """What goes into the body, and the beta features it takes."""

    system: str | list[JSON] | None
    messages: list[JSON]
    betas: tuple[str, ...]


def conversation(messages: Sequence[Any]) -> Conversation:
    """Roles that alternate, system text hoisted, tool results leading their turn.

    Raises `BadRequestError` for a part or a role that Anthropic has no block for.
    """
    system: list[JSON] = []
    turns: Turns = []
    for n, message in enumerate(plain_messages(messages)):
        role = message.get("role")
        blocks = _of_role(role, n)(message)
        if role in ("system", "developer"):
            system += blocks
        else:
            add_turn(turns, "assistant" if role == "assistant" else "user", blocks, _is_result)
    if system and not turns:
        # An instruction alone is a request here and an error there: at least one message is demanded.
        system, turns = [], [("user", system)]
    _trim_prefill(turns)
    betas = (FILES_BETA,) if any(_names_file(b) for _, blocks in turns for b in blocks) else ()
    spoken = [{"role": role, "content": _folded(blocks)} for role, blocks in turns if blocks]
    return Conversation(_folded(system) if system else None, spoken, betas)


def _of_role(role: Any, n: int) -> Callable[[JSON], list[JSON]]:
    match role:
        case "user" | "system" | "developer":
            return _said
        case "assistant":
            return _answered
        case "tool":
            return _tool_result
    raise BadRequestError(f"messages[{n}] has role {role!r}: Anthropic knows system, user, assistant and tool.")


def _is_result(block: JSON) -> bool:
    return bool(block["type"] == "tool_result")


def _said(message: JSON) -> list[JSON]:
    return _with_cache_control([b for p in parts(message.get("content")) for b in _block(p)], message)


def _answered(message: JSON) -> list[JSON]:
    thought = [dict(block) for block in message.get("thinking_blocks") or () if _signed(block)]
    called = [
        {"type": "tool_use", "id": safe_id(call.id), "name": call.name, "input": call.arguments}
        for call in tool_calls(message)
    ]
    if message.get("function_call"):
        raise BadRequestError("An assistant message has function_call: Anthropic needs tool_calls, which have ids.")
    return thought + _said(message) + called


def _signed(block: Mapping[str, Any]) -> bool:
    return bool(block.get("signature") or block.get("data"))


def _tool_result(message: JSON) -> list[JSON]:
    result: JSON = {"type": "tool_result", "tool_use_id": safe_id(str(message.get("tool_call_id") or ""))}
    if blocks := [b for p in parts(message.get("content")) for b in _block(p)]:
        result["content"] = _folded(blocks)
    if message.get("is_error") is not None:
        result["is_error"] = message["is_error"]
    return _with_cache_control([result], message)


def _with_cache_control(blocks: list[JSON], message: JSON) -> list[JSON]:
    if blocks and message.get("cache_control"):
        return [*blocks[:-1], {**blocks[-1], "cache_control": message["cache_control"]}]
    return blocks


def _block(part: JSON) -> list[JSON]:
    """A part as a block: none for empty text, which is refused."""
    match part.get("type"):
        case "text":
            text = part.get("text")
            return [_kept(part, {"type": "text", "text": text}, "citations")] if text else []
        case "refusal":
            return [{"type": "text", "text": part["refusal"]}] if part.get("refusal") else []
        case "image_url":
            return [_kept(part, _image(part))]
        case "file":
            return [_kept(part, _file(part))]
        case native if native in NATIVE_BLOCKS:
            return [part]
    raise refuse(part, "Anthropic", "use text, image_url or file")


def _kept(part: JSON, block: JSON, *more: str) -> JSON:
    return block | {key: part[key] for key in ("cache_control", *more) if part.get(key) is not None}


def _image(part: JSON) -> JSON:
    given = part.get("image_url")
    url = given.get("url") if isinstance(given, Mapping) else given
    if not isinstance(url, str) or not url:
        raise refuse(part, "Anthropic", "image_url.url is missing")
    held = data_url(url)
    if held is None:
        return {"type": "image", "source": {"type": "url", "url": url}}
    return _image_block(held.media_type, held.data)


def _image_block(media_type: str, data: str) -> JSON:
    media_type = "image/jpeg" if media_type == "image/jpg" else media_type
    if media_type not in IMAGE_TYPES:
        raise BadRequestError(f"Anthropic takes no image of type {media_type!r}: use jpeg, png, gif or webp.")
    return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": data}}


def _file(part: JSON) -> JSON:
    """A file part: uploaded before (`file_id`), at a URL, or in the message (`file_data`)."""
    file = part.get("file")
    if not isinstance(file, Mapping) or not (file.get("file_id") or file.get("file_data")):
        raise refuse(part, "Anthropic", "file.file_id or file.file_data is missing")
    name = {"title": file["filename"]} if file.get("filename") else {}
    where = str(file.get("file_id") or file["file_data"])
    if where.startswith(("https://", "http://")):
        return {"type": "document", "source": {"type": "url", "url": where}, **name}
    if file.get("file_id"):
        return {"type": "document", "source": {"type": "file", "file_id": where}, **name}
    held = data_url(where)
    media_type, data = held or (str(file.get("format") or "application/pdf"), where)
    if media_type.startswith("image/"):
        return _image_block(media_type, data)
    if held and media_type.startswith("text/"):
        return {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": held.text()}, **name}
    if media_type != "application/pdf":
        raise refuse(part, "Anthropic", f"{media_type} is no document it reads; use PDF, plain text or an image")
    return {"type": "document", "source": {"type": "base64", "media_type": media_type, "data": data}, **name}


def _names_file(block: JSON) -> bool:
    source = block.get("source")
    inner = block.get("content")
    return (isinstance(source, Mapping) and source.get("type") == "file") or (
        isinstance(inner, list) and any(_names_file(item) for item in inner if isinstance(item, dict))
    )


def _folded(blocks: list[JSON]) -> str | list[JSON]:
    """One bare text block as the string it holds."""
    if len(blocks) == 1 and blocks[0].keys() == {"type", "text"}:
        text: str = blocks[0]["text"]
        return text
    return blocks


def _trim_prefill(turns: Turns) -> None:
    """An answer begun for the model may not end in white space."""
    if turns and turns[-1][0] == "assistant" and turns[-1][1] and turns[-1][1][-1]["type"] == "text":
        last = turns[-1][1].pop()
        if text := last["text"].rstrip():
            turns[-1][1].append({**last, "text": text})


def safe_id(call_id: str) -> str:
    """A tool call's id in Anthropic's alphabet, the same for the call and for its result."""
    return re.sub(r"[^a-zA-Z0-9_-]", "_", call_id)
