"""Providers' answers, made from a request by pure functions: OpenAI, Anthropic, Gemini, Cohere, Ollama, Amazon.

Shapes as documented: https://platform.openai.com/docs/api-reference/chat, https://docs.anthropic.com/en/api/messages,
https://github.com/ollama/ollama/blob/main/docs/api.md; the others' are in modules of their own.
"""

from functools import lru_cache
from itertools import cycle, islice, pairwise
from typing import Any

import msgspec
from msgspec import Raw, Struct

from callmeter.testing import forms
from callmeter.testing import wires_aws as aws
from callmeter.testing import wires_azure as azure
from callmeter.testing import wires_cohere as cohere
from callmeter.testing import wires_gemini as gemini
from callmeter.testing import wires_operations as operations
from callmeter.testing import wires_responses as responses
from callmeter.testing import wires_text as text
from callmeter.testing.scripts import NUMBER, Answer, Heard, Order, Tokens, ToolUse, Wish

CREATED = 1_750_000_000
_CREATED_AT = "2025-06-15T15:06:40.123456Z"
_TEXT = "Hello from the fake provider, which answers everything alike."

_encode = msgspec.json.encode


class _Options(Struct):
    include_usage: bool = False


class _Message(Struct):
    role: str = ""


class _Function(Struct):
    name: str = ""
    parameters: dict[str, Any] = {}


class _Tool(Struct):
    """A tool as OpenAI and Ollama (`function`), Anthropic or the Responses API (`name`, a schema) declare it."""

    function: _Function | None = None
    name: str = ""
    input_schema: dict[str, Any] = {}
    parameters: dict[str, Any] | None = None


class _Body(Struct):
    model: str = ""
    stream: bool | None = None
    messages: Raw = Raw(b"[]")
    prompt: Raw = Raw(b"")
    input: Raw = Raw(b"")
    tools: list[_Tool] = []
    stream_options: _Options | None = None
    options: dict[str, Any] = {}
    x_fake: Wish | None = None


_body = msgspec.json.Decoder(_Body)
_messages = msgspec.json.Decoder(list[_Message])
_wish = msgspec.json.Decoder(Wish)


_TAILS = (
    ("/chat/completions", "openai"),
    ("/completions", "text"),
    ("/messages", "anthropic"),
    ("/api/chat", "ollama"),
    ("/v2/chat", "cohere"),
    ("/responses", "responses"),
    *operations.TAILS,
)


def wire_of(path: str) -> str:
    """The wire format spoken at a path, or empty."""
    where = path.partition("?")[0]
    if "/openai/deployments/" in where and where.endswith("/chat/completions"):
        return "azure"
    for tail, wire in _TAILS:
        if where.endswith(tail):
            return wire
    return gemini.wire_of_method(path) or aws.wire_of_operation(where)


def answer_to(heard: Heard) -> tuple[Answer, Wish]:
    """The answer a well-behaved provider gives, and what the request asked for beyond that."""
    wire = wire_of(heard.path)
    if not wire or heard.method != "POST":
        return failure(wire or "openai", 404, f"no route {heard.method} {heard.path}"), Wish()
    try:
        kind = heard.headers.get("content-type", "")
        form = kind.startswith("multipart/form-data")
        asked = forms.as_json(kind, heard.body) if form else _as_openai(heard)
        body = _body.decode(asked)
        header = heard.headers.get("x-fake")
        wish = _wish.decode(header) if header else body.x_fake or msgspec.convert(body.options.get("x_fake", {}), Wish)
        if wish.fail is None and wire in operations.ANSWERS:
            return operations.ANSWERS[wire](asked, wish), wish
    except msgspec.MsgspecError as error:
        return failure(wire, 400, f"the body is not a request: {error}"), Wish()
    if wish.fail is not None:
        return failure(wire, wish.fail, "asked for by the request", body.model), wish
    return _rendered(_order(wire, body, wish)), wish


def _as_openai(heard: Heard) -> bytes:
    """A body with what some wires have in the address."""
    return aws.as_openai(heard.path, gemini.as_openai(heard.path, heard.body))


