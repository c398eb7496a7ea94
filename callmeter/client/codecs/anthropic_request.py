"""A call as Anthropic's request: address, headers, body.

Source: https://docs.anthropic.com/en/api/messages
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from callmeter.client.codecs.anthropic_messages import conversation
from callmeter.client.codecs.headers import bearer, lowered
from callmeter.client.codecs.messages import JSON, as_dict, encode_body
from callmeter.client.codecs.schemas import Wanted, closed, wanted
from callmeter.errors import BadRequestError
from callmeter.types import Call, Deployment
from callmeter.wire import WireRequest

VERSION = "2023-06-01"
OAUTH_BETA = "oauth-2025-04-20"
"""Needed where the credential is an OAuth token. Source: anthropic-sdk-python, `lib/credentials`."""

DEFAULT_MAX_TOKENS = 4096
"""`max_tokens` is required there and optional here; models that stop at less say so in a quirk."""

MIN_BUDGET = 1024
BUDGETS = {"minimal": 1024, "low": 1024, "medium": 2048, "high": 4096, "xhigh": 8192, "max": 16384}
"""Thinking tokens for models that take a budget and no effort; 1024 is the least they take."""

EFFORTS = {"minimal": "low"}
"""Words of `reasoning_effort` that Anthropic says otherwise."""

TIERS = {"default": "standard_only", "priority": "auto"}
"""`auto` uses bought priority capacity where there is some. Source: https://docs.anthropic.com/en/api/service-tiers"""

SEARCHES = {"low": 1, "medium": 5, "high": 10}
"""Searches allowed for each `search_context_size`: Anthropic bounds their number, not their text."""

JSON_TOOL = "json_tool_call"
"""The tool whose input is the answer, where the model cannot be held to a schema otherwise."""

JSON_TOOL_SAYS = "Give the final answer by calling this tool: its input is the JSON that was asked for."

WITHOUT_SCHEMAS = re.compile(r"claude-(2|3|instant|v2)|claude-(opus|sonnet)-4(@|-[01](?!\d)|-20\d{6}|$)")
"""Models that refuse `output_config.format`.

Source: https://docs.anthropic.com/en/docs/build-with-claude/structured-outputs
"""

WITHOUT_ADAPTIVE = re.compile(r"claude-(2|3|instant|v2)|claude-(opus|sonnet|haiku)-4(@|-[015](?!\d)|-20\d{6}|$)")
"""Models that take a thinking budget and no effort.

Source: https://docs.anthropic.com/en/docs/build-with-claude/adaptive-thinking
"""

TRANSLATED = frozenset(
    {"max_tokens", "max_completion_tokens", "temperature", "top_p", "stop", "stream", "stream_options", "user"}
    | {"safety_identifier", "tools", "tool_choice", "parallel_tool_calls", "response_format", "reasoning_effort"}
    | {"thinking", "service_tier", "web_search_options"}
)
"""Parameters this wire can carry. Any other that gets here was allowed by the caller and passes as it is."""


def request(call: Call, deployment: Deployment) -> WireRequest:
    """The call as one POST. Raises `BadRequestError` for what Anthropic has no words for."""
    body, betas = request_body(call, deployment)
    return WireRequest(
        url=endpoint(deployment.api_base),
        body=encode_body(body),
        headers=_headers(call, deployment, betas),
        timeouts=call.timeouts,
    )


def endpoint(api_base: str) -> str:
    """The address of Messages under a base given with or without its version."""
    base = api_base.rstrip("/")
    if base.endswith("/messages"):
        return base
    return base + ("/messages" if base.endswith("/v1") else "/v1/messages")


def request_body(call: Call, deployment: Deployment) -> tuple[JSON, tuple[str, ...]]:
    """The body and the beta features it takes. What the caller passed beside OpenAI's parameters has the last word."""
    talk, params = conversation(call.messages), call.params
    max_tokens, thought = _room({**call.extra, **params}, deployment)
    body: JSON = {"model": deployment.model, "max_tokens": max_tokens, "messages": talk.messages}
    if talk.system is not None:
        body["system"] = talk.system
    if call.stream:
        body["stream"] = True
    body |= _settings(params) | thought
    want = wanted(params.get("response_format"))
    by_tool = want is not None and answers_by_tool(want, deployment)
    body |= _tools(params, want if by_tool else None, thought)
    if want is not None and not by_tool:
        _merge(body, {"output_config": {"format": {"type": "json_schema", "schema": closed(want.schema)}}})
    _merge(body, {name: value for name, value in params.items() if name not in TRANSLATED})
    _merge(body, {name: value for name, value in call.extra.items() if name != "extra_body"})
    _merge(body, call.extra.get("extra_body") or {})
    return body, talk.betas


