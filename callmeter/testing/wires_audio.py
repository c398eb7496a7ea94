"""Audio as OpenAI answers it: any file says the same, timed for Whisper and counted in tokens for the others.

Shapes as documented: https://platform.openai.com/docs/api-reference/audio
"""

import base64
from typing import Any

import msgspec

from callmeter.testing.scripts import Answer, Tokens, Wish

TEXT = "Hello from the fake provider."
SECONDS = 9


class _File(msgspec.Struct):
    name: str
    bytes: int


class _Asked(msgspec.Struct):
    model: str
    file: _File
    response_format: str = "json"


_asked = msgspec.json.Decoder(_Asked)


def transcription(body: bytes, wish: Wish) -> Answer:
    """What was said. Raises `msgspec.MsgspecError` for what is no request."""
    asked = _asked.decode(body)
    text = TEXT if wish.text is None else wish.text
    if asked.response_format in ("text", "srt", "vtt"):
        subtitle = f"1\n00:00:00,000 --> 00:00:09,000\n{text}\n\n"
        plain = {"text": f"{text}\n", "srt": subtitle, "vtt": f"WEBVTT\n\n{text}\n"}
        return Answer(
            wire="transcription",
            model=asked.model,
            content_type="text/plain; charset=utf-8",
            pieces=(plain[asked.response_format].encode(),),
        )
    whole: dict[str, Any] = {"text": text}
    tokens = Tokens()
    timed = "gpt-4o" not in asked.model
    if timed and asked.response_format == "verbose_json":
        segment = {"id": 0, "start": 0.0, "end": float(SECONDS), "text": text}
        whole |= {"task": "transcribe", "language": "english", "duration": 8.47, "segments": [segment]}
    if not timed:
        audio = 10 * SECONDS if wish.prompt_tokens is None else wish.prompt_tokens
        tokens = Tokens(prompt_tokens=audio, completion_tokens=len(text.split()))
    if wish.usage:
        whole["usage"] = {"type": "duration", "seconds": SECONDS} if timed else _counted(tokens)
    return Answer(wire="transcription", model=asked.model, pieces=(msgspec.json.encode(whole),), tokens=tokens)


def _counted(tokens: Tokens) -> dict[str, Any]:
    return {
        "type": "tokens",
        "input_tokens": tokens.prompt_tokens,
        "input_token_details": {"audio_tokens": tokens.prompt_tokens, "text_tokens": 0},
        "output_tokens": tokens.completion_tokens,
        "total_tokens": tokens.prompt_tokens + tokens.completion_tokens,
    }


class _Spoken(msgspec.Struct):
    model: str
    input: str
    voice: Any
    response_format: str = "mp3"
    stream_format: str = "audio"


_spoken = msgspec.json.Decoder(_Spoken)


def speech(body: bytes, wish: Wish) -> Answer:
    """As many bytes as the text has, as they are or as events. Raises `msgspec.MsgspecError` for what is no request."""
    asked = _spoken.decode(body)
    audio = b"ID3\x04" + asked.input.encode()[::-1]
    if asked.stream_format != "sse":
        kind = {"mp3": "audio/mpeg", "pcm": "audio/pcm"}.get(asked.response_format, f"audio/{asked.response_format}")
        return Answer(wire="speech", model=asked.model, content_type=kind, pieces=(audio,))
    inputs = -(-len(asked.input) // 4) if wish.prompt_tokens is None else wish.prompt_tokens
    tokens = Tokens(prompt_tokens=inputs, completion_tokens=10 * inputs)
    halves = (audio[: len(audio) // 2], audio[len(audio) // 2 :])
    events: list[dict[str, Any]] = [
        {"type": "speech.audio.delta", "audio": base64.b64encode(part).decode()} for part in halves
    ]
    done: dict[str, Any] = {"type": "speech.audio.done"}
    if wish.usage:
        done["usage"] = {
            "input_tokens": tokens.prompt_tokens,
            "output_tokens": tokens.completion_tokens,
            "total_tokens": tokens.prompt_tokens + tokens.completion_tokens,
        }
    written = b"".join(b"data: " + msgspec.json.encode(event) + b"\n\n" for event in (*events, done))
    return Answer(wire="speech", model=asked.model, content_type="text/event-stream", pieces=(written,), tokens=tokens)
