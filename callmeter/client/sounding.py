"""How long audio is, where its file says so."""

import struct
from decimal import Decimal


def wav_seconds(content: bytes) -> Decimal | None:
    """The length of a WAV file; None for any other, or one that does not say.

    Source: http://soundfile.sapp.org/doc/WaveFormat
    """
    if content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        return None
    at, bytes_a_second = 12, 0
    while at + 8 <= len(content):
        kind, size = content[at : at + 4], struct.unpack_from("<I", content, at + 4)[0]
        if kind == b"fmt " and at + 20 <= len(content):
            bytes_a_second = struct.unpack_from("<I", content, at + 16)[0]
        if kind == b"data":
            # A file that was streamed has no size yet: what is there counts.
            size = min(size, len(content) - at - 8)
            return round(Decimal(size) / bytes_a_second, 6) if bytes_a_second else None
        at += 8 + size + size % 2
    return None
