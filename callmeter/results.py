"""What the operations other than chat return, in OpenAI's format; `shapes` has chat's and the grammar of all."""

import os
from collections.abc import AsyncIterator, Iterator
from typing import Any, ClassVar

from callmeter.records import Record
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


class Image(Shape, kw_only=True):
    """One image: where it is, or base64 of it."""

    b64_json: str | None = None
    url: str | None = None
    revised_prompt: str | None = None
    """The prompt that the provider made of the caller's, where it does that."""


class TokensByKind(Shape, kw_only=True):
    """Tokens of images and of text."""

    image_tokens: int = 0
    text_tokens: int = 0


class ImageUsage(Shape, kw_only=True):
    """Tokens of an image call; totals include their parts."""

    input_tokens: int = 0
    input_tokens_details: TokensByKind
    output_tokens: int = 0
    total_tokens: int = 0
    output_tokens_details: TokensByKind


class ImageResponse(Result, kw_only=True):
    """The images of an image call."""

    OPTIONAL: ClassVar[frozenset[str]] = frozenset({"background", "output_format", "quality", "size", "svg_usage"})

    created: int = 0
    data: list[Image] = []
    background: str | None = None
    output_format: str | None = None
    quality: str | None = None
    size: str | None = None
    usage: ImageUsage | None = None
    """None where images are charged by the piece."""
    svg_usage: Any = None
    """What the model that wrote an SVG consumed, as the provider says it."""


class Categories(Record):
    """What was judged, by category as the provider names it: `["self-harm/intent"]`, or `.self_harm_intent`."""

    def __getattr__(self, name: str) -> Any:
        spelt = (category for category in self if category.replace("/", "_").replace("-", "_") == name)
        return super().__getattr__(next(spelt, name))


class Moderation(Shape, kw_only=True):
    """The verdict on one input."""

    OPTIONAL: ClassVar[frozenset[str]] = frozenset({"category_applied_input_types"})

    flagged: bool = False
    categories: Categories
    """Whether each category applies."""
    category_scores: Categories
    """How much, 0 to 1."""
    category_applied_input_types: Categories | None = None
    """What each score is of: lists of `text` and `image`."""


class ModerationResponse(Result, kw_only=True):
    """The verdicts of a moderation call, in the order of its inputs."""

    OPTIONAL: ClassVar[frozenset[str]] = frozenset({"id"})

    id: str | None = None
    model: str | None = None
    results: list[Moderation] = []


class RerankResult(Shape, kw_only=True):
    """One document's place."""

    OPTIONAL: ClassVar[frozenset[str]] = frozenset({"document"})

    index: int
    """Its position among the documents of the call."""
    relevance_score: float
    document: Record | None = None
    """The document itself, if it was wanted: its `text`, or whatever fields it has."""


class RerankResponse(Result, kw_only=True):
    """The documents of a rerank call, most relevant first."""

    OPTIONAL: ClassVar[frozenset[str]] = frozenset({"model"})

    id: str | None = None
    model: str | None = None
    results: list[RerankResult] = []
    meta: Record | None = None
    """What was consumed: `billed_units` (`search_units` or `total_tokens`) and `tokens`; None where nobody says."""


class TranscriptionResponse(Result, kw_only=True):
    """What was said in an audio file; for `srt` and `vtt` the text is the subtitles."""

    OPTIONAL: ClassVar[frozenset[str]] = frozenset(
        {"task", "language", "languages", "duration", "segments", "words", "logprobs"}
    )

    text: str = ""
    task: str | None = None
    language: str | None = None
    languages: list[Any] | None = None
    duration: float | str | None = None
    """Seconds."""
    segments: list[Any] | None = None
    words: list[Any] | None = None
    logprobs: list[Any] | None = None
    usage: Record | None = None
    """As the provider says it: `type` is `tokens` or `duration`."""


class SpeechResponse(Result, kw_only=True):
    """Audio. It is all here when the call returns; the ways to it are those of the `openai` package."""

    content: bytes = b""
    content_type: str = ""

    def read(self) -> bytes:
        """The audio."""
        return self.content

    def iter_bytes(self, chunk_size: int | None = None) -> Iterator[bytes]:
        """The audio in pieces of at most this many bytes; in one where none is said."""
        size = chunk_size or len(self.content) or 1
        return (self.content[at : at + size] for at in range(0, len(self.content), size))

    def write_to_file(self, file: str | os.PathLike[str]) -> None:
        """Write the audio to a path."""
        with open(file, "wb") as out:
            out.write(self.content)

    def stream_to_file(self, file: str | os.PathLike[str], *, chunk_size: int | None = None) -> None:
        """`write_to_file` under the name existing code calls."""
        self.write_to_file(file)

    async def aread(self) -> bytes:
        """`read` for event loops."""
        return self.content

    async def aiter_bytes(self, chunk_size: int | None = None) -> AsyncIterator[bytes]:
        """`iter_bytes` for event loops; to be awaited, as in the `openai` package."""
        return self._pieces(chunk_size)

    async def _pieces(self, chunk_size: int | None) -> AsyncIterator[bytes]:
        for piece in self.iter_bytes(chunk_size):
            yield piece

    async def astream_to_file(self, file: str | os.PathLike[str], *, chunk_size: int | None = None) -> None:
        """`stream_to_file` for event loops; the file is written on a thread."""
        import asyncio

        await asyncio.to_thread(self.write_to_file, file)
