"""Where OpenAI's operations other than chat are, at OpenAI itself, at those who speak like it, and at Azure."""

from urllib.parse import urlsplit

from callmeter.client.codecs import azure, azure_ai
from callmeter.types import Deployment

OPERATIONS = ("/chat/completions", "/completions", "/responses")


def address(deployment: Deployment, operation: str) -> str:
    """The address of `completions` or `responses`, also out of a base that names an operation already."""
    if deployment.provider == "azure":
        return azure.endpoint(deployment, operation)
    if deployment.provider == "azure_ai":
        return azure_ai.endpoint(deployment, operation)
    base = urlsplit(deployment.api_base)
    path = base.path.rstrip("/")
    for known in OPERATIONS:
        path = path.removesuffix(known)
    return base._replace(path=f"{path}/{operation}").geturl()
