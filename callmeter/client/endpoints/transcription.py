"""`transcription()` and `atranscription()`: what is said in an audio file."""

from typing import Any

import msgspec

from callmeter.client.making import Made, make
from callmeter.client.mock import Mock, Mocked
from callmeter.client.operations import TRANSCRIPTION
from callmeter.client.running import arun, run
from callmeter.client.uploads import Upload, is_read, upload
from callmeter.results import TranscriptionResponse


def transcription(model: str, file: Any, **params: Any) -> TranscriptionResponse:
    """Have an audio file written down: `text`, and what else the `response_format` brings.

    `file` is an open binary file, bytes, a path, or a tuple of a name, one of these and perhaps a media type; a name
    with the right ending tells the provider the format. Parameters of OpenAI's API are taken by name: `language`,
    `prompt`, `response_format`, `temperature`, `timestamp_granularities`, ….

    Everything about the call itself is as in `completion()`, and so are the errors; a file that cannot be read raises
    `OSError` before there is a call. `mock_response` is the text.
    """
    return run(_made("transcription", model, upload(file), params))  # type: ignore[no-any-return]


async def atranscription(model: str, file: Any, **params: Any) -> TranscriptionResponse:
    """`transcription()` for event loops: the same arguments, results and errors; files are read on a thread."""
    if not is_read(file):
        import asyncio

        file = await asyncio.to_thread(upload, file)
    return await arun(_made("atranscription", model, upload(file), params))  # type: ignore[no-any-return]


def _made(call_type: str, model: str, file: Upload, params: dict[str, Any]) -> Made:
    return make(TRANSCRIPTION, call_type, model, (), {"file": file, **params}, Mocked(_mocked))


def _mocked(mock: Mock, asked: dict[str, Any]) -> bytes:
    return msgspec.json.encode({"text": mock.text()})
