"""A call as Gemini's request on AI Studio and on Vertex AI: address, headers, body.

Source: https://ai.google.dev/api/generate-content, https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from callmeter.client.codecs.gemini_contents import conversation
from callmeter.client.codecs.gemini_thinking import thinking
from callmeter.client.codecs.gemini_tools import tools
from callmeter.client.codecs.headers import bearer, given
from callmeter.client.codecs.messages import JSON, as_dict, encode_body
from callmeter.client.codecs.schemas import wanted
from callmeter.types import Call, Deployment
from callmeter.wire import WireRequest

RENAMED = {
    "temperature": "temperature",
    "top_p": "topP",
    "seed": "seed",
    "frequency_penalty": "frequencyPenalty",
    "presence_penalty": "presencePenalty",
    "n": "candidateCount",
}
"""Parameters of `generationConfig` that change their name only."""

TRANSLATED = frozenset(
    {*RENAMED, "max_tokens", "max_completion_tokens", "stop", "stream", "stream_options", "user", "logprobs"}
    | {"top_logprobs", "tools", "tool_choice", "parallel_tool_calls", "response_format", "reasoning_effort"}
    | {"thinking", "service_tier", "web_search_options", "modalities", "audio"}
)
"""Parameters this wire can carry; `user` is taken for our own account and not sent, as Gemini has no users.

Any other that gets here was allowed by the caller and passes as it is.
"""

CONFIGURED = frozenset(
    {"topK", "mediaResolution", "responseModalities", "speechConfig", "imageConfig", "thinkingConfig", "stopSequences"}
    | {"candidateCount", "maxOutputTokens", "responseMimeType", "responseSchema", "responseJsonSchema"}
    | {"responseLogprobs", "audioTimestamp", "routingConfig", "modelSelectionConfig", "enableAffectiveDialog"}
)
"""Members of `generationConfig` that a caller may give by name beside OpenAI's parameters."""

TIERS = {"default": "standard", "auto": ""}
"""Tiers that Gemini says otherwise; `auto` leaves the choice to it."""

TIER_HEADER = "x-vertex-ai-llm-shared-request-type"
"""Where Vertex AI wants the tier. Source: https://cloud.google.com/vertex-ai/generative-ai/docs/flex-paygo"""


def request(call: Call, deployment: Deployment) -> WireRequest:
    """The call as one POST. Raises `BadRequestError` for what Gemini has no words for."""
    return WireRequest(
        url=method_url(deployment, "streamGenerateContent?alt=sse" if call.stream else "generateContent"),
        body=encode_body(request_body(call, deployment)),
        headers=headers(call, deployment),
        timeouts=call.timeouts,
    )


def on_vertex(deployment: Deployment) -> bool:
    """Whether this is Vertex AI and not AI Studio."""
    return deployment.provider.startswith("vertex")


def method_url(deployment: Deployment, method: str) -> str:
    """The address of a model's method under an API's base."""
    if not on_vertex(deployment):
        return f"{_studio_base(deployment.api_base)}/{model_path(deployment.model, 'models/')}:{method}"
    return f"{vertex_base(deployment)}/{model_path(deployment.model, 'publishers/google/models/')}:{method}"


def _studio_base(api_base: str) -> str:
    """The address above `models/`: Google's own SDK is told a host alone, ours may have its version."""
    base = api_base.rstrip("/")
    return base if VERSIONED.search(urlsplit(base).path) else base + "/v1beta"


VERSIONED = re.compile(r"/v\d\w*(?:/|$)")


def model_path(model: str, within: str) -> str:
    """A model's resource name: as it is where it has one already (a tuned model, an endpoint), else within this."""
    named = model.startswith(("models/", "tunedModels/", "publishers/", "endpoints/"))
    if model.isdigit():
        return f"endpoints/{model}"  # Vertex AI numbers what is deployed there
    return quote(model if named else within + model, safe="/@:.-_")


def vertex_base(deployment: Deployment) -> str:
    """The address above `publishers/` and `endpoints/`; a bare host is completed from project and location."""
    base, known = deployment.api_base.rstrip("/"), deployment.variables
    path = urlsplit(base).path
    if "/projects/" in path or not known.get("project"):
        return base
    version = "" if VERSIONED.search(path) else "/v1"
    return f"{base}{version}/projects/{known['project']}/locations/{known.get('location', 'global')}"


