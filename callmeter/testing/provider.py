"""A provider that listens on a loopback port and speaks the wires of `wires`, streamed and not.

    with FakeProvider() as provider:
        callmeter.completion("openai/gpt-4o", messages, api_base=provider.openai_base, api_key="sk-fake")
        assert provider.counts.calls == 1

As a process of its own: `python -m callmeter.testing.provider --port 0 --count-file served.jsonl`. It prints one JSON
line with its port and appends one line for each request it answered.
"""

import asyncio
import os
import ssl
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from typing import Literal

import msgspec
from msgspec import Struct

from callmeter.testing.scripts import Answer, Heard, Script, Served, Tokens, Wish
from callmeter.testing.server import Connection
from callmeter.testing.wires import answer_to, failure, wire_of

Behaviour = Callable[[Heard, Script], Script]
"""What becomes of a script for one request."""

Headers = Mapping[str, str] | Iterable[tuple[str, str]]


class Counts(Struct, frozen=True, kw_only=True):
    """The provider's own count of what it answered."""

    calls: int
    statuses: Mapping[int, int]
    tokens: Mapping[tuple[str, str], Tokens]
    """By wire and model: the sum over answers with status 200 that were written to the end."""
    calls_by_model: Mapping[tuple[str, str], int]
    """By wire and model: how many answers that sum is over."""


class _Rule:
    """A behaviour for the next few requests, or for all from now on."""

    def __init__(self, behaviour: Behaviour, times: int | None) -> None:
        self.behaviour = behaviour
        self.left = times


