"""What `completion()` returns: OpenAI's chat format as structs that also read like mappings.

The structs are decoded straight from the wire where the wire is OpenAI's, and built by the codecs elsewhere. They are
the caller's to keep and to change; everything the pipeline needs was taken from them before they were handed out.
Fields listed in `OPTIONAL` are left out of dumps while they are None, the others are always there.
"""

from collections.abc import Iterator
from typing import Any, ClassVar, Self

import msgspec
from msgspec import Struct


class Shape(Struct, kw_only=True):
    """A struct with item access, `dict()`, `get`, `in`, `model_dump()` and `model_dump_json()`."""

    OPTIONAL: ClassVar[frozenset[str]] = frozenset()

    def keys(self) -> list[str]:
        """Names of the fields that are there, in order."""
        return [k for k in self.__struct_fields__ if k not in self.OPTIONAL or getattr(self, k) is not None]

    def __getitem__(self, key: str) -> Any:
        if key not in self.__struct_fields__:
            raise KeyError(key)
        return getattr(self, key)

    def __setitem__(self, key: str, value: Any) -> None:
        if key not in self.__struct_fields__:
            raise KeyError(key)
        setattr(self, key, value)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.items())})"

    def __contains__(self, key: object) -> bool:
        return key in self.keys()

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return iter(self.items())

    def get(self, key: str, default: Any = None) -> Any:
        """The field's value, or `default` where there is no such field or it is absent."""
        return getattr(self, key) if key in self else default

    def items(self) -> list[tuple[str, Any]]:
        """Pairs of name and value."""
        return [(k, getattr(self, k)) for k in self.keys()]

    def values(self) -> list[Any]:
        """The values alone."""
        return [getattr(self, k) for k in self.keys()]

    def model_dump(self, *, exclude_none: bool = False, **_: Any) -> dict[str, Any]:
        """Plain dicts and lists all the way down."""
        return {k: _plain(v, exclude_none) for k, v in self.items() if not (exclude_none and v is None)}

    def model_dump_json(self, *, indent: int | None = None, exclude_none: bool = False, **_: Any) -> str:
        """The same as JSON text."""
        body = msgspec.json.encode(self.model_dump(exclude_none=exclude_none))
        return (msgspec.json.format(body, indent=indent) if indent else body).decode()

    def copy(self) -> Self:
        """Another one that shares nothing changeable with this one."""
        return _copied(self)  # type: ignore[no-any-return]

    def json(self, **options: Any) -> dict[str, Any]:
        """`model_dump()` under the name existing code calls."""
        return self.model_dump(**options)

    dict = json
    to_dict = json


def _plain(value: Any, exclude_none: bool) -> Any:
    if isinstance(value, Shape):
        return value.model_dump(exclude_none=exclude_none)
    if isinstance(value, list | tuple):
        return [_plain(v, exclude_none) for v in value]
    if isinstance(value, dict):
        return {k: _plain(v, exclude_none) for k, v in value.items()}
    return value


def _copied(value: Any) -> Any:
    if isinstance(value, Shape):
        return type(value)(**{name: _copied(getattr(value, name)) for name in value.__struct_fields__})
    if isinstance(value, list):
        return [_copied(v) for v in value]
    if isinstance(value, dict):
        copied = {k: _copied(v) for k, v in value.items()}
        return copied if type(value) is dict else type(value)(copied)
    return value


