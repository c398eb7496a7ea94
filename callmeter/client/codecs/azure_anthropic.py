"""Claude in Azure AI Foundry: the Messages wire at `/anthropic/v1/messages` of the resource.

Source: https://platform.claude.com/docs/en/build-with-claude/claude-in-microsoft-foundry
"""

from urllib.parse import urlsplit, urlunsplit

from msgspec.structs import replace

from callmeter.client.codecs.anthropic import Anthropic
from callmeter.types import Call, Deployment
from callmeter.wire import WireRequest


class AzureAnthropic(Anthropic):
    """Anthropic's wire; an Entra token, where there is no key, is the signer's to add."""

    def request(self, call: Call, deployment: Deployment) -> WireRequest:
        """The call as one POST. Raises `BadRequestError` for what Anthropic has no words for."""
        return super().request(call, replace(deployment, api_base=base(deployment.api_base)))


CODEC = AzureAnthropic()


def base(api_base: str) -> str:
    """The base of the Messages wire, out of a resource's base for other models or for this one."""
    parts = urlsplit(api_base)
    path = parts.path.rstrip("/").removesuffix("/messages").removesuffix("/v1")
    path = path.removesuffix("/models").removesuffix("/anthropic")
    return urlunsplit((parts.scheme, parts.netloc, f"{path}/anthropic", "", ""))
