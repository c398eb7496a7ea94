"""OpenAI's legacy completions: a prompt in, text out. Its answers become those of chat, choice by choice.

The prompt is a parameter (a string, strings, tokens or lists of tokens); a chat call has its messages made into one, a
paragraph each, unless it brings a `prompt` too. Logprobs keep the legacy form: lists of `tokens`, `token_logprobs` and
so on.
`text_completion` and `text_chunk` give the legacy shapes back. Quirks are those of `openai_chat`.

Source: https://platform.openai.com/docs/api-reference/completions
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from callmeter.client.codecs import openai_answer, openai_paths
from callmeter.client.codecs.base import Answer, Frame
from callmeter.client.codecs.messages import parts, plain_messages, refuse
from callmeter.client.codecs.openai_answer import NOT_READ
from callmeter.client.codecs.openai_chat import OpenAIChat
from callmeter.client.codecs.openai_stream import OpenAIChatDecoder
from callmeter.client.operations import TEXT_COMPLETION
from callmeter.errors import BadRequestError
from callmeter.shapes import Chunk, Completion, Delta, StreamChoice, TextChoice, TextCompletion
from callmeter.types import Call, Deployment
from callmeter.wire import WireReply, WireRequest

TEXT_PARAMS = frozenset(
    {"frequency_penalty", "logit_bias", "logprobs", "max_completion_tokens", "max_tokens", "n", "presence_penalty"}
    | {"seed", "stop", "stream", "stream_options", "temperature", "top_logprobs", "top_p", "user"}
)
"""Parameters of chat that this wire can carry."""


class OpenAIText(OpenAIChat):
    """`POST {api_base}/completions`."""

    supported: frozenset[str] = TEXT_PARAMS | TEXT_COMPLETION.params

    def url(self, deployment: Deployment) -> str:
        """The address of completions at this deployment."""
        return openai_paths.address(deployment, "completions")

    def request(self, call: Call, deployment: Deployment) -> WireRequest:
        """The call as one POST. Raises `BadRequestError` for messages that are not text alone."""
        if "prompt" in call.params or "prompt" in call.extra:
            return super().request(replace(call, messages=()), deployment)
        prompted = {"prompt": prompt(call), **call.extra}
        return super().request(replace(call, messages=(), extra=prompted), deployment)

    def body(self, call: Call, deployment: Deployment) -> dict[str, Any]:
        """The body: chat's without messages, with the prompt."""
        body = super().body(call, deployment)
        del body["messages"]
        if "max_completion_tokens" in body:
            body["max_tokens"] = body.pop("max_completion_tokens")
        # Chat says whether and how many, completions only how many.
        most, wanted = body.pop("top_logprobs", None), body.get("logprobs")
        if isinstance(wanted, bool):
            body["logprobs"] = (most or 0) if wanted else None
        return {name: value for name, value in body.items() if value is not None}

    def response(self, reply: WireReply, call: Call, deployment: Deployment) -> Answer:
        """A whole answer. Raises `APIResponseValidationError`, or the error an answer of 200 hides."""
        return openai_answer.answer(reply.body, call, deployment, text=True)

    def decoder(self, call: Call, deployment: Deployment) -> "OpenAITextDecoder":
        """A fresh decoder for one stream."""
        return OpenAITextDecoder(call, deployment)


CODEC = OpenAIText()


def prompt(call: Call) -> str:
    """A conversation as one text. Raises `BadRequestError` for parts that are not text."""
    texts: list[str] = []
    for message in plain_messages(call.messages):
        if message.get("tool_calls") or message.get("role") == "tool":
            raise BadRequestError("text completions know no tools: send the conversation to a chat model.")
        for part in parts(message.get("content")):
            if part.get("type") != "text":
                raise refuse(part, "a text completion", "send text only, or use a chat model")
        texts.append("".join(part.get("text") or "" for part in parts(message.get("content"))))
    return "\n\n".join(texts)


def prompts(given: Any) -> int:
    """How many prompts a prompt is: a list of strings or of token lists is several, each with its own choices."""
    several = isinstance(given, list | tuple) and given and not isinstance(given[0], int)
    return len(given) if several else 1


class _WireChoice(Struct):
    text: str | None = None
    index: int = 0
    logprobs: Any = None
    finish_reason: str | None = None


class _WireChunk(Struct):
    choices: list[_WireChoice] = []
    usage: Any = None
    error: Any = None


_read_text = msgspec.json.Decoder(_WireChunk).decode


class OpenAITextDecoder(OpenAIChatDecoder):
    """One stream: pieces of text are read straight, the rest is read as chat's is."""

    def __init__(self, call: Call, deployment: Deployment) -> None:
        super().__init__(call, deployment)
        self._wanted *= prompts(call.params.get("prompt", call.extra.get("prompt")))

    def chunks(self, frame: Frame) -> Sequence[Chunk]:
        """The chunks a frame adds. Raises `APIError` for an error within the stream or a frame that is no chunk."""
        if self.ended or self._broken is not None or frame.event == "error":
            return super().chunks(frame)
        try:
            wire = _read_text(frame.data)
        except NOT_READ:
            return super().chunks(frame)
        if len(wire.choices) != 1 or wire.usage is not None or wire.error is not None:
            return self._rare(frame)
        said = wire.choices[0]
        if not said.text or said.finish_reason is not None or said.index not in self._open:
            return self._rare(frame)
        choice = StreamChoice(index=said.index, delta=Delta(content=said.text), logprobs=said.logprobs)
        return (self._chunk([choice]),)


def text_completion(completion: Completion) -> TextCompletion:
    """A chat answer in the legacy shape; what is hidden on it stays so."""
    choices = [
        TextChoice(
            finish_reason=choice.finish_reason,
            index=choice.index,
            text=choice.message.content or "",
            logprobs=choice.logprobs,
        )
        for choice in completion.choices
    ]
    shown = TextCompletion(
        id=completion.id,
        created=completion.created,
        model=completion.model,
        choices=choices,
        usage=completion.usage,
        system_fingerprint=completion.system_fingerprint,
    )
    shown.__dict__.update(completion.__dict__)
    return shown


def text_chunk(chunk: Chunk) -> TextCompletion:
    """A chunk of a chat stream in the legacy shape."""
    choices = [
        TextChoice(
            finish_reason=choice.finish_reason,
            index=choice.index,
            text=choice.delta.content or "",
            logprobs=choice.logprobs,
        )
        for choice in chunk.choices
    ]
    return TextCompletion(
        id=chunk.id,
        created=chunk.created,
        model=chunk.model,
        choices=choices,
        usage=chunk.usage,
        system_fingerprint=chunk.system_fingerprint,
    )