def failure(wire: str, status: int, message: str = "", model: str = "") -> Answer:
    """An error body in the wire's own form."""
    message = message or f"the fake provider was told to answer {status}"
    family = wire.removesuffix("_embedding").removesuffix("_rerank")
    headers: tuple[tuple[str, str], ...] = ()
    if family == "anthropic":
        kind = _ANTHROPIC_ERRORS.get(status, "api_error")
        shown: Any = {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_" + NUMBER}
    elif family in ("gemini", "vertex"):
        shown = gemini.failure_body(status, message)
    elif family == "ollama":
        shown = {"error": message}
    elif family == "cohere":
        shown = {"id": NUMBER, "message": message}
    elif family in aws.WIRES.values():
        shown, headers = aws.failure(status, message)
    else:
        kind, code = _OPENAI_ERRORS.get(status, ("server_error", None))
        shown = {"error": {"message": message, "type": kind, "param": None, "code": code}}
    return Answer(wire=wire, model=model, status=status, pieces=(_encode(shown),), headers=headers)


_ANTHROPIC_ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_OPENAI_ERRORS = {
    400: ("invalid_request_error", None),
    401: ("invalid_request_error", "invalid_api_key"),
    403: ("invalid_request_error", None),
    404: ("invalid_request_error", "model_not_found"),
    429: ("requests", "rate_limit_exceeded"),
}


def _order(wire: str, body: _Body, wish: Wish) -> Order:
    tools = _tools(body) if wish.tool_calls is None else wish.tool_calls
    text = wish.text if wish.text is not None else ("" if tools else _TEXT)
    words = text.split(" ") if text else []
    if wish.text is None and wish.completion_tokens is not None and not tools:
        words = list(islice(cycle(words), wish.completion_tokens))
    written = len(words) + sum(2 + len(tool.arguments) // 4 for tool in tools)
    tokens = Tokens(
        prompt_tokens=-(-len(bytes(body.input or body.prompt or body.messages)) // 4)
        if wish.prompt_tokens is None
        else wish.prompt_tokens,
        completion_tokens=written if wish.completion_tokens is None else wish.completion_tokens,
        cached_tokens=wish.cached_tokens,
        cache_write_tokens=wish.cache_write_tokens,
        cache_write_1h_tokens=wish.cache_write_1h_tokens,
        reasoning_tokens=wish.reasoning_tokens,
    )
    return Order(
        wire=wire,
        model=body.model,
        # Ollama streams unless told not to.
        stream=wire == "ollama" if body.stream is None else body.stream,
        shows_usage=body.stream_options is not None and body.stream_options.include_usage,
        tokens=tokens,
        words=_cut(words, wish.chunks),
        tools=tools,
        finish=wish.finish,
        reports=wish.usage,
    )


def _tools(body: _Body) -> tuple[ToolUse, ...]:
    """A model that is offered tools calls the first, and answers in words once it has been given a result."""
    if not body.tools or b'"tool_result"' in bytes(body.messages) or b'_call_output"' in bytes(body.input):
        return ()
    said = _messages.decode(body.messages)
    if said and said[-1].role == "tool":
        return ()
    tool = body.tools[0]
    flat = (tool.name, tool.parameters or tool.input_schema)
    name, schema = (tool.function.name, tool.function.parameters) if tool.function else flat
    arguments = dict.fromkeys(schema.get("required", ()), "fake")
    return (ToolUse(name, _encode(arguments).decode()),)


def _cut(words: list[str], pieces: int | None) -> tuple[str, ...]:
    """The text as pieces that concatenate to it; as many as asked, though never more than words."""
    spaced = [word if at == 0 else " " + word for at, word in enumerate(words)]
    if pieces is None or pieces >= len(spaced):
        return tuple(spaced)
    edges = [len(spaced) * at // pieces for at in range(pieces + 1)]
    return tuple("".join(spaced[start:end]) for start, end in pairwise(edges))


@lru_cache(maxsize=1024)
def _rendered(order: Order) -> Answer:
    plain, streamed, content_type = _WIRES[order.wire]
    if order.stream:
        lead, pieces = streamed(order)
    else:
        lead, pieces, content_type = 0, [_encode(plain(order))], "application/json"
    return Answer(
        wire=order.wire,
        model=order.model,
        content_type=content_type,
        pieces=tuple(pieces),
        lead=lead,
        stream=order.stream,
        tokens=order.tokens,
    )


def _openai_usage(order: Order) -> dict[str, Any]:
    tokens = order.tokens
    return {
        "prompt_tokens": tokens.prompt_tokens,
        "completion_tokens": tokens.completion_tokens,
        "total_tokens": tokens.prompt_tokens + tokens.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": tokens.cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": tokens.reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _openai(order: Order) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": "".join(order.words) or None, "refusal": None}
    if order.tools:
        message["tool_calls"] = [
            {
                "id": f"call_{NUMBER}{at}",
                "type": "function",
                "function": {"name": tool.name, "arguments": tool.arguments},
            }
            for at, tool in enumerate(order.tools)
        ]
    finish = "tool_calls" if order.tools else order.finish
    whole: dict[str, Any] = {
        "id": "chatcmpl-" + NUMBER,
        "object": "chat.completion",
        "created": CREATED,
        "model": order.model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}],
        "service_tier": "default",
        "system_fingerprint": "fp_fake",
    }
    if order.reports:
        whole["usage"] = _openai_usage(order)
    return whole


def _openai_stream(order: Order) -> tuple[int, list[bytes]]:
    head: dict[str, Any] = {
        "id": "chatcmpl-" + NUMBER,
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": order.model,
        "system_fingerprint": "fp_fake",
    }
    shows = order.shows_usage and order.reports
    if shows:
        head["usage"] = None

    def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return b"data: " + _encode({**head, "choices": [choice]}) + b"\n\n"

    pieces = [chunk({"role": "assistant", "content": None if order.tools else "", "refusal": None})]
    pieces += [chunk({"content": words}) for words in order.words]
    for at, tool in enumerate(order.tools):
        named = {"name": tool.name, "arguments": ""}
        pieces.append(
            chunk({"tool_calls": [{"index": at, "id": f"call_{NUMBER}{at}", "type": "function", "function": named}]})
        )
        pieces += [
            chunk({"tool_calls": [{"index": at, "function": {"arguments": part}}]}) for part in _halves(tool.arguments)
        ]
    pieces.append(chunk({}, "tool_calls" if order.tools else order.finish))
    if shows:
        pieces.append(b"data: " + _encode({**head, "choices": [], "usage": _openai_usage(order)}) + b"\n\n")
    pieces.append(b"data: [DONE]\n\n")
    return 1, pieces


def _halves(text: str) -> tuple[str, str]:
    middle = len(text) // 2
    return text[:middle], text[middle:]


_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "content_filter": "refusal"}


def _anthropic_usage(order: Order) -> dict[str, Any]:
    tokens = order.tokens
    written = tokens.cache_write_tokens + tokens.cache_write_1h_tokens
    usage: dict[str, Any] = {
        # Anthropic counts cache reads and writes apart from the rest of the input.
        "input_tokens": tokens.prompt_tokens - tokens.cached_tokens - written,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": tokens.cached_tokens,
        "cache_creation": {
            "ephemeral_5m_input_tokens": tokens.cache_write_tokens,
            "ephemeral_1h_input_tokens": tokens.cache_write_1h_tokens,
        },
        "output_tokens": tokens.completion_tokens,
        "service_tier": "standard",
    }
    if tokens.reasoning_tokens:
        usage["output_tokens_details"] = {"thinking_tokens": tokens.reasoning_tokens}
    return usage


def _anthropic(order: Order) -> dict[str, Any]:
    content: list[dict[str, Any]] = []
    if order.words:
        content.append({"type": "text", "text": "".join(order.words)})
    content += [
        {"type": "tool_use", "id": f"toolu_{NUMBER}{at}", "name": tool.name, "input": Raw(tool.arguments.encode())}
        for at, tool in enumerate(order.tools)
    ]
    whole: dict[str, Any] = {
        "id": "msg_" + NUMBER,
        "type": "message",
        "role": "assistant",
        "model": order.model,
        "content": content,
        "stop_reason": "tool_use" if order.tools else _STOP_REASONS.get(order.finish, order.finish),
        "stop_sequence": None,
    }
    if order.reports:
        whole["usage"] = _anthropic_usage(order)
    return whole


def _anthropic_stream(order: Order) -> tuple[int, list[bytes]]:
    whole = _anthropic(order)
    stop_reason = whole["stop_reason"]
    usage = _anthropic_usage(order)
    whole |= {"content": [], "stop_reason": None}
    if order.reports:
        whole["usage"] = {**usage, "output_tokens": 1}

    def event(kind: str, **fields: Any) -> bytes:
        return f"event: {kind}\ndata: ".encode() + _encode({"type": kind, **fields}) + b"\n\n"

    pieces = [event("message_start", message=whole), event("ping")]
    blocks: list[tuple[dict[str, Any], list[dict[str, Any]]]] = []
    if order.words:
        deltas = [{"type": "text_delta", "text": words} for words in order.words]
        blocks.append(({"type": "text", "text": ""}, deltas))
    for at, tool in enumerate(order.tools):
        deltas = [{"type": "input_json_delta", "partial_json": part} for part in ("", *_halves(tool.arguments))]
        blocks.append(({"type": "tool_use", "id": f"toolu_{NUMBER}{at}", "name": tool.name, "input": {}}, deltas))
    for index, (block, deltas) in enumerate(blocks):
        pieces.append(event("content_block_start", index=index, content_block=block))
        pieces += [event("content_block_delta", index=index, delta=delta) for delta in deltas]
        pieces.append(event("content_block_stop", index=index))
    last: dict[str, Any] = {"delta": {"stop_reason": stop_reason, "stop_sequence": None}}
    if order.reports:
        last["usage"] = {"output_tokens": usage["output_tokens"]}
        if "output_tokens_details" in usage:
            last["usage"]["output_tokens_details"] = usage["output_tokens_details"]
    pieces += [event("message_delta", **last), event("message_stop")]
    return 3, pieces


def _ollama_end(order: Order) -> dict[str, Any]:
    end: dict[str, Any] = {"done": True, "done_reason": order.finish, "total_duration": 1_000, "load_duration": 10}
    if order.reports:
        # Ollama leaves a count of zero out.
        if order.tokens.prompt_tokens:
            end["prompt_eval_count"] = order.tokens.prompt_tokens
        end |= {"prompt_eval_duration": 100, "eval_count": order.tokens.completion_tokens, "eval_duration": 890}
    return end


def _ollama_tool(at: int, tool: ToolUse) -> dict[str, Any]:
    arguments = Raw(tool.arguments.encode())
    return {"id": f"call_{NUMBER}{at}", "function": {"index": at, "name": tool.name, "arguments": arguments}}


def _ollama(order: Order) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": "".join(order.words)}
    if order.tools:
        message["tool_calls"] = [_ollama_tool(at, tool) for at, tool in enumerate(order.tools)]
    return {"model": order.model, "created_at": _CREATED_AT, "message": message, **_ollama_end(order)}


def _ollama_stream(order: Order) -> tuple[int, list[bytes]]:
    head: dict[str, Any] = {"model": order.model, "created_at": _CREATED_AT}

    def line(message: dict[str, Any], end: dict[str, Any]) -> bytes:
        return _encode({**head, "message": {"role": "assistant", "content": "", **message}, **end}) + b"\n"

    going = {"done": False}
    pieces = [line({"content": words}, going) for words in order.words]
    pieces += [line({"tool_calls": [_ollama_tool(at, tool)]}, going) for at, tool in enumerate(order.tools)]
    return 0, [*pieces, line({}, _ollama_end(order))]


_WIRES = {
    "openai": (_openai, _openai_stream, "text/event-stream; charset=utf-8"),
    "azure": (azure.plain(_openai), azure.streamed(_openai_stream), "text/event-stream; charset=utf-8"),
    "text": (text.plain(_openai), text.streamed(_openai_stream), "text/event-stream; charset=utf-8"),
    "anthropic": (_anthropic, _anthropic_stream, "text/event-stream; charset=utf-8"),
    "gemini": (gemini.whole, gemini.streamed, "text/event-stream"),
    "ollama": (_ollama, _ollama_stream, "application/x-ndjson"),
    "cohere": (cohere.plain, cohere.streamed, "text/event-stream"),
    "bedrock": (aws.whole, aws.streamed, aws.EVENT_STREAM),
    "anthropic_bedrock": (_anthropic, aws.invoked(_anthropic_stream), aws.EVENT_STREAM),
    "sagemaker": (_openai, aws.hosted(_openai_stream), aws.EVENT_STREAM),
    "responses": (responses.plain, responses.streamed, "text/event-stream; charset=utf-8"),
}
