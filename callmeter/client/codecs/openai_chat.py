"""OpenAI's chat completions, the format callmeter itself speaks: most providers are a row over this codec.

A provider's deviations are data, in its row's `quirks`:

    rename              {our parameter: its name}
    no_stream_options   True where `stream_options` is refused
    unlimited_stop      True where `stop` may have more than four entries
    echo                names of message keys that are sent back although OpenAI refuses them (`reasoning_details`, …)
    usage               {field of `Usage`, or a line of its `units`: dotted path in the usage object}
    free_cache          True where `prompt_tokens` leaves cache reads out, which cost nothing
    values              {parameter: {our value: its value}}
    lacks               names of parameters it refuses (read where parameters are admitted)
    unsent              names of parameters that are for our own account alone, where the provider refuses them
    body                fields that go into every body
    plain_content       True where a message's content must be a string
    flat_schema         True where a JSON schema stands in `response_format.schema`
    model_prefix        what comes before a model's short name
    path                the endpoint's path, where it is not `/chat/completions`
    dedicated_path      the path at an `api_base` of the caller's own that ends without `/v1` or `/openai`
    duration_in_verbose_json   True where a transcription's seconds are in that format alone
    key_header          the header that holds the bare key, where it is not `Authorization: Bearer`

Source: https://platform.openai.com/docs/api-reference/chat
"""

from collections.abc import Mapping
from typing import Any

from callmeter.client.codecs import openai_answer
from callmeter.client.codecs.base import Answer, Framing, StreamDecoder
from callmeter.client.codecs.headers import bearer, given
from callmeter.client.codecs.messages import JSON, as_dict, encode_body
from callmeter.client.codecs.openai_stream import OpenAIChatDecoder
from callmeter.client.codecs.schemas import closed, wanted
from callmeter.client.failures import failure_at
from callmeter.client.params import OPENAI_CHAT_PARAMS
from callmeter.errors import APIError, BadRequestError
from callmeter.types import Call, Deployment
from callmeter.wire import WireReply, WireRequest

MAX_STOPS = 4
"""Longer lists are refused. Source: https://platform.openai.com/docs/api-reference/chat/create#chat-create-stop"""

REFUSED_IN_MESSAGES = frozenset(
    {
        "annotations",
        "cache_control",
        "images",
        "provider_specific_fields",
        "reasoning",
        "reasoning_content",
        "reasoning_details",
        "thinking_blocks",
    }
)
"""Keys that an answer of ours or of another provider may carry and that OpenAI refuses when it is sent back."""


class OpenAIChat:
    """`POST {api_base}/chat/completions`."""

    framing: Framing = "sse"
    supported: frozenset[str] = OPENAI_CHAT_PARAMS - {"thinking"}

    def request(self, call: Call, deployment: Deployment) -> WireRequest:
        """The call as one POST. Raises `BadRequestError` for a message or format that is no JSON object."""
        return WireRequest(
            url=self.url(deployment),
            body=encode_body(self.body(call, deployment)),
            headers=request_headers(call, deployment),
            timeouts=call.timeouts,
        )

    def url(self, deployment: Deployment) -> str:
        """The address of chat at this deployment."""
        return endpoint(deployment)

    def body(self, call: Call, deployment: Deployment) -> JSON:
        """The body before it is encoded."""
        return _body(call, deployment)

    def response(self, reply: WireReply, call: Call, deployment: Deployment) -> Answer:
        """A whole answer. Raises `APIResponseValidationError`, or the error an answer of 200 hides."""
        return openai_answer.answer(reply.body, call, deployment)

    def decoder(self, call: Call, deployment: Deployment) -> StreamDecoder:
        """A fresh decoder for one stream."""
        return OpenAIChatDecoder(call, deployment)

    def failure(self, status: int, headers: Mapping[str, str], body: bytes, deployment: Deployment) -> APIError:
        """The error that a non-2xx answer stands for."""
        return failure_at(status, headers, body, deployment)


CODEC = OpenAIChat()


def endpoint(deployment: Deployment) -> str:
    """The address of chat: under the base, or the base itself where it names the endpoint already."""
    base = deployment.api_base.rstrip("/")
    return base if base.endswith("/chat/completions") else base + chat_path(deployment)


def chat_path(deployment: Deployment) -> str:
    """What comes after a base that names no operation."""
    quirks = deployment.quirks
    dedicated = "dedicated_path" in quirks and not deployment.api_base.rstrip("/").endswith(("/v1", "/openai"))
    path: str = quirks["dedicated_path"] if dedicated else quirks.get("path", "/chat/completions")
    return path


OPERATIONS = (
    *("/chat/completions", "/completions", "/responses", "/embeddings", "/images/generations", "/moderations"),
    *("/audio/transcriptions", "/audio/speech", "/rerank"),
)
"""Ends of addresses that name an operation."""


