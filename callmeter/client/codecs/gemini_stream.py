"""Gemini's stream of events as chunks. A whole answer is a stream of one event.

There is no word for the end: it is there once each candidate has its finish reason and the body is over. Usage is
cumulative and may follow in an event of its own.
Source: https://ai.google.dev/api/generate-content#method:-models.streamgeneratecontent
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from callmeter.client.codecs.base import Frame, Meter
from callmeter.client.codecs.gemini_answer import WireAnswer, epoch_s
from callmeter.client.codecs.gemini_candidate import Candidate
from callmeter.client.codecs.gemini_contents import THIRD_GENERATION
from callmeter.client.codecs.gemini_errors import error_within
from callmeter.client.codecs.gemini_usage import counted, meter, searches_in
from callmeter.client.codecs.minted import completion_id, created_s
from callmeter.client.codecs.unreadable import UNREADABLE, bad_frame, broken_off
from callmeter.client.usage import completion_usage
from callmeter.shapes import Chunk, Delta, StreamChoice
from callmeter.types import Call, Deployment

NONE: Sequence[Chunk] = ()

read = msgspec.json.Decoder(WireAnswer).decode


class GeminiDecoder:
    """Folds one stream. Candidates are told apart by their index."""

    def __init__(self, call: Call, deployment: Deployment) -> None:
        self.ended = False
        self._call = call
        self._deployment = deployment
        self._id = completion_id(call)
        self._created = created_s(call)
        self._model: str | None = None
        self._begun = False
        self._candidates: dict[int, Candidate] = {}
        self._usage: Any = None

    def chunks(self, frame: Frame) -> Sequence[Chunk]:
        """The chunks an event adds: none for one that only counts."""
        try:
            answer = read(frame.data)
            if answer.error is not None:
                raise error_within(msgspec.json.decode(frame.data), self._deployment)
            return self.event(answer)
        except UNREADABLE as problem:
            raise bad_frame("an event of a Gemini stream", frame.data, problem, self._deployment) from problem

    def event(self, answer: WireAnswer) -> Sequence[Chunk]:
        """The chunks that a decoded answer, or an event, adds."""
        if not self._begun:
            self._begin(answer)
        chunks: list[Chunk] = []
        for wire in answer.candidates or ():
            candidate = self._candidates.get(wire.index)
            if candidate is None:
                candidate = self._candidates[wire.index] = Candidate(self._call, wire.index, self._tools)
            chunks += [self._with([choice]) for choice in candidate.add(wire)]
            if candidate.finished:
                self.ended = all(other.finished for other in self._candidates.values())
        if answer.prompt_feedback is not None and not self._candidates and answer.prompt_feedback.get("blockReason"):
            chunks.append(self._blocked(answer.prompt_feedback))
        counts = answer.usage_metadata
        if counts is not None and (self._usage is None or counted(counts)):
            # Later counts replace earlier ones, for they are cumulative; an event that has none says nothing.
            self._usage = counts
        return chunks

    @property
    def meter(self) -> Meter:
        """The last word on usage so far, read when somebody asks: each event has counts, and the last are meant."""
        queries = [query for candidate in self._candidates.values() for query in candidate.queries]
        each = bool(queries) and THIRD_GENERATION.search(self._model or self._deployment.model) is not None
        return meter(self._usage, searches_in(queries, each_counts=each))

    def finish(self) -> Sequence[Chunk]:
        """The usage. Raises `APIConnectionError` unless every candidate had its finish reason."""
        if not self.ended:
            raise broken_off("before a finish reason", self._deployment)
        used = self.meter.usage
        if used is None:
            return NONE
        chunk = self._with([])
        chunk.usage = completion_usage(used)
        return (chunk,)

    def _begin(self, answer: WireAnswer) -> None:
        self._begun = True
        self._id = answer.response_id or self._id
        self._created = epoch_s(answer.create_time) or self._created
        self._model = answer.model_version

    def _blocked(self, feedback: dict[str, Any]) -> Chunk:
        """A prompt that was refused has no candidate: it is an answer without content."""
        self.ended = True
        told = {"native_finish_reason": feedback["blockReason"], "prompt_feedback": feedback}
        return self._with(
            [StreamChoice(finish_reason="content_filter", delta=Delta(role="assistant"), provider_specific_fields=told)]
        )

    def _tools(self) -> int:
        """Calls so far, of all candidates: ids that we mint are numbered by it."""
        return sum(candidate.tools for candidate in self._candidates.values())

    def _with(self, choices: list[StreamChoice]) -> Chunk:
        return Chunk(id=self._id, created=self._created, model=self._model, choices=choices)