def _merge(body: JSON, more: Mapping[str, Any]) -> None:
    """Add members; `output_config` and `metadata` have several authors, so objects are merged."""
    for name, value in more.items():
        before = body.get(name)
        body[name] = {**before, **value} if isinstance(before, dict) and isinstance(value, dict) else value


def _headers(call: Call, deployment: Deployment, betas: Iterable[str]) -> dict[str, str]:
    headers = {"content-type": "application/json", "anthropic-version": VERSION}
    if deployment.api_key:
        key = deployment.api_key.reveal()
        oauth = key.startswith("sk-ant-oat")
        token = oauth or deployment.quirks.get("auth") == "bearer"
        headers |= bearer(deployment) if token else {"x-api-key": key}
        betas = [*betas, *[OAUTH_BETA] * oauth]
    return with_betas(headers, betas, call, deployment)


def with_betas(headers: dict[str, str], betas: Iterable[str], call: Call, deployment: Deployment) -> dict[str, str]:
    """A wire's own headers with those of the deployment and of the call. Betas add up, whoever names them."""
    found, named = dict(headers), list(betas)
    for given in (deployment.headers, call.headers):
        more = lowered(given)
        named += [beta.strip() for beta in more.pop("anthropic-beta", "").split(",")]
        found |= more
    if wanted := [beta for beta in dict.fromkeys(named) if beta]:
        found["anthropic-beta"] = ",".join(wanted)
    return found


def _settings(params: Mapping[str, Any]) -> JSON:
    """Parameters that change their name or range only."""
    found: JSON = {}
    if (temperature := params.get("temperature")) is not None:
        found["temperature"] = min(temperature, 1) if isinstance(temperature, int | float) else temperature
    if params.get("top_p") is not None:
        found["top_p"] = params["top_p"]
    if stop := _stop_sequences(params.get("stop")):
        found["stop_sequences"] = stop
    if user := params.get("safety_identifier") or params.get("user"):
        found["metadata"] = {"user_id": user}
    if tier := params.get("service_tier"):
        found["service_tier"] = TIERS.get(tier, tier)
    return found


def _stop_sequences(stop: Any) -> list[str]:
    """White space alone is refused as a stop sequence, so it is left out."""
    given = [stop] if isinstance(stop, str) else list(stop or ())
    return [text for text in given if not isinstance(text, str) or text.strip()]


def _room(given: Mapping[str, Any], deployment: Deployment) -> tuple[int, JSON]:
    """`max_tokens`, and the members that ask for thinking: a budget must fit within the former."""
    asked = next((given[k] for k in ("max_completion_tokens", "max_tokens") if given.get(k) is not None), None)
    thought = thinking(given, deployment, asked)
    budget = thought.get("thinking", {}).get("budget_tokens") or 0
    default = deployment.quirks.get("max_output_tokens") or DEFAULT_MAX_TOKENS + budget
    return (default if asked is None else asked), thought


def thinking(given: Mapping[str, Any], deployment: Deployment, max_tokens: int | None) -> JSON:
    """The members that ask for thinking, by `thinking` or `reasoning_effort`; a budget fits within `max_tokens`."""
    effort = given.get("reasoning_effort")
    budgets = _lacks(deployment, "adaptive_thinking", WITHOUT_ADAPTIVE)
    if given.get("thinking") is not None:
        chosen: JSON = {"thinking": as_dict(given["thinking"], "thinking")}
    elif effort in (None, "default"):
        return {}
    elif budgets:
        return _budget(effort, max_tokens)
    else:
        chosen = {"thinking": {"type": "disabled" if effort == "none" else "adaptive"}}
    if not budgets and effort not in (None, "default", "none"):
        chosen["output_config"] = {"effort": EFFORTS.get(effort, effort)}
    return chosen


