"""A chat call as the Responses API says it, and a native call as it stands.

Source: https://platform.openai.com/docs/api-reference/responses/create
"""

from collections.abc import Mapping
from typing import Any

from callmeter.client.codecs.messages import JSON, as_dict
from callmeter.client.codecs.responses_input import items
from callmeter.client.codecs.schemas import closed, wanted
from callmeter.errors import BadRequestError
from callmeter.types import Call, Deployment

SAME = frozenset(
    {"metadata", "parallel_tool_calls", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention"}
    | {"safety_identifier", "service_tier", "store", "temperature", "top_logprobs", "top_p", "user"}
)

TRANSLATED = SAME | {
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "reasoning_effort",
    "response_format",
    "stream",
    "stream_options",
    "tool_choice",
    "tools",
    "verbosity",
    "web_search_options",
}
"""Parameters of chat that this wire can carry; any other that gets here was allowed by the caller and passes."""

LOGPROBS = "message.output_text.logprobs"
ENCRYPTED = "reasoning.encrypted_content"


def body(call: Call, deployment: Deployment) -> JSON:
    """The body. Raises `BadRequestError` for messages, tools or formats that the API has no words for."""
    return _native(call, deployment) if call.operation == "responses" else _bridged(call, deployment)


def _native(call: Call, deployment: Deployment) -> JSON:
    """The caller speaks this API: everything passes, a pydantic class becomes the format it stands for."""
    said: JSON = {"model": deployment.model, **call.params, **call.extra}
    if call.messages and "input" not in said:
        said["input"] = items(call.messages)
    form = said.pop("text_format", None)
    if form is not None:
        said["text"] = {**(said.get("text") or {}), "format": _format(form)}
    more = said.pop("extra_body", None) or {}
    return _streamed(said, call) | more


def _bridged(call: Call, deployment: Deployment) -> JSON:
    params = call.params
    said: JSON = {"model": deployment.model, "input": items(call.messages)}
    said |= {name: params[name] for name in SAME if params.get(name) is not None}
    # Chat keeps nothing unless told to; this API keeps everything unless told not to.
    said.setdefault("store", False)
    most = params.get("max_completion_tokens") or params.get("max_tokens")
    if most is not None:
        said["max_output_tokens"] = most
    said |= _reasoning(params.get("reasoning_effort")) | _text(params) | _tools(params)
    include = [LOGPROBS] if params.get("logprobs") else []
    if "reasoning" in said and not said["store"]:
        # What is not kept there must come back whole, to be sent again.
        include.append(ENCRYPTED)
    if include:
        said["include"] = include
    said |= {name: value for name, value in params.items() if name not in TRANSLATED}
    extra = dict(call.extra)
    more = extra.pop("extra_body", None) or {}
    if "stream_options" in params:
        said["stream_options"] = params["stream_options"]
    return _streamed({**said, **extra}, call) | more


def _streamed(said: JSON, call: Call) -> JSON:
    """Streaming said. Usage comes at the end of every stream here, so it cannot be asked for."""
    options = {k: v for k, v in (said.pop("stream_options", None) or {}).items() if k != "include_usage"}
    said.pop("stream", None)
    if call.stream:
        said["stream"] = True
        if options:
            said["stream_options"] = options
    return said


def _reasoning(effort: Any) -> JSON:
    if effort is None or effort == "default":
        return {}
    return {"reasoning": {"effort": effort} if isinstance(effort, str) else as_dict(effort, "reasoning_effort")}


def _text(params: Mapping[str, Any]) -> JSON:
    text: JSON = {}
    if params.get("response_format") is not None:
        text["format"] = _format(params["response_format"])
    if params.get("verbosity") is not None:
        text["verbosity"] = params["verbosity"]
    return {"text": text} if text else {}


def _format(given: Any) -> JSON:
    """A response format: a pydantic class strictly, chat's objects without their inner box."""
    if isinstance(given, Mapping) and given.get("type") == "json_schema" and "json_schema" not in given:
        return dict(given)
    want = wanted(given)
    if want is None:
        return {"type": "text"}
    if want.form == "json_object":
        return {"type": "json_object"}
    if hasattr(given, "model_json_schema"):
        return {"type": "json_schema", "name": want.name, "schema": closed(want.schema), "strict": True}
    inner = dict(as_dict(given, "response_format")["json_schema"])
    return {"type": "json_schema", **inner}


def _tools(params: Mapping[str, Any]) -> JSON:
    tools = [_tool(as_dict(tool, f"tools[{n}]"), n) for n, tool in enumerate(params.get("tools") or ())]
    options = params.get("web_search_options")
    if options is not None:
        tools.append(_web_search(as_dict(options, "web_search_options")))
    said: JSON = {"tools": tools} if tools else {}
    if params.get("tool_choice") is not None:
        said["tool_choice"] = _choice(params["tool_choice"])
    return said


def _tool(tool: JSON, n: int) -> JSON:
    """A tool without its inner box. What chat leaves open is strict here, so that is said."""
    match tool.get("type", "function"):
        case "function" if "function" in tool:
            function = as_dict(tool["function"], f"tools[{n}].function")
            strict = {"strict": bool(function.get("strict")), "parameters": function.get("parameters")}
            return {"type": "function", **function, **strict}
        case "custom" if "custom" in tool:
            custom = dict(as_dict(tool["custom"], f"tools[{n}].custom"))
            form = custom.get("format")
            if isinstance(form, Mapping) and "grammar" in form:
                custom["format"] = {"type": "grammar", **form["grammar"]}
            return {"type": "custom", **custom}
    if "type" not in tool:
        raise BadRequestError(f"tools[{n}] has no type: write function, custom or one of the API's own tools.")
    return tool


def _web_search(options: JSON) -> JSON:
    tool: JSON = {"type": "web_search"}
    if size := options.get("search_context_size"):
        tool["search_context_size"] = size
    if location := options.get("user_location"):
        tool["user_location"] = {"type": "approximate", **(location.get("approximate") or location)}
    return tool


def _choice(given: Any) -> Any:
    match given:
        case {"type": "function", "function": {"name": str(name)}}:
            return {"type": "function", "name": name}
        case {"type": "custom", "custom": {"name": str(name)}}:
            return {"type": "custom", "name": name}
        case {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}}:
            return {"type": "allowed_tools", "mode": mode, "tools": [_choice(tool) for tool in tools]}
    return given
