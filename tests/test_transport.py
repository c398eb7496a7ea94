"""One suite for every transport: both libraries, sync and async, and clients that a caller hands in."""

import asyncio
import functools
import gzip
import os
import signal
import socket
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import httpx2
import msgspec
import pytest

from callmeter import transport
from callmeter.errors import APIConnectionError, Timeout
from callmeter.testing import Answer, FakeProvider
from callmeter.types import Timeouts
from callmeter.wire import WireReply, WireRequest

QUICK = Timeouts(connect_s=5, first_byte_s=5, between_chunks_s=5)


class SyncCaller:
    """A sync transport, as the suite uses it."""

    def __init__(self, made: transport.Transport, after: Callable[[], object] = lambda: None) -> None:
        self.transport = made
        self._after = after

    def send(self, request: WireRequest) -> WireReply:
        return self.transport.send(request)

    def pieces(self, request: WireRequest) -> list[bytes]:
        return list(self.transport.open(request))

    def rest(self, request: WireRequest, limit: int) -> bytes:
        return self.transport.open(request).read(limit)

    def first_piece(self, request: WireRequest) -> bytes:
        """Reads one piece and closes the stream, twice."""
        stream = self.transport.open(request)
        piece = next(iter(stream))
        stream.close()
        stream.close()
        return piece

    def close(self) -> None:
        self.transport.close()
        self._after()


class AsyncCaller:
    """An async transport on a loop of its own, as the suite uses it."""

    def __init__(self, make: Callable[[], transport.AsyncTransport], client: Any = None) -> None:
        self._runner = asyncio.Runner()
        self._client = client
        self.transport = make()

    def send(self, request: WireRequest) -> WireReply:
        return self._runner.run(self.transport.send(request))

    def pieces(self, request: WireRequest) -> list[bytes]:
        async def read() -> list[bytes]:
            return [piece async for piece in await self.transport.open(request)]

        return self._runner.run(read())

    def rest(self, request: WireRequest, limit: int) -> bytes:
        async def read() -> bytes:
            return await (await self.transport.open(request)).read(limit)

        return self._runner.run(read())

    def first_piece(self, request: WireRequest) -> bytes:
        """Reads one piece and closes the stream, twice."""

        async def read() -> bytes:
            stream = await self.transport.open(request)
            piece = await anext(aiter(stream))
            await stream.aclose()
            await stream.aclose()
            return piece

        return self._runner.run(read())

    def close(self) -> None:
        self._runner.run(self.transport.aclose())
        if self._client is not None:
            self._runner.run(self._client.aclose())
        self._runner.close()


def _borrowed(package: Any) -> Callable[..., SyncCaller]:
    def make(**options: Any) -> SyncCaller:
        client = package.Client(trust_env=False)
        return SyncCaller(transport.sync_transport(client=client, **options), client.close)

    return make


def _borrowed_async(package: Any) -> Callable[..., AsyncCaller]:
    def make(**options: Any) -> AsyncCaller:
        client = package.AsyncClient(trust_env=False)
        return AsyncCaller(lambda: transport.async_transport(client=client, **options), client)

    return make


KINDS: dict[str, Callable[..., Any]] = {
    "httpx2": lambda **options: SyncCaller(transport.sync_transport("httpx2", **options)),
    "pyreqwest": lambda **options: SyncCaller(transport.sync_transport("pyreqwest", **options)),
    "httpx client": _borrowed(httpx),
    "httpx2 client": _borrowed(httpx2),
    "async httpx2": lambda **options: AsyncCaller(lambda: transport.async_transport("httpx2", **options)),
    "async httpx client": _borrowed_async(httpx),
    "async httpx2 client": _borrowed_async(httpx2),
}


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeProvider]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with FakeProvider() as running:
        yield running


