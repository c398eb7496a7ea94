"""Undoing a body's content encoding piece by piece, never more than a little at a time."""

import zlib
from collections.abc import Iterator

ACCEPTED = "gzip, deflate"
"""What we ask servers to use. Brotli and zstd would need packages and save little on answers of this size."""

_OUTPUT_BYTES = 64 * 1024


class BadEncoding(Exception):
    """A body is not what its content-encoding says."""


class Inflater:
    """gzip or deflate, as pieces come. Each piece given back has at most 64 KB, so a bomb cannot fill the memory."""

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        # Either header is recognised: servers have sent zlib as gzip and the other way round.
        self._stream = zlib.decompressobj(zlib.MAX_WBITS | 32)
        self._began = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The decoded bytes that these complete. Raises `BadEncoding`."""
        while data:
            piece = self._step(data)
            if piece:
                yield piece
            if self._stream.eof:
                # A gzip body may be several members, one after the other.
                data = self._stream.unused_data
                if data:
                    self._stream = zlib.decompressobj(zlib.MAX_WBITS | 32)
            else:
                data = self._stream.unconsumed_tail

    def finish(self) -> None:
        """The body is over. Raises `BadEncoding` if it stops short."""
        if self._began and not self._stream.eof:
            raise BadEncoding(f"its {self._encoding} stream stops short")

    def _step(self, data: bytes) -> bytes:
        try:
            piece = self._stream.decompress(data, _OUTPUT_BYTES)
        except zlib.error as error:
            if self._began:
                raise BadEncoding(f"its {self._encoding} stream is broken ({error})") from None
            # RFC 9110 8.4.1.2: some servers send "deflate" without the zlib wrapper.
            self._stream = zlib.decompressobj(-zlib.MAX_WBITS)
            self._began = True
            return self._step(data)
        self._began = True
        return piece


def inflater_for(encoding: str | None) -> Inflater | None:
    """What undoes a `content-encoding`, None where there is nothing to undo. Raises `BadEncoding` for unknown ones."""
    name = (encoding or "identity").strip().lower()
    if name in ("identity", ""):
        return None
    if name in ("gzip", "x-gzip", "deflate"):
        return Inflater(name)
    raise BadEncoding(f"it is encoded as {name!r}, though only {ACCEPTED} was asked for")
