"""An answer that is there already, to be read as a stream."""

from collections.abc import AsyncIterator, Iterator, Mapping
from types import MappingProxyType

NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class ReadyStream:
    """An opened answer made of pieces that are there already, for both kinds of reader."""

    status = 200

    def __init__(self, pieces: Iterator[bytes], headers: Mapping[str, str] = NO_HEADERS) -> None:
        self.headers = headers
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece

    def close(self) -> None:
        """Nothing to close."""

    async def aclose(self) -> None:
        """Nothing to close."""
