"""Every operation in both of its forms, called with as little as it takes."""

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

import callmeter


class Asked(NamedTuple):
    """One operation, and how it is called."""

    name: str
    model: str
    given: dict[str, Any]
    prompt: Any
    """What callbacks are shown of it."""
    mock: Any
    """A mocked answer, and what shows it."""
    shows: Callable[[Any], Any]

    @property
    def provider(self) -> str:
        """Who is asked."""
        return self.model.partition("/")[0]

    def __repr__(self) -> str:
        return self.name

    def __call__(self, **more: Any) -> Any:
        """Call it and block."""
        return getattr(callmeter, self.name)(**{"model": self.model, **self.given, **more})

    def awaited(self, **more: Any) -> Any:
        """Call its twin on a loop of its own."""
        return asyncio.run(getattr(callmeter, "a" + self.name)(**{"model": self.model, **self.given, **more}))


OPERATIONS = [
    Asked(
        "embedding",
        "openai/text-embedding-3-small",
        {"input": ["one", "two"]},
        ["one", "two"],
        [0.1, 0.2],
        lambda answer: answer.data[0].embedding,
    ),
    Asked(
        "image_generation",
        "openai/gpt-image-1.5",
        {"prompt": "A sea otter"},
        "A sea otter",
        "https://images.test/otter.png",
        lambda answer: answer.data[0].url,
    ),
    Asked(
        "moderation",
        "openai/omni-moderation-latest",
        {"input": "I will harm you"},
        "I will harm you",
        "flagged",
        lambda answer: "flagged" if answer.results[0].flagged else "safe",
    ),
    Asked(
        "rerank",
        "jina_ai/jina-reranker-v2-base-multilingual",
        {"query": "a cat", "documents": ["a dog", "a cat"]},
        {"query": "a cat", "documents": ["a dog", "a cat"]},
        [0.25, 0.75],
        lambda answer: [place.relevance_score for place in sorted(answer.results, key=lambda place: place.index)],
    ),
    Asked(
        "responses",
        "openai/gpt-5",
        {"input": "Say something nice."},
        "Say something nice.",
        "nice",
        lambda answer: answer.output_text,
    ),
    Asked(
        "speech",
        "openai/tts-1",
        {"input": "Hello there.", "voice": "alloy"},
        "Hello there.",
        b"ID3",
        lambda answer: answer.read(),
    ),
    Asked(
        "text_completion",
        "openai/gpt-3.5-turbo-instruct",
        {"prompt": "Once upon a time"},
        "Once upon a time",
        "there was",
        lambda answer: answer.choices[0].text,
    ),
    Asked(
        "transcription",
        "openai/whisper-1",
        {"file": ("speech.mp3", b"ID3\x04 all that was said")},
        "speech.mp3",
        "Hello.",
        lambda answer: answer.text,
    ),
]
