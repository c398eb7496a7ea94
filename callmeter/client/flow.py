"""One call from start to end, as a generator that does no I/O: it yields what it wants done and is told what came.

Sync and async calls, plain and streamed, share it. Whatever happens in between, cancellation included, the call's
start is followed by exactly one end.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import msgspec

from callmeter.client import codecs
from callmeter.client.codecs.base import Later, Meter, OperationCodec
from callmeter.client.effects import Flow, Leave, Open, ReadRest, Send, Sign, Sleep
from callmeter.client.plan import Target, Way, pause_s, retryable
from callmeter.client.ready import ReadyStream
from callmeter.client.recorder import NOTHING, Delivered, Recorder
from callmeter.client.streaming import StreamCore
from callmeter.errors import APIError, Timeout, as_openai
from callmeter.shapes import Result
from callmeter.wire import WireReply, WireRequest

if TYPE_CHECKING:
    from callmeter.client.remembering import Memory

T = TypeVar("T")


class Conduct:
    """The part of a call that attempts share: its way, its account, how much time is left."""

    def __init__(self, way: Way, recorder: Recorder, memory: "Memory | None" = None) -> None:
        self.recorder = recorder
        self.memory = memory
        self._way = way
        self._rt = recorder.runtime
        self._whole_s = recorder.call.total_timeout_s
        self.deadline_ns = None if self._whole_s is None else self._rt.clock.mono_ns() + int(self._whole_s * 1e9)
        self._target: Target | None = None
        self._began_ns = 0

    def next_target(self) -> Flow[Target]:
        """Where the next attempt goes. Raises `Timeout` once the whole call's time is up."""
        left = self._left_s()
        if left is not None and left <= 0:
            raise Timeout(f"the call took longer than total_timeout={self._whole_s} s")
        turn = yield from self._way.turn()
        self.recorder.attempting(turn)
        self._target = turn.target
        self._began_ns = self._rt.clock.mono_ns()
        return turn.target

    def bounded(self, request: WireRequest) -> WireRequest:
        """The request, allowed no more time than the whole call has left."""
        left = self._left_s()
        if left is None:
            return request
        times = request.timeouts
        sooner = msgspec.structs.replace(
            times, total_s=_sooner(times.total_s, left), between_chunks_s=_sooner(times.between_chunks_s, left)
        )
        return msgspec.structs.replace(request, timeouts=sooner)

    def within_attempt(self, request: WireRequest, wait_s: float) -> WireRequest:
        """A later request of the same attempt, allowed what is left of its time after so long a wait.

        Raises `Timeout` where nothing will be left.
        """
        whole_s = request.timeouts.total_s
        left_s = None if whole_s is None else whole_s - (self._rt.clock.mono_ns() - self._began_ns) / 1e9 - wait_s
        call_left_s = self._left_s()
        if (left_s is not None and left_s <= 0) or (call_left_s is not None and call_left_s <= wait_s):
            raise Timeout("the provider has taken the call and has no answer within the time that timeout=… allows")
        return msgspec.structs.replace(request, timeouts=msgspec.structs.replace(request.timeouts, total_s=left_s))

    def repeated(self, error: APIError, tries: int) -> float:
        """Seconds until a question that may be repeated is asked again. Raises the error once that was often enough.

        It is not retryable then: the call would be made a second time, and charged for twice.
        """
        if tries > self._way.max_retries or not retryable(error):
            error.retryable = False
            raise error
        return pause_s(tries, error, self._rt.jitter())

    def after(self, error: APIError, seen: Delivered) -> float:
        """Seconds to wait now that an attempt failed. Raises the error once nothing is left to try."""
        wait_s = self._way.after(error, self._rt.jitter(), self._left_s())
        if wait_s is None:
            raise error
        self.recorder.attempt_failed(error, wait_s, seen)
        return wait_s

    def tried(self, error: APIError) -> APIError:
        """The error, saying for whom it speaks and how often it was tried."""
        if self._target is not None:
            where = self._target.deployment
            error.llm_provider = error.llm_provider or where.provider
            error.model = error.model or where.model
        error.num_retries, error.max_retries = self._way.retries, self._way.max_retries
        self._way.last_words(error)
        return as_openai(error)

    def _left_s(self) -> float | None:
        return None if self.deadline_ns is None else (self.deadline_ns - self._rt.clock.mono_ns()) / 1e9


class Broken(NamedTuple):
    """An attempt that failed, what had come of it, and the stream that is left of it."""

    error: APIError
    seen: Delivered = NOTHING
    opened: Any = None