class Result(Shape, kw_only=True, dict=True):
    """A whole answer to any operation: what completion, embedding and their kin return.

    `_hidden_params` carries what is not part of OpenAI's format: `response_cost`, `cost`, `litellm_call_id`,
    `custom_llm_provider`, `api_base`, `additional_headers`, …; `response_ms` is the call's duration.
    """

    @property
    def id(self) -> str | None:
        """The answer's id; None where the operation has none."""
        return None

    @property
    def model(self) -> str | None:
        """The model that answered; None where the operation does not say."""
        return None

    @property
    def usage(self) -> Any:
        """What the answer says was consumed; None where the operation, or this provider, does not say."""
        return None

    @property
    def response_ms(self) -> float | None:
        """Milliseconds from the call to its last byte; None on an answer this process did not fetch."""
        value: float | None = self.__dict__.get("_response_ms")
        return value

    def redact(self, text: str) -> None:
        """Put `text`, or nothing, in place of all that the model made; what is left is about the call."""
        empty = type(self)()
        for name in self.__struct_fields__:
            if name not in ABOUT_THE_CALL:
                setattr(self, name, getattr(empty, name))

    def __getattr__(self, name: str) -> Any:
        known = self.__dict__.pop("_known", None) if name == "_hidden_params" else None
        if known is None:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        self.__dict__[name] = hidden = known()
        return hidden


ABOUT_THE_CALL = frozenset({"id", "created", "model", "object", "usage"})
"""Fields of answers that hold nothing of what the model made."""


class Function(Shape, kw_only=True):
    """A function call's name and its arguments as a JSON string; in a delta, the next fragment of them."""

    name: str | None = None
    arguments: str = ""


class ToolCall(Shape, kw_only=True):
    """A tool the model wants called. `index` is there in deltas only; fragments belong together by it."""

    OPTIONAL: ClassVar[frozenset[str]] = frozenset({"index", "custom", "provider_specific_fields"})

    id: str | None = None
    type: str | None = "function"
    function: Function | None = None
    custom: Any = None
    index: int | None = None
    provider_specific_fields: dict[str, Any] | None = None
    """`thought_signature`: what Gemini wants back with the call on the next turn."""


class Message(Shape, kw_only=True):
    """An answer. It can be appended to `messages` as it is."""

    OPTIONAL: ClassVar[frozenset[str]] = frozenset(
        {
            "refusal",
            "reasoning_content",
            "reasoning",
            "reasoning_details",
            "thinking_blocks",
            "annotations",
            "audio",
            "images",
            "provider_specific_fields",
        }
    )

    content: str | None = None
    role: str = "assistant"
    tool_calls: list[ToolCall] | None = None
    function_call: Function | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: list[Any] | None = None
    thinking_blocks: list[dict[str, Any]] | None = None
    annotations: list[Any] | None = None
    audio: Any = None
    images: list[Any] | None = None
    provider_specific_fields: dict[str, Any] | None = None


class Choice(Shape, kw_only=True):
    """One of `n` answers."""

    OPTIONAL: ClassVar[frozenset[str]] = frozenset({"logprobs", "provider_specific_fields"})

    finish_reason: str | None = None
    index: int = 0
    message: Message = msgspec.field(default_factory=Message)
    logprobs: Any = None
    provider_specific_fields: dict[str, Any] | None = None
    """`native_finish_reason`: the provider's own word, where ours differs."""


class Delta(Shape, kw_only=True):
    """What a chunk adds to its choice."""

    OPTIONAL: ClassVar[frozenset[str]] = Message.OPTIONAL

    content: str | None = None
    role: str | None = None
    function_call: Function | None = None
    tool_calls: list[ToolCall] | None = None
    audio: Any = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: list[Any] | None = None
    thinking_blocks: list[dict[str, Any]] | None = None
    annotations: list[Any] | None = None
    images: list[Any] | None = None
    provider_specific_fields: dict[str, Any] | None = None


# Getting-started code reads `delta["audio"]`, so it stays there as null.
Delta.OPTIONAL = Message.OPTIONAL - {"audio"}


class StreamChoice(Shape, kw_only=True):
    """One choice's part of a chunk."""

    OPTIONAL: ClassVar[frozenset[str]] = frozenset({"provider_specific_fields"})

    finish_reason: str | None = None
    index: int = 0
    delta: Delta = msgspec.field(default_factory=Delta)
    logprobs: Any = None
    provider_specific_fields: dict[str, Any] | None = None


