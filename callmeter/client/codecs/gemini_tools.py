"""Tools and the choice among them in Gemini's words.

Source: https://ai.google.dev/gemini-api/docs/function-calling
"""

from collections.abc import Mapping
from typing import Any

from callmeter.client.codecs.messages import JSON, as_dict
from callmeter.errors import BadRequestError, UnsupportedParamsError
from callmeter.types import Call, Deployment

MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY", "any": "ANY"}


def tools(call: Call, deployment: Deployment) -> JSON:
    """`tools` and `toolConfig`. Raises `BadRequestError` for tools and choices Gemini has no words for."""
    params = call.params
    if params.get("parallel_tool_calls") is False and not call.drop_params:
        raise UnsupportedParamsError(
            "Gemini cannot be kept from calling several tools at once: leave parallel_tool_calls=False out, or set "
            "drop_params=True",
            deployment.provider,
            deployment.model,
            param="parallel_tool_calls",
        )
    given = [as_dict(tool, f"tools[{n}]") for n, tool in enumerate(params.get("tools") or ())]
    functions = [_declared(tool) for tool in given if tool.get("function") is not None]
    native = [_native(tool, n) for n, tool in enumerate(given) if tool.get("function") is None]
    found: list[JSON] = [{"functionDeclarations": functions}, *native] if functions else native
    if params.get("web_search_options") is not None:
        found.append({"googleSearch": {}})
    strict = any(_function(tool).get("strict") is True for tool in given if tool.get("function") is not None)
    choice = _choice(params.get("tool_choice"), strict)
    body: JSON = {"tools": found} if found else {}
    return body | ({"toolConfig": {"functionCallingConfig": choice}} if choice and functions else {})


def _function(tool: JSON) -> JSON:
    return as_dict(tool["function"], "tools[].function")


def _declared(tool: JSON) -> JSON:
    function = _function(tool)
    kept = {key: function[key] for key in ("name", "description", "behavior") if function.get(key) is not None}
    schema = function.get("parameters")
    return kept | ({"parametersJsonSchema": schema} if schema else {})


def _native(tool: JSON, n: int) -> JSON:
    """Gemini's own tools, `{"googleSearch": {}}` and the like, pass as they are."""
    if "type" in tool or len(tool) == 0:
        raise BadRequestError(
            f"tools[{n}] is of type {tool.get('type')!r}: Gemini takes functions and its own tools, as in "
            "{'googleSearch': {}}."
        )
    return tool


def _choice(given: Any, strict: bool) -> JSON | None:
    """How functions are called. `VALIDATED` is `AUTO` with arguments held to their schemas."""
    match given:
        case None | "auto" if strict:
            return {"mode": "VALIDATED"}
        case None:
            return None
        case str() if given in MODES:
            return {"mode": MODES[given]}
        case {"type": "function", "function": {"name": str(name)}}:
            return {"mode": "ANY", "allowedFunctionNames": [name]}
        case {"type": "allowed_tools", "allowed_tools": {"mode": str(mode), "tools": list(allowed)}}:
            names = [name for item in allowed if (name := _named(item))]
            return {"mode": "ANY" if mode == "required" else "VALIDATED", "allowedFunctionNames": names}
    raise BadRequestError(
        f"tool_choice {str(given)[:200]} has no equivalent at Gemini: use auto, none, required or a function's name."
    )


def _named(tool: Any) -> str:
    function = tool.get("function") if isinstance(tool, Mapping) else None
    return str(function.get("name") or "") if isinstance(function, Mapping) else ""
