"""Bytes of a stream into frames, whatever the cuts: server-sent events and newline-delimited JSON. No I/O.

Both work on bytes and split on line ends only; text is decoded by whoever reads the frame, so a character cut in two
by the network is no concern here. Each byte is looked at once: a frame that arrives in small pieces is joined when its
end has come, not before.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

from callmeter.client.codecs.base import Frame
from callmeter.errors import APIResponseValidationError

MAX_FRAME_BYTES = 64 << 20
"""No provider sends larger ones; a server that never ends its line must not eat the memory of its caller."""

_BOM = b"\xef\xbb\xbf"


class _Line:
    """The line that has begun and has not ended, in the pieces it came in."""

    __slots__ = ("limit", "pieces", "size")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.size = 0
        self.pieces: list[bytes] = []

    def add(self, piece: bytes) -> None:
        """More of the line. Raises `APIResponseValidationError` once it is longer than the limit."""
        self.size += len(piece)
        if self.size > self.limit:
            raise _too_long(self.limit)
        self.pieces.append(piece)

    def take(self) -> bytes:
        """The line, which ends here."""
        line = b"".join(self.pieces)
        self.pieces.clear()
        self.size = 0
        return line


def _too_long(limit: int) -> APIResponseValidationError:
    return APIResponseValidationError(
        f"one frame of the stream is longer than {limit} bytes, which no model sends; check what api_base leads to"
    )


class SSE:
    """`text/event-stream` into one frame an event.

    Beyond the standard, for servers that are nearly right: an event at the end of the body needs no blank line, and a
    body that begins with `{` is no event stream but plain JSON (an error, mostly) and comes as one frame at the end.
    """

    def __init__(self, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        self._limit = max_frame_bytes
        self._line = _Line(max_frame_bytes)
        self._data: list[bytes] = []
        self._size = 0
        self._event = ""
        self._after_cr = False
        self._first = True
        self._begun = False
        self._plain = False

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that these bytes complete. Raises `APIResponseValidationError` for a frame without end."""
        if self._after_cr and data:
            self._after_cr = False
            data = data.removeprefix(b"\n")
        if b"\r" in data:
            # A CR ends its line at once; the LF that may follow it in the next piece belongs to it.
            self._after_cr = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = data.split(b"\n")
        last = lines.pop()
        frames: list[Frame] = []
        if lines:
            if self._line.pieces:
                self._line.add(lines[0])
                lines[0] = self._line.take()
            self._read(lines, frames)
        if last:
            self._line.add(last)
        return frames

    def close(self) -> list[Frame]:
        """The body is over: the frame that was not followed by a blank line, if there is one."""
        frames: list[Frame] = []
        self._read([self._line.take(), b""], frames)
        if self._plain:
            self._dispatch(frames)
        return frames

    def _read(self, lines: list[bytes], frames: list[Frame]) -> None:
        if not self._begun:
            self._begin(lines)
        if self._plain:
            for line in filter(None, lines):
                self._more(line)
            return
        data = self._data
        for line in lines:
            if not line:
                self._dispatch(frames)
            elif line.startswith(b"data:"):
                value = line[6:] if line.startswith(b"data: ") else line[5:]
                if data:
                    self._more(value)
                else:
                    data.append(value)
            elif line.startswith(b"event:"):
                self._event = line[6:].strip().decode("utf-8", "replace")

    def _begin(self, lines: list[bytes]) -> None:
        if self._first:
            self._first, lines[0] = False, lines[0].removeprefix(_BOM)
        first = next(filter(None, lines), b"")
        self._begun = bool(first)
        self._plain = first.startswith(b"{")

    def _more(self, line: bytes) -> None:
        self._size += len(line) + 1
        if self._size > self._limit:
            raise _too_long(self._limit)
        self._data.append(line)

    def _dispatch(self, frames: list[Frame]) -> None:
        data = self._data
        if data:
            whole = data[0] if len(data) == 1 else b"\n".join(data)
            data.clear()
            self._size = 0
            if whole:
                frames.append(Frame(whole, self._event))
        self._event = ""


class NDJSON:
    """Newline-delimited JSON into one frame a line; blank lines are nothing, the last line needs no end."""

    def __init__(self, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        self._line = _Line(max_frame_bytes)
        self._first = True

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that these bytes complete. Raises `APIResponseValidationError` for a line without end."""
        lines = data.split(b"\n")
        last = lines.pop()
        frames: list[Frame] = []
        if lines:
            self._line.add(lines[0])
            lines[0] = self._line.take()
            if self._first:
                self._first, lines[0] = False, lines[0].removeprefix(_BOM)
            frames = [Frame(line) for line in map(bytes.strip, lines) if line]
        if last:
            self._line.add(last)
        return frames

    def close(self) -> list[Frame]:
        """The body is over: the line that had no end, if there is one."""
        return self.feed(b"\n")
