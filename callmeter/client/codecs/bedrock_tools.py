"""Tools and the choice among them in Converse's words.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ToolConfiguration.html
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from callmeter.client.codecs.anthropic_request import JSON_TOOL, JSON_TOOL_SAYS
from callmeter.client.codecs.bedrock_messages import point
from callmeter.client.codecs.bedrock_models import can_be_forced, is_claude, takes_schemas
from callmeter.client.codecs.messages import JSON, as_dict
from callmeter.client.codecs.schemas import Wanted
from callmeter.errors import BadRequestError, UnsupportedParamsError
from callmeter.types import Call, Deployment

NATIVE = frozenset({"toolSpec", "systemTool", "cachePoint"})
"""Converse's own tools, told by the one member they have: they pass as they are."""


class Tools(NamedTuple):
    """What goes into the body, and what Claude is told beside it."""

    config: JSON
    """`toolConfig`, or nothing."""
    beside: JSON
    """For `additionalModelRequestFields`."""


class Choice(NamedTuple):
    """Which tools there are to choose from, and whether one must be called."""

    forced: JSON | None = None
    """`toolChoice`; None leaves it to the model, as all models do without it."""
    among: Sequence[str] | None = None
    """Names of the tools that may be called; None: all, empty: none."""

    @property
    def some(self) -> bool:
        """Whether any tool may be called."""
        return self.among is None or bool(self.among)


def tools(call: Call, deployment: Deployment, called: Sequence[str], *, answer: Wanted | None, thinking: bool) -> Tools:
    """Tools, the choice, and the one more that is to bring the `answer`.

    `called` are the tools of earlier answers: a conversation that has such must have tools too, whatever this call
    wants. Raises `BadRequestError` for tools and choices that Bedrock has no words for.
    """
    given = [as_dict(tool, f"tools[{n}]") for n, tool in enumerate(call.params.get("tools") or ())]
    choice = _choice(call.params.get("tool_choice"))
    functions = [tool for tool in given if _is_function(tool)]
    offered = [tool for tool in functions if choice.among is None or _name(tool) in choice.among]
    specs = [spec for tool in offered for spec in _spec(tool, deployment)]
    specs += [tool for tool in given if not NATIVE.isdisjoint(tool) and choice.some]
    theirs = [_claude_s(tool, n, deployment) for n, tool in enumerate(given) if _is_other(tool) and choice.some]
    forced = choice.forced
    if answer is not None:
        forced = _to_bring(forced, others=bool(specs), thinking=thinking, deployment=deployment)
        specs.append(_json_tool(answer))
    if not specs and called:
        specs = [spec for tool in functions for spec in _spec(tool, deployment)] or [_stub(name) for name in called]
    config = {"tools": specs} | ({"toolChoice": forced} if forced else {}) if specs else {}
    beside = _one_at_a_time(call, deployment, forced) if specs else {}
    return Tools({"toolConfig": config} if config else {}, beside | ({"tools": theirs} if theirs else {}))


def _is_function(tool: JSON) -> bool:
    return tool.get("function") is not None


def _is_other(tool: JSON) -> bool:
    return not _is_function(tool) and NATIVE.isdisjoint(tool)


def _name(tool: JSON) -> str:
    return str(as_dict(tool["function"], "tools[].function").get("name") or "")


def _spec(tool: JSON, deployment: Deployment) -> list[JSON]:
    function = as_dict(tool["function"], "tools[].function")
    schema = {"type": "object", "properties": {}} | (function.get("parameters") or {})
    spec: JSON = {"name": function.get("name"), "inputSchema": {"json": schema}}
    if function.get("description"):
        spec["description"] = function["description"]
    if function.get("strict") and takes_schemas(deployment):
        spec["strict"] = True
    return [{"toolSpec": spec}, *point(tool.get("cache_control") or function.get("cache_control"))]


def _stub(name: str) -> JSON:
    """A tool of which nothing is known but that it was called before."""
    return {"toolSpec": {"name": name, "inputSchema": {"json": {"type": "object", "properties": {}}}}}


def _claude_s(tool: JSON, n: int, deployment: Deployment) -> JSON:
    """A tool of Anthropic's own, such as `bash_20250124`: it goes past Converse to the model."""
    if is_claude(deployment) and "name" in tool and tool.get("type") not in (None, "function", "custom"):
        return tool
    raise BadRequestError(
        f"tools[{n}] is of type {tool.get('type')!r}: Bedrock takes functions, its own tools, as in "
        "{'systemTool': {'name': …}}, and for Claude those of Anthropic."
    )


def _choice(given: Any) -> Choice:
    match given:
        case None | "auto":
            return Choice()
        case "none":
            return Choice(among=())
        case "required" | "any":
            return Choice({"any": {}})
        case {"type": "function", "function": {"name": str(name)}}:
            return Choice({"tool": {"name": name}})
        case {"type": "allowed_tools", "allowed_tools": {"mode": str(mode), "tools": list(allowed)}}:
            names = [_name(tool) for tool in allowed if isinstance(tool, dict) and _is_function(tool)]
            return Choice({"any": {}} if mode == "required" else None, names)
    raise BadRequestError(
        f"tool_choice {str(given)[:200]} has no equivalent at Bedrock: use auto, none, required or a function's name."
    )


def _to_bring(forced: JSON | None, *, others: bool, thinking: bool, deployment: Deployment) -> JSON | None:
    """The choice that brings the answer through its tool, leaving the caller's own tools callable."""
    if thinking or not can_be_forced(deployment):
        # With thinking on a forced tool is refused; the tool's description has to do.
        return None
    if forced and "tool" in forced:
        return forced
    return {"any": {}} if others else {"tool": {"name": JSON_TOOL}}


def _json_tool(answer: Wanted) -> JSON:
    schema = {"type": "object"} | answer.schema
    return {"toolSpec": {"name": JSON_TOOL, "description": JSON_TOOL_SAYS, "inputSchema": {"json": schema}}}


def _one_at_a_time(call: Call, deployment: Deployment, forced: Mapping[str, Any] | None) -> JSON:
    """`parallel_tool_calls=False`, which Claude alone is told, in its makers' words.

    The type of choice may be said once only: here, where `toolChoice` does not say it.
    """
    if call.params.get("parallel_tool_calls") is not False:
        return {}
    if is_claude(deployment):
        return {"tool_choice": ({} if forced else {"type": "auto"}) | {"disable_parallel_tool_use": True}}
    if call.drop_params:
        return {}
    raise UnsupportedParamsError(
        "only Claude can be kept from calling several tools at once: leave parallel_tool_calls=False out, or set "
        "drop_params=True",
        deployment.provider,
        deployment.model,
        param="parallel_tool_calls",
    )
