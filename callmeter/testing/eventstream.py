"""AWS event-stream messages as a service writes them.

Source: https://smithy.io/2.0/aws/amazon-eventstream.html
"""

import struct
import zlib
from collections.abc import Mapping

TEXT = 7
"""The type of a header that is text."""


def message(headers: Mapping[str, str], payload: bytes = b"") -> bytes:
    """One message with these headers, all text."""
    written = b"".join(map(_header, headers.items()))
    return sealed(written, payload)


def sealed(headers: bytes, payload: bytes) -> bytes:
    """A message around headers that are written already: its lengths and checksums are right."""
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    begun = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + payload
    return begun + struct.pack(">I", zlib.crc32(begun))


def event(kind: str, payload: bytes, content_type: str = "application/json") -> bytes:
    """An event of a service's stream."""
    return message({":event-type": kind, ":content-type": content_type, ":message-type": "event"}, payload)


def exception(kind: str, payload: bytes) -> bytes:
    """An error that ends a stream."""
    told = {":exception-type": kind, ":content-type": "application/json", ":message-type": "exception"}
    return message(told, payload)


def _header(pair: tuple[str, str]) -> bytes:
    name, value = (part.encode() for part in pair)
    return struct.pack(">B", len(name)) + name + struct.pack(">BH", TEXT, len(value)) + value
