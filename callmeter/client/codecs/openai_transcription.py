"""OpenAI's transcription: an audio file in, text out, charged by tokens or by the second.

Source: https://platform.openai.com/docs/api-reference/audio/createTranscription
"""

from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Struct

from callmeter.client.codecs.base import Answered, Meter
from callmeter.client.codecs.messages import JSON
from callmeter.client.codecs.multipart import form
from callmeter.client.codecs.openai_chat import request_headers
from callmeter.client.codecs.openai_endpoint import OpenAIEndpoint, read
from callmeter.client.codecs.openai_paths import address
from callmeter.client.operations import TRANSCRIPTION
from callmeter.client.usage import InvalidUsage, count, metered, required
from callmeter.records import Record
from callmeter.results import TranscriptionResponse
from callmeter.types import Call, Deployment, Usage
from callmeter.wire import WireReply, WireRequest

PLAIN = frozenset({"text", "srt", "vtt"})
"""Values of `response_format` that are answered without JSON."""

MAX_SECONDS = 10**8


class _Wire(Struct):
    text: str
    task: str | None = None
    language: str | None = None
    languages: list[Any] | None = None
    duration: float | str | None = None
    segments: list[Any] | None = None
    words: list[Any] | None = None
    logprobs: list[Any] | None = None
    usage: Any = None


_wire = msgspec.json.Decoder(_Wire)


class OpenAITranscription(OpenAIEndpoint):
    """`POST {api_base}/audio/transcriptions`, a form with a file."""

    path = "audio/transcriptions"
    supported = TRANSCRIPTION.params

    def request(self, call: Call, deployment: Deployment) -> WireRequest:
        """The call as one POST."""
        fields = form(self.body(call, deployment), f"callmeter-{call.id}")
        return WireRequest(
            url=address(deployment, self.path),
            body=fields.body,
            headers={**request_headers(call, deployment), "content-type": fields.content_type},
            timeouts=call.timeouts,
        )

    def body(self, call: Call, deployment: Deployment) -> JSON:
        """The form's fields. `user` is kept for our own account.

        Where a provider tells the duration in its longer answer alone, that is what is asked for.
        """
        body = super().body(call, deployment)
        body.pop("user", None)
        if body.get("response_format", "json") == "json" and deployment.quirks.get("duration_in_verbose_json"):
            body["response_format"] = "verbose_json"
        return body

    def response(self, reply: WireReply, call: Call, deployment: Deployment) -> Answered:
        """A whole answer. Raises `APIResponseValidationError`, or the error an answer of 200 hides."""
        if call.params.get("response_format") in PLAIN:
            return Answered(TranscriptionResponse(text=reply.body.decode("utf-8", "replace")), Meter())
        wire = read(reply.body, _wire, "transcription", deployment)
        meter = _meter(wire)
        answer = TranscriptionResponse(
            text=wire.text,
            task=wire.task,
            language=wire.language,
            languages=_records(wire.languages),
            duration=wire.duration,
            segments=_records(wire.segments),
            words=_records(wire.words),
            logprobs=_records(wire.logprobs),
            usage=Record(wire.usage) if isinstance(wire.usage, dict) and not meter.problem else None,
        )
        return Answered(answer, meter)


CODEC = OpenAITranscription()


def _records(items: list[Any] | None) -> list[Any] | None:
    return None if items is None else [Record(item) if isinstance(item, dict) else item for item in items]


def _meter(wire: _Wire) -> Meter:
    if wire.usage is not None:
        return metered(wire.usage, _usage)
    if wire.duration is None:
        return Meter()
    return metered({"duration": wire.duration}, lambda raw: Usage(units={"audio_second": _seconds(raw, "duration")}))


def _usage(raw: Any) -> Usage:
    """Tokens or seconds, as `type` says. Input whose kind is not told is the audio. Raises `InvalidUsage`."""
    if raw.get("type") == "duration" or "seconds" in raw:
        return Usage(units={"audio_second": _seconds(raw, "seconds")})
    inputs = required(raw, "input_tokens")
    audio = count(raw, "input_token_details.audio_tokens")
    return Usage(
        input_tokens=inputs,
        input_audio_tokens=inputs if audio is None else audio,
        output_tokens=required(raw, "output_tokens"),
    )


def _seconds(raw: Any, name: str) -> Decimal:
    """A duration as it was written; some write it as text. Raises `InvalidUsage` for what cannot be one."""
    said = raw.get(name)
    try:
        seconds = Decimal(str(said)) if isinstance(said, int | float | str) and not isinstance(said, bool) else None
    except ArithmeticError:
        seconds = None
    if seconds is None or not seconds.is_finite() or not 0 <= seconds <= MAX_SECONDS:
        raise InvalidUsage(f"{name} is {said!r:.100}")
    return seconds
