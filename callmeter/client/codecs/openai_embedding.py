"""OpenAI's embeddings: texts or tokens in, vectors out, in the order of the inputs.

Source: https://platform.openai.com/docs/api-reference/embeddings
"""

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from callmeter.client.codecs.base import Answered, Meter
from callmeter.client.codecs.openai_endpoint import OpenAIEndpoint, read
from callmeter.client.codecs.openai_usage import input_meter
from callmeter.client.operations import EMBEDDING
from callmeter.results import Embedding, EmbeddingResponse
from callmeter.shapes import CompletionUsage
from callmeter.types import Call, Deployment
from callmeter.wire import WireReply


class _Wire(Struct):
    data: list[Embedding]
    id: str | None = None
    model: str | None = None
    usage: Raw = Raw(b"null")


_wire = msgspec.json.Decoder(_Wire)


class OpenAIEmbedding(OpenAIEndpoint):
    """`POST {api_base}/embeddings`."""

    path = "embeddings"
    supported = EMBEDDING.params

    def response(self, reply: WireReply, call: Call, deployment: Deployment) -> Answered:
        """A whole answer. Raises `APIResponseValidationError`, or the error an answer of 200 hides."""
        wire = read(reply.body, _wire, "list of embeddings", deployment)
        # The model behind an Azure deployment is what is priced.
        served = wire.model or "" if deployment.provider == "azure" else ""
        meter = replace(input_meter(msgspec.json.decode(wire.usage), deployment), model=served)
        answer = EmbeddingResponse(
            id=wire.id,
            model=wire.model or deployment.model,
            data=sorted(wire.data, key=lambda item: item.index),
            usage=embedding_usage(meter),
        )
        return Answered(answer, meter)


CODEC = OpenAIEmbedding()


def embedding_usage(meter: Meter) -> CompletionUsage | None:
    """The public usage of an embedding answer, on any wire: input alone, and what the provider says it cost."""
    if meter.usage is None:
        return None
    tokens, cost = meter.usage.input_tokens, meter.reported
    return CompletionUsage(prompt_tokens=tokens, total_tokens=tokens, cost=None if cost is None else float(cost))
