"""Files that go along with a call: what a caller may hand over, as a name and bytes."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from callmeter.errors import BadRequestError

MEDIA_TYPES: Mapping[str, str] = {
    ".flac": "audio/flac",
    ".m4a": "audio/mp4",
    ".mp3": "audio/mpeg",
    ".mp4": "audio/mp4",
    ".mpeg": "audio/mpeg",
    ".mpga": "audio/mpeg",
    ".oga": "audio/ogg",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
    ".wav": "audio/wav",
    ".webm": "audio/webm",
}
"""By the end of a file's name: the audio that is taken. Source: https://platform.openai.com/docs/guides/speech-to-text"""


class Upload(Struct, frozen=True):
    """A file as it is sent."""

    name: str
    content: bytes
    media_type: str = "application/octet-stream"

    def __repr__(self) -> str:
        return f"Upload({self.name!r}, {len(self.content)} bytes)"


def upload(given: Any) -> Upload:
    """The file out of bytes, an open binary file, a path, or a tuple of a name, one of these and perhaps a media type.

    Reads what has to be read, so it blocks. Raises `OSError` for a file that cannot be read, `BadRequestError` for what
    is none of these.
    """
    if isinstance(given, Upload):
        return given
    if isinstance(given, tuple) and len(given) >= 2:
        name, content, *more = given
        media_type = more[0] if more and more[0] else _media_type(name)
        return Upload(name, upload(content).content, media_type)
    if isinstance(given, bytes | bytearray | memoryview):
        return Upload("file", bytes(given))
    if isinstance(given, str | os.PathLike):
        path = Path(given)
        return Upload(path.name, path.read_bytes(), _media_type(path.name))
    content = given.read() if hasattr(given, "read") else None
    if not isinstance(content, bytes):
        cure = (
            "open it in binary mode, as in open(path, 'rb')"
            if isinstance(content, str)
            else ("pass bytes, an open binary file, a path, or a tuple of a name and one of these")
        )
        raise BadRequestError(f"file is a {type(given).__name__}: {cure}")
    name = Path(str(getattr(given, "name", "file"))).name
    return Upload(name, content, _media_type(name))


def is_read(given: Any) -> bool:
    """Whether a file is in memory already, so that `upload` does not block."""
    if isinstance(given, tuple) and len(given) >= 2:
        return is_read(given[1])
    return isinstance(given, bytes | bytearray | memoryview | Upload)


def _media_type(name: str) -> str:
    return MEDIA_TYPES.get(os.path.splitext(name)[1].lower(), "application/octet-stream")
