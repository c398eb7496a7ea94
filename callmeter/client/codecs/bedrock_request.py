"""A call as Converse's request: address, headers, body.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import msgspec
from msgspec.structs import replace

from callmeter.client.codecs import anthropic_request
from callmeter.client.codecs.bedrock_messages import conversation
from callmeter.client.codecs.bedrock_models import is_claude, is_nova, model_of, takes_schemas
from callmeter.client.codecs.bedrock_tools import tools
from callmeter.client.codecs.headers import bearer, given
from callmeter.client.codecs.messages import JSON, as_dict, encode_body
from callmeter.client.codecs.schemas import Wanted, closed, wanted
from callmeter.errors import BadRequestError, UnsupportedParamsError
from callmeter.types import Call, Deployment
from callmeter.wire import WireRequest

EVENT_STREAM = "application/vnd.amazon.eventstream"

TRANSLATED = frozenset(
    {"max_tokens", "max_completion_tokens", "temperature", "top_p", "stop", "stream", "stream_options", "user"}
    | {"tools", "tool_choice", "parallel_tool_calls", "response_format", "reasoning_effort", "thinking"}
    | {"service_tier"}
)
"""Parameters this wire can carry; `user` is taken for our own account and not sent, as Bedrock has no users.

Any other that gets here was allowed by the caller and goes to the model as it is.
"""

MEMBERS = frozenset(
    {"inferenceConfig", "toolConfig", "system", "messages", "guardrailConfig"}
    | {"additionalModelResponseFieldPaths", "promptVariables", "requestMetadata", "performanceConfig", "serviceTier"}
    | {"outputConfig", "projectIdentifier"}
)
"""Members of Converse's own request. Whatever else the caller passes goes to the model past Converse."""

EFFORTS = {"minimal": "low", "xhigh": "high", "max": "high"}
"""Words of `reasoning_effort` for models that know low, medium and high."""

QWEN_EFFORTS = {"minimal": "low", "low": "low"}
"""Qwen knows low and high."""


def request(call: Call, deployment: Deployment) -> WireRequest:
    """The call as one POST. Raises `BadRequestError` for what Converse has no words for."""
    headers = {"content-type": "application/json", "accept": EVENT_STREAM if call.stream else "application/json"}
    headers |= bearer(deployment) | given(call, deployment)
    betas = _betas(headers) if is_claude(deployment) else {}
    return WireRequest(
        url=model_url(deployment, "converse-stream" if call.stream else "converse"),
        body=encode_body(request_body(call, deployment, betas)),
        headers=headers,
        timeouts=call.timeouts,
    )


def model_url(deployment: Deployment, operation: str) -> str:
    """The address of an operation of the model; names and ARNs are one segment of the path."""
    model = deployment.variables.get("model_id") or deployment.model
    return f"{deployment.api_base.rstrip('/')}/model/{quote(model, safe='')}/{operation}"


def request_body(call: Call, deployment: Deployment, beside: JSON | None = None) -> JSON:
    """The body; `beside` is for the model, past Converse. What the caller passed has the last word."""
    talk, params = conversation(call.messages), call.params
    body: JSON = {"messages": talk.messages} | ({"system": talk.system} if talk.system else {})
    if settings := _settings(params, deployment):
        body["inferenceConfig"] = settings
    thinking = _thinking(call, deployment)
    want = wanted(params.get("response_format"))
    by_tool = want is not None and answers_by_tool(want, deployment)
    offer = tools(
        call,
        deployment,
        talk.called,
        answer=want if by_tool else None,
        thinking=thinking.get("thinking", {}).get("type") in ("enabled", "adaptive"),
    )
    body |= offer.config
    if want is not None and not by_tool:
        body["outputConfig"] = _held_to(want)
    if (tier := params.get("service_tier")) not in (None, "auto"):
        body["serviceTier"] = {"type": tier}
    model = (beside or {}) | thinking | offer.beside
    _merge(model, {name: value for name, value in params.items() if name not in TRANSLATED})
    extra = dict(call.extra)
    more = extra.pop("extra_body", None) or {}
    theirs = extra.pop("additionalModelRequestFields", None) or {}
    _merge(model, _for_the_model(extra, deployment))
    _merge(model, theirs)
    _merge(body, {name: value for name, value in extra.items() if name in MEMBERS})
    body |= {"additionalModelRequestFields": model} if model else {}
    _merge(body, more)
    return body


