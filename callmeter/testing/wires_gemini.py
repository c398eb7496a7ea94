"""Gemini's wire as the fake provider speaks it: its requests read as OpenAI's, its answers made from an order.

Shapes as documented: https://ai.google.dev/api/generate-content
"""

import re
from typing import Any

import msgspec
from msgspec import Raw

from callmeter.testing.scripts import NUMBER, Order

_encode = msgspec.json.encode

WIRES = {
    "generateContent": "gemini",
    "streamGenerateContent": "gemini",
    "batchEmbedContents": "gemini_embedding",
    "predict": "vertex_embedding",
    "rawPredict": "anthropic",
    "streamRawPredict": "anthropic",
}
"""What is done with a model, and the wire of it; `rawPredict` is Anthropic's Messages on Vertex AI."""

METHOD = re.compile(rf"/models/([^/:]+):({'|'.join(WIRES)})(?:\?|$)")
"""A model and what is done with it."""

FINISH = {"stop": "STOP", "length": "MAX_TOKENS", "content_filter": "SAFETY"}

STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def wire_of_method(path: str) -> str:
    """The wire of a model's method, or empty."""
    found = METHOD.search(path)
    return "" if found is None else WIRES[found[2]]


def as_openai(path: str, body: bytes) -> bytes:
    """A request to a model's method with the model in the body, and for Gemini with messages and tools as OpenAI's.

    Raises `msgspec.MsgspecError` for a body that is none.
    """
    found = METHOD.search(path)
    if found is None:
        return body
    asked = msgspec.json.decode(body, type=dict[str, Any])
    asked["model"] = found[1]
    if wire_of_method(path) == "gemini":
        asked["stream"] = found[2].startswith("stream")
        asked["messages"] = [_message(content) for content in asked.get("contents") or ()]
        asked["tools"] = [
            {"function": {"name": function["name"], "parameters": _either(function, "parametersJsonSchema") or {}}}
            for tool in asked.get("tools") or ()
            for function in _either(tool, "functionDeclarations") or ()
        ]
    return _encode(asked)


def _either(value: dict[str, Any], name: str) -> Any:
    """A member under either spelling: requests may be in snake case."""
    return value.get(name) or value.get(re.sub("[A-Z]", lambda found: "_" + found[0].lower(), name))


def _message(content: dict[str, Any]) -> dict[str, Any]:
    results = any("functionResponse" in part for part in content.get("parts") or ())
    return {**content, "role": "tool" if results else content.get("role", "user")}


def failure_body(status: int, message: str) -> dict[str, Any]:
    """An error as Google's services write it."""
    return {"error": {"code": status, "message": message, "status": STATUSES.get(status, "UNKNOWN")}}


def whole(order: Order) -> dict[str, Any]:
    """A whole answer."""
    parts = [{"text": "".join(order.words)}] if order.words else []
    return _event(order, [*parts, *_calls(order)], finish=True, written=order.tokens.completion_tokens)


def streamed(order: Order) -> tuple[int, list[bytes]]:
    """The answer as events, usage cumulative in each, and no word for the end."""
    said: list[list[dict[str, Any]]] = [[{"text": words}] for words in order.words] + [[call] for call in _calls(order)]
    pieces = [_frame(_event(order, parts, written=at)) for at, parts in enumerate(said, 1)]
    last = _event(order, [{"text": ""}], finish=True, written=order.tokens.completion_tokens)
    return 0, [*pieces, _frame(last)]


def _frame(event: dict[str, Any]) -> bytes:
    return b"data: " + _encode(event) + b"\r\n\r\n"


def _calls(order: Order) -> list[dict[str, Any]]:
    return [{"functionCall": {"name": tool.name, "args": Raw(tool.arguments.encode())}} for tool in order.tools]


def _event(order: Order, parts: list[dict[str, Any]], *, finish: bool = False, written: int = 0) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}}
    if finish:
        candidate["finishReason"] = FINISH.get(order.finish, order.finish)
    event: dict[str, Any] = {"candidates": [{**candidate, "index": 0}]}
    if order.reports:
        event["usageMetadata"] = _usage(order, written if finish else min(written, order.tokens.completion_tokens))
    return event | {"modelVersion": order.model, "responseId": NUMBER}


def _usage(order: Order, written: int) -> dict[str, int]:
    """Counts so far; candidates without the thoughts, and what is zero left out."""
    tokens = order.tokens
    thoughts = min(tokens.reasoning_tokens, written)
    counts = {
        "promptTokenCount": tokens.prompt_tokens,
        "cachedContentTokenCount": tokens.cached_tokens,
        "candidatesTokenCount": written - thoughts,
        "thoughtsTokenCount": thoughts,
        "totalTokenCount": tokens.prompt_tokens + written,
    }
    return {name: count for name, count in counts.items() if count}
