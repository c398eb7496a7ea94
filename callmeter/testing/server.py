"""The fake provider's side of a socket: HTTP/1.1 in, scripts out, good or bad as told."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from functools import lru_cache
from http import HTTPStatus
from typing import Protocol

from msgspec import Struct

from callmeter.testing.scripts import NUMBER, Answer, Heard, Script, Served

_NUMBER = NUMBER.encode()
_REASONS = {status.value: status.phrase for status in HTTPStatus}


class Host(Protocol):
    """What a connection asks of the provider it belongs to. Called on the server's thread."""

    def joined(self, connection: "Connection") -> None: ...
    def left(self, connection: "Connection") -> None: ...
    def script_for(self, heard: Heard) -> tuple[Script, int]: ...
    def answered(self, served: Served) -> None: ...
    async def released(self) -> None: ...


class _Unit(Struct, frozen=True):
    """A run of bytes to write, and what of the body they carry."""

    data: bytes
    body_bytes: int = 0
    whole_piece: bool = False


class Connection(asyncio.Protocol):
    """One client's connection: answers its requests in turn and keeps it open between them."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._received = bytearray()
        self._needed = 0
        self._delivery: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._ending: Callable[[], None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._host.joined(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._delivery is None:
            self._host.left(self)
        else:
            # It gives its account first: whoever sees the client gone may ask for it.
            self._delivery.add_done_callback(lambda _: self._host.left(self))
            self._delivery.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def hang_up(self) -> None:
        """Close without ceremony."""
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._received += data
        if len(self._received) >= self._needed:
            self._answer_next()

    def _answer_next(self) -> None:
        while self._delivery is None and not self._transport.is_closing():
            heard = self._parse()
            if heard is None:
                return
            script, number = self._host.script_for(heard)
            self._answer(heard, script, b"%016x" % number)

    def _parse(self) -> Heard | None:
        """The next whole request, taken out of what was received; None while there is none."""
        received = self._received
        end = received.find(b"\r\n\r\n")
        if end < 0:
            self._needed = 0
            return None
        first, *lines = received[:end].decode("latin-1").split("\r\n")
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        start = end + 4
        self._needed = start + int(headers.get("content-length") or 0)
        if len(received) < self._needed:
            return None
        method, path, _ = first.split(" ", 2)
        heard = Heard(method=method, path=path, headers=headers, body=bytes(received[start : self._needed]))
        del received[: self._needed]
        self._needed = 0
        return heard

    def _answer(self, heard: Heard, script: Script, number: bytes) -> None:
        answer = script.answer
        whole = Served(
            call_id=heard.headers.get("x-callmeter-call-id", ""),
            wire=answer.wire,
            model=answer.model,
            stream=answer.stream,
            status=answer.status,
            tokens=answer.tokens,
            pieces=len(answer.pieces),
            pieces_written=len(answer.pieces),
            bytes_written=sum(map(len, answer.pieces)),
            complete=True,
        )
        head = _head(answer, (*answer.headers, *script.headers))
        if script.immediate:
            # Counted first: whoever has read the answer may ask for the count at once.
            self._host.answered(whole)
            self._transport.write((head + _framed(answer)).replace(_NUMBER, number))
        else:
            self._delivery = asyncio.get_running_loop().create_task(self._deliver(script, head, number, whole))

    async def _deliver(self, script: Script, head: bytes, number: bytes, whole: Served) -> None:
        units = _units(script, head)
        pieces = size = 0
        last = len(units) - 1
        counted = False
        stall_at = {"headers": 0, "chunk": script.stall_at + 1}.get(script.stall)
        try:
            for at, unit in enumerate(units):
                if at == stall_at:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(script.stall_s):
                            await self._host.released()
                if script.pause_s and at > script.pause_from:
                    await asyncio.sleep(script.pause_s)
                await self._writable.wait()
                if self._transport.is_closing():
                    return
                pieces, size = pieces + unit.whole_piece, size + unit.body_bytes
                if at == last:
                    self._host.answered(_part(whole, pieces, size))
                    counted = True
                self._transport.write(unit.data.replace(_NUMBER, number))
        except asyncio.CancelledError:
            # The client left. What was never written is not counted as such.
            return
        finally:
            if not counted:
                self._host.answered(_part(whole, pieces, size))
            self._delivery = None
        if script.cut_before_headers or script.cut_after_bytes is not None:
            self._part_company(script.reset)
        else:
            self._answer_next()

    def _part_company(self, reset: bool) -> None:
        if reset:
            # A socket that lingers for no time ends in a reset.
            linger = struct.pack("ii", 1, 0)
            with contextlib.suppress(OSError):
                self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._transport.close()


def _part(whole: Served, pieces: int, size: int) -> Served:
    return Served(
        call_id=whole.call_id,
        wire=whole.wire,
        model=whole.model,
        stream=whole.stream,
        status=whole.status,
        tokens=whole.tokens,
        pieces=whole.pieces,
        pieces_written=pieces,
        bytes_written=size,
        complete=size == whole.bytes_written,
    )


@lru_cache(maxsize=256)
def _head_of(status: int, content_type: str, length: int | None, headers: tuple[tuple[str, str], ...]) -> bytes:
    lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Unknown')}", f"content-type: {content_type}"]
    lines.append("transfer-encoding: chunked" if length is None else f"content-length: {length}")
    # OpenAI calls its request id `x-request-id`, Anthropic `request-id`, Amazon `x-amzn-requestid`.
    lines += [f"{name}: req_{NUMBER}" for name in ("x-request-id", "request-id", "x-amzn-requestid")]
    lines += [f"{name}: {value}" for name, value in headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _head(answer: Answer, headers: tuple[tuple[str, str], ...]) -> bytes:
    chunked = len(answer.pieces) > 1
    length = None if chunked else sum(map(len, answer.pieces))
    return _head_of(answer.status, answer.content_type, length, headers)


@lru_cache(maxsize=1024)
def _framed(answer: Answer) -> bytes:
    """The body as it is sent: as it is if it is one piece, else each piece as a chunk."""
    if len(answer.pieces) <= 1:
        return b"".join(answer.pieces)
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in answer.pieces) + b"0\r\n\r\n"


def _units(script: Script, head: bytes) -> list[_Unit]:
    """Everything to write, in order: the head, then one unit a piece, short of what is to be cut."""
    if script.cut_before_headers:
        return [_Unit(b"")]
    pieces = script.answer.pieces
    chunked = len(pieces) > 1
    left = script.cut_after_bytes
    units = [_Unit(head)]
    for piece in pieces:
        kept = piece if left is None else piece[:left]
        whole = len(kept) == len(piece)
        data = b"%x\r\n%s%s" % (len(piece), kept, b"\r\n" if whole else b"") if chunked else kept
        if kept or left is None:
            units.append(_Unit(data, len(kept), whole))
        if left is not None:
            left -= len(kept)
            if left == 0:
                break
    if chunked and left is None:
        units.append(_Unit(b"0\r\n\r\n"))
    return _dripped(units, script.bytes_per_piece) if script.bytes_per_piece else units


def _dripped(units: list[_Unit], size: int) -> list[_Unit]:
    drops: list[_Unit] = []
    for unit in units:
        data = unit.data
        starts = range(0, len(data), size)
        drops.extend(_Unit(data[start : start + size]) for start in starts[:-1])
        drops.append(_Unit(data[starts[-1] :], unit.body_bytes, unit.whole_piece) if starts else unit)
    return drops