def headers(call: Call, deployment: Deployment) -> dict[str, str]:
    """A key in a header and never in the address, where logs would show it; on Vertex AI it is an access token."""
    found = {"content-type": "application/json"}
    if deployment.api_key:
        key = deployment.api_key.reveal()
        # An API key of Google's is told by its first letters; Vertex AI takes those in express mode.
        plain = not on_vertex(deployment) or key.startswith(("AIza", "AQ."))
        found |= {"x-goog-api-key": key} if plain else bearer(deployment)
    tier = _tier(call.params)
    if on_vertex(deployment) and tier not in ("", "standard"):
        found[TIER_HEADER] = tier
    return found | given(call, deployment)


def request_body(call: Call, deployment: Deployment) -> JSON:
    """The body. What the caller passed beside OpenAI's parameters has the last word."""
    talk, params = conversation(call.messages, deployment), call.params
    body: JSON = {"contents": talk.contents}
    if talk.system is not None:
        body["systemInstruction"] = talk.system
    body |= tools(call, deployment)
    if config := _config(params, deployment):
        body["generationConfig"] = config
    tier = _tier(params)
    if tier and not on_vertex(deployment):
        body["serviceTier"] = tier
    _merge(body, {name: value for name, value in params.items() if name not in TRANSLATED})
    _merge(body, {name: value for name, value in call.extra.items() if name != "extra_body"})
    _merge(body, call.extra.get("extra_body") or {})
    return body


def _merge(body: JSON, more: Mapping[str, Any]) -> None:
    """Add members under Gemini's spelling, each in its place; objects that are there already are merged."""
    for spelled, value in more.items():
        name = camel(spelled)
        if name in CONFIGURED:
            _put(body.setdefault("generationConfig", {}), name, value)
        elif name == "generationConfig" and isinstance(value, Mapping):
            # Only its own members are respelled: there are schemas below, whose names are the caller's.
            _put(body, name, {camel(key): item for key, item in value.items()})
        else:
            _put(body, name, _camelled(value) if name == "toolConfig" else value)


def _put(into: JSON, name: str, value: Any) -> None:
    before = into.get(name)
    if isinstance(before, dict) and isinstance(value, dict):
        merged = into[name] = dict(before)
        for key, item in value.items():
            _put(merged, key, item)
    else:
        into[name] = value


def _camelled(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {camel(key): _camelled(item) for key, item in value.items()}
    return value


def camel(name: str) -> str:
    """`media_resolution` as `mediaResolution`: both are admitted there, but not of one member."""
    return re.sub(r"_([a-z])", lambda found: found.group(1).upper(), name)


def _tier(params: Mapping[str, Any]) -> str:
    tier = str(params.get("service_tier") or "")
    return TIERS.get(tier, tier)


def _config(params: Mapping[str, Any], deployment: Deployment) -> JSON:
    config: JSON = {theirs: params[ours] for ours, theirs in RENAMED.items() if params.get(ours) is not None}
    most = next((params[k] for k in ("max_completion_tokens", "max_tokens") if params.get(k) is not None), None)
    if most is not None:
        config["maxOutputTokens"] = most
    if stop := params.get("stop"):
        config["stopSequences"] = [stop] if isinstance(stop, str) else list(stop)
    if params.get("logprobs"):
        config["responseLogprobs"] = True
        if params.get("top_logprobs"):
            config["logprobs"] = params["top_logprobs"]
    return config | _form(params) | _modalities(params) | thinking(params, deployment)


def _form(params: Mapping[str, Any]) -> JSON:
    want = wanted(params.get("response_format"))
    if want is None:
        return {}
    schema = {"responseJsonSchema": want.schema} if want.form == "json_schema" else {}
    return {"responseMimeType": "application/json"} | schema


def _modalities(params: Mapping[str, Any]) -> JSON:
    found: JSON = {}
    if params.get("modalities"):
        found["responseModalities"] = [str(modality).upper() for modality in params["modalities"]]
    if params.get("audio") is not None:
        voice = as_dict(params["audio"], "audio").get("voice")
        named = voice.get("id") if isinstance(voice, Mapping) else voice
        if named:
            found["speechConfig"] = {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": named}}}
    return found
