"""Cohere's v2 chat. Requests are written here, answers read in `cohere_answer`, streams in `cohere_stream`.

Source: https://docs.cohere.com/reference/chat
"""

from collections.abc import Mapping, Sequence
from typing import Any

from callmeter.client.codecs.base import Answer, Framing
from callmeter.client.codecs.cohere_answer import answer
from callmeter.client.codecs.cohere_messages import messages
from callmeter.client.codecs.cohere_stream import CohereDecoder
from callmeter.client.codecs.headers import bearer, given
from callmeter.client.codecs.messages import JSON, as_dict, encode_body
from callmeter.client.codecs.schemas import wanted
from callmeter.client.failures import failure_at
from callmeter.errors import APIError, BadRequestError
from callmeter.types import Call, Deployment
from callmeter.wire import WireReply, WireRequest

SAME = ("frequency_penalty", "logprobs", "presence_penalty", "seed", "temperature")

RENAMED = {"max_tokens": "max_tokens", "max_completion_tokens": "max_tokens", "top_p": "p"}

TRANSLATED = frozenset(
    {*SAME, *RENAMED, "reasoning_effort", "response_format", "stop", "stream", "stream_options", "thinking"}
    | {"tool_choice", "tools", "user"}
)
"""Parameters this wire can carry; `user` is taken for our own account and not sent, as Cohere has no users.

Any other that gets here was allowed by the caller and passes as it is.
"""

MAX_STOPS = 5
"""Longer lists are refused. Source: https://docs.cohere.com/reference/chat#request.body.stop_sequences"""

BUDGETS = {"minimal": 1024, "low": 1024, "medium": 2048, "high": 4096, "xhigh": 8192, "max": 16384}
"""Thinking tokens for the words of `reasoning_effort`; Cohere knows budgets only."""


class CohereEndpoint:
    """`POST {api_base}/v2/{path}`: what Cohere's operations have in common."""

    path: str

    def request(self, call: Call, deployment: Deployment) -> WireRequest:
        """The call as one POST. Raises `BadRequestError` for what Cohere has no words for."""
        accept = "text/event-stream" if call.stream else "application/json"
        headers = {"content-type": "application/json", "accept": accept, "x-client-name": "callmeter"}
        return WireRequest(
            url=endpoint(deployment.api_base, self.path),
            body=encode_body(self.body(call, deployment)),
            headers=headers | bearer(deployment) | given(call, deployment),
            timeouts=call.timeouts,
        )

    def body(self, call: Call, deployment: Deployment) -> JSON:
        """The body before it is encoded."""
        raise NotImplementedError

    def failure(self, status: int, headers: Mapping[str, str], body: bytes, deployment: Deployment) -> APIError:
        """The error that a non-2xx answer stands for; 498 is Cohere's for a token that is not good."""
        status = 401 if status == 498 else status
        return failure_at(status, headers, body, deployment)


class Cohere(CohereEndpoint):
    """`POST {api_base}/v2/chat`."""

    path = "chat"
    framing: Framing = "sse"
    supported = TRANSLATED

    def body(self, call: Call, deployment: Deployment) -> JSON:
        """The body. Raises `BadRequestError` naming what cannot be said."""
        return request_body(call, deployment)

    def response(self, reply: WireReply, call: Call, deployment: Deployment) -> Answer:
        """A whole answer. Raises `APIResponseValidationError`, or the error an answer of 200 hides."""
        return answer(reply.body, call, deployment)

    def decoder(self, call: Call, deployment: Deployment) -> CohereDecoder:
        """A fresh decoder for one stream."""
        return CohereDecoder(call, deployment)


CODEC = Cohere()


def endpoint(api_base: str, path: str) -> str:
    """The address of `chat`, `embed`, … under a base given with or without a version or that path."""
    base = api_base.rstrip("/").removesuffix(f"/{path}").removesuffix("/v1").removesuffix("/v2")
    return f"{base}/v2/{path}"


def request_body(call: Call, deployment: Deployment) -> JSON:
    """The body. Raises `BadRequestError` naming what cannot be said."""
    params = call.params
    body: JSON = {"model": deployment.model, "messages": messages(call.messages), "stream": call.stream}
    body |= {theirs: params[ours] for ours, theirs in RENAMED.items() if params.get(ours) is not None}
    body |= {name: params[name] for name in SAME if params.get(name) is not None}
    if stop := params.get("stop"):
        body["stop_sequences"] = [stop] if isinstance(stop, str) else list(stop)[:MAX_STOPS]
    if (want := wanted(params.get("response_format"))) is not None:
        schema = {"json_schema": want.schema} if want.form == "json_schema" else {}
        body["response_format"] = {"type": "json_object", **schema}
    body |= _tools(params)
    if (thinking := _thinking(params)) is not None:
        body["thinking"] = thinking
    body |= {name: value for name, value in params.items() if name not in TRANSLATED}
    extra = dict(call.extra)
    if (k := extra.pop("top_k", None)) is not None:
        body["k"] = k
    more = extra.pop("extra_body", None) or {}
    return {**body, **extra, **more}


def _thinking(params: Mapping[str, Any]) -> JSON | None:
    given, effort = params.get("thinking"), params.get("reasoning_effort")
    if given is not None:
        asked = as_dict(given, "thinking")
        budget = asked.get("token_budget", asked.get("budget_tokens"))
        return {"type": asked.get("type", "enabled")} | ({} if budget is None else {"token_budget": budget})
    if effort in (None, "default"):
        return None
    if effort == "none":
        return {"type": "disabled"}
    if effort not in BUDGETS:
        raise BadRequestError(f"reasoning_effort {effort!r} is not known: use one of {', '.join(BUDGETS)} or none.")
    return {"type": "enabled", "token_budget": BUDGETS[effort]}


def _tools(params: Mapping[str, Any]) -> JSON:
    """Tools and the choice among them. One function is forced by offering no other."""
    tools = [_tool(as_dict(tool, f"tools[{n}]"), n) for n, tool in enumerate(params.get("tools") or ())]
    mode, names = _choice(params.get("tool_choice"))
    if names is not None:
        tools = [tool for tool in tools if tool["function"]["name"] in names]
        if not tools:
            raise BadRequestError(f"tool_choice names {', '.join(names)}, and tools has none of that name.")
    strict = [tool["function"].pop("strict", None) for tool in tools]
    said: JSON = {"tools": tools} if tools else {}
    if any(strict):
        said["strict_tools"] = True
    if tools and mode:
        said["tool_choice"] = mode
    return said


def _tool(tool: JSON, n: int) -> JSON:
    if tool.get("function") is None:
        raise BadRequestError(f"tools[{n}] is of type {tool.get('type')!r}: Cohere takes functions only.")
    function = as_dict(tool["function"], f"tools[{n}].function")
    schema = {"type": "object", "properties": {}} | (function.get("parameters") or {})
    kept = {key: function[key] for key in ("name", "description", "strict") if function.get(key) is not None}
    return {"type": "function", "function": {**kept, "parameters": schema}}


def _choice(given: Any) -> tuple[str, Sequence[str] | None]:
    """Cohere's word, empty for its default, and the names to choose among, None for all."""
    match given:
        case None | "auto":
            return "", None
        case "required" | "any":
            return "REQUIRED", None
        case "none":
            return "NONE", None
        case {"type": "function", "function": {"name": str(name)}}:
            return "REQUIRED", (name,)
        case {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}}:
            return "REQUIRED" if mode == "required" else "", [tool["function"]["name"] for tool in tools]
    raise BadRequestError(
        f"tool_choice {str(given)[:200]} has no equivalent at Cohere: use auto, none, required or a function's name."
    )