@pytest.fixture(params=KINDS)
def make(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    if request.param == "pyreqwest":
        pytest.importorskip("pyreqwest")
    made = []

    def one(**options: Any) -> Any:
        made.append(KINDS[request.param](**options))
        return made[-1]

    yield one
    for caller in made:
        caller.close()


@pytest.fixture
def caller(make: Callable[..., Any], provider: FakeProvider) -> Any:
    return make()


def asking(
    provider: FakeProvider, *, stream: bool = False, timeouts: Timeouts = QUICK, headers: dict[str, str] | None = None
) -> WireRequest:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}], "stream": stream}
    return WireRequest(
        url=provider.openai_base + "/chat/completions",
        body=msgspec.json.encode(body),
        headers={"content-type": "application/json", "authorization": "Bearer sk-canary", **(headers or {})},
        timeouts=timeouts,
    )


# Answers


def test_a_plain_answer_comes_whole(caller: Any, provider: FakeProvider) -> None:
    reply = caller.send(asking(provider))
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/json"
    assert msgspec.json.decode(reply.body)["object"] == "chat.completion"


def test_the_request_arrives_as_it_was_made(caller: Any, provider: FakeProvider) -> None:
    request = asking(provider, headers={"X-Trace": "caf\u00e9"})
    caller.send(request)
    heard = provider.requests[-1]
    assert (heard.method, heard.path, heard.body) == ("POST", "/v1/chat/completions", request.body)
    assert heard.headers["authorization"] == "Bearer sk-canary"
    assert heard.headers["host"] == f"127.0.0.1:{provider.port}"
    assert heard.headers["accept-encoding"] == "gzip, deflate"


def test_connections_are_used_again(caller: Any, provider: FakeProvider) -> None:
    for _ in range(3):
        caller.send(asking(provider))
        caller.pieces(asking(provider, stream=True))
    # pyreqwest keeps whole answers and streams apart.
    assert provider.accepted <= 2


def test_a_stream_comes_in_pieces_that_make_up_the_body(caller: Any, provider: FakeProvider) -> None:
    pieces = caller.pieces(asking(provider, stream=True))
    assert len(pieces) > 1
    assert b"".join(pieces).endswith(b"data: [DONE]\n\n")


def test_a_piece_is_handed_on_while_the_next_is_still_to_come(caller: Any, provider: FakeProvider) -> None:
    provider.stall("chunk", chunk=1)
    assert caller.first_piece(asking(provider, stream=True)).startswith(b"data: {")
    provider.wait_for(lambda seen: len(seen.served) == 1)
    assert provider.served[-1].pieces_written == 1


@pytest.mark.parametrize("status", [201, 400, 401, 404, 429, 500, 503])
def test_every_status_is_an_answer(caller: Any, provider: FakeProvider, status: int) -> None:
    provider.answer(status, body=b'{"why":1}', times=2)
    reply = caller.send(asking(provider))
    assert (reply.status, reply.body) == (status, b'{"why":1}')
    assert caller.rest(asking(provider, stream=True), 1000) == b'{"why":1}'


def test_a_redirect_is_not_followed(caller: Any, provider: FakeProvider) -> None:
    provider.answer(307, body=b"", headers={"location": provider.openai_base + "/chat/completions"})
    assert caller.send(asking(provider)).status == 307
    assert len(provider.requests) == 1


def test_repeated_headers_are_joined_under_a_lower_case_name(caller: Any, provider: FakeProvider) -> None:
    provider.answer(headers=[("X-Limit", "a"), ("x-limit", "b"), ("X-Other", "c")])
    reply = caller.send(asking(provider))
    assert (reply.headers["x-limit"], reply.headers["x-other"]) == ("a, b", "c")


def test_an_error_body_is_read_up_to_a_limit(caller: Any, provider: FakeProvider) -> None:
    provider.answer(500, body=b"x" * 100_000)
    assert caller.rest(asking(provider), 10) == b"x" * 10