def answers_by_tool(want: Wanted, deployment: Deployment) -> bool:
    """Whether the JSON that is wanted takes a forced tool, whose input is then the answer."""
    return want.form == "json_object" or not takes_schemas(deployment)


def _merge(body: JSON, more: Mapping[str, Any]) -> None:
    """Add members; several have more than one author, so objects are merged."""
    for name, value in more.items():
        before = body.get(name)
        body[name] = {**before, **value} if isinstance(before, dict) and isinstance(value, dict) else value


def _betas(headers: dict[str, str]) -> JSON:
    """Anthropic's beta features, which Claude is told in the body here; they are taken out of the headers."""
    named = [beta.strip() for beta in headers.pop("anthropic-beta", "").split(",")]
    return {"anthropic_beta": betas} if (betas := [beta for beta in named if beta]) else {}


def _settings(params: Mapping[str, Any], deployment: Deployment) -> JSON:
    """`inferenceConfig`."""
    found: JSON = {}
    if (most := params.get("max_completion_tokens", params.get("max_tokens"))) is not None:
        found["maxTokens"] = most
    if (temperature := params.get("temperature")) is not None:
        found["temperature"] = min(temperature, 1) if isinstance(temperature, int | float) else temperature
    if params.get("top_p") is not None:
        found["topP"] = params["top_p"]
    stop = params.get("stop")
    stops = [stop] if isinstance(stop, str) else list(stop or ())
    # Nothing is refused as a stop sequence, and by Claude white space too.
    if stops := [text for text in stops if (text.strip() if is_claude(deployment) else text)]:
        found["stopSequences"] = stops
    return found


def _thinking(call: Call, deployment: Deployment) -> JSON:
    """What the model is told of thinking, each kind in its makers' words."""
    params, model = {**call.extra, **call.params}, model_of(deployment)
    if is_claude(deployment):
        most = params.get("max_completion_tokens", params.get("max_tokens"))
        return anthropic_request.thinking(params, replace(deployment, model=model), most)
    if params.get("thinking") is not None:
        return {"thinking": as_dict(params["thinking"], "thinking")}
    effort = params.get("reasoning_effort")
    if effort in (None, "default", "none"):
        return {}
    if "openai." in model:
        return {"reasoning_effort": EFFORTS.get(effort, effort)}
    if "qwen" in model:
        return {"reasoning_config": QWEN_EFFORTS.get(effort, "high")}
    if "nova-2" in model:
        return {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": EFFORTS.get(effort, effort)}}
    if call.drop_params:
        return {}
    raise UnsupportedParamsError(
        f"{deployment.model} on Bedrock is not known to take reasoning_effort: leave it out, set drop_params=True, or "
        "pass the model's own parameter",
        deployment.provider,
        deployment.model,
        param="reasoning_effort",
    )


def _held_to(want: Wanted) -> JSON:
    """`outputConfig` that holds the answer to a schema, which is JSON within JSON here."""
    try:
        schema = msgspec.json.encode(closed(want.schema)).decode()
    except (TypeError, ValueError, RecursionError) as error:
        raise BadRequestError(f"The schema of response_format cannot be written as JSON: {error}") from None
    named = {"name": want.name} if want.name else {}
    return {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": {"schema": schema, **named}}}}


def _for_the_model(extra: Mapping[str, Any], deployment: Deployment) -> JSON:
    """What the caller passed for the model alone; Nova has `top_k` in an object of its own."""
    found = {name: value for name, value in extra.items() if name not in MEMBERS and name != "thinking"}
    if "top_k" in found and is_nova(deployment):
        _merge(found, {"inferenceConfig": {"topK": found.pop("top_k")}})
    return found
