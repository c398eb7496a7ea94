"""Replicate's predictions: a model is given an input, and is asked how far it is until its output is there.

Requests are written here, answers and streams read in `replicate_answer`. A whole answer is held back by the server
for a while and then asked for again; a stream has an address of its own, which the answer to the first request tells.
Source: https://replicate.com/docs/reference/http
"""

from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import urlsplit

from callmeter.client.codecs.base import Answer, Later
from callmeter.client.codecs.headers import bearer, given
from callmeter.client.codecs.messages import JSON, encode_body
from callmeter.client.codecs.replicate_answer import GOING_ON, Prediction, ReplicateDecoder, answer, predicted
from callmeter.client.codecs.transcripts import Transcript, transcript
from callmeter.client.failures import failure_at
from callmeter.errors import APIError, BadRequestError
from callmeter.types import Call, Deployment
from callmeter.wire import WireReply, WireRequest

SAME = ("frequency_penalty", "presence_penalty", "reasoning_effort", "seed", "temperature", "top_p")

TRANSLATED = frozenset({*SAME, "max_completion_tokens", "max_tokens", "stop", "stream", "stream_options", "user"})
"""Parameters this wire can carry; `user` is taken for our own account and not sent, as Replicate has no users.

A model takes what its own schema lists and ignores the rest; what else a caller passes goes into its input as it is.
"""

MAX_TOKENS = {"openai/": "max_completion_tokens", "google/": "max_output_tokens"}
"""What a maker's models call `max_tokens`, where they have another name for it. Source: the models' API pages."""

IMAGES = {"openai/": "image_input", "google/": "images"}
"""The input that takes several images; the other makers' models take one, as `image`. Source: as above."""

HELD_S = 60
"""The longest that the server holds an answer back. Source: as above, under `Prefer`."""

POLL_S = 0.5
"""Between two questions. Source: replicate-python, `client.poll_interval`."""


class Replicate:
    """`POST {api_base}/models/{owner}/{name}/predictions`, or of a version or a deployment."""

    framing: Literal["sse", "ndjson"] = "sse"
    supported = TRANSLATED

    def request(self, call: Call, deployment: Deployment) -> WireRequest:
        """The call as a new prediction. Raises `BadRequestError` for what its models have no words for."""
        whole_s = call.timeouts.total_s
        held = {} if call.stream else {"prefer": f"wait={max(1, min(HELD_S, int(whole_s or HELD_S)))}"}
        # Nobody waits for a prediction longer than that, and one that runs is charged for.
        ends = {} if call.stream or whole_s is None else {"cancel-after": f"{max(5, int(whole_s))}s"}
        path, version = where(deployment.model)
        return WireRequest(
            url=f"{deployment.api_base.rstrip('/')}/{path}",
            body=encode_body({**version, "input": model_input(call, deployment), "stream": call.stream}),
            headers={
                "content-type": "application/json",
                **held,
                **ends,
                **bearer(deployment),
                **given(call, deployment),
            },
            timeouts=call.timeouts,
            whole=call.stream,
        )

    def response(self, reply: WireReply, call: Call, deployment: Deployment) -> Answer | Later:
        """The prediction's output, or where to ask for it.

        Raises the error that the prediction failed with, or `APIResponseValidationError`.
        """
        prediction = predicted(reply.body, deployment)
        streams = prediction.urls.get("stream") if call.stream else None
        if streams:
            return Later(request=_get(streams, call, deployment, accept="text/event-stream"))
        if prediction.status in GOING_ON:
            return Later(request=_get(_address(prediction, deployment), call, deployment), after_s=POLL_S)
        return answer(prediction, call, deployment)

    def decoder(self, call: Call, deployment: Deployment) -> ReplicateDecoder:
        """A fresh decoder for one stream."""
        return ReplicateDecoder(call, deployment)

    def failure(self, status: int, headers: Mapping[str, str], body: bytes, deployment: Deployment) -> APIError:
        """The error that a non-2xx answer stands for."""
        return failure_at(status, headers, body, deployment)


CODEC = Replicate()


def where(model: str) -> tuple[str, JSON]:
    """The path of new predictions, and what the body says of the version.

    A model is `owner/name`, `owner/name:version`, a bare version, or `deployments/owner/name`.
    """
    name, colon, version = model.partition(":")
    if colon or "/" not in name:
        return "predictions", {"version": version or name}
    if name.startswith("deployments/"):
        return f"{name}/predictions", {}
    return f"models/{name}/predictions", {}


def model_input(call: Call, deployment: Deployment) -> JSON:
    """The prediction's input: the conversation and the parameters, by the names that most language models have.

    Raises `BadRequestError` for tools and for parts other than text and images.
    """
    params, said = call.params, transcript(call.messages, "Replicate", sees=True)
    body: JSON = {"prompt": said.prompt} | ({"system_prompt": said.system} if said.system else {})
    body |= {name: params[name] for name in SAME if params.get(name) is not None}
    most = params.get("max_completion_tokens") or params.get("max_tokens")
    if most is not None:
        body[_of(deployment, MAX_TOKENS) or "max_tokens"] = most
    if stop := params.get("stop"):
        body["stop_sequences"] = stop if isinstance(stop, str) else ",".join(stop)
    if said.images:
        body |= _images(said, deployment)
    body |= {name: value for name, value in params.items() if name not in TRANSLATED}
    extra = dict(call.extra)
    more = extra.pop("extra_body", None) or {}
    return {**body, **extra, **more}


def _images(said: Transcript, deployment: Deployment) -> JSON:
    several = _of(deployment, IMAGES)
    if several:
        return {several: list(said.images)}
    if len(said.images) > 1:
        raise BadRequestError(
            f"Replicate's {deployment.model} takes one image, and the conversation has {len(said.images)}: send one, "
            "or pass them by the name that its API page gives."
        )
    return {"image": said.images[0]}


def _of(deployment: Deployment, names: Mapping[str, str]) -> str:
    """A maker's own name for something, or empty."""
    return next((name for maker, name in names.items() if deployment.model.startswith(maker)), "")


def _address(prediction: Prediction, deployment: Deployment) -> str:
    """Where a prediction is: under the address that it was made at, whichever the server believes to have."""
    return f"{deployment.api_base.rstrip('/')}/predictions/{prediction.id}"


def _get(url: str, call: Call, deployment: Deployment, **headers: Any) -> WireRequest:
    """A question about a prediction. The key goes to the provider's own hosts alone, whatever an answer names."""
    trusted = bearer(deployment) | given(call, deployment) if _is_own(url, deployment.api_base) else {}
    return WireRequest(url=url, method="GET", headers={**headers, **trusted}, timeouts=call.timeouts)


def _is_own(url: str, api_base: str) -> bool:
    """Whether an address is at the same host, or at another of its domain: `stream.` beside `api.replicate.com`."""
    there, here = urlsplit(url), urlsplit(api_base)
    domain = (here.hostname or "").partition(".")[2]
    near = "." in domain and (there.hostname or "").endswith("." + domain)
    return there.scheme == here.scheme and (there.netloc == here.netloc or near)