def test_a_body_without_a_length_ends_with_the_connection(caller: Any, provider: FakeProvider) -> None:
    with answering_once(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\nall of it") as url:
        assert caller.send(WireRequest(url=url, timeouts=QUICK)).body == b"all of it"


# Content-encoding

TEXT = b"0123456789" * 10_000


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(TEXT)),
        ("gzip", gzip.compress(TEXT[:7]) + gzip.compress(TEXT[7:])),
        ("deflate", zlib.compress(TEXT)),
        ("deflate", zlib.compress(TEXT)[2:-4]),
        ("identity", TEXT),
    ],
    ids=["gzip", "two gzip members", "deflate", "deflate without its wrapper", "identity"],
)
def test_an_encoded_body_is_decoded(caller: Any, provider: FakeProvider, encoding: str, body: bytes) -> None:
    provider.answer(body=body, headers={"content-encoding": encoding}, times=2)
    assert caller.send(asking(provider)).body == TEXT
    assert b"".join(caller.pieces(asking(provider, stream=True))) == TEXT


@pytest.mark.parametrize(
    ("encoding", "body", "named"),
    [
        ("gzip", gzip.compress(TEXT)[:-20], "stops short"),
        ("gzip", b"not gzip at all, not even close", "broken"),
        ("br", b"whatever", "'br'"),
    ],
)
def test_a_body_that_is_not_what_it_says_is_an_error(
    caller: Any, provider: FakeProvider, encoding: str, body: bytes, named: str
) -> None:
    provider.answer(body=body, headers={"content-encoding": encoding}, times=2)
    with pytest.raises(APIConnectionError, match=named):
        caller.send(asking(provider))
    with pytest.raises(APIConnectionError, match=named):
        caller.pieces(asking(provider))


@pytest.mark.parametrize("bomb", [True, False], ids=["gzip bomb", "plain"])
def test_an_answer_above_the_cap_is_an_error_that_names_it(
    make: Callable[..., Any], provider: FakeProvider, bomb: bool
) -> None:
    body = gzip.compress(bytes(50 << 20), 1) if bomb else bytes(3 << 20)
    provider.answer(body=body, headers={"content-encoding": "gzip"} if bomb else {})
    caller = make(max_reply_bytes=1 << 20)
    with pytest.raises(APIConnectionError, match="max_reply_bytes=1048576"):
        caller.send(asking(provider))
    assert caller.send(asking(provider)).status == 200


# Connections that fail


@pytest.mark.parametrize("after_bytes", [0, 1, 300])
def test_a_plain_answer_cut_short_is_an_error(caller: Any, provider: FakeProvider, after_bytes: int) -> None:
    provider.cut(after_bytes)
    with pytest.raises(APIConnectionError, match="connection broke") as caught:
        caller.send(asking(provider))
    assert f"127.0.0.1:{provider.port}" in str(caught.value)
    assert caught.value.status_code == 500


def test_a_stream_cut_short_gives_what_came_and_then_an_error(caller: Any, provider: FakeProvider) -> None:
    provider.cut(600)
    with pytest.raises(APIConnectionError, match="connection broke"):
        caller.pieces(asking(provider, stream=True))
    provider.wait_for(lambda seen: seen.served[-1].bytes_written == 600)


@pytest.mark.parametrize("reset", [True, False], ids=["reset", "closed"])
def test_no_answer_at_all_is_an_error(caller: Any, provider: FakeProvider, reset: bool) -> None:
    provider.cut(reset=reset, times=2)
    for read in (caller.send, caller.pieces):
        with pytest.raises(APIConnectionError, match="connection broke") as caught:
            read(asking(provider))
        assert not isinstance(caught.value, Timeout)


def test_what_is_not_http_is_an_error(caller: Any) -> None:
    with answering_once(b"SSH-2.0-OpenSSH_9.2\r\n\r\n") as url, pytest.raises(APIConnectionError, match="broke"):
        caller.send(WireRequest(url=url, timeouts=QUICK))


