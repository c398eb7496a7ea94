"""Voyage AI's reranking: everybody's, but for the name of one parameter.

Source: https://docs.voyageai.com/reference/reranker-api
"""

from callmeter.client.codecs.messages import JSON
from callmeter.client.codecs.openai_rerank import OpenAIRerank
from callmeter.types import Call, Deployment


class VoyageRerank(OpenAIRerank):
    """`POST {api_base}/rerank`. `truncation` passes as it is."""

    def body(self, call: Call, deployment: Deployment) -> JSON:
        """The body before it is encoded."""
        body = super().body(call, deployment)
        if "top_n" in body:
            body["top_k"] = body.pop("top_n")
        return body


CODEC = VoyageRerank()
