"""One client making one kind of call, as a program of its own: `overhead_load.py CLIENT MODE URL CALLS`.

It needs nothing but its client. It prints the CPU microseconds a call took the whole process, after a warm-up, with all
its threads, and with whatever the client still had to do once the calls had returned (callbacks, the ledger's commits).
"""

import asyncio
import json
import os
import resource
import socket
import sys
import time
from urllib.parse import urlsplit

CHUNKS = 200
IN_FLIGHT = {"async": 64, "astream": 8}
WARM_UP = 20

TEXT = "What does a call cost? " * 20
MESSAGES = [{"role": "user", "content": TEXT}]
WISH = {"prompt_tokens": 374, "completion_tokens": 44}
STREAM_WISH = {"prompt_tokens": 374, "completion_tokens": CHUNKS, "chunks": CHUNKS}


def body(streamed):
    asked = {"model": "gpt-4o-mini", "messages": MESSAGES}
    if streamed:
        asked |= {"stream": True, "stream_options": {"include_usage": True}}
    return json.dumps(asked).encode()


def headers(streamed):
    return {"x-fake": json.dumps(STREAM_WISH if streamed else WISH)}


class Raw:
    """Sockets and nothing else: what the machine itself takes."""

    def __init__(self, url):
        parts = urlsplit(url)
        self.address = parts.hostname, parts.port
        self.idle = []
        self.requests = {}
        for streamed in (False, True):
            sent = body(streamed)
            more = "".join(f"{name}: {value}\r\n" for name, value in headers(streamed).items())
            head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(sent)}\r\n{more}\r\n"
            self.requests[streamed] = head.encode() + sent
        self.socket = socket.create_connection(self.address)

    @staticmethod
    def whole(received, streamed):
        if streamed:
            return received.endswith(b"0\r\n\r\n")
        head, found, rest = received.partition(b"\r\n\r\n")
        return found and len(rest) >= int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])

    def call(self, streamed=False):
        self.socket.sendall(self.requests[streamed])
        received = b""
        while not self.whole(received, streamed):
            received += self.socket.recv(1 << 16)

    async def acall(self, streamed=False):
        reader, writer = self.idle.pop() if self.idle else await asyncio.open_connection(*self.address)
        writer.write(self.requests[streamed])
        received = b""
        while not self.whole(received, streamed):
            received += await reader.read(1 << 16)
        self.idle.append((reader, writer))


class Httpx:
    """An HTTP library alone: the bytes of the answer, not looked at."""

    def __init__(self, url, name="httpx"):
        library = __import__(name)
        self.url = url + "/v1/chat/completions"
        self.client, self.aclient = library.Client(), library.AsyncClient(limits=library.Limits(max_connections=100))

    def call(self, streamed=False):
        if not streamed:
            self.client.post(self.url, content=body(False), headers=headers(False)).read()
            return
        with self.client.stream("POST", self.url, content=body(True), headers=headers(True)) as answer:
            for _ in answer.iter_raw():
                pass

    async def acall(self, streamed=False):
        if not streamed:
            await (await self.aclient.post(self.url, content=body(False), headers=headers(False))).aread()
            return
        async with self.aclient.stream("POST", self.url, content=body(True), headers=headers(True)) as answer:
            async for _ in answer.aiter_raw():
                pass


class Httpx2(Httpx):
    def __init__(self, url):
        super().__init__(url, "httpx2")


class Pyreqwest:
    """pyreqwest alone."""

    def __init__(self, url):
        from pyreqwest.client import ClientBuilder, SyncClientBuilder

        self.url = url + "/v1/chat/completions"
        self.client, self.aclient = SyncClientBuilder().build(), ClientBuilder().build()

    def asked(self, client, streamed):
        return client.post(self.url).headers(headers(streamed)).body_bytes(body(streamed))

    def call(self, streamed=False):
        if not streamed:
            self.asked(self.client, False).build().send().bytes()
            return
        with self.asked(self.client, True).build_streamed() as answer:
            while answer.body_reader.read_chunk() is not None:
                pass

    async def acall(self, streamed=False):
        if not streamed:
            await (await self.asked(self.aclient, False).build().send()).bytes()
            return
        async with self.asked(self.aclient, True).build_streamed() as answer:
            while await answer.body_reader.read_chunk() is not None:
                pass


class OpenAI:
    """The OpenAI SDK."""

    def __init__(self, url):
        import openai

        self.client = openai.OpenAI(base_url=url + "/v1", api_key="sk-fake")
        self.aclient = openai.AsyncOpenAI(base_url=url + "/v1", api_key="sk-fake")

    def arguments(self, streamed):
        more = {"stream": True, "stream_options": {"include_usage": True}} if streamed else {}
        return {"model": "gpt-4o-mini", "messages": MESSAGES, "extra_headers": headers(streamed), **more}

    def call(self, streamed=False):
        answer = self.client.chat.completions.create(**self.arguments(streamed))
        if streamed:
            for _ in answer:
                pass

    async def acall(self, streamed=False):
        answer = await self.aclient.chat.completions.create(**self.arguments(streamed))
        if streamed:
            async for _ in answer:
                pass


