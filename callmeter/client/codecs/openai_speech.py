"""OpenAI's speech: a text in, audio out, charged by tokens or by the character.

An answer is bytes of audio, which say nothing of tokens; as events it ends with them. So a model that counts tokens is
asked for events, and the caller gets the audio they hold.

Source: https://platform.openai.com/docs/api-reference/audio/createSpeech
"""

import base64
from typing import Any

import msgspec
from msgspec import Struct

from callmeter.client.codecs.base import Answered, Meter
from callmeter.client.codecs.messages import JSON
from callmeter.client.codecs.openai_answer import loads, not_the_shape
from callmeter.client.codecs.openai_endpoint import OpenAIEndpoint
from callmeter.client.codecs.unreadable import UNREADABLE, bad_frame, broken_off
from callmeter.client.error_bodies import hides_error
from callmeter.client.failures import failure_from_payload
from callmeter.client.framing import SSE
from callmeter.client.operations import SPEECH
from callmeter.client.usage import metered, required
from callmeter.results import SpeechResponse
from callmeter.types import Call, Deployment, Usage
from callmeter.wire import WireReply

BY_TOKEN = "gpt-"
"""How the names of OpenAI's models begin that count tokens; the others refuse to send events. Source: as above."""


class _Event(Struct):
    type: str = ""
    audio: str = ""
    usage: Any = None
    error: Any = None


_event = msgspec.json.Decoder(_Event)


class OpenAISpeech(OpenAIEndpoint):
    """`POST {api_base}/audio/speech`."""

    path = "audio/speech"
    accept = "*/*"
    supported = SPEECH.params

    def body(self, call: Call, deployment: Deployment) -> JSON:
        """The body before it is encoded. `user` is kept for our own account."""
        body = super().body(call, deployment)
        body.pop("user", None)
        if deployment.provider == "openai" and deployment.model.startswith(BY_TOKEN):
            body.setdefault("stream_format", "sse")
        return body

    def response(self, reply: WireReply, call: Call, deployment: Deployment) -> Answered:
        """A whole answer. Raises `APIResponseValidationError`, or the error an answer of 200 hides."""
        kind = reply.headers.get("content-type", "")
        if kind.startswith("application/json"):
            payload = loads(reply.body)
            if hides_error(payload):
                raise failure_from_payload(payload, provider=deployment.provider, model=deployment.model)
            raise not_the_shape("no audio", reply.body, deployment)
        by_character = Meter(usage=Usage(units={"character": len(call.params.get("input") or "")}))
        if not kind.startswith("text/event-stream"):
            return Answered(SpeechResponse(content=reply.body, content_type=kind), by_character)
        audio, usage = _events(reply.body, deployment)
        meter = by_character if usage is None else metered(usage, _usage)
        if call.params.get("stream_format") == "sse":
            # The caller wants the events themselves.
            return Answered(SpeechResponse(content=reply.body, content_type=kind), meter)
        return Answered(SpeechResponse(content=audio, content_type=MEDIA_TYPES.get(_format(call), "")), meter)


CODEC = OpenAISpeech()

MEDIA_TYPES = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}


def _format(call: Call) -> str:
    return str(call.params.get("response_format") or "mp3")


def _events(body: bytes, deployment: Deployment) -> tuple[bytes, Any]:
    """The audio that events hold, and the usage that the last one tells.

    Raises the error that an event tells of, and `APIConnectionError` where the last one did not come.
    """
    framing, audio = SSE(), list[bytes]()
    for frame in (*framing.feed(body), *framing.close()):
        try:
            event = _event.decode(frame.data)
            audio.append(base64.b64decode(event.audio))
        except (*UNREADABLE, ValueError) as problem:
            raise bad_frame("an event of speech", frame.data, problem, deployment) from problem
        if event.error is not None or event.type == "error":
            payload = loads(frame.data)
            raise failure_from_payload(payload, provider=deployment.provider, model=deployment.model)
        if event.type == "speech.audio.done":
            return b"".join(audio), event.usage
    raise broken_off("before the speech was done", deployment)


def _usage(raw: Any) -> Usage:
    """All output is audio. Raises `InvalidUsage`."""
    output = required(raw, "output_tokens")
    return Usage(input_tokens=required(raw, "input_tokens"), output_tokens=output, output_audio_tokens=output)
