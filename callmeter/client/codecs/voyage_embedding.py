"""Voyage AI's embeddings: OpenAI's, but for the names of two parameters.

Source: https://docs.voyageai.com/reference/embeddings-api
"""

from callmeter.client.codecs.messages import JSON
from callmeter.client.codecs.openai_embedding import OpenAIEmbedding
from callmeter.types import Call, Deployment


class VoyageEmbedding(OpenAIEmbedding):
    """`POST {api_base}/embeddings`. `input_type`, `truncation` and `output_dtype` pass as they are."""

    def body(self, call: Call, deployment: Deployment) -> JSON:
        """The body; `user` is kept for our own account, as Voyage has no users."""
        body = super().body(call, deployment)
        body.pop("user", None)
        if body.get("encoding_format") == "float":
            del body["encoding_format"]  # what it answers anyway, and has no word for
        if "dimensions" in body:
            body["output_dimension"] = body.pop("dimensions")
        return body


CODEC = VoyageEmbedding()