def test_a_refused_connection_is_an_error_that_says_what_to_check(caller: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        with pytest.raises(APIConnectionError, match=r"127\.0\.0\.1:\d+: no connection .*; check api_base"):
            caller.send(WireRequest(url=url))


def test_an_unknown_host_is_an_error(caller: Any) -> None:
    with pytest.raises(APIConnectionError, match=r"nowhere\.invalid: no connection"):
        caller.send(WireRequest(url="http://nowhere.invalid/v1"))


@pytest.mark.parametrize("url", ["ftp://host/v1", "no url", "http://", "http://[half/v1", "http://host:port/"])
def test_what_is_no_url_is_an_error(caller: Any, url: str) -> None:
    with pytest.raises(APIConnectionError, match="check api_base"):
        caller.send(WireRequest(url=url))


@pytest.mark.parametrize("value", ["Bearer sk-canary\nx: y", "Bearer sk-canary\u201d", "sk-canary\r\n"])
def test_a_header_that_http_cannot_carry_is_an_error_without_its_value(
    caller: Any, provider: FakeProvider, value: str
) -> None:
    with pytest.raises(APIConnectionError) as caught:
        caller.send(asking(provider, headers={"authorization": value}))
    told: BaseException | None = caught.value
    while told is not None:
        assert told.__suppress_context__ or told.__context__ is None
        assert "canary" not in repr(told)
        told = told.__cause__


def test_an_error_shows_neither_the_query_nor_the_user_of_a_url(caller: Any, provider: FakeProvider) -> None:
    provider.cut(times=None)
    url = f"http://user:sk-canary@127.0.0.1:{provider.port}/v1/messages?key=sk-canary"
    with pytest.raises(APIConnectionError) as caught:
        caller.send(WireRequest(url=url))
    assert "canary" not in str(caught.value)


# Deadlines

SHORT = 0.15
FIRST = Timeouts(connect_s=5, first_byte_s=SHORT, between_chunks_s=5)
BETWEEN = Timeouts(connect_s=5, first_byte_s=5, between_chunks_s=SHORT)
SILENCE = Timeouts(connect_s=5, first_byte_s=SHORT, between_chunks_s=SHORT)
TOTAL = Timeouts(connect_s=5, first_byte_s=5, between_chunks_s=5, total_s=SHORT)


@pytest.mark.parametrize(
    ("timeouts", "phase"), [(FIRST, "first byte"), (SILENCE, "first byte"), (TOTAL, "total")], ids=str
)
def test_a_server_that_never_answers_is_given_up(
    caller: Any, provider: FakeProvider, timeouts: Timeouts, phase: str
) -> None:
    provider.stall("headers", times=2)
    for read in (caller.send, caller.pieces):
        with pytest.raises(Timeout, match=rf"{SHORT} s \({phase}\)") as caught:
            read(asking(provider, stream=True, timeouts=timeouts))
        assert caught.value.status_code == 408
    provider.wait_for(lambda seen: seen.open_connections == 0)


@pytest.mark.parametrize("timeouts", [BETWEEN, SILENCE], ids=["between", "silence"])
def test_a_server_that_falls_silent_is_given_up(caller: Any, provider: FakeProvider, timeouts: Timeouts) -> None:
    provider.stall("chunk", chunk=2, times=2)
    for read in (caller.send, caller.pieces):
        with pytest.raises(Timeout, match=rf"{SHORT} s \(between chunks\)"):
            read(asking(provider, stream=True, timeouts=timeouts))
    provider.wait_for(lambda seen: seen.open_connections == 0)


def test_an_answer_that_trickles_is_given_up_after_the_total(caller: Any, provider: FakeProvider) -> None:
    trickle = Answer(wire="openai", pieces=(b"x",) * 1000)
    provider.script(lambda _, script: msgspec.structs.replace(script, answer=trickle, pause_s=0.01))
    with pytest.raises(Timeout, match=rf"{SHORT} s \(total\)"):
        caller.send(asking(provider, timeouts=TOTAL))


def test_the_total_bounds_a_stream_only_to_its_head(caller: Any, provider: FakeProvider) -> None:
    provider.drip(40, pause_s=0.02)
    body = b"".join(caller.pieces(asking(provider, stream=True, timeouts=TOTAL)))
    assert body.endswith(b"data: [DONE]\n\n")


def test_a_connection_that_is_never_taken_is_given_up(caller: Any) -> None:
    with full_listener() as port, pytest.raises(Timeout, match=rf"127\.0\.0\.1:{port} .* {SHORT} s \(connect\)"):
        caller.send(WireRequest(url=f"http://127.0.0.1:{port}/", timeouts=Timeouts(connect_s=SHORT)))


@pytest.mark.parametrize("kind", ["httpx2", "async httpx2"])
def test_a_head_that_trickles_is_given_up(kind: str, provider: FakeProvider) -> None:
    provider.drip(1, pause_s=0.01)
    caller = KINDS[kind]()
    with pytest.raises(Timeout, match=r"first byte"):
        caller.send(asking(provider, timeouts=FIRST))
    caller.close()


# Closing


def test_a_half_read_stream_that_is_closed_leaks_no_connection(caller: Any, provider: FakeProvider) -> None:
    for _ in range(5):
        caller.first_piece(asking(provider, stream=True))
    provider.wait_for(lambda seen: seen.open_connections <= 1)
    assert caller.send(asking(provider)).status == 200


def test_closing_the_transport_closes_its_connections(provider: FakeProvider) -> None:
    for kind in ("httpx2", "pyreqwest", "async httpx2"):
        caller = KINDS[kind]()
        caller.send(asking(provider))
        assert provider.open_connections == 1
        caller.close()
        provider.wait_for(lambda seen: seen.open_connections == 0)


@pytest.mark.parametrize("kind", ["httpx2", "pyreqwest", "httpx client", "httpx2 client"])
def test_a_stream_closed_by_another_thread_ends_its_reader(kind: str, provider: FakeProvider) -> None:
    caller = KINDS[kind]()
    provider.stall("chunk", chunk=1)
    stream = caller.transport.open(asking(provider, stream=True))
    read, ended = threading.Event(), []

    def reader() -> None:
        try:
            for _ in stream:
                read.set()
        except APIConnectionError as error:
            ended.append(str(error))

    thread = threading.Thread(target=reader)
    thread.start()
    assert read.wait(5)
    stream.close()
    thread.join(5)
    assert not thread.is_alive()
    assert "closed while it was being read" in ended[0]
    provider.wait_for(lambda seen: seen.open_connections == 0)
    caller.close()


def test_a_stream_closed_by_another_task_ends_its_reader(provider: FakeProvider) -> None:
    provider.stall("chunk", chunk=1)

    async def main() -> None:
        stream = await transport.async_transport().open(asking(provider, stream=True))
        read = asyncio.Event()

        async def reader() -> None:
            async for _ in stream:
                read.set()

        task = asyncio.create_task(reader())
        await read.wait()
        await stream.aclose()
        with pytest.raises(APIConnectionError, match="closed while it was being read"):
            await task

    asyncio.run(main())
    provider.wait_for(lambda seen: seen.open_connections == 0)


# Processes, threads, loops


@pytest.mark.parametrize("kind", KINDS)
def test_a_forked_child_makes_connections_of_its_own(kind: str, provider: FakeProvider) -> None:
    if "client" in kind:
        pytest.skip("a caller's own client is the caller's to keep from forks")
    caller = KINDS[kind]()
    caller.send(asking(provider))
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        child = caller if kind.startswith(("httpx2", "pyreqwest")) else KINDS[kind]()
        os._exit(0 if child.send(asking(provider)).status == 200 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert provider.accepted == 2
    provider.wait_for(lambda seen: seen.open_connections == 1)
    caller.send(asking(provider))
    assert provider.accepted == 2
    caller.close()


def test_a_child_forked_from_a_user_of_pyreqwest_uses_httpx2(provider: FakeProvider) -> None:
    client = pytest.importorskip("pyreqwest.client").SyncClientBuilder().build()
    assert client.get(provider.url).build().send().status == 404
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        os._exit(0 if KINDS["pyreqwest"]().send(asking(provider)).status == 200 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    client.close()


def test_a_thousand_event_loops_leave_no_connection_and_no_warning(provider: FakeProvider) -> None:
    shared = transport.async_transport()
    request = asking(provider)
    for _ in range(1000):
        assert asyncio.run(shared.send(request)).status == 200
    assert provider.accepted == 1000
    provider.wait_for(lambda seen: seen.open_connections == 0)


@pytest.mark.filterwarnings("error::ResourceWarning")
@pytest.mark.parametrize("proxied", [False, True], ids=["direct", "proxied"])
def test_a_loop_that_was_closed_rudely_is_forgotten(
    provider: FakeProvider, monkeypatch: pytest.MonkeyPatch, proxied: bool
) -> None:
    if proxied:
        monkeypatch.setenv("http_proxy", provider.url)
        monkeypatch.setenv("no_proxy", "")
    shared = transport.async_transport()
    for _ in range(3):
        loop = asyncio.new_event_loop()
        assert loop.run_until_complete(shared.send(asking(provider))).status == 200
        loop.close()
    assert asyncio.run(shared.send(asking(provider))).status == 200
    provider.wait_for(lambda seen: seen.open_connections == 0)


def test_two_hundred_coroutines_wait_at_once(provider: FakeProvider) -> None:
    provider.stall("headers", times=200)
    shared = transport.async_transport()

    async def main() -> list[WireReply]:
        tasks = [asyncio.create_task(shared.send(asking(provider))) for _ in range(200)]
        await asyncio.to_thread(provider.wait_for, lambda seen: len(seen.requests) == 200, 20)
        assert provider.open_connections == 200
        provider.release()
        return await asyncio.gather(*tasks)

    assert [reply.status for reply in asyncio.run(main())] == [200] * 200
    provider.wait_for(lambda seen: seen.open_connections == 0)


@pytest.mark.parametrize("kind", ["httpx2", "pyreqwest"])
def test_many_threads_wait_at_once(kind: str, provider: FakeProvider) -> None:
    provider.stall("headers", times=50)
    caller = KINDS[kind]()
    replies: list[int] = []
    threads = [threading.Thread(target=lambda: replies.append(caller.send(asking(provider)).status)) for _ in range(50)]
    for thread in threads:
        thread.start()
    provider.wait_for(lambda seen: len(seen.requests) == 50, 20)
    assert provider.open_connections == 50
    provider.release()
    for thread in threads:
        thread.join(20)
    assert replies == [200] * 50
    caller.close()


# Cancellation


class CancelledAt:
    """An awaitable whose task is cancelled at its n-th suspension, and which tells whether it came that far."""

    def __init__(self, awaitable: Any, n: int) -> None:
        self._inner = awaitable.__await__()
        self._n = n
        self.happened = False

    def __await__(self) -> Any:
        resume: Callable[[], Any] = lambda: next(self._inner)  # noqa: E731
        while True:
            try:
                future = resume()
            except StopIteration as done:
                return done.value
            self._n -= 1
            if self._n == 0:
                self.happened = True
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
            try:
                yield future
                resume = lambda: next(self._inner)  # noqa: E731
            except BaseException as error:
                resume = functools.partial(self._inner.throw, error)

    async def task(self) -> None:
        await self


async def read_whole(shared: transport.AsyncTransport, request: WireRequest) -> None:
    await shared.send(request)


async def read_stream(shared: transport.AsyncTransport, request: WireRequest) -> None:
    stream = await shared.open(request)
    try:
        async for _ in stream:
            pass
    finally:
        await stream.aclose()


@pytest.mark.parametrize("read", [read_whole, read_stream])
def test_cancelling_at_any_await_leaves_no_connection_in_use(read: Callable[..., Any], provider: FakeProvider) -> None:
    provider.drip(150, pause_s=0.005, times=None)

    async def main() -> int:
        shared = transport.async_transport()
        at = 0
        while True:
            at += 1
            attempt = CancelledAt(read(shared, asking(provider, stream=True)), at)
            ended = await asyncio.gather(asyncio.create_task(attempt.task()), return_exceptions=True)
            if not attempt.happened:
                assert ended == [None]
                break
            assert isinstance(ended[0], asyncio.CancelledError), f"cancelled at suspension {at}: {ended[0]!r}"
            pool = await shared._pools.get()  # type: ignore[attr-defined]
            assert not pool._requests, f"cancelled at suspension {at}: {pool!r}"
            assert all(connection.is_idle() for connection in pool.connections), f"suspension {at}: {pool!r}"
        await shared.aclose()
        return at

    assert asyncio.run(main()) > 5
    provider.wait_for(lambda seen: seen.open_connections == 0)


def test_a_cancelled_call_hangs_up_on_the_provider(provider: FakeProvider) -> None:
    provider.stall("headers")

    async def main() -> None:
        task = asyncio.create_task(transport.async_transport("pyreqwest").send(asking(provider)))
        await asyncio.to_thread(provider.wait_for, lambda seen: len(seen.requests) == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(provider.wait_for, lambda seen: seen.open_connections == 0)

    asyncio.run(main())


def test_ctrl_c_ends_a_call_that_waits(provider: FakeProvider) -> None:
    provider.stall("headers")
    caller = KINDS["httpx2"]()

    def press() -> None:
        provider.wait_for(lambda seen: len(seen.requests) == 1)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        caller.send(asking(provider))
    thread.join()
    provider.wait_for(lambda seen: seen.open_connections == 0)


# TLS, proxies, choice


def test_a_certificate_nobody_vouches_for_is_an_error(make: Callable[..., Any]) -> None:
    trustme = pytest.importorskip("trustme", reason="makes the certificate")
    import ssl

    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(tls)
    with (
        FakeProvider(tls=tls) as provider,
        pytest.raises(APIConnectionError, match=r"no connection .*certificate") as e,
    ):
        make().send(asking(provider))
    assert "SSL_CERT_FILE" in str(e.value)
    assert not provider.requests


@pytest.mark.parametrize("kind", ["httpx2", "async httpx2"])
def test_a_certificate_of_an_authority_named_in_the_environment_is_trusted(
    kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    trustme = pytest.importorskip("trustme", reason="makes the certificate")
    import ssl

    from callmeter.transport.httpx2 import tls_context

    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    tls_context.cache_clear()
    try:
        with FakeProvider(tls=tls) as provider:
            caller = KINDS[kind]()
            assert caller.send(asking(provider)).status == 200
            assert caller.pieces(asking(provider, stream=True))[-1] == b"data: [DONE]\n\n"
            assert provider.accepted == 1
            caller.close()
    finally:
        tls_context.cache_clear()


@pytest.mark.parametrize("kind", ["httpx2", "pyreqwest", "async httpx2"])
def test_a_proxy_named_in_the_environment_is_used(
    kind: str, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", provider.url)
    monkeypatch.setenv("no_proxy", "")
    caller = KINDS[kind]()
    request = WireRequest(url="http://provider.invalid/v1/chat/completions", body=b"{}", timeouts=QUICK)
    assert caller.send(request).status == 200
    assert caller.pieces(request)
    assert [heard.path for heard in provider.requests] == [request.url] * 2
    caller.close()


def test_a_client_of_another_kind_is_refused() -> None:
    with pytest.raises(TypeError, match=r"builtins\.object; give an httpx2\.Client"):
        transport.sync_transport(client=object())
    with pytest.raises(TypeError, match=r"give an httpx2\.AsyncClient"):
        transport.async_transport(client=httpx2.Client())


def test_importing_the_transport_loads_no_http_library() -> None:
    heavy = ("httpx", "httpx2", "httpcore2", "pyreqwest", "h11", "anyio", "ssl", "asyncio", "socket")
    code = f"import sys, callmeter.transport; print([name for name in {heavy} if name in sys.modules])"
    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert seen.stdout.strip() == "[]"


# Servers that are no provider


@contextmanager
def answering_once(answer: bytes) -> Iterator[str]:
    """A server that answers one connection with these bytes and closes it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                while b"\r\n\r\n" not in connection.recv(65536):
                    pass
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        thread.join(5)


@contextmanager
def full_listener() -> Iterator[int]:
    """A port whose queue of connections is full, so that one more hangs."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = []
        for _ in range(8):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
            waiting.append(one)
        yield listener.getsockname()[1]
        for one in waiting:
            one.close()
