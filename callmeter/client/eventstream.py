"""AWS event streams into frames: messages with their length before them and checksums around them. No I/O.

A message is a prelude of 12 bytes (its length, that of its headers, a checksum of both), headers, a payload and a
checksum of all before. Whatever the network's cuts, a frame comes as soon as its last byte has.

Source: https://smithy.io/2.0/aws/amazon-eventstream.html
"""

import struct
import zlib
from collections.abc import Iterator

import msgspec

from callmeter.client.codecs.base import Frame
from callmeter.client.framing import MAX_FRAME_BYTES
from callmeter.errors import APIConnectionError, APIResponseValidationError

_PRELUDE = struct.Struct(">III")
_CHECKSUM = struct.Struct(">I")
_AROUND = _PRELUDE.size + _CHECKSUM.size

_FIXED = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
"""Bytes of a header's value by its type: true, false, integers of 1 to 8 bytes, a time, a UUID."""

_BYTES, _STRING = 6, 7
"""Types of header whose value has its own length before it."""


class EventStream:
    """`application/vnd.amazon.eventstream` into one frame a message; its `:event-type` is the frame's event.

    Beyond the format, for proxies that answer with 200 and JSON: a body that begins with `{` is no event stream (that
    would be a message of two gigabytes) and comes as one frame at the end.
    """

    def __init__(self, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        self._limit = max_frame_bytes
        self._waiting = bytearray()
        self._length = 0
        """Of the message that is waiting, where its prelude has come."""
        self._plain: bool | None = None

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that these bytes complete. Raises `APIResponseValidationError` for bytes that are no message."""
        waiting = self._waiting
        waiting += data
        if self._plain is None and waiting:
            self._plain = waiting[0] == ord("{")
        if self._plain:
            if len(waiting) > self._limit:
                raise self._too_long(len(waiting))
            return []
        frames: list[Frame] = []
        start = 0
        while True:
            if not self._length and len(waiting) - start >= _PRELUDE.size:
                self._length = self._announced(bytes(waiting[start : start + _PRELUDE.size]))
            if not self._length or len(waiting) - start < self._length:
                break
            frames.append(_read(bytes(waiting[start : start + self._length])))
            start, self._length = start + self._length, 0
        if start:
            del waiting[:start]
        return frames

    def close(self) -> list[Frame]:
        """The body is over. Raises `APIConnectionError` where it ended within a message."""
        if self._plain:
            return [Frame(bytes(self._waiting))]
        if self._waiting:
            raise APIConnectionError("the stream ended in the middle of a message; what came so far is not the whole")
        return []

    def _announced(self, prelude: bytes) -> int:
        """The length of the message that a prelude begins."""
        length, headers, checksum = _PRELUDE.unpack(prelude)
        if zlib.crc32(prelude[:8]) != checksum or length < _AROUND + headers:
            raise _no_message(f"it has {prelude!r} where a message should begin")
        if length > self._limit:
            raise self._too_long(length)
        return int(length)

    def _too_long(self, length: int) -> APIResponseValidationError:
        return _no_message(f"a message of {length} bytes is longer than the {self._limit} that are taken")


def _read(message: bytes) -> Frame:
    if zlib.crc32(message[:-4]) != _CHECKSUM.unpack(message[-4:])[0]:
        raise _no_message("a message's checksum does not fit it")
    payload_at = _PRELUDE.size + _PRELUDE.unpack_from(message)[1]
    payload = message[payload_at:-4]
    try:
        told = dict(_headers(message[_PRELUDE.size : payload_at]))
    except (IndexError, KeyError, struct.error, UnicodeDecodeError):
        raise _no_message("a message's headers cannot be read") from None
    match told.get(":message-type"):
        case "exception":
            return Frame(payload, told.get(":exception-type", ""), failed=True)
        case "error":
            # An error that is not modelled tells of itself in headers alone.
            message_told = msgspec.json.encode({"message": told.get(":error-message", "")})
            return Frame(message_told, told.get(":error-code", ""), failed=True)
    return Frame(payload, told.get(":event-type", ""))


def _headers(data: bytes) -> Iterator[tuple[str, str]]:
    """The headers that are text; others are stepped over."""
    at = 0
    while at < len(data):
        name_at = at + 1
        kind_at = name_at + data[at]
        name, kind, at = data[name_at:kind_at].decode(), data[kind_at], kind_at + 1
        if kind in (_BYTES, _STRING):
            (length,) = struct.unpack_from(">H", data, at)
            value, at = data[at + 2 : at + 2 + length], at + 2 + length
            if kind == _STRING:
                yield name, value.decode()
        else:
            at += _FIXED[kind]


def _no_message(why: str) -> APIResponseValidationError:
    return APIResponseValidationError(f"the body is no event stream, or it was damaged: {why:.200}")