class LiteLLM:
    """LiteLLM with one callback that reads the cost."""

    name = "litellm"

    def __init__(self, url):
        self.url = url + "/v1"
        self.library = __import__(self.name)
        self.ended = 0
        self.listen()

    def listen(self):
        from litellm.integrations.custom_logger import CustomLogger

        load = self

        class Counter(CustomLogger):
            def log_success_event(self, kwargs, response_obj, start_time, end_time):
                load.ended += kwargs["response_cost"] is not None

            async def async_log_success_event(self, kwargs, response_obj, start_time, end_time):
                load.ended += kwargs["response_cost"] is not None

        self.library.callbacks = [Counter()]

    def arguments(self, streamed):
        more = {"stream": True, "stream_options": {"include_usage": True}} if streamed else {}
        where = {"model": "openai/gpt-4o-mini", "api_base": self.url, "api_key": "sk-fake"}
        return {**where, "messages": MESSAGES, "extra_headers": headers(streamed), **more}

    def call(self, streamed=False):
        answer = self.library.completion(**self.arguments(streamed))
        if streamed:
            for _ in answer:
                pass

    async def acall(self, streamed=False):
        answer = await self.library.acompletion(**self.arguments(streamed))
        if streamed:
            async for _ in answer:
                pass

    def settled(self, calls):
        return self.ended >= calls


class Callmeter(LiteLLM):
    """callmeter as its environment sets it: with or without the ledger, on one transport or the other."""

    name = "callmeter"

    def listen(self):
        pass

    def settled(self, calls):
        return bool(self.library.flush(30))


class Transport:
    """callmeter's transport alone: the answer's bytes, no call, no event."""

    def __init__(self, url):
        from callmeter.transport import async_transport, sync_transport
        from callmeter.types import Timeouts
        from callmeter.wire import WireRequest

        prefer = os.environ.get("CALLMETER_TRANSPORT", "auto")
        self.transport, self.atransport = sync_transport(prefer), async_transport(prefer)
        times = Timeouts(first_byte_s=600.0, between_chunks_s=600.0, total_s=600.0)
        self.requests = {
            streamed: WireRequest(
                method="POST",
                url=url + "/v1/chat/completions",
                headers=headers(streamed),
                body=body(streamed),
                timeouts=times,
            )
            for streamed in (False, True)
        }

    def call(self, streamed=False):
        if not streamed:
            self.transport.send(self.requests[False])
            return
        for _ in self.transport.open(self.requests[True]):
            pass

    async def acall(self, streamed=False):
        if not streamed:
            await self.atransport.send(self.requests[False])
            return
        async for _ in await self.atransport.open(self.requests[True]):
            pass


CLIENTS = {
    "transport": Transport,
    "raw": Raw,
    "httpx": Httpx,
    "httpx2": Httpx2,
    "pyreqwest": Pyreqwest,
    "openai": OpenAI,
    "litellm": LiteLLM,
    "callmeter": Callmeter,
}


def cpu_s():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def settle(client, calls):
    deadline = time.monotonic() + 60
    while not getattr(client, "settled", lambda calls: True)(calls):
        if time.monotonic() > deadline:
            raise SystemExit(f"only {getattr(client, 'ended', '?')} of {calls} calls were told to the callback")
        time.sleep(0.01)


def sync(client, mode, calls):
    streamed = mode == "stream"
    for _ in range(WARM_UP):
        client.call(streamed)
    settle(client, WARM_UP)
    before = cpu_s()
    for _ in range(calls):
        client.call(streamed)
    settle(client, WARM_UP + calls)
    return cpu_s() - before


async def together(client, mode, calls):
    streamed = mode == "astream"

    async def some(count):
        for _ in range(count):
            await client.acall(streamed)

    async def all_of(count):
        width = IN_FLIGHT[mode]
        await asyncio.gather(*(some(-(-(count - at) // width)) for at in range(width)))

    warm = max(WARM_UP, IN_FLIGHT[mode])
    await all_of(warm)
    await asyncio.sleep(0.2)
    before = cpu_s()
    await all_of(calls)
    # Callbacks of a loop run in the loop.
    for _ in range(600):
        if getattr(client, "settled", lambda calls: True)(warm + calls):
            return cpu_s() - before
        await asyncio.sleep(0.05)
    raise SystemExit(f"only {getattr(client, 'ended', '?')} of {warm + calls} calls were told to the callback")


def main():
    name, mode, url, calls = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
    client = CLIENTS[name](url)
    used = asyncio.run(together(client, mode, calls)) if mode in IN_FLIGHT else sync(client, mode, calls)
    print(json.dumps({"cpu_us": used / calls * 1e6}), flush=True)
    if name == "litellm":
        os._exit(0)  # its threads do not end by themselves in good time


main()