def without_operation(path: str) -> str:
    """A base's path without the operation that it names, if it names one."""
    path = path.rstrip("/")
    return next((path.removesuffix(known) for known in OPERATIONS if path.endswith(known)), path)


def model_name(deployment: Deployment) -> str:
    """The model as the provider spells it in a body."""
    prefix = deployment.quirks.get("model_prefix", "")
    return deployment.model if "/" in deployment.model else prefix + deployment.model


def _body(call: Call, deployment: Deployment) -> JSON:
    quirks = deployment.quirks
    refused = REFUSED_IN_MESSAGES.difference(quirks.get("echo", ()))
    body: JSON = {
        **quirks.get("body", {}),
        "model": model_name(deployment),
        "messages": [_message(message, n, refused) for n, message in enumerate(call.messages)],
        **call.params,
    }
    _shape(body, quirks)
    if call.stream:
        body["stream"] = True
        body["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
    if not call.stream or quirks.get("no_stream_options"):
        body.pop("stream_options", None)
    if quirks:
        _deviate(body, quirks)
    return with_extra(body, call)


def with_extra(body: JSON, call: Call) -> JSON:
    """A body with what the caller gave beyond OpenAI's parameters; what stands in `extra_body` wins."""
    extra = dict(call.extra)
    more = extra.pop("extra_body", None) or {}
    return {**body, **extra, **more}


def _deviate(body: JSON, quirks: Mapping[str, Any]) -> None:
    """What this provider spells otherwise, or knows nothing of."""
    for name in quirks.get("unsent", ()):
        body.pop(name, None)
    for name, values in quirks.get("values", {}).items():
        if isinstance(body.get(name), str):
            body[name] = values.get(body[name], body[name])
    if quirks.get("plain_content"):
        body["messages"] = [_with_plain_content(message, n) for n, message in enumerate(body["messages"])]
    if quirks.get("flat_schema") and isinstance(form := body.get("response_format"), dict) and "json_schema" in form:
        body["response_format"] = {"type": "json_schema", "schema": form["json_schema"].get("schema")}
    for ours, theirs in quirks.get("rename", {}).items():
        if ours in body:
            body[theirs] = body.pop(ours)


def _with_plain_content(message: JSON, position: int) -> JSON:
    content = message.get("content")
    if not isinstance(content, list):
        return message
    if any(not isinstance(part, dict) or part.get("type") != "text" for part in content):
        raise BadRequestError(f"messages[{position}] has parts that are not text: this provider takes plain text only")
    return {**message, "content": "".join(part.get("text") or "" for part in content)}


def _shape(body: JSON, quirks: Mapping[str, Any]) -> None:
    """What OpenAI takes in one form only."""
    stop = body.get("stop")
    if isinstance(stop, list | tuple) and len(stop) > MAX_STOPS and not quirks.get("unlimited_stop"):
        body["stop"] = stop[:MAX_STOPS]
    if hasattr(body.get("response_format"), "model_json_schema"):
        want = wanted(body["response_format"])
        assert want is not None
        body["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": want.name, "schema": closed(want.schema), "strict": True},
        }


def _message(message: Any, position: int, refused: frozenset[str]) -> JSON:
    plain = as_dict(message, f"messages[{position}]")
    if not refused.isdisjoint(plain):
        plain = {key: value for key, value in plain.items() if key not in refused}
    if "cache_control" in refused and isinstance(plain.get("content"), list):
        plain = {**plain, "content": [_without_cache_control(part) for part in plain["content"]]}
    if "provider_specific_fields" in refused and plain.get("tool_calls"):
        plain = {**plain, "tool_calls": [_without_notes(call) for call in plain["tool_calls"]]}
    audio = plain.get("audio")
    if isinstance(audio, dict) and "data" in audio:
        # An answer's audio is sent back by its id. Source: https://platform.openai.com/docs/guides/audio
        plain = {**plain, "audio": {"id": audio.get("id")}}
    return plain


def _without_cache_control(part: Any) -> Any:
    if isinstance(part, dict) and "cache_control" in part:
        return {key: value for key, value in part.items() if key != "cache_control"}
    return part


def _without_notes(call: Any) -> Any:
    """A tool call without what only the provider that made it can read, such as Gemini's signature."""
    noted = as_dict(call, "A tool call")
    return {key: value for key, value in noted.items() if key not in ("provider_specific_fields", "extra_content")}


def request_headers(call: Call, deployment: Deployment, accept: str = "application/json") -> dict[str, str]:
    """The headers of a request with a JSON body."""
    accept = "text/event-stream" if call.stream else accept
    return {
        "content-type": "application/json",
        "accept": accept,
        **authorization(deployment),
        **given(call, deployment),
    }


def authorization(deployment: Deployment) -> dict[str, str]:
    """The header with the deployment's key, if it has one."""
    name = deployment.quirks.get("key_header")
    if name and deployment.api_key:
        return {name: deployment.api_key.reveal()}
    return bearer(deployment)
