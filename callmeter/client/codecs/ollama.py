"""Ollama's native chat. Requests are written here, streams and answers read in `ollama_answer`.

Source: https://docs.ollama.com/api
"""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from callmeter.client.codecs.base import Answer, Framing
from callmeter.client.codecs.headers import bearer, given
from callmeter.client.codecs.messages import JSON, data_url, encode_body, parts, plain_messages, refuse, tool_calls
from callmeter.client.codecs.ollama_answer import OllamaDecoder, answer
from callmeter.client.codecs.schemas import wanted
from callmeter.client.failures import failure_at
from callmeter.errors import APIError, BadRequestError
from callmeter.types import Call, Deployment
from callmeter.wire import WireReply, WireRequest

OPTIONS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "seed": "seed",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "max_tokens": "num_predict",
    "max_completion_tokens": "num_predict",
}
"""OpenAI's parameters that are model options here, by their names there."""

NATIVE_OPTIONS = frozenset(
    {"num_ctx", "num_keep", "num_batch", "num_gpu", "main_gpu", "num_thread", "num_predict", "use_mmap"}
    | {"top_k", "min_p", "typical_p", "repeat_last_n", "repeat_penalty", "draft_num_predict"}
)
"""Options OpenAI has no word for. Source: ollama/ollama, `api/types.go`, Options and Runner."""

TRANSLATED = frozenset(
    {*OPTIONS, "stop", "stream", "stream_options", "response_format", "reasoning_effort", "tools"}
    | {"logprobs", "top_logprobs", "user"}
)
"""Parameters this wire can carry; `user` is taken for our own account and not sent, as Ollama has no users.

Any other that gets here was allowed by the caller and passes as it is.
"""

THINK = {"none": False, "minimal": "low", "xhigh": "high", "default": None}
"""Words of `reasoning_effort` that Ollama says otherwise; None leaves it to the model."""


class Ollama:
    """The wire of `/api/chat`, local or at ollama.com."""

    framing: Framing = "ndjson"
    supported = TRANSLATED

    def request(self, call: Call, deployment: Deployment) -> WireRequest:
        """The call as one POST. Raises `BadRequestError` for parts Ollama cannot take, image addresses above all."""
        return WireRequest(
            url=endpoint(deployment.api_base, "chat"),
            body=encode_body(request_body(call, deployment)),
            headers={"content-type": "application/json", **bearer(deployment), **given(call, deployment)},
            timeouts=call.timeouts,
        )

    def response(self, reply: WireReply, call: Call, deployment: Deployment) -> Answer:
        """A whole answer. Raises `APIResponseValidationError`, or the error an answer of 200 hides."""
        return answer(reply.body, call, deployment)

    def decoder(self, call: Call, deployment: Deployment) -> OllamaDecoder:
        """A fresh decoder for one stream."""
        return OllamaDecoder(call, deployment)

    def failure(self, status: int, headers: Mapping[str, str], body: bytes, deployment: Deployment) -> APIError:
        """The error that a non-2xx answer stands for."""
        return failure_at(status, headers, body, deployment)


def normalise_host(text: str) -> str:
    """`OLLAMA_HOST` in any form its own server takes, as a base address.

    `0.0.0.0` and `[::]`, where a server listens on all interfaces, mean this host to a client. The port defaults to
    11434, or to the scheme's where one is written. Source: ollama/ollama, `envconfig/config.go`, Host.
    """
    text = text.strip().strip("\"'")
    if text.count(":") > 1 and "[" not in text and "://" not in text:
        text = f"[{text}]"  # a bare IPv6 address
    given = urlsplit(text if "://" in text else f"https://{text}" if text == "ollama.com" else f"//{text}")
    default = {"http": 80, "https": 443}.get(given.scheme, 11434)
    try:
        port = default if given.port is None else given.port
    except ValueError:
        port = default
    host = given.hostname or "localhost"
    host = "localhost" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    netloc = host if given.scheme and port == default else f"{host}:{port}"
    return urlunsplit((given.scheme or "http", netloc, given.path.rstrip("/"), "", ""))


def endpoint(api_base: str, operation: str) -> str:
    """The address of `chat` or `embed` under a base given with or without `/api` or the whole path."""
    base = api_base.rstrip("/").removesuffix("/chat").removesuffix("/embed").removesuffix("/api")
    return f"{base}/api/{operation}"


