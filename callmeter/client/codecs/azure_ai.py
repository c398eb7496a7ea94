"""Azure AI Foundry's models: OpenAI's chat at `/models`, with the model in the body.

Source: https://learn.microsoft.com/en-us/rest/api/aifoundry/model-inference/get-chat-completions
"""

from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from msgspec.structs import replace

from callmeter.client.codecs import azure
from callmeter.client.codecs.openai_chat import without_operation
from callmeter.types import Call, Deployment
from callmeter.wire import WireRequest

RESOURCES = (".services.ai.azure.com", ".cognitiveservices.azure.com", ".openai.azure.com")
"""Hosts of resources, where the models have a path of their own."""


class AzureAI(azure.AzureOpenAI):
    """`POST {endpoint}/models/chat/completions?api-version=…`, or `…/openai/v1/…` where the base says so."""

    def request(self, call: Call, deployment: Deployment) -> WireRequest:
        """The call as one POST; parameters that the API does not know are passed on to the model's own server."""
        request = super().request(call, deployment)
        return replace(request, headers={"extra-parameters": "pass-through", **request.headers})

    def url(self, deployment: Deployment) -> str:
        """The address of chat at this deployment."""
        return endpoint(deployment)


CODEC = AzureAI()


def endpoint(deployment: Deployment, operation: str = "chat/completions") -> str:
    """The address of an operation, out of a base with or without `/models`, the operation's path or a query."""
    base = urlsplit(deployment.api_base)
    path = base.path.rstrip("/")
    if "/openai" in path or operation == "responses":
        return azure.endpoint(deployment, operation)
    query = {"api-version": deployment.variables.get("api_version", ""), **dict(parse_qsl(base.query))}
    path = without_operation(path)
    if not path and (base.hostname or "").endswith(RESOURCES):
        path = "/models"
    query = {name: value for name, value in query.items() if value}
    return urlunsplit((base.scheme, base.netloc, f"{path}/{operation}", urlencode(query), ""))