class FakeProvider:
    """A real HTTP/1.1 server in a thread of its own, to be used in a `with`.

    It answers every request well until told otherwise. `answer`, `stall`, `cut`, `drip`, `raw` and `script` each change
    the next requests, in the order they were said, `times` requests each (None: all that follow). A request may ask for
    its own answer as well: see `Wish`.
    """

    def __init__(
        self, *, port: int = 0, tls: ssl.SSLContext | None = None, count_file: str | None = None, keep: int = 10_000
    ) -> None:
        self._tls = tls
        self._port = port
        self._count_fd = (
            os.open(count_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644) if count_file else None
        )
        self._changed = threading.Condition()
        self._rules: deque[_Rule] = deque()
        self._connections: set[Connection] = set()
        self.accepted = 0
        """Connections taken so far."""
        self.requests: deque[Heard] = deque(maxlen=keep)
        """The newest requests, oldest first."""
        self.served: deque[Served] = deque(maxlen=keep)
        """The newest answers, oldest first."""
        self._heard = 0
        self._forget()

    def _forget(self) -> None:
        self._statuses: Counter[int] = Counter()
        self._tokens: dict[tuple[str, str], Tokens] = {}
        self._calls: Counter[tuple[str, str]] = Counter()

    # Life

    def start(self) -> "FakeProvider":
        """Listen. `port` and `url` are known once this returns."""
        ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="fake-provider", daemon=True)
        self._thread.start()
        ready.wait()
        if self._failure is not None:
            self._thread.join()
            raise self._failure
        return self

    def stop(self) -> None:
        """Hang up on everyone and stop listening."""
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()
        if self._count_fd is not None:
            os.close(self._count_fd)
            self._count_fd = None

    def __enter__(self) -> "FakeProvider":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    _failure: OSError | None = None

    def _run(self, ready: threading.Event) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve(ready))

    async def _serve(self, ready: threading.Event) -> None:
        self._stopping = asyncio.Event()
        self._release = asyncio.Event()
        try:
            server = await self._loop.create_server(
                lambda: Connection(self), "127.0.0.1", self._port, ssl=self._tls, backlog=1024
            )
        except OSError as error:
            self._failure = error
            ready.set()
            return
        self.port: int = server.sockets[0].getsockname()[1]
        ready.set()
        await self._stopping.wait()
        # A connection accepted in this very round is set up in the next few, and asyncio loses it if the server is
        # closed before that: so first accept no more, then wait those rounds, then close.
        self._loop.remove_reader(server.sockets[0])
        for _ in range(4):
            await asyncio.sleep(0)
        server.close()
        for connection in list(self._connections):
            connection.hang_up()
        while self._connections:
            await asyncio.sleep(0)

    @property
    def url(self) -> str:
        """Scheme, host and port."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def openai_base(self) -> str:
        """`api_base` for OpenAI's format."""
        return self.url + "/v1"

    # What it is told

    def script(self, behaviour: Behaviour, times: int | None = 1) -> None:
        """Let a function change the script of the next requests."""
        with self._changed:
            self._rules.append(_Rule(behaviour, times))

    def answer(
        self,
        status: int = 200,
        *,
        body: bytes | None = None,
        headers: Headers = (),
        content_type: str = "application/json",
        times: int | None = 1,
    ) -> None:
        """Answer with a status. Without a body: an error in the wire's own form, or the usual answer for 200."""
        more = _pairs(headers)

        def behaviour(heard: Heard, script: Script) -> Script:
            wire, model = wire_of(heard.path) or "openai", script.answer.model
            if body is not None:
                answer = Answer(wire=wire, model=model, status=status, content_type=content_type, pieces=(body,))
            else:
                answer = script.answer if status == 200 else failure(wire, status, model=model)
            return msgspec.structs.replace(script, answer=answer, headers=(*script.headers, *more))

        self.script(behaviour, times)

    def stall(
        self,
        before: Literal["headers", "first_chunk", "chunk"] = "headers",
        *,
        chunk: int = 1,
        seconds: float | None = None,
        times: int | None = 1,
    ) -> None:
        """Fall silent before the headers, the first piece of the body, or piece number `chunk` (from 0).

        For `seconds`, until `release()`, or until the client leaves.
        """
        at = chunk if before == "chunk" else 0
        place: Literal["headers", "chunk"] = "headers" if before == "headers" else "chunk"
        self._change(times, stall=place, stall_at=at, stall_s=seconds)

    def release(self) -> None:
        """Let every answer that is stalled now go on."""
        self._loop.call_soon_threadsafe(self._release_stalled)

    def _release_stalled(self) -> None:
        self._release.set()
        self._release = asyncio.Event()

    def cut(self, after_bytes: int | None = None, *, reset: bool = False, times: int | None = 1) -> None:
        """Hang up after so many bytes of the body, or (None) before the headers; `reset`: by a TCP reset."""
        self._change(times, cut_after_bytes=after_bytes, cut_before_headers=after_bytes is None, reset=reset)

    def drip(self, bytes_per_piece: int = 1, pause_s: float = 0.0, *, times: int | None = 1) -> None:
        """Write head and body in small pieces, waiting before each."""
        self._change(times, bytes_per_piece=bytes_per_piece, pause_s=pause_s)

    def raw(
        self,
        body: bytes,
        cuts: Iterable[int] = (),
        *,
        status: int = 200,
        content_type: str = "text/event-stream",
        headers: Headers = (),
        times: int | None = 1,
    ) -> None:
        """Answer with a recorded body, sent in pieces that end at the offsets `cuts`."""
        edges = [0, *sorted({min(max(cut, 0), len(body)) for cut in cuts} - {0, len(body)}), len(body)]
        pieces = tuple(body[start:end] for start, end in pairwise(edges))
        more = _pairs(headers)

        def behaviour(heard: Heard, script: Script) -> Script:
            answer = msgspec.structs.replace(
                script.answer, status=status, content_type=content_type, pieces=pieces, lead=0, tokens=Tokens()
            )
            return msgspec.structs.replace(script, answer=answer, headers=more)

        self.script(behaviour, times)

    def reset(self) -> None:
        """Behave well again, and forget what was heard, served and counted. Connections stay."""
        with self._changed:
            self._rules.clear()
            self.requests.clear()
            self.served.clear()
            self._forget()

    def _change(self, times: int | None, **fields: object) -> None:
        self.script(lambda _, script: msgspec.structs.replace(script, **fields), times)

    # What it saw

    @property
    def counts(self) -> Counts:
        """Its own count of what it served since it started or was reset."""
        with self._changed:
            return Counts(
                calls=self._statuses.total(),
                statuses=dict(self._statuses),
                tokens=dict(self._tokens),
                calls_by_model=dict(self._calls),
            )

    @property
    def open_connections(self) -> int:
        """Connections that are open now."""
        return len(self._connections)

    def wait_for(self, condition: "Callable[[FakeProvider], bool]", timeout_s: float = 5.0) -> None:
        """Wait until something is so. Raises `TimeoutError`, saying what is the case instead."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while not condition(self):
                left = deadline - time.monotonic()
                if left <= 0:
                    seen = f"{self.open_connections} open connections, {self._statuses.total()} answers"
                    raise TimeoutError(f"not so within {timeout_s} s; the fake provider has {seen}")
                self._changed.wait(left)

    # What its connections ask (server.Host)

    def joined(self, connection: Connection) -> None:
        """A client connected."""
        with self._changed:
            self._connections.add(connection)
            self.accepted += 1
            self._changed.notify_all()

    def left(self, connection: Connection) -> None:
        """A client is gone."""
        with self._changed:
            self._connections.discard(connection)
            self._changed.notify_all()

    def script_for(self, heard: Heard) -> tuple[Script, int]:
        """What to do about a request, and its number."""
        script = as_wished(*answer_to(heard))
        with self._changed:
            self.requests.append(heard)
            self._heard += 1
            rule = self._next_rule()
            self._changed.notify_all()
        return (rule.behaviour(heard, script) if rule else script), self._heard

    async def released(self) -> None:
        """Return when stalled answers are let go."""
        await self._release.wait()

    def _next_rule(self) -> _Rule | None:
        while self._rules:
            rule = self._rules[0]
            if rule.left is None:
                return rule
            if rule.left > 0:
                rule.left -= 1
                return rule
            self._rules.popleft()
        return None

    def answered(self, served: Served) -> None:
        """A request has been answered, as far as it went."""
        if self._count_fd is not None:
            os.write(self._count_fd, msgspec.json.encode(served) + b"\n")
        with self._changed:
            self.served.append(served)
            self._statuses[served.status] += 1
            if served.complete and served.status == 200:
                key = (served.wire, served.model)
                known = self._tokens.get(key)
                self._tokens[key] = known + served.tokens if known else served.tokens
                self._calls[key] += 1
            self._changed.notify_all()


def as_wished(answer: Answer, wish: Wish) -> Script:
    """The script for an answer that was asked for."""

    def bytes_before(chunk: int) -> int:
        return sum(map(len, answer.pieces[: answer.lead + chunk])) if answer.stream else 0

    cut, stall = wish.cut_after_chunks, wish.stall_after_chunks
    return Script(
        answer=answer,
        headers=() if wish.retry_after_s is None else (("retry-after", f"{wish.retry_after_s:g}"),),
        cut_after_bytes=None if cut is None else bytes_before(cut),
        stall="" if stall is None else "chunk",
        stall_at=0 if stall is None else answer.lead + stall,
        pause_s=wish.pause_s,
        pause_from=answer.lead,
    )


def _pairs(headers: Headers) -> tuple[tuple[str, str], ...]:
    return tuple(headers.items() if isinstance(headers, Mapping) else headers)


def main() -> None:
    """Serve as a process of its own until told to end."""
    import argparse
    import signal

    parser = argparse.ArgumentParser(prog="callmeter.testing.provider", description=main.__doc__)
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--count-file", help="append one JSON line for each answered request to this file")
    options = parser.parse_args()
    signals = {signal.SIGTERM, signal.SIGINT}
    # Blocked before the server's thread starts, so that it inherits the mask and sigwait gets them.
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    with FakeProvider(port=options.port, count_file=options.count_file, keep=0) as provider:
        print(msgspec.json.encode({"port": provider.port, "url": provider.url}).decode(), flush=True)
        signal.sigwait(signals)


if __name__ == "__main__":
    main()