def request_body(call: Call, deployment: Deployment) -> JSON:
    """The body. Streaming is on there unless told otherwise, so `stream` is always said."""
    params = call.params
    body: JSON = {"model": deployment.model, "messages": _messages(call.messages), "stream": call.stream}
    options = _options(call)
    if options:
        body["options"] = options
    if params.get("tools"):
        body["tools"] = list(params["tools"])
    if (form := _format(params.get("response_format"))) is not None:
        body["format"] = form
    if (think := _think(params.get("reasoning_effort"))) is not None:
        body["think"] = think
    for name in ("logprobs", "top_logprobs"):
        if params.get(name) is not None:
            body[name] = params[name]
    body |= {name: value for name, value in params.items() if name not in TRANSLATED}
    body |= {k: v for k, v in call.extra.items() if k not in NATIVE_OPTIONS and k not in ("options", "extra_body")}
    return body | (call.extra.get("extra_body") or {})


def _options(call: Call) -> JSON:
    """Model options: OpenAI's parameters, then Ollama's own by name, then those the caller wrote as `options`."""
    found = {theirs: call.params[ours] for ours, theirs in OPTIONS.items() if call.params.get(ours) is not None}
    if stop := call.params.get("stop"):
        found["stop"] = [stop] if isinstance(stop, str) else list(stop)
    found |= {name: value for name, value in call.extra.items() if name in NATIVE_OPTIONS}
    return found | (call.extra.get("options") or {})


def _format(response_format: Any) -> Any:
    want = wanted(response_format)
    if want is None:
        return None
    return "json" if want.form == "json_object" else want.schema


def _think(effort: Any) -> Any:
    return THINK.get(effort, effort)


def _messages(messages: Sequence[Any]) -> list[JSON]:
    names: dict[str, str] = {}
    return [_message(message, names, n) for n, message in enumerate(plain_messages(messages))]


def _message(message: JSON, names: dict[str, str], n: int) -> JSON:
    """One message; `names` collects the tools called so far by call id, since a result is told by its tool's name."""
    role = "system" if message.get("role") == "developer" else message.get("role")
    if role not in ("system", "user", "assistant", "tool"):
        raise BadRequestError(f"messages[{n}] has role {role!r}: Ollama knows system, user, assistant and tool.")
    text, images = _content(message.get("content"))
    said: JSON = {"role": role, "content": text}
    if images:
        said["images"] = images
    if role == "assistant":
        return said | _answered(message, names)
    if role == "tool":
        call_id = str(message.get("tool_call_id") or "")
        said["tool_name"] = names.get(call_id) or message.get("name") or ""
        said |= {"tool_call_id": call_id} if call_id else {}
    return said


def _answered(message: JSON, names: dict[str, str]) -> JSON:
    more: JSON = {}
    if thinking := message.get("reasoning_content") or message.get("reasoning"):
        more["thinking"] = thinking
    if calls := tool_calls(message):
        names.update({call.id: call.name for call in calls})
        more["tool_calls"] = [
            {"id": call.id, "function": {"index": at, "name": call.name, "arguments": call.arguments}}
            for at, call in enumerate(calls)
        ]
    return more


def _content(content: Any) -> tuple[str, list[str]]:
    """Text parts joined, and images as bare base64."""
    text, images = list[str](), list[str]()
    for part in parts(content):
        match part.get("type"):
            case "text":
                text.append(part.get("text") or "")
            case "refusal":
                text.append(part.get("refusal") or "")
            case "image_url":
                images.append(_image(part))
            case _:
                raise refuse(part, "Ollama", "use text, or image_url with a base64 data URL")
    return "".join(text), images


def _image(part: JSON) -> str:
    given = part.get("image_url")
    url = given.get("url") if isinstance(given, Mapping) else given
    if not isinstance(url, str) or not url:
        raise refuse(part, "Ollama", "image_url.url is missing")
    held = data_url(url)
    if held is not None:
        return held.data
    if "://" in url[:16]:
        raise BadRequestError(
            f"Ollama cannot fetch the image at {url[:200]!r}: pass its bytes as data:image/png;base64,<data>."
        )
    return url


CODEC = Ollama()
