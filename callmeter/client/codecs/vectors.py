"""What wires of embeddings that are not OpenAI's have in common: texts out of the inputs, an answer out of vectors."""

import base64
import struct
from collections.abc import Sequence

from callmeter.client.codecs.base import Answered, Meter
from callmeter.client.codecs.openai_embedding import embedding_usage
from callmeter.errors import BadRequestError
from callmeter.results import Embedding, EmbeddingResponse
from callmeter.types import Call, Deployment


def texts(call: Call, deployment: Deployment) -> list[str]:
    """The inputs as a list of texts. Raises `BadRequestError` for tokens, which only OpenAI's wire takes."""
    given = call.params.get("input")
    inputs = [given] if isinstance(given, str) else list(given or ())
    for at, text in enumerate(inputs):
        if not isinstance(text, str):
            raise BadRequestError(
                f"input[{at}] is {text!r:.60}: {deployment.provider} embeds texts, not tokens; pass the text itself",
                deployment.model,
                deployment.provider,
            )
    return inputs


def answer(
    vectors: Sequence[list[float]], meter: Meter, call: Call, deployment: Deployment, model: str = ""
) -> Answered:
    """The answer of these vectors, packed as OpenAI packs them where the caller asked for base64."""
    packed = call.params.get("encoding_format") == "base64"
    data = [Embedding(index=at, embedding=_packed(v) if packed else v) for at, v in enumerate(vectors)]
    shown = EmbeddingResponse(model=model or deployment.model, data=data, usage=embedding_usage(meter))
    return Answered(shown, meter)


def _packed(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
