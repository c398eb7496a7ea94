"""One call from start to end, as a generator that does no I/O: it yields what it wants done and is told what came.

Sync and async calls, plain and streamed, share it. Whatever happens in between, cancellation included, the call's
start is followed by exactly one end.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from callmeter.client import codecs
from callmeter.client.codecs.base import OperationCodec
from callmeter.client.effects import Flow, Open, ReadRest, Send, Sign, Sleep
from callmeter.client.plan import Plan, Step, Target
from callmeter.client.recorder import Recorder
from callmeter.client.streaming import StreamCore
from callmeter.errors import APIError, Timeout, as_openai
from callmeter.shapes import Result
from callmeter.wire import WireReply, WireRequest

if TYPE_CHECKING:
    from callmeter.client.remembering import Memory

T = TypeVar("T")


class Conduct:
    """The part of a call that attempts share: whose turn it is, how often it was tried, how much time is left."""

    def __init__(self, plan: Plan, recorder: Recorder, memory: "Memory | None" = None) -> None:
        self.plan = plan
        self.recorder = recorder
        self.memory = memory
        self._rt = recorder.runtime
        call = plan.targets[0].call
        self._max_retries = plan.max_retries
        self.deadline_ns = (
            None if call.total_timeout_s is None else self._rt.clock.mono_ns() + int(call.total_timeout_s * 1e9)
        )
        self._at = 0
        self._tries = 0

    def next_target(self) -> Target:
        """Where the next attempt goes. Raises `Timeout` once the whole call's time is up."""
        self._tries += 1
        left = self._left_s()
        if left is not None and left <= 0:
            call = self.plan.targets[0].call
            raise Timeout(f"the call took longer than total_timeout={call.total_timeout_s} s")
        return self.plan.targets[self._at]

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

    def after(self, error: APIError) -> Step:
        """What to do now that an attempt failed. Raises the error once nothing is left to try."""
        step = self.plan.after(self._at, self._tries, error, self._rt.jitter(), self._left_s())
        if step is None:
            raise error
        self.recorder.attempt_failed(error, step.wait_s)
        self.recorder.waited(step.wait_s, step.reason)
        if step.target != self._at:
            self._at, self._tries = step.target, 0
        return step

    def tried(self, error: APIError) -> APIError:
        """The error, saying for whom it speaks and how often it was tried."""
        where = self.plan.targets[self._at].deployment
        error.llm_provider = error.llm_provider or where.provider
        error.model = error.model or where.model
        error.num_retries, error.max_retries = self._tries - 1, self._max_retries
        return as_openai(error)

    def _left_s(self) -> float | None:
        return None if self.deadline_ns is None else (self.deadline_ns - self._rt.clock.mono_ns()) / 1e9


def complete(plan: Plan, recorder: Recorder, memory: "Memory | None" = None) -> Flow[Result]:
    """A call that is not streamed, of any operation; `memory` is its part in the response cache.

    Returns the answer, its end event published; raises what the last attempt raised.
    """
    attempts = _attempts(Conduct(plan, recorder, memory), _answer)
    return attempts if memory is None else memory.answer(attempts)


def stream(plan: Plan, recorder: Recorder, memory: "Memory | None" = None) -> Flow[StreamCore]:
    """A streamed call up to the head of its answer. What follows is the stream's, which then owes the end event."""
    attempts = _attempts(Conduct(plan, recorder, memory), _head)
    return attempts if memory is None else memory.stream(attempts)


def _attempts(conduct: Conduct, attempt: Callable[[Conduct, Target], Flow[T]]) -> Flow[T]:
    """One attempt after another, until one has an answer or nothing is left to try."""
    recorder = conduct.recorder
    try:
        while True:
            target = conduct.next_target()
            recorder.attempting(target)
            try:
                return (yield from attempt(conduct, target))
            except APIError as error:
                step = conduct.after(error)
            if step.wait_s:
                yield Sleep(step.wait_s)
    except APIError as error:
        recorder.failed(error)
        raise conduct.tried(error) from error.__cause__
    except BaseException as error:
        recorder.aborted(error)
        raise


def _answer(conduct: Conduct, target: Target) -> Flow[Result]:
    call, deployment, recorder = target.call, target.deployment, conduct.recorder
    codec: OperationCodec = codecs.load(deployment.codec)
    reply: WireReply = yield from _exchange(conduct, target, codec.request(call, deployment), Send)
    if not 200 <= reply.status < 300:
        raise codec.failure(reply.status, reply.headers, reply.body, deployment)
    answer, meter = codec.response(reply, call, deployment)
    recorder.succeeded(answer, meter, len(reply.body))
    recorder.sign(answer, reply.headers)
    return answer


def _head(conduct: Conduct, target: Target) -> Flow[StreamCore]:
    call, deployment = target.call, target.deployment
    codec = codecs.load(deployment.codec)
    opened = yield from _exchange(conduct, target, codec.request(call, deployment), Open)
    if not 200 <= opened.status < 300:
        body = yield ReadRest(opened)
        raise codec.failure(opened.status, opened.headers, body, deployment)
    keep = None if conduct.memory is None else conduct.memory.keep
    return StreamCore(opened, codec, target, conduct.recorder, conduct.deadline_ns, keep)


def _exchange(conduct: Conduct, target: Target, request: WireRequest, effect: type[Send] | type[Open]) -> Flow[Any]:
    """Send the request and say so to the account, before and after, whatever comes back."""
    if target.deployment.signer is not None:
        request = yield Sign(request, target.deployment.signer)
    conduct.recorder.sending(request)
    try:
        return (yield effect(conduct.bounded(request)))
    finally:
        conduct.recorder.received()


def _sooner(bound: float | None, left: float) -> float:
    return left if bound is None else min(bound, left)
