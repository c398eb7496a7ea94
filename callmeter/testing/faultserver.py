"""A real HTTP server that takes what sinks send, misbehaves as told, and keeps its own books.

Its books are the oracle of delivery tests: which ids arrived how often is written down here, outside of the code under
test, before any answer is sent.
"""

import gzip
import json
import os
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from msgspec import Struct

Extract = Callable[[bytes], Sequence[str]]
"""Ids of the events in a request body."""


class Act(Struct, frozen=True, kw_only=True):
    """How one request is treated once its body was read."""

    kind: Literal["answer", "hang", "drip", "reset"] = "answer"
    status: int = 200
    headers: Mapping[str, str] = {}
    body: bytes = b""
    takes: bool = True
    """Whether the events count as taken by the destination."""
    pause_s: float = 0.0
    """`drip`: between one byte of the body and the next."""


class Received(Struct, frozen=True):
    """One request as it came, and what was done with it."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    ids: tuple[str, ...]
    act: Act


class FaultServer:
    """Listens on a loopback port from `__enter__` to `__exit__`. Takes everything until told otherwise.

    `healthy` says how it answers what it takes, `refusal` how it answers what it does not, each given the ids: 200 and
    400 with no body that matters, unless the service has answers of its own. Bodies that come gzipped are unpacked.
    `received` holds every request in order, `taken` how often each id was taken, `acts` how often each kind of
    treatment really happened (by status for plain answers). With `oracle`, one JSON line `{"id": …}` is appended to
    that file for each taken event before the answer goes out, so that it survives every process.
    """

    def __init__(
        self,
        extract: Extract | None = None,
        *,
        healthy: Callable[[Sequence[str]], Act] | None = None,
        refusal: Callable[[Sequence[str]], Act] | None = None,
        oracle: Path | None = None,
        max_body_bytes: int | None = None,
    ) -> None:
        self.received: list[Received] = []
        self.taken: Counter[str] = Counter()
        self.acts: Counter[int | str] = Counter()
        self.max_body_bytes = max_body_bytes
        """Larger bodies are answered 413."""
        self.poison: frozenset[str] = frozenset()
        """A request that carries one of these ids is refused as a whole."""
        self._extract = extract or ids_of_json_list
        self._healthy = healthy or (lambda ids: Act())
        self._refusal = refusal or (lambda ids: Act(status=400, body=b"an event is malformed", takes=False))
        self._oracle = oracle
        self._script: list[tuple[Act, int | None]] = []
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._server = _Server(self)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), name="fault-server", daemon=True
        )

    @property
    def url(self) -> str:
        """Where to send to."""
        return f"{self.base_url}/events"

    @property
    def base_url(self) -> str:
        """The server's address without a path; it takes any."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    # --- the script: each line holds for `times` requests (None: until `heal`), then comes the next

    def answer(
        self, status: int, *, times: int | None = None, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> None:
        """Answer with this status; 2xx takes the events."""
        self._add(Act(status=status, headers=headers or {}, body=body, takes=200 <= status < 300), times)

    def garbage(self, body: bytes, *, times: int | None = None, taken: bool = False) -> None:
        """Answer 200 with a body that confirms nothing."""
        self._add(Act(body=body, takes=taken), times)

    def hang(self, *, times: int | None = None) -> None:
        """Read the request and never answer."""
        self._add(Act(kind="hang", takes=False), times)

    def drip(self, body: bytes, *, pause_s: float, times: int | None = None) -> None:
        """Take the events and send the answer's body byte by byte."""
        self._add(Act(kind="drip", body=body, pause_s=pause_s), times)

    def reset(self, *, times: int | None = None) -> None:
        """Take the events, then reset the connection instead of answering."""
        self._add(Act(kind="reset"), times)

    def heal(self) -> None:
        """Forget the script: take everything again."""
        with self._lock:
            self._script.clear()

    # --- the server's side

    def _add(self, act: Act, times: int | None) -> None:
        with self._lock:
            self._script.append((act, times))

    def _next_act(self, ids: Sequence[str]) -> Act:
        while self._script:
            act, times = self._script[0]
            if times is None:
                return act
            self._script[0] = (act, times - 1)
            if times > 0:
                return act
            self._script.pop(0)
        return self._healthy(ids)

    def _receive(self, path: str, headers: Mapping[str, str], body: bytes) -> Act:
        ids = tuple(self._extract(body))
        with self._lock:
            if self.max_body_bytes is not None and len(body) > self.max_body_bytes:
                act = Act(status=413, body=b"too large", takes=False)
            elif self.poison.intersection(ids):
                act = self._refusal(ids)
            else:
                act = self._next_act(ids)
            self.received.append(Received(path, headers, body, ids, act))
            self.acts[act.status if act.kind == "answer" else act.kind] += 1
            if act.takes:
                self.taken.update(ids)
                self._write_down(ids)
        return act

    def _write_down(self, ids: Sequence[str]) -> None:
        if self._oracle is None or not ids:
            return
        lines = "".join(json.dumps({"id": event_id}) + "\n" for event_id in ids)
        out = os.open(self._oracle, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(out, lines.encode())
        finally:
            os.close(out)


def ids_of_json_list(body: bytes) -> list[str]:
    """`id` of each object in a JSON array, which is what a CloudEvents batch looks like; nothing else has any."""
    try:
        found = json.loads(body)
    except ValueError:
        return []
    return [each["id"] for each in found if isinstance(each, dict) and "id" in each] if isinstance(found, list) else []


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, books: FaultServer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.books = books

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away in the middle is part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        books = self.server.books
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        headers = {name.lower(): value for name, value in self.headers.items()}
        if headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        act = books._receive(self.path, headers, body)
        match act.kind:
            case "hang":
                books._closing.wait()
                self.close_connection = True
            case "reset":
                self._reset()
            case _:
                self._answer(act, books._closing)

    def _answer(self, act: Act, closing: threading.Event) -> None:
        self.send_response(act.status)
        for name, value in act.headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(act.body)))
        self.end_headers()
        if act.kind != "drip":
            self.wfile.write(act.body)
            return
        for byte in act.body:
            self.wfile.write(bytes([byte]))
            if closing.wait(act.pause_s):
                break
        self.close_connection = True

    def _reset(self) -> None:
        # Lingering for zero seconds makes close() send RST; the reader has to go first, it keeps the socket open.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.rfile.close()
        self.connection.close()
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """The books are enough."""
