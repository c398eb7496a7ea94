"""Chunks back into one answer. Adding is an append; text is joined when somebody asks for the whole."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from callmeter.shapes import (
    Choice,
    Chunk,
    Completion,
    CompletionUsage,
    Delta,
    Function,
    Message,
    StreamChoice,
    ToolCall,
)


class Fold:
    """Accumulates any codec's chunks into a `Completion`. Keeps no chunk: the reader may change what it was handed."""

    __slots__ = (
        "_choices",
        "_citations",
        "_fingerprint",
        "_head",
        "_notes",
        "_tier",
        "_usage",
        "output_bytes",
        "output_chars",
    )

    def __init__(self) -> None:
        self.output_chars = 0
        """Characters the model wrote so far: content, reasoning, refusals, names and arguments of tool calls."""
        self.output_bytes = 0
        """The same text's size in UTF-8."""
        self._head: Chunk | None = None
        self._usage: CompletionUsage | None = None
        self._fingerprint: str | None = None
        self._tier: str | None = None
        self._citations: list[Any] | None = None
        self._notes: dict[str, Any] | None = None
        self._choices: dict[int, _ChoiceFold] = {}

    def add(self, chunk: Chunk) -> None:
        """One more chunk."""
        if self._head is None:
            self._head = Chunk(id=chunk.id, created=chunk.created, model=chunk.model)
        for choice in chunk.choices:
            into = self._choices.get(choice.index)
            if into is None:
                into = self._choices[choice.index] = _ChoiceFold()
            delta = choice.delta
            text = delta.content
            if text:
                into.content.append(text)
                self._count(text)
            if not text or choice.finish_reason is not None or choice.logprobs is not None or _says_more(delta):
                for text in into.add(choice):
                    self._count(text)
        if chunk.usage is not None:
            self._usage = chunk.usage
        if chunk.service_tier is not None:
            self._tier = chunk.service_tier
        if chunk.system_fingerprint is not None:
            self._fingerprint = chunk.system_fingerprint
        if chunk.citations is not None or chunk.provider_specific_fields is not None:
            self._citations = chunk.citations or self._citations
            self._notes = (self._notes or {}) | (chunk.provider_specific_fields or {}) or None

    def completion(self) -> Completion:
        """The answer so far. Each call builds a new one."""
        head = self._head or Chunk()
        return Completion(
            id=head.id,
            created=head.created,
            model=head.model,
            choices=[self._choices[index].choice(index) for index in sorted(self._choices)],
            usage=self._usage,
            system_fingerprint=self._fingerprint,
            service_tier=self._tier,
            citations=self._citations,
            provider_specific_fields=self._notes,
        )

    def _count(self, text: str) -> None:
        chars = len(text)
        self.output_chars += chars
        self.output_bytes += chars if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def stream_chunk_builder(
    chunks: Iterable[Chunk | Mapping[str, Any]],
    messages: Sequence[Any] | None = None,
    start_time: datetime | float | None = None,
    end_time: datetime | float | None = None,
) -> Completion | None:
    """The whole answer that these chunks, in order, were the pieces of; None where there are none.

    `messages` is taken for compatibility. `start_time` and `end_time` (datetimes, or seconds) set `response_ms`.
    """
    fold, some = Fold(), False
    for chunk in chunks:
        fold.add(chunk if isinstance(chunk, Chunk) else msgspec.convert(chunk, Chunk, strict=False))
        some = True
    if not some:
        return None
    completion = fold.completion()
    if start_time is not None and end_time is not None:
        completion.__dict__["_response_ms"] = (_seconds(end_time) - _seconds(start_time)) * 1000
    return completion


class _ChoiceFold:
    """One choice's pieces."""

    __slots__ = ("calls", "content", "fields", "finish_reason", "function", "logprobs", "notes", "texts")

    def __init__(self) -> None:
        self.content: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self.calls: dict[int, _CallFold] = {}
        self.function: _CallFold | None = None
        self.fields: dict[str, Any] = {}
        self.logprobs: dict[str, Any] | None = None
        self.finish_reason: str | None = None
        self.notes: dict[str, Any] | None = None

    def add(self, choice: StreamChoice) -> list[str]:
        """Everything but the content. Returns the texts that count as output."""
        delta, wrote = choice.delta, list[str]()
        for name in ("reasoning_content", "reasoning", "refusal"):
            text = getattr(delta, name)
            if text:
                self.texts.setdefault(name, []).append(text)
                if name != "reasoning" or not delta.reasoning_content:
                    wrote.append(text)
        for position, call in enumerate(delta.tool_calls or ()):
            index = position if call.index is None else call.index
            wrote += self.calls.setdefault(index, _CallFold()).add(call)
        if delta.function_call is not None:
            self.function = self.function or _CallFold()
            wrote += self.function.add(ToolCall(function=delta.function_call))
        self._add_blocks(delta)
        if choice.logprobs:
            self.logprobs = _joined_logprobs(self.logprobs, choice.logprobs)
        if choice.finish_reason is not None:
            self.finish_reason = choice.finish_reason
        if choice.provider_specific_fields:
            self.notes = (self.notes or {}) | choice.provider_specific_fields
        return wrote

    def choice(self, index: int) -> Choice:
        """The choice so far."""
        texts: dict[str, Any] = {name: "".join(pieces) for name, pieces in self.texts.items()}
        message = Message(
            content="".join(self.content) if self.content or not (self.calls or self.function or texts) else None,
            tool_calls=[self.calls[at].call() for at in sorted(self.calls)] or None,
            function_call=self.function.call().function if self.function else None,
            **texts,
            **{name: _copied(value) for name, value in self.fields.items()},
        )
        return Choice(
            finish_reason=self.finish_reason,
            index=index,
            message=message,
            logprobs=self.logprobs,
            provider_specific_fields=self.notes,
        )

    def _add_blocks(self, delta: Delta) -> None:
        for name in ("thinking_blocks", "reasoning_details"):
            for fragment in getattr(delta, name) or ():
                _add_fragment(self.fields.setdefault(name, []), fragment)
        for name in ("annotations", "images"):
            if getattr(delta, name):
                self.fields.setdefault(name, []).extend(getattr(delta, name))
        if delta.audio:
            self.fields["audio"] = _joined_audio(self.fields.get("audio") or {}, delta.audio)
        if delta.provider_specific_fields:
            self.fields.setdefault("provider_specific_fields", {}).update(delta.provider_specific_fields)