def complete(way: Way, recorder: Recorder, memory: "Memory | None" = None) -> Flow[Result]:
    """A call that is not streamed, of any operation; `memory` is its part in the response cache.

    Returns the answer, its end event published; raises what the last attempt raised.
    """
    attempts = _attempts(Conduct(way, recorder, memory), _answer)
    return attempts if memory is None else memory.answer(attempts)


def stream(way: Way, recorder: Recorder, memory: "Memory | None" = None) -> Flow[StreamCore]:
    """A streamed call up to the head of its answer. What follows is the stream's, which then owes the end event."""
    attempts = _attempts(Conduct(way, recorder, memory), _head)
    return attempts if memory is None else memory.stream(attempts)


def _attempts(conduct: Conduct, attempt: Callable[[Conduct, Target], Flow[T]], broken: Broken | None = None) -> Flow[T]:
    """One attempt after another, until one has an answer or nothing is left to try; `broken` was made before."""
    recorder = conduct.recorder
    try:
        while True:
            if broken is not None:
                if broken.opened is not None:
                    yield Leave(broken.opened)
                wait_s = conduct.after(broken.error, broken.seen)
                if wait_s:
                    yield Sleep(wait_s)
            target = yield from conduct.next_target()
            try:
                return (yield from attempt(conduct, target))
            except APIError as error:
                broken = Broken(error)
    except APIError as error:
        recorder.failed(error, NOTHING if broken is None else broken.seen)
        raise conduct.tried(error) from error.__cause__
    except BaseException as error:
        recorder.aborted(error)
        raise


def _answer(conduct: Conduct, target: Target) -> Flow[Result]:
    call, deployment, recorder = target.call, target.deployment, conduct.recorder
    codec: OperationCodec = codecs.load(deployment.codec)
    step: tuple[Result, Meter] | Later = Later(request=codec.request(call, deployment))
    while isinstance(step, Later):
        reply = yield from _asked(conduct, target, codec, step)
        step = codec.response(reply, call, deployment)
    answer, meter = step
    recorder.succeeded(answer, meter, len(reply.body))
    recorder.sign(answer, reply.headers)
    return answer


def _head(conduct: Conduct, target: Target) -> Flow[StreamCore]:
    call, deployment = target.call, target.deployment
    codec = codecs.load(deployment.codec)
    step = Later(request=codec.request(call, deployment))
    while step.request.whole:
        reply = yield from _asked(conduct, target, codec, step)
        following = codec.response(reply, call, deployment)
        if not isinstance(following, Later):
            return _core(conduct, target, ReadyStream(iter([reply.body]), reply.headers))
        step = following
    opened = yield from _exchange(conduct, target, step.request, Open)
    if not 200 <= opened.status < 300:
        body = yield ReadRest(opened)
        raise codec.failure(opened.status, opened.headers, body, deployment)
    return _core(conduct, target, opened)


def _core(conduct: Conduct, target: Target, opened: Any) -> StreamCore:
    def again(error: APIError, seen: Delivered) -> Flow[StreamCore]:
        return _attempts(conduct, _head, Broken(error, seen, opened))

    keep = None if conduct.memory is None else conduct.memory.keep
    codec = codecs.load(target.deployment.codec)
    return StreamCore(opened, codec, target, conduct.recorder, conduct.deadline_ns, keep, again)


def _asked(conduct: Conduct, target: Target, codec: OperationCodec, step: Later) -> Flow[WireReply]:
    """The whole reply to a step's request, asked in its time. Only what changes nothing there is asked again."""
    request, tries = step.request, 0
    if step.after_s:
        request = yield from _waited(conduct, request, step.after_s)
    while True:
        try:
            reply: WireReply = yield from _exchange(conduct, target, request, Send)
            if not 200 <= reply.status < 300:
                raise codec.failure(reply.status, reply.headers, reply.body, target.deployment)
            return reply
        except APIError as error:
            if request.method != "GET":
                raise
            tries += 1
            request = yield from _waited(conduct, request, conduct.repeated(error, tries))


def _waited(conduct: Conduct, request: WireRequest, seconds: float) -> Flow[WireRequest]:
    """The request once its time has come, allowed what the attempt then has left."""
    ready = conduct.within_attempt(request, seconds)
    yield Sleep(seconds)
    conduct.recorder.given(seconds)
    return ready


def _exchange(conduct: Conduct, target: Target, request: WireRequest, effect: type[Send] | type[Open]) -> Flow[Any]:
    """Send the request and say so to the account, before and after, whatever comes back."""
    if target.deployment.signer is not None:
        request = yield Sign(request, target.deployment.signer)
    conduct.recorder.sending(request)
    try:
        return (yield effect(conduct.bounded(request), target.mock))
    finally:
        conduct.recorder.received()


def _sooner(bound: float | None, left: float) -> float:
    return left if bound is None else min(bound, left)
