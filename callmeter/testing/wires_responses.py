"""OpenAI's Responses API.

Shapes as documented: https://platform.openai.com/docs/api-reference/responses/object and …/responses-streaming
"""

from itertools import count
from typing import Any

import msgspec

from callmeter.testing.scripts import NUMBER, Order, ToolUse

CREATED = 1_750_000_000


_REASONS = {"length": "max_output_tokens", "content_filter": "content_filter"}


def plain(order: Order) -> dict[str, Any]:
    """A whole answer."""
    reason = _REASONS.get(order.finish)
    whole = {
        **_head(order, "incomplete" if reason else "completed"),
        "incomplete_details": {"reason": reason} if reason else None,
        "output": _output(order),
    }
    if order.reports:
        tokens = order.tokens
        whole["usage"] = {
            "input_tokens": tokens.prompt_tokens,
            "input_tokens_details": {
                "cached_tokens": tokens.cached_tokens,
                "cache_write_tokens": tokens.cache_write_tokens,
            },
            "output_tokens": tokens.completion_tokens,
            "output_tokens_details": {"reasoning_tokens": tokens.reasoning_tokens},
            "total_tokens": tokens.prompt_tokens + tokens.completion_tokens,
        }
    return whole


def _head(order: Order, status: str) -> dict[str, Any]:
    return {
        "id": "resp_" + NUMBER,
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": order.model,
        "output": [],
        "parallel_tool_calls": True,
        "service_tier": "default",
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": None,
    }


def _text(said: str) -> dict[str, Any]:
    return {"type": "output_text", "text": said, "annotations": [], "logprobs": []}


def _message(status: str, content: list[Any]) -> dict[str, Any]:
    return {"type": "message", "id": "msg_" + NUMBER, "status": status, "role": "assistant", "content": content}


def _call(at: int, tool: ToolUse, status: str, arguments: str) -> dict[str, Any]:
    ids = {"id": f"fc_{NUMBER}{at}", "call_id": f"call_{NUMBER}{at}"}
    return {"type": "function_call", **ids, "status": status, "name": tool.name, "arguments": arguments}


def _output(order: Order) -> list[dict[str, Any]]:
    said = [_message("completed", [_text("".join(order.words))])] if order.words else []
    return said + [_call(at, tool, "completed", tool.arguments) for at, tool in enumerate(order.tools)]


def streamed(order: Order) -> tuple[int, list[bytes]]:
    """A stream: how many pieces come before the first text, and all of them."""
    numbers = count()

    def event(kind: str, **fields: Any) -> bytes:
        data = {"type": f"response.{kind}", "sequence_number": next(numbers), **fields}
        return f"event: response.{kind}\ndata: ".encode() + msgspec.json.encode(data) + b"\n\n"

    going = _head(order, "in_progress")
    pieces = [event("created", response=going), event("in_progress", response=going)]
    at = 0
    if order.words:
        where = {"item_id": "msg_" + NUMBER, "output_index": 0, "content_index": 0}
        said = "".join(order.words)
        pieces.append(event("output_item.added", output_index=0, item=_message("in_progress", [])))
        pieces.append(event("content_part.added", **where, part=_text("")))
        pieces += [event("output_text.delta", **where, delta=words, logprobs=[]) for words in order.words]
        pieces.append(event("output_text.done", **where, text=said, logprobs=[]))
        pieces.append(event("content_part.done", **where, part=_text(said)))
        pieces.append(event("output_item.done", output_index=0, item=_message("completed", [_text(said)])))
        at = 1
    for number, tool in enumerate(order.tools):
        where = {"item_id": f"fc_{NUMBER}{number}", "output_index": at + number}
        index = {"output_index": at + number}
        middle = len(tool.arguments) // 2
        pieces.append(event("output_item.added", **index, item=_call(number, tool, "in_progress", "")))
        pieces += [
            event("function_call_arguments.delta", **where, delta=part)
            for part in (tool.arguments[:middle], tool.arguments[middle:])
        ]
        pieces.append(event("function_call_arguments.done", **where, name=tool.name, arguments=tool.arguments))
        pieces.append(event("output_item.done", **index, item=_call(number, tool, "completed", tool.arguments)))
    whole = plain(order)
    return 4, [*pieces, event(whole["status"], response=whole)]
