"""`speech()` and `aspeech()`: a text read aloud."""

from typing import Any

from callmeter.client.making import Made, make
from callmeter.client.mock import Mock, Mocked
from callmeter.client.operations import SPEECH
from callmeter.client.running import arun, run
from callmeter.results import SpeechResponse


def speech(model: str, input: str, voice: Any = None, **params: Any) -> SpeechResponse:
    """Have a text read aloud: `content` of the answer is the audio, `stream_to_file(path)` writes it.

    Parameters of OpenAI's API are taken by name: `response_format` (`mp3` unless said), `speed`, `instructions`, ….

    Everything about the call itself is as in `completion()`, and so are the errors. `mock_response` is the audio.
    """
    return run(_made("speech", model, input, voice, params))  # type: ignore[no-any-return]


async def aspeech(model: str, input: str, voice: Any = None, **params: Any) -> SpeechResponse:
    """`speech()` for event loops: the same arguments, results and errors."""
    return await arun(_made("aspeech", model, input, voice, params))  # type: ignore[no-any-return]


def _made(call_type: str, model: str, input: str, voice: Any, params: dict[str, Any]) -> Made:
    given = {"input": input, "voice": voice, **params}
    return make(SPEECH, call_type, model, (), given, Mocked(_mocked))


def _mocked(mock: Mock, asked: dict[str, Any]) -> bytes:
    return mock.response if isinstance(mock.response, bytes) else mock.text().encode()