class PromptTokensDetails(Shape, kw_only=True):
    """Parts of `prompt_tokens`."""

    OPTIONAL: ClassVar[frozenset[str]] = frozenset(
        {"text_tokens", "image_tokens", "video_tokens", "cache_write_tokens", "cache_creation_tokens"}
        | {"cache_creation_token_details", "web_search_requests"}
    )

    audio_tokens: int | None = None
    cached_tokens: int | None = None
    text_tokens: int | None = None
    image_tokens: int | None = None
    video_tokens: int | None = None
    cache_write_tokens: int | None = None
    cache_creation_tokens: int | None = None
    cache_creation_token_details: dict[str, int] | None = None
    web_search_requests: int | None = None


class CompletionTokensDetails(Shape, kw_only=True):
    """Parts of `completion_tokens`."""

    OPTIONAL: ClassVar[frozenset[str]] = frozenset({"text_tokens", "image_tokens", "video_tokens"})

    accepted_prediction_tokens: int | None = None
    audio_tokens: int | None = None
    reasoning_tokens: int | None = None
    rejected_prediction_tokens: int | None = None
    text_tokens: int | None = None
    image_tokens: int | None = None
    video_tokens: int | None = None


class CompletionUsage(Shape, kw_only=True):
    """Token counts in OpenAI's counting: totals include their parts, whatever the provider counted."""

    OPTIONAL: ClassVar[frozenset[str]] = frozenset(
        {"cache_creation_input_tokens", "cache_read_input_tokens", "cost", "server_tool_use"}
    )

    completion_tokens: int = 0
    prompt_tokens: int = 0
    total_tokens: int = 0
    completion_tokens_details: CompletionTokensDetails | None = None
    prompt_tokens_details: PromptTokensDetails | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cost: float | None = None
    server_tool_use: dict[str, int] | None = None


class Completion(Result, kw_only=True):
    """A whole chat answer (`ModelResponse` to existing code)."""

    OPTIONAL: ClassVar[frozenset[str]] = frozenset({"service_tier", "citations", "provider_specific_fields"})

    id: str = ""
    created: int = 0
    model: str | None = None
    object: str = "chat.completion"
    system_fingerprint: str | None = None
    choices: list[Choice] = []
    usage: CompletionUsage | None = None
    service_tier: str | None = None
    citations: list[Any] | None = None
    provider_specific_fields: dict[str, Any] | None = None

    def redact(self, text: str) -> None:
        """Put `text` in place of all that the model wrote."""
        for choice in self.choices:
            choice.message.content = text
            choice.message.reasoning_content = choice.message.thinking_blocks = None


class Chunk(Shape, kw_only=True, dict=True):
    """A piece of a streamed answer (`ModelResponseStream` to existing code). All share one id, created and model."""

    OPTIONAL: ClassVar[frozenset[str]] = frozenset({"usage", "service_tier", "citations", "provider_specific_fields"})

    id: str = ""
    created: int = 0
    model: str | None = None
    object: str = "chat.completion.chunk"
    system_fingerprint: str | None = None
    choices: list[StreamChoice] = []
    usage: CompletionUsage | None = None
    service_tier: str | None = None
    citations: list[Any] | None = None
    provider_specific_fields: dict[str, Any] | None = None


class TextChoice(Shape, kw_only=True):
    """One of a text completion's answers, or a piece of one."""

    finish_reason: str | None = None
    index: int = 0
    text: str = ""
    logprobs: Any = None


class TextCompletion(Result, kw_only=True):
    """A text completion, whole or a piece of a streamed one (`TextCompletionResponse` to existing code)."""

    OPTIONAL: ClassVar[frozenset[str]] = frozenset({"system_fingerprint"})

    id: str = ""
    created: int = 0
    model: str | None = None
    object: str = "text_completion"
    choices: list[TextChoice] = []
    usage: CompletionUsage | None = None
    system_fingerprint: str | None = None
