"""What can be asked of a provider: chat, embeddings and the rest, each with OpenAI's names for its parameters."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from callmeter.client.params import OPENAI_CHAT_PARAMS
from callmeter.client.uploads import Upload
from callmeter.types import Call


class Operation(Struct, frozen=True, kw_only=True):
    """One kind of call. Its name is what events and the ledger call it, and part of its codecs' names."""

    name: str
    params: frozenset[str]
    """OpenAI's parameters of it; a caller's other keywords go into the body as they are."""
    prompt: tuple[str, ...] = ()
    """Those of the parameters that hold what is asked, the caller's content; chat's is in the call's messages."""


CHAT = Operation(name="chat", params=OPENAI_CHAT_PARAMS, prompt=("prompt",))
"""A `prompt` may stand beside the messages, or in their place, where a model completes text."""

EMBEDDING = Operation(
    name="embedding", params=frozenset({"input", "dimensions", "encoding_format", "user"}), prompt=("input",)
)
"""Source: https://platform.openai.com/docs/api-reference/embeddings/create"""

IMAGE_GENERATION = Operation(
    name="image_generation",
    params=frozenset(
        {"prompt", "background", "moderation", "n", "output_compression", "output_format", "quality", "response_format"}
        | {"safety_identifier", "size", "style", "user"}
    ),
    prompt=("prompt",),
)
"""Source: https://platform.openai.com/docs/api-reference/images/create"""

MODERATION = Operation(name="moderation", params=frozenset({"input"}), prompt=("input",))
"""Source: https://platform.openai.com/docs/api-reference/moderations/create"""

RERANK = Operation(
    name="rerank",
    params=frozenset({"query", "documents", "return_documents", "top_n"}),
    prompt=("query", "documents"),
)
"""OpenAI has no reranking; the names are those of Cohere and Jina. Source: https://docs.cohere.com/reference/rerank"""

RESPONSES = Operation(
    name="responses",
    params=frozenset({"input", "instructions", "service_tier", "stream", "stream_options", "user"}),
    prompt=("input", "instructions"),
)
"""A native call of the Responses API; what we need not know passes as it is.

Source: https://platform.openai.com/docs/api-reference/responses/create
"""

SPEECH = Operation(
    name="speech",
    params=frozenset({"input", "voice", "instructions", "response_format", "speed", "stream_format", "user"}),
    prompt=("input", "instructions"),
)
"""Source: https://platform.openai.com/docs/api-reference/audio/createSpeech"""

TEXT_COMPLETION = Operation(
    name="text_completion",
    params=frozenset(
        {"prompt", "best_of", "echo", "frequency_penalty", "logit_bias", "logprobs", "max_tokens", "n", "seed", "stop"}
        | {"presence_penalty", "stream", "stream_options", "suffix", "temperature", "top_p", "user"}
    ),
    prompt=("prompt",),
)
"""Source: https://platform.openai.com/docs/api-reference/completions/create"""

TRANSCRIPTION = Operation(
    name="transcription",
    params=frozenset(
        {"file", "chunking_strategy", "include", "keywords", "known_speaker_names", "known_speaker_references"}
        | {"language", "languages", "prompt", "response_format", "temperature", "timestamp_granularities", "user"}
    ),
    prompt=("file", "prompt"),
)
"""Source: https://platform.openai.com/docs/api-reference/audio/createTranscription"""

_ALL = (*(CHAT, EMBEDDING, IMAGE_GENERATION, MODERATION, RERANK, RESPONSES, SPEECH, TEXT_COMPLETION, TRANSCRIPTION),)

OPERATIONS: Mapping[str, Operation] = {operation.name: operation for operation in _ALL}


def prompts(call: Call) -> dict[str, Any]:
    """What is asked, by the parameters that hold it."""
    return {name: call.params.get(name, call.extra.get(name)) for name in OPERATIONS[call.operation].prompt}


def prompt_of(call: Call) -> Any:
    """What is asked: messages, a text, a list of texts; by name where it is in several parameters.

    A file is shown by its name.
    """
    if call.operation == CHAT.name:
        return list(call.messages)
    asked = {
        name: value.name if isinstance(value, Upload) else value
        for name, value in prompts(call).items()
        if value is not None
    }
    return next(iter(asked.values())) if len(asked) == 1 else asked


def shown(operation: str, answer: Any) -> Any:
    """An answer in the shape that the operation's callers know; what is hidden on it stays so."""
    if operation == TEXT_COMPLETION.name:
        from callmeter.client.codecs.openai_text import text_completion

        return text_completion(answer)
    if operation == RESPONSES.name:
        from callmeter.client.codecs.responses_answer import native

        return native(answer)
    return answer
