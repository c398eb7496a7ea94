"""Where OpenAI's operations other than chat are, at OpenAI itself, at those who speak like it, and at Azure."""

from urllib.parse import urlsplit

from callmeter.client.codecs import azure, azure_ai
from callmeter.client.codecs.openai_chat import without_operation
from callmeter.types import Deployment


def address(deployment: Deployment, operation: str) -> str:
    """The address of `completions` or `responses`, also out of a base that names an operation already."""
    if deployment.provider == "azure":
        return azure.endpoint(deployment, operation)
    if deployment.provider == "azure_ai":
        return azure_ai.endpoint(deployment, operation)
    base = urlsplit(deployment.api_base)
    return base._replace(path=f"{without_operation(base.path)}/{operation}").geturl()
