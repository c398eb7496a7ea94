"""IBM watsonx.ai's text chat: OpenAI's messages and answers, at paths and under names of its own.

Variables: `api_version` (a date), and `project_id` or `space_id`, whichever the model is charged to. A model
`deployment/ID` is a deployment, which has both and its model already.
Source: https://cloud.ibm.com/apidocs/watsonx-ai#text-chat
"""

from urllib.parse import urlencode

from msgspec.structs import replace

from callmeter.client.codecs.messages import JSON
from callmeter.client.codecs.openai_chat import OpenAIChat
from callmeter.errors import BadRequestError
from callmeter.types import Call, Deployment
from callmeter.wire import WireRequest

DEPLOYED = "deployment/"

WATSONX_PARAMS = frozenset(
    {"frequency_penalty", "logit_bias", "logprobs", "max_completion_tokens", "max_tokens", "n", "presence_penalty"}
    | {"reasoning_effort", "response_format", "seed", "stop", "stream", "stream_options", "temperature", "tool_choice"}
    | {"tools", "top_logprobs", "top_p", "user"}
)
"""Parameters this wire can carry; `user` is taken for our own account and not sent, as watsonx.ai has no users.

`time_limit`, `guided_json`, `repetition_penalty` and the like are its own and pass as they are. Source: as above.
"""

CHOICES = frozenset({"auto", "none", "required"})


class Watsonx(OpenAIChat):
    """`POST {api_base}/ml/v1/text/chat?version=…`, and `…/chat_stream` for streams."""

    supported: frozenset[str] = WATSONX_PARAMS

    def request(self, call: Call, deployment: Deployment) -> WireRequest:
        """The call as one POST. Raises `BadRequestError` where neither a project nor a space is known."""
        request = super().request(call, deployment)
        return replace(request, url=endpoint(deployment, "chat_stream")) if call.stream else request

    def url(self, deployment: Deployment) -> str:
        """The address of chat at this deployment."""
        return endpoint(deployment, "chat")

    def body(self, call: Call, deployment: Deployment) -> JSON:
        """The body: whether to stream, the address says."""
        body = super().body(call, deployment)
        for name in ("stream", "stream_options", "user"):
            body.pop(name, None)
        model = body.pop("model")
        if isinstance(choice := body.get("tool_choice"), str):
            if choice not in CHOICES:
                raise BadRequestError(f"tool_choice {choice!r} is not known: use auto, none, required or a function.")
            body["tool_choice_option"] = body.pop("tool_choice")
        if isinstance(body.get("stop"), str):
            body["stop"] = [body["stop"]]
        return body if model.startswith(DEPLOYED) else {"model_id": model, **_payer(body, deployment), **body}


CODEC = Watsonx()


def endpoint(deployment: Deployment, operation: str) -> str:
    """The address of an operation of chat, for a model or for a deployment."""
    base, model = deployment.api_base.rstrip("/"), deployment.model
    path = f"deployments/{model.removeprefix(DEPLOYED)}/text" if model.startswith(DEPLOYED) else "text"
    version = urlencode({"version": deployment.variables.get("api_version", "")})
    return f"{base}/ml/v1/{path}/{operation}?{version}"


def _payer(body: JSON, deployment: Deployment) -> JSON:
    """Who pays: the project or the space. One named in the call itself wins."""
    if "project_id" in body or "space_id" in body:
        return {}
    for name in ("project_id", "space_id"):
        if value := deployment.variables.get(name):
            return {name: value}
    raise BadRequestError(
        "watsonx needs to know who pays: pass project_id=… or space_id=…, or set WATSONX_PROJECT_ID or WATSONX_SPACE_ID"
    )