class _CallFold:
    """One tool call's fragments: the id, type and name come once, the arguments in pieces."""

    __slots__ = ("arguments", "custom", "id", "name", "notes", "type")

    def __init__(self) -> None:
        self.id: str | None = None
        self.type: str | None = None
        self.name: str | None = None
        self.arguments: list[str] = []
        self.custom: dict[str, Any] | None = None
        self.notes: dict[str, Any] | None = None

    def add(self, call: ToolCall) -> list[str]:
        """A fragment. Returns what it adds to the output."""
        self.id, self.type = call.id or self.id, call.type or self.type
        if call.provider_specific_fields:
            self.notes = (self.notes or {}) | call.provider_specific_fields
        wrote: list[str] = []
        if call.function is not None:
            if call.function.name:
                self.name = call.function.name
                wrote.append(call.function.name)
            if call.function.arguments:
                self.arguments.append(call.function.arguments)
                wrote.append(call.function.arguments)
        if isinstance(call.custom, dict):
            text = call.custom.get("input") or ""
            before = self.custom or {"input": ""}
            self.custom = before | call.custom | {"input": before["input"] + text}
            wrote.append(text)
        return wrote

    def call(self) -> ToolCall:
        """The call so far."""
        function = Function(name=self.name, arguments="".join(self.arguments)) if self.custom is None else None
        kind = self.type or "function"
        return ToolCall(
            id=self.id, type=kind, function=function, custom=self.custom, provider_specific_fields=self.notes
        )


def _says_more(delta: Delta) -> bool:
    """Whether a delta with content carries anything else."""
    return (
        delta.tool_calls is not None
        or delta.reasoning_content is not None
        or delta.reasoning is not None
        or delta.refusal is not None
        or delta.thinking_blocks is not None
        or delta.reasoning_details is not None
        or delta.annotations is not None
        or delta.audio is not None
        or delta.images is not None
        or delta.function_call is not None
        or delta.provider_specific_fields is not None
    )


def _add_fragment(blocks: list[dict[str, Any]], fragment: dict[str, Any]) -> None:
    """A thinking block or reasoning detail, or the next piece of the last one.

    A signature closes its block; encrypted and redacted ones come whole. Sources:
    https://docs.anthropic.com/en/docs/build-with-claude/streaming, https://openrouter.ai/docs/use-cases/reasoning-tokens
    """
    key = _FRAGMENT_TEXT.get(str(fragment.get("type")))
    last = blocks[-1] if blocks else None
    if (
        key is None
        or last is None
        or last.get("signature")
        or (last.get("type"), last.get("index")) != (fragment.get("type"), fragment.get("index"))
    ):
        blocks.append(dict(fragment))
        return
    text = (last.get(key) or "") + (fragment.get(key) or "")
    last.update({name: value for name, value in fragment.items() if value is not None} | {key: text})


_FRAGMENT_TEXT = {"thinking": "thinking", "reasoning.text": "text", "reasoning.summary": "summary"}


def _joined_logprobs(before: dict[str, Any] | None, more: Any) -> dict[str, Any] | None:
    """Token lists in a row: `content` and `refusal` are each a list or null."""
    if not isinstance(more, dict):
        return before
    joined = dict(before or {})
    for name, tokens in more.items():
        joined[name] = [*(joined.get(name) or ()), *tokens] if isinstance(tokens, list) else joined.get(name)
    return joined


def _joined_audio(before: dict[str, Any], more: Any) -> dict[str, Any]:
    """`data` and `transcript` come in pieces, `id` and `expires_at` once."""
    if not isinstance(more, dict):
        return before
    pieces = {name: (before.get(name) or "") + more[name] for name in ("data", "transcript") if more.get(name)}
    # A piece that is empty adds nothing, and takes nothing away.
    return before | {name: value for name, value in more.items() if value not in (None, "")} | pieces


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return dict(value)
    return [_copied(item) for item in value] if isinstance(value, list) else value


def _seconds(time: datetime | float) -> float:
    return time.timestamp() if isinstance(time, datetime) else time
