"""What the operations other than chat return, in OpenAI's format; `shapes` has chat's and the grammar of all."""

from typing import ClassVar

from callmeter.shapes import CompletionUsage, Result, Shape


class Embedding(Shape, kw_only=True):
    """One input as a vector: numbers, or base64 of little-endian 32-bit floats where that was asked for."""

    embedding: list[float] | str = []
    index: int = 0
    object: str = "embedding"


class EmbeddingResponse(Result, kw_only=True):
    """The vectors of an embedding call, in the order of its inputs."""

    OPTIONAL: ClassVar[frozenset[str]] = frozenset({"id"})

    id: str | None = None
    model: str | None = None
    data: list[Embedding] = []
    object: str = "list"
    usage: CompletionUsage | None = None
