"""Operations other than chat, which are answered in one piece: where each is asked for, and who answers."""

from collections.abc import Callable, Mapping

from callmeter.testing import wires_audio as audio
from callmeter.testing import wires_embedding as embedding
from callmeter.testing import wires_image as image
from callmeter.testing import wires_moderation as moderation
from callmeter.testing import wires_rerank as rerank
from callmeter.testing.scripts import Answer, Wish

TAILS = (
    ("/embeddings", "embedding"),
    ("/api/embed", "ollama_embedding"),
    ("/v2/embed", "cohere_embedding"),
    ("/images/generations", "image"),
    ("/moderations", "moderation"),
    ("/v2/rerank", "cohere_rerank"),
    ("/rerank", "rerank"),
    ("/audio/transcriptions", "transcription"),
    ("/audio/speech", "speech"),
)
"""Ends of paths, and the wire spoken there."""

ANSWERS: Mapping[str, Callable[[bytes, Wish], Answer]] = {
    "embedding": embedding.answer,
    "ollama_embedding": embedding.ollama,
    "cohere_embedding": embedding.cohere,
    "gemini_embedding": embedding.studio,
    "vertex_embedding": embedding.vertex,
    "bedrock_embedding": embedding.bedrock,
    "image": image.answer,
    "moderation": moderation.answer,
    "rerank": rerank.answer,
    "cohere_rerank": rerank.cohere,
    "transcription": audio.transcription,
    "speech": audio.speech,
}
"""By wire: an answer to a body. They raise `msgspec.MsgspecError` for what is no request."""
