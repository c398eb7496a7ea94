"""One client process of a replay: its share of the calls, asynchronous, at their own times, through all of callmeter.

    python -m benchmarks.replay_client PLAN

PLAN is the JSON of a `Share`. Each request carries its number and the wall time it began at in `x-callmeter-call-id`,
for the provider's count; the number is in the call's metadata too, so that the ledger's row names it. The last line
printed is the JSON of a `Done`.
"""

import asyncio
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

import callmeter
from benchmarks.replay_mix import RETRIES, Arrival, Asked, arrivals, asked, made_up

FLUSH_EVERY = 16
"""Calls between two flushes where acknowledgements are kept and durability is `process`."""

FLUSH_S = 0.5
"""Under steady traffic a sink is never done, and a flush takes all its time."""


class Share(Struct, frozen=True, kw_only=True):
    """What one client process is to do."""

    url: str
    """The provider's."""
    seed: int
    traces: str = ""
    """Folder of the traces; empty: made-up requests."""
    count: int | None = None
    """Requests of the trace to replay (None: all); how many to make up."""
    first: int = 0
    every: int = 1
    """The share: requests `first`, `first + every`, …"""
    speed: float = 0.0
    """How many times faster than life; 0: as fast as possible."""
    in_flight: int = 64
    acks: str = ""
    """File to append the numbers of acknowledged calls to: one a line."""
    at_once: bool = False
    """A call is acknowledged when it returns (durability `sync`), not when a flush after it succeeded."""


class Done(Struct, frozen=True, kw_only=True):
    """What it took."""

    calls: int
    wall_s: float
    cpu_s: float
    flushed: bool


def requests(share: Share) -> Sequence[Arrival]:
    """All requests of the replay a share is part of."""
    if share.traces:
        return arrivals(Path(share.traces))[: share.count]
    return made_up(share.count or 300)


class Client:
    """Makes the calls of a share."""

    def __init__(self, share: Share) -> None:
        self._share = share
        self._free = asyncio.Semaphore(share.in_flight)
        self._ended: list[int] = []
        self._flushing = asyncio.Lock()
        self.acknowledged = 0
        self._acks = os.open(share.acks, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644) if share.acks else -1

    async def run(self) -> Done:
        """All calls of the share, then a flush."""
        share = self._share
        due = list(enumerate(requests(share)))[share.first :: share.every]
        began, cpu = time.perf_counter(), time.process_time()
        async with asyncio.TaskGroup() as tasks:
            for number, arrival in due:
                if share.speed:
                    await asyncio.sleep(arrival.at_s / share.speed - (time.perf_counter() - began))
                await self._free.acquire()
                tasks.create_task(self._one(asked(number, arrival, share.seed)))
        flushed = await self._acknowledge() if self._acks >= 0 else bool(callmeter.flush(60))
        wall_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu
        return Done(calls=len(due), wall_s=wall_s, cpu_s=cpu_s, flushed=flushed)

    async def _one(self, call: Asked) -> None:
        try:
            await self._make(call)
        except callmeter.APIError:
            pass  # the checker knows which calls are to fail
        finally:
            self._free.release()
        if self._acks < 0:
            return
        if self._share.at_once:
            self._append([call.number])
            return
        self._ended.append(call.number)
        if len(self._ended) >= FLUSH_EVERY and not self._flushing.locked():
            await self._acknowledge()

    async def _make(self, call: Asked) -> None:
        arguments = self._arguments(call)
        if not call.stream:
            await callmeter.acompletion(**arguments)
            return
        seen = 0
        stream = await callmeter.acompletion(**arguments, stream=True)
        async for chunk in stream:
            seen += bool(chunk.choices[0].delta.content)
            if call.kind == "cancelled" and seen == call.after:
                # The provider is silent from here on, so this is all there is to receive.
                break
        await stream.aclose()

    def _arguments(self, call: Asked) -> dict[str, Any]:
        headers = {"x-callmeter-call-id": f"{call.number}@{time.time_ns()}"}
        if call.kind == "retried":
            headers["x-replay-fail"] = "429*1"
        arguments: dict[str, Any] = {
            **self._at(call.model),
            "messages": [{"role": "user", "content": call.prompt}],
            "num_retries": RETRIES,
            "metadata": {"number": call.number},
            "headers": headers,
            "x_fake": call.body,
        }
        if call.fallback:
            arguments["fallbacks"] = [{**self._at(call.fallback), "x_fake": call.wish}]
        return arguments

    def _at(self, model: str) -> dict[str, str]:
        url = self._share.url
        return {"model": model, "api_base": url + "/v1" if model.startswith("openai/") else url, "api_key": "sk-replay"}

    async def _acknowledge(self) -> bool:
        """Flush, and note as kept what had ended before. What sinks still have to take does not matter here."""
        async with self._flushing:
            before, self._ended = self._ended, []
            if not (await asyncio.to_thread(callmeter.flush, FLUSH_S)).journalled:
                self._ended = before + self._ended
                return False
            self._append(before)
            return True

    def _append(self, numbers: list[int]) -> None:
        os.write(self._acks, "".join(f"{number}\n" for number in numbers).encode())
        self.acknowledged += len(numbers)


def main() -> None:
    """Do the share given on the command line."""
    share = msgspec.json.decode(sys.argv[1], type=Share)
    print("ready", flush=True)
    done = asyncio.run(Client(share).run())
    print(msgspec.json.encode(done).decode(), flush=True)


if __name__ == "__main__":
    main()