def _budget(effort: str, max_tokens: int | None) -> JSON:
    """Thinking by budget; none where `max_tokens` leaves no room for the least there is."""
    if effort == "none":
        return {}
    if effort not in BUDGETS:
        raise BadRequestError(f"reasoning_effort {effort!r} is not known: use one of {', '.join(BUDGETS)} or none.")
    budget = BUDGETS[effort] if max_tokens is None else min(BUDGETS[effort], max_tokens - 1)
    return {"thinking": {"type": "enabled", "budget_tokens": budget}} if budget >= MIN_BUDGET else {}


def _lacks(deployment: Deployment, feature: str, models: re.Pattern[str]) -> bool:
    """Whether the model lacks a feature: by the deployment's quirk of that name, else by the model's."""
    told = deployment.quirks.get(feature)
    return not told if told is not None else models.search(deployment.model) is not None


def answers_by_tool(want: Wanted, deployment: Deployment) -> bool:
    """Whether the JSON that is wanted takes a forced tool, whose input is then the answer."""
    return want.form == "json_object" or _lacks(deployment, "json_schema", WITHOUT_SCHEMAS)


def _tools(params: Mapping[str, Any], answer: Wanted | None, thinking: JSON) -> JSON:
    """Tools and the choice among them; `answer` is the JSON that one more tool is to bring."""
    tools = [_tool(as_dict(tool, f"tools[{n}]"), n) for n, tool in enumerate(params.get("tools") or ())]
    choice = _choice(params.get("tool_choice"))
    if answer is not None:
        choice = _forced(choice, bool(tools), thinking.get("thinking", {}).get("type") in ("enabled", "adaptive"))
        tools.append(_json_tool(answer))
    if params.get("web_search_options") is not None:
        tools.append(_web_search(as_dict(params["web_search_options"], "web_search_options")))
    if params.get("parallel_tool_calls") is False and tools and choice != {"type": "none"}:
        choice = {**(choice or {"type": "auto"}), "disable_parallel_tool_use": True}
    return ({"tools": tools} if tools else {}) | ({"tool_choice": choice} if choice else {})


def _tool(tool: JSON, n: int) -> JSON:
    """A function as a tool; Anthropic's own tools, which have no `function`, pass as they are."""
    if tool.get("function") is None:
        if "name" in tool:
            return tool
        raise BadRequestError(
            f"tools[{n}] is of type {tool.get('type')!r}: Anthropic takes functions and its own tools."
        )
    function = as_dict(tool["function"], f"tools[{n}].function")
    schema = {"type": "object", "properties": {}} | (function.get("parameters") or {})
    kept = {key: function[key] for key in ("name", "description") if function.get(key) is not None}
    more = {key: function[key] for key in ("strict", "cache_control") if function.get(key) is not None}
    beside = {key: value for key, value in tool.items() if key not in ("type", "function")}
    return kept | {"input_schema": schema} | more | beside


def _choice(given: Any) -> JSON | None:
    match given:
        case None:
            return None
        case "required":
            return {"type": "any"}
        case "auto" | "none" | "any":
            return {"type": given}
        case {"type": "function", "function": {"name": str(name)}}:
            return {"type": "tool", "name": name}
        case {"type": "auto" | "any" | "none" | "tool"}:
            return dict(given)
    raise BadRequestError(
        f"tool_choice {str(given)[:200]} has no equivalent at Anthropic: use auto, none, required or a function's name."
    )


def _forced(choice: JSON | None, others: bool, thinking: bool) -> JSON:
    """The choice that brings the answer through its tool, leaving the caller's own tools callable."""
    if thinking:
        # With thinking on a forced tool is refused; the tool's description has to do.
        return {"type": "auto"}
    if choice and choice["type"] == "tool":
        return choice
    return {"type": "any"} if others and choice != {"type": "none"} else {"type": "tool", "name": JSON_TOOL}


def _json_tool(answer: Wanted) -> JSON:
    return {
        "name": JSON_TOOL,
        "description": JSON_TOOL_SAYS,
        "input_schema": {"type": "object"} | answer.schema,
    }


def _web_search(options: JSON) -> JSON:
    tool: JSON = {"type": "web_search_20250305", "name": "web_search"}
    if size := options.get("search_context_size"):
        tool["max_uses"] = SEARCHES.get(size, SEARCHES["medium"])
    if location := options.get("user_location"):
        tool["user_location"] = {"type": "approximate", **(location.get("approximate") or location)}
    native = ("max_uses", "allowed_domains", "blocked_domains")
    return tool | {key: options[key] for key in native if options.get(key) is not None}
