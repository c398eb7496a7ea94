"""Cohere's v2 chat.

Shapes as documented: https://docs.cohere.com/reference/chat, https://docs.cohere.com/reference/chat-stream
"""

from typing import Any

import msgspec

from callmeter.testing.scripts import NUMBER, Order, ToolUse

PREAMBLE = 7
"""Tokens that Cohere itself puts before a conversation and does not bill."""

PLAN = "I will use a tool."

_FINISH = {"stop": "COMPLETE", "length": "MAX_TOKENS", "content_filter": "ERROR_TOXIC"}


def _end(order: Order) -> dict[str, Any]:
    end: dict[str, Any] = {"finish_reason": "TOOL_CALL" if order.tools else _FINISH.get(order.finish, order.finish)}
    if order.reports:
        tokens = order.tokens
        # Counts are floats there.
        billed = {
            "input_tokens": float(max(0, tokens.prompt_tokens - PREAMBLE)),
            "output_tokens": float(tokens.completion_tokens),
        }
        spent = {"input_tokens": float(tokens.prompt_tokens), "output_tokens": float(tokens.completion_tokens)}
        end["usage"] = {"billed_units": billed, "tokens": spent, "cached_tokens": float(tokens.cached_tokens)}
    return end


def _tool(at: int, tool: ToolUse, arguments: str) -> dict[str, Any]:
    return {
        "id": f"{tool.name}_{NUMBER}{at}",
        "type": "function",
        "function": {"name": tool.name, "arguments": arguments},
    }


def plain(order: Order) -> dict[str, Any]:
    """A whole answer."""
    message: dict[str, Any] = {"role": "assistant"}
    if order.words:
        message["content"] = [{"type": "text", "text": "".join(order.words)}]
    if order.tools:
        message["tool_plan"] = PLAN
        message["tool_calls"] = [_tool(at, tool, tool.arguments) for at, tool in enumerate(order.tools)]
    return {"id": NUMBER, "message": message, **_end(order)}


def streamed(order: Order) -> tuple[int, list[bytes]]:
    """A stream: how many pieces come before the first text, and all of them."""
    start = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
    pieces = [_event("message-start", id=NUMBER, delta={"message": start})]
    if order.words:
        pieces.append(_event("content-start", index=0, delta=_added(content={"type": "text", "text": ""})))
        pieces += [_event("content-delta", index=0, delta=_added(content={"text": words})) for words in order.words]
        pieces.append(_event("content-end", index=0))
    if order.tools:
        pieces.append(_event("tool-plan-delta", delta=_added(tool_plan=PLAN)))
    for at, tool in enumerate(order.tools):
        pieces.append(_event("tool-call-start", index=at, delta=_added(tool_calls=_tool(at, tool, ""))))
        middle = len(tool.arguments) // 2
        pieces += [
            _event("tool-call-delta", index=at, delta=_added(tool_calls={"function": {"arguments": part}}))
            for part in (tool.arguments[:middle], tool.arguments[middle:])
        ]
        pieces.append(_event("tool-call-end", index=at))
    return 2, [*pieces, _event("message-end", id=NUMBER, delta=_end(order))]


def _added(**fields: Any) -> dict[str, Any]:
    return {"message": fields}


def _event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: ".encode() + msgspec.json.encode({"type": kind, **fields}) + b"\n\n"
