"""Where OpenAI's operations other than chat are, at OpenAI itself, at those who speak like it, and at Azure."""

from urllib.parse import urlsplit

from callmeter.client.codecs import azure, azure_ai
from callmeter.client.codecs.openai_chat import chat_path, without_operation
from callmeter.types import Deployment


def address(deployment: Deployment, operation: str) -> str:
    """The address of `embeddings`, `responses`, …, also out of a base that names an operation already.

    Where chat's path begins with more than the base, as `/v1` does at some, so does that of the others.
    """
    if deployment.provider == "azure":
        return azure.endpoint(deployment, operation)
    if deployment.provider == "azure_ai":
        return azure_ai.endpoint(deployment, operation)
    base = urlsplit(deployment.api_base)
    path = without_operation(base.path)
    if path == base.path.rstrip("/"):
        path += chat_path(deployment).rstrip("/").removesuffix("/chat/completions")
    return base._replace(path=f"{path}/{operation}").geturl()
