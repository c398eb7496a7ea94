"""A stream being read: bytes in, chunks out, and an end event whatever becomes of it.

`StreamCore` does no I/O. `Stream` and `AsyncStream` are the same reader over it, once for each kind of caller.
"""

import contextlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from callmeter.client.codecs.base import Frame, Framing, StreamCodec
from callmeter.client.drive import adrive, drive
from callmeter.client.effects import Flow
from callmeter.client.eventstream import EventStream
from callmeter.client.fold import Fold
from callmeter.client.framing import NDJSON, SSE
from callmeter.client.operations import CHAT, TEXT_COMPLETION
from callmeter.client.plan import Target
from callmeter.client.recorder import Delivered, Recorder
from callmeter.errors import APIError, Timeout, as_openai
from callmeter.shapes import Chunk, Completion, Delta, StreamChoice

HELD_BACK = frozenset({CHAT.name, TEXT_COMPLETION.name})
"""Operations whose streams begin with chunks that say nothing; events of the Responses API mean something each."""

Again = Callable[[APIError, Delivered], Flow["StreamCore"]]
"""The flow that goes on after a failure, given what had come before it."""


class Cutter(Protocol):
    """Cuts a body's bytes into frames, however they arrive."""

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that these bytes complete. Raises `APIError` for bytes that are none."""
        ...

    def close(self) -> list[Frame]:
        """The body is over: the frame that was not ended, if there is one."""
        ...


FRAMINGS: Mapping[Framing, Callable[[], Cutter]] = {"sse": SSE, "ndjson": NDJSON, "eventstream": EventStream}


class StreamCore:
    """Folds one answer's bytes into chunks for the reader and one completion for the account."""

    def __init__(
        self,
        opened: Any,
        codec: StreamCodec,
        target: Target,
        recorder: Recorder,
        deadline_ns: int | None = None,
        keep: Callable[[Completion], None] | None = None,
        again: Again | None = None,
    ) -> None:
        self.opened = opened
        self.target = target
        self.recorder = recorder
        self.ended = False
        self._framing = FRAMINGS[codec.framing]()
        self._decoder = codec.decoder(target.call, target.deployment)
        self._fold = Fold()
        self._shows_usage = target.call.include_usage
        self._mono_ns = recorder.runtime.clock.mono_ns
        self._deadline_ns = deadline_ns
        self._keep = keep
        """Handed the answer once it was read to its end."""
        self._again = again
        self._given = False
        """Whether the reader has been given anything: until then another attempt can take this one's place."""
        self._held: list[Chunk] | None = [] if target.call.operation in HELD_BACK else None
        """Chunks that say nothing yet."""
        self._first_chunk_ns: int | None = None
        self._chunk: Chunk | None = None

    def feed(self, data: bytes) -> list[Chunk]:
        """The chunks that these bytes complete. Raises `APIError`, which is for `broken` or `fail`."""
        chunks: list[Chunk] = []
        if self._deadline_ns is not None and self._mono_ns() > self._deadline_ns:
            raise Timeout(f"the call took longer than total_timeout={self.target.call.total_timeout_s} s")
        for frame in self._framing.feed(data):
            self._take(frame, chunks)
        return self._spoken(chunks)

    def finish(self) -> list[Chunk]:
        """The body is over: the chunks still owed, the usage chunk last. Publishes the end, or raises as `feed`."""
        chunks, self._held = self._held or [], None
        for frame in self._framing.close():
            self._take(frame, chunks)
        self._show(self._decoder.finish(), chunks)
        self._complete(cancelled=False)
        if self._shows_usage and self._chunk is not None:
            chunks.append(self._usage_chunk(self._chunk))
        return chunks

    def broken(self, error: APIError) -> Flow["StreamCore"] | None:
        """How to go on after a failure before anything was said; None where the reader has seen something."""
        if self.ended or self._again is None or self._given:
            return None
        self.ended = True
        return self._again(error, self._delivered())

    def fail(self, error: APIError) -> APIError:
        """The stream broke for good: publish `CallFailed` with what had come. Returns the error to raise."""
        where = self.target.deployment
        error.llm_provider, error.model = error.llm_provider or where.provider, error.model or where.model
        if not self.ended:
            self.ended = True
            self.recorder.failed(error, self._delivered())
        return as_openai(error)

    def cancel(self) -> None:
        """The reader stopped: publish the end with what it had received. Does nothing after an end."""
        self._complete(cancelled=True)

    @property
    def completion(self) -> Completion:
        """What has come so far, as one answer."""
        return self._fold.completion()

    def _take(self, frame: Frame, chunks: list[Chunk]) -> None:
        self._show(self._decoder.chunks(frame), chunks)

    def _show(self, decoded: Sequence[Chunk], chunks: list[Chunk]) -> None:
        for chunk in decoded:
            self._fold.add(chunk)
            self._chunk = chunk
            if chunk.choices:
                if self._first_chunk_ns is None and _says_something(chunk):
                    self._first_chunk_ns = self._mono_ns()
                chunk.usage = None
                chunks.append(chunk)

    def _spoken(self, chunks: list[Chunk]) -> list[Chunk]:
        """What the reader may have: everything, once the answer has begun."""
        if self._held is not None:
            if self._first_chunk_ns is None:
                self._held += chunks
                return []
            chunks, self._held = [*self._held, *chunks], None
        self._given = self._given or bool(chunks)
        return chunks

    def _complete(self, *, cancelled: bool) -> None:
        if self.ended:
            return
        self.ended = True
        seen = self._delivered()
        if cancelled:
            self.recorder.stream_cancelled(seen)
            return
        self.recorder.stream_completed(seen)
        if self._keep is not None and isinstance(seen.answer, Completion):
            self._keep(seen.answer)

    def _delivered(self) -> Delivered:
        answer = self._fold.completion()
        if self._chunk is not None and self._chunk.__dict__:
            # The whole answer in its wire's own shape, where the end of the stream brings it.
            answer.__dict__.update(self._chunk.__dict__)
        return Delivered(
            meter=self._decoder.meter,
            output_chars=self._fold.output_chars,
            output_bytes=self._fold.output_bytes,
            received=self._chunk is not None,
            first_chunk_ns=self._first_chunk_ns,
            answer=answer,
        )

    def _usage_chunk(self, last: Chunk) -> Chunk:
        """The chunk a caller asked for with `include_usage`: one choice with an empty delta, as their loops expect."""
        usage = self.recorder.usage_shown()
        return Chunk(
            id=last.id,
            created=last.created,
            model=last.model,
            system_fingerprint=last.system_fingerprint,
            choices=[StreamChoice()],
            usage=usage,
        )


