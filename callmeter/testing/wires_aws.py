"""Amazon's wires as the fake provider speaks them: Converse, Claude's own format on Bedrock, containers of SageMaker.

Shapes as documented: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html,
https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_ResponseStream.html
"""

import re
from base64 import b64encode
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import msgspec
from msgspec import Raw

from callmeter.testing.eventstream import event
from callmeter.testing.scripts import NUMBER, Order, Tokens

_encode = msgspec.json.encode

EVENT_STREAM = "application/vnd.amazon.eventstream"

OPERATION = re.compile(
    r"/model/([^/]+)/(converse|invoke)(-stream|-with-response-stream)?$"
    r"|/endpoints/([^/]+)/invocations(-response-stream)?$"
)

WIRES = {"converse": "bedrock", "invoke": "anthropic_bedrock", None: "sagemaker"}

FINISH = {"stop": "end_turn", "length": "max_tokens", "content_filter": "content_filtered"}

ERRORS = {
    400: "ValidationException",
    401: "UnrecognizedClientException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    408: "ModelTimeoutException",
    424: "ModelErrorException",
    429: "ThrottlingException",
    500: "InternalServerException",
    503: "ServiceUnavailableException",
}

Streamed = Callable[[Order], tuple[int, list[bytes]]]


def wire_of_operation(path: str) -> str:
    """The wire of an operation, or empty."""
    found = OPERATION.search(path)
    if found is None:
        return ""
    return "bedrock_embedding" if found[2] == "invoke" and "embed" in found[1] else WIRES[found[2]]


def as_openai(path: str, body: bytes) -> bytes:
    """A request to an operation with the model in the body, and for Converse with messages and tools as OpenAI's.

    Raises `msgspec.MsgspecError` for a body that is none.
    """
    found = OPERATION.search(path)
    if found is None:
        return body
    asked = msgspec.json.decode(body, type=dict[str, Any])
    asked |= {"model": unquote(found[1] or found[4]), "stream": bool(found[3] or found[5])}
    if WIRES[found[2]] == "bedrock":
        offered = (asked.get("toolConfig") or {}).get("tools") or ()
        specs = [tool["toolSpec"] for tool in offered if "toolSpec" in tool]
        asked["tools"] = [
            {"function": {"name": spec["name"], "parameters": spec["inputSchema"]["json"]}} for spec in specs
        ]
        asked["messages"] = [_message(message) for message in asked.get("messages") or ()]
        asked["x_fake"] = (asked.get("additionalModelRequestFields") or {}).get("x_fake")
    return _encode(asked)


def _message(message: dict[str, Any]) -> dict[str, Any]:
    results = any("toolResult" in block for block in message.get("content") or ())
    return {**message, "role": "tool" if results else message.get("role", "user")}


def failure(status: int, message: str) -> tuple[dict[str, Any], tuple[tuple[str, str], ...]]:
    """An error's body and headers, as AWS's services write them."""
    kind = ERRORS.get(status, "InternalServerException")
    return {"message": message}, (("x-amzn-errortype", f"{kind}:http://internal.amazon.com/coral/com.amazon.bedrock/"),)


def whole(order: Order) -> dict[str, Any]:
    """Converse's whole answer."""
    content: list[dict[str, Any]] = [{"text": "".join(order.words)}] if order.words else []
    content += [
        {"toolUse": {"toolUseId": f"tooluse_{at}", "name": tool.name, "input": Raw(tool.arguments.encode())}}
        for at, tool in enumerate(order.tools)
    ]
    return {
        "output": {"message": {"role": "assistant", "content": content}},
        "stopReason": _reason(order),
        **_told(order),
    }


def streamed(order: Order) -> tuple[int, list[bytes]]:
    """Converse's stream: usage in the last event, behind the stop. It has no number, which checksums would be over."""
    pieces = [_event("messageStart", role="assistant")]
    blocks: list[tuple[dict[str, Any] | None, list[dict[str, Any]]]] = []
    if order.words:
        blocks.append((None, [{"text": words} for words in order.words]))
    for at, tool in enumerate(order.tools):
        middle = len(tool.arguments) // 2
        halves = (tool.arguments[:middle], tool.arguments[middle:])
        start = {"toolUse": {"toolUseId": f"tooluse_{at}", "name": tool.name}}
        blocks.append((start, [{"toolUse": {"input": half}} for half in halves]))
    for index, (begun, deltas) in enumerate(blocks):
        if begun is not None:
            pieces.append(_event("contentBlockStart", contentBlockIndex=index, start=begun))
        pieces += [_event("contentBlockDelta", contentBlockIndex=index, delta=delta) for delta in deltas]
        pieces.append(_event("contentBlockStop", contentBlockIndex=index))
    pieces += [_event("messageStop", stopReason=_reason(order)), _event("metadata", **_told(order))]
    return 1, pieces


def invoked(anthropic: Streamed) -> Streamed:
    """Anthropic's stream as InvokeModelWithResponseStream wraps it."""

    def answer(order: Order) -> tuple[int, list[bytes]]:
        lead, pieces = anthropic(order)
        return lead, [_event("chunk", bytes=b64encode(_data(piece)).decode()) for piece in pieces]

    return answer


def hosted(openai: Streamed) -> Streamed:
    """A container's stream as InvokeEndpointWithResponseStream wraps it: parts that end anywhere."""

    def answer(order: Order) -> tuple[int, list[bytes]]:
        lead, pieces = openai(order)
        return lead, [_parts(piece.replace(NUMBER.encode(), b"0" * len(NUMBER))) for piece in pieces]

    return answer


def _parts(piece: bytes) -> bytes:
    middle = len(piece) // 2
    halves = (piece[:middle], piece[middle:])
    return b"".join(event("PayloadPart", half, "application/octet-stream") for half in halves)


def _data(piece: bytes) -> bytes:
    """The JSON of a server-sent event."""
    return piece.partition(b"data: ")[2].rstrip()


def _event(kind: str, **fields: Any) -> bytes:
    return event(kind, _encode({**fields, "p": "abcdefgh"}))


def _reason(order: Order) -> str:
    return "tool_use" if order.tools else FINISH.get(order.finish, order.finish)


def _told(order: Order) -> dict[str, Any]:
    told: dict[str, Any] = {"metrics": {"latencyMs": 42}}
    if order.reports:
        told["usage"] = _usage(order.tokens)
    return told


def _usage(tokens: Tokens) -> dict[str, Any]:
    """Counts of input without cache reads and writes, which stand beside it, twice for old readers."""
    written = tokens.cache_write_tokens + tokens.cache_write_1h_tokens
    lives = {"5m": tokens.cache_write_tokens, "1h": tokens.cache_write_1h_tokens}
    return {
        "inputTokens": tokens.prompt_tokens - tokens.cached_tokens - written,
        "outputTokens": tokens.completion_tokens,
        "totalTokens": tokens.prompt_tokens + tokens.completion_tokens,
        "cacheReadInputTokens": tokens.cached_tokens,
        "cacheReadInputTokenCount": tokens.cached_tokens,
        "cacheWriteInputTokens": written,
        "cacheWriteInputTokenCount": written,
        "cacheDetails": [{"ttl": ttl, "inputTokens": count} for ttl, count in lives.items() if count],
        "serverToolUsage": {},
    }
