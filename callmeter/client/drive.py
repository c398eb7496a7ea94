"""Running a flow: the same steps against a transport that blocks and one that is awaited."""

from typing import TYPE_CHECKING, Any, TypeVar, cast

from callmeter.client.effects import Consult, Effect, Flow, Open, ReadRest, Send, Sign, Sleep
from callmeter.client.mock import AsyncMockTransport, MockTransport

if TYPE_CHECKING:
    from callmeter.runtime import Runtime

T = TypeVar("T")


def drive(flow: Flow[T], runtime: "Runtime") -> T:
    """Run a flow to its end on this thread; what it raises, this raises."""
    resume, value = flow.send, None
    while True:
        try:
            effect = resume(value)
        except StopIteration as done:
            return cast(T, done.value)
        try:
            resume, value = flow.send, _perform(effect, runtime)
        except BaseException as error:  # cancellation too: the flow says how the call ended
            resume, value = flow.throw, error


async def adrive(flow: Flow[T], runtime: "Runtime") -> T:
    """The same with awaiting."""
    resume, value = flow.send, None
    while True:
        try:
            effect = resume(value)
        except StopIteration as done:
            return cast(T, done.value)
        try:
            resume, value = flow.send, await _aperform(effect, runtime)
        except BaseException as error:
            resume, value = flow.throw, error


def _perform(effect: Effect, runtime: "Runtime") -> Any:
    if isinstance(effect, Send | Open):
        transport = runtime.transport if effect.mock is None else MockTransport(effect.mock)
        return transport.send(effect.request) if isinstance(effect, Send) else transport.open(effect.request)
    if isinstance(effect, Sleep):
        return runtime.sleep(effect.seconds)
    if isinstance(effect, Consult):
        return effect.ask()
    if isinstance(effect, Sign):
        return effect.signer.sign(effect.request)
    try:
        return effect.stream.read() if isinstance(effect, ReadRest) else None
    finally:
        effect.stream.close()


async def _aperform(effect: Effect, runtime: "Runtime") -> Any:
    if isinstance(effect, Send | Open):
        transport = runtime.async_transport if effect.mock is None else AsyncMockTransport(effect.mock)
        return await (transport.send(effect.request) if isinstance(effect, Send) else transport.open(effect.request))
    if isinstance(effect, Sleep):
        return await runtime.asleep(effect.seconds)
    if isinstance(effect, Consult):
        return await effect.aask()
    if isinstance(effect, Sign):
        return await _asign(effect)
    try:
        return (await effect.stream.read()) if isinstance(effect, ReadRest) else None
    finally:
        await effect.stream.aclose()


async def _asign(effect: Sign) -> Any:
    if effect.signer.ready():
        return effect.signer.sign(effect.request)
    import asyncio

    return await asyncio.to_thread(effect.signer.sign, effect.request)