_SAYING = tuple(name for name in Delta.__struct_fields__ if name not in ("role", "provider_specific_fields"))


def _says_something(chunk: Chunk) -> bool:
    choice = chunk.choices[0]
    return choice.finish_reason is not None or any(getattr(choice.delta, name) for name in _SAYING)


class Stream:
    """A streamed answer to read with `for chunk in …`. Closing it, or dropping it, ends the call.

    Raises while iterating: `APIError` and its kin, mapped as for plain calls.
    """

    def __init__(self, core: StreamCore) -> None:
        self._ready: deque[Chunk] = deque()
        self._over = False
        self._read(core)

    def _read(self, core: StreamCore) -> None:
        self._core = core
        self._pieces = iter(core.opened)
        self._hidden_params = core.recorder.hidden_params(core.opened.headers)

    def __iter__(self) -> "Stream":
        return self

    def __next__(self) -> Chunk:
        ready = self._ready
        while not ready:
            if self._over:
                raise StopIteration
            self._pull()
        return ready.popleft()

    def close(self) -> None:
        """Stop reading. What was received is billed to the call as cancelled; later calls do nothing."""
        if not self._over:
            self._over = True
            self._ready.clear()
            self._core.cancel()
            self._core.opened.close()

    def _pull(self) -> None:
        core = self._core
        try:
            data = next(self._pieces, None)
            if data is None:
                self._ready.extend(core.finish())
                self._over = True
                core.opened.close()
            else:
                self._ready.extend(core.feed(data))
        except APIError as error:
            self._go_on(error)
        except BaseException:
            self.close()
            raise

    def _go_on(self, error: APIError) -> None:
        """Have another attempt take the place of the broken one, if that can be; else raise."""
        core = self._core
        again = core.broken(error)
        if again is None:
            self._over = True
            core.opened.close()
            raise core.fail(error) from error.__cause__
        try:
            self._read(drive(again, core.recorder.runtime))
        except BaseException:
            self._over = True
            raise

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if not getattr(self, "_over", True):
            with contextlib.suppress(Exception):
                self.close()


class AsyncStream:
    """A streamed answer to read with `async for chunk in …`. Closing it, dropping it or cancelling ends the call."""

    def __init__(self, core: StreamCore) -> None:
        import asyncio

        self._ready: deque[Chunk] = deque()
        self._over = False
        self._loop = asyncio.get_running_loop()
        self._read(core)

    def _read(self, core: StreamCore) -> None:
        self._core = core
        self._pieces = core.opened.__aiter__()
        self._hidden_params = core.recorder.hidden_params(core.opened.headers)

    def __aiter__(self) -> "AsyncStream":
        return self

    async def __anext__(self) -> Chunk:
        ready = self._ready
        while not ready:
            if self._over:
                raise StopAsyncIteration
            await self._pull()
        return ready.popleft()

    async def aclose(self) -> None:
        """Stop reading. What was received is billed to the call as cancelled; later calls do nothing."""
        if not self._over:
            self._end_early()
            await self._core.opened.aclose()

    def _end_early(self) -> None:
        self._over = True
        self._ready.clear()
        self._core.cancel()

    async def _pull(self) -> None:
        core = self._core
        try:
            try:
                data = await self._pieces.__anext__()
            except StopAsyncIteration:
                self._ready.extend(core.finish())
                self._over = True
                await core.opened.aclose()
            else:
                self._ready.extend(core.feed(data))
        except APIError as error:
            await self._go_on(error)
        except BaseException:
            self._end_early()
            await core.opened.aclose()
            raise

    async def _go_on(self, error: APIError) -> None:
        core = self._core
        again = core.broken(error)
        if again is None:
            self._over = True
            failure = core.fail(error)
            await core.opened.aclose()
            raise failure from error.__cause__
        try:
            self._read(await adrive(again, core.recorder.runtime))
        except BaseException:
            self._over = True
            raise

    async def __aenter__(self) -> "AsyncStream":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __del__(self) -> None:
        if getattr(self, "_over", True):
            return
        with contextlib.suppress(Exception):
            self._end_early()
            if not self._loop.is_closed():
                closing = self._core.opened.aclose()
                self._loop.call_soon_threadsafe(lambda: self._loop.create_task(closing))
