"""Azure OpenAI: OpenAI's chat under addresses of its own, with the verdicts of content filters in its answers.

A call names a deployment, the answer the model behind it, so the answer's model is what a price goes by unless the
caller says `base_model`. Verdicts are kept in `provider_specific_fields`: those on the prompt (`prompt_filter_results`)
of the answer, those on the output (`content_filter_results`) of the choice, once, at its end in streams; the sources of
`data_sources` (`context`) of the message.

Source: https://learn.microsoft.com/en-us/azure/ai-services/openai/reference
"""

from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from callmeter.client.codecs.azure_notes import AzureDecoder, noted
from callmeter.client.codecs.base import Answer
from callmeter.client.codecs.openai_chat import OpenAIChat, without_operation
from callmeter.types import Call, Deployment
from callmeter.wire import WireReply

V1_VERSIONS = frozenset({"v1", "latest", "preview"})
"""Values of `api_version` that mean the surface without deployments in its paths.

Source: https://learn.microsoft.com/en-us/azure/ai-services/openai/api-version-lifecycle
"""


FIRST_WITH_RESPONSES = "2025-03-01"
"""The date of the first version that has responses; calls that name an older one go to the surface without versions."""


class AzureOpenAI(OpenAIChat):
    """`POST {endpoint}/openai/deployments/{deployment}/chat/completions?api-version=…`, or `…/openai/v1/…`."""

    def url(self, deployment: Deployment) -> str:
        """The address of chat at this deployment."""
        return endpoint(deployment)

    def response(self, reply: WireReply, call: Call, deployment: Deployment) -> Answer:
        """A whole answer. Raises `APIResponseValidationError`, or the error an answer of 200 hides."""
        return noted(super().response(reply, call, deployment), reply.body)

    def decoder(self, call: Call, deployment: Deployment) -> AzureDecoder:
        """A fresh decoder for one stream."""
        return AzureDecoder(call, deployment)


CODEC = AzureOpenAI()


def endpoint(deployment: Deployment, operation: str = "chat/completions") -> str:
    """The address of an operation, out of a base in any form that Azure's pages show.

    That is a resource's address with or without `/openai`, `/openai/v1` or `/openai/deployments/{name}`, or the whole
    address of the operation; a version in its query wins over `variables["api_version"]`.
    """
    base = urlsplit(deployment.api_base)
    query = dict(parse_qsl(base.query))
    version = query.pop("api-version", "") or deployment.variables.get("api_version", "")
    path = without_operation(base.path).removesuffix("/openai")
    if operation == "responses":
        path = path.partition("/openai/deployments/")[0].removesuffix("/models")
        surface = "/openai" if version[:1] == "2" and version >= FIRST_WITH_RESPONSES else "/openai/v1"
    else:
        surface = "/openai/v1" if version in V1_VERSIONS else f"/openai/deployments/{quote(deployment.model, safe='')}"
    if not (path.endswith("/openai/v1") or "/openai/deployments/" in path):
        path += surface
    if version in ("latest", "preview") or (version and not path.endswith("/openai/v1")):
        query["api-version"] = version
    return urlunsplit((base.scheme, base.netloc, f"{path}/{operation}", urlencode(query), ""))
