"""What Azure adds to OpenAI's answers: verdicts of content filters, and the sources of its own data search.

Source: https://learn.microsoft.com/en-us/azure/ai-services/openai/concepts/content-filter-annotations
"""

from collections.abc import Sequence

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from callmeter.client.codecs.base import Answer, Frame
from callmeter.client.codecs.messages import JSON
from callmeter.client.codecs.openai_answer import NOT_READ
from callmeter.client.codecs.openai_stream import OpenAIChatDecoder
from callmeter.shapes import Chunk, Delta, StreamChoice
from callmeter.types import Call, Deployment


class _Said(Struct):
    context: JSON | None = None


class _Choice(Struct):
    index: int = 0
    content_filter_results: Raw = Raw()
    """Not looked into unless it differs from the last one: every piece of a stream brings it anew."""
    delta: _Said | None = None
    message: _Said | None = None


class _Notes(Struct):
    """The additions alone."""

    prompt_filter_results: list[JSON] | None = None
    prompt_annotations: list[JSON] | None = None
    """The same under the asynchronous filter's name."""
    choices: list[_Choice] = []


_read = msgspec.json.Decoder(_Notes).decode


def _notes(body: bytes) -> _Notes:
    """The additions in an answer or a frame; none where it has none, or has them in another shape."""
    if b"_filter_results" not in body and b'"context"' not in body:
        return _Notes()
    try:
        return _read(body)
    except NOT_READ:
        return _Notes()


def noted(answer: Answer, body: bytes) -> Answer:
    """A whole answer with Azure's additions; its model is what is priced."""
    completion, notes = answer.completion, _notes(body)
    if notes.prompt_filter_results:
        completion.provider_specific_fields = {"prompt_filter_results": notes.prompt_filter_results}
    for choice, extra in zip(completion.choices, notes.choices, strict=False):
        if verdicts := _verdicts(extra.content_filter_results):
            choice.provider_specific_fields = _with_verdicts(choice.provider_specific_fields, verdicts)
        if extra.message is not None and extra.message.context is not None:
            choice.message.provider_specific_fields = {"context": extra.message.context}
    return Answer(completion, replace(answer.meter, model=completion.model or ""))


def _verdicts(raw: Raw) -> JSON:
    """Verdicts by their names; none of what is no object."""
    try:
        found = msgspec.json.decode(raw) if raw else None
    except NOT_READ:
        return {}
    return found if isinstance(found, dict) else {}


def _with_verdicts(notes: JSON | None, verdicts: JSON) -> JSON:
    return {**(notes or {}), "content_filter_results": verdicts}


class AzureDecoder(OpenAIChatDecoder):
    """One stream. Verdicts that come with every piece of text are told once, with the finish reason.

    Under the asynchronous filter they come late, in chunks without a delta; those after the end stand alone.
    """

    def __init__(self, call: Call, deployment: Deployment) -> None:
        super().__init__(call, deployment)
        self._prompt: list[JSON] | None = None
        self._verdicts: dict[int, JSON] = {}
        self._last: dict[int, Raw] = {}

    def chunks(self, frame: Frame) -> Sequence[Chunk]:
        """The chunks a frame adds. Raises `APIError` for an error within the stream or a frame that is no chunk."""
        if self.ended:
            return ()
        chunks, notes = super().chunks(frame), _notes(frame.data)
        if self._model and self.meter.model != self._model:
            self.meter = replace(self.meter, model=self._model)
        self._prompt = notes.prompt_filter_results or notes.prompt_annotations or self._prompt
        said = [choice for chunk in chunks for choice in chunk.choices]
        if said and self._prompt:
            chunks[0].provider_specific_fields = {"prompt_filter_results": self._prompt}
            self._prompt = None
        late = [choice for extra in notes.choices if (choice := self._noted(extra, said)) is not None]
        for choice in said:
            if choice.finish_reason is not None and (verdicts := self._verdicts.get(choice.index)):
                choice.provider_specific_fields = _with_verdicts(choice.provider_specific_fields, verdicts)
        return [*chunks, self._chunk(late)] if late else chunks

    def _noted(self, extra: _Choice, said: Sequence[StreamChoice]) -> StreamChoice | None:
        """Keeps verdicts until their choice ends. Returns what no chunk is left to carry: sources, late verdicts."""
        sources = extra.delta.context if extra.delta is not None else None
        late, raw = None, extra.content_filter_results
        if raw != self._last.get(extra.index) and (verdicts := _verdicts(raw)):
            self._last[extra.index] = raw.copy()
            verdicts = self._verdicts[extra.index] = {**self._verdicts.get(extra.index, {}), **verdicts}
            if extra.index in self._done and all(choice.index != extra.index for choice in said):
                late = _with_verdicts(None, verdicts)
        if sources is None and late is None:
            return None
        delta = Delta(provider_specific_fields=None if sources is None else {"context": sources})
        return StreamChoice(index=extra.index, delta=delta, provider_specific_fields=late)
