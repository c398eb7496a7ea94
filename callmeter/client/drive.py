"""Running a flow: the same steps against a transport that blocks and one that is awaited."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

from callmeter.client.effects import Consult, Effect, Flow, Open, Send, Sign, Sleep

T = TypeVar("T")


def drive(flow: Flow[T], transport: Any, sleep: Callable[[float], None]) -> T:
    """Run a flow to its end on this thread; what it raises, this raises."""
    resume, value = flow.send, None
    while True:
        try:
            effect = resume(value)
        except StopIteration as done:
            return cast(T, done.value)
        try:
            resume, value = flow.send, _perform(effect, transport, sleep)
        except BaseException as error:  # cancellation too: the flow says how the call ended
            resume, value = flow.throw, error


async def adrive(flow: Flow[T], transport: Any, sleep: Callable[[float], Awaitable[None]]) -> T:
    """The same with awaiting."""
    resume, value = flow.send, None
    while True:
        try:
            effect = resume(value)
        except StopIteration as done:
            return cast(T, done.value)
        try:
            resume, value = flow.send, await _aperform(effect, transport, sleep)
        except BaseException as error:
            resume, value = flow.throw, error


def _perform(effect: Effect, transport: Any, sleep: Callable[[float], None]) -> Any:
    if isinstance(effect, Send):
        return transport.send(effect.request)
    if isinstance(effect, Open):
        return transport.open(effect.request)
    if isinstance(effect, Sleep):
        return sleep(effect.seconds)
    if isinstance(effect, Consult):
        return effect.ask()
    if isinstance(effect, Sign):
        return effect.signer.sign(effect.request)
    try:
        return effect.stream.read()
    finally:
        effect.stream.close()


async def _aperform(effect: Effect, transport: Any, sleep: Callable[[float], Awaitable[None]]) -> Any:
    if isinstance(effect, Send):
        return await transport.send(effect.request)
    if isinstance(effect, Open):
        return await transport.open(effect.request)
    if isinstance(effect, Sleep):
        return await sleep(effect.seconds)
    if isinstance(effect, Consult):
        return await effect.aask()
    if isinstance(effect, Sign):
        return await _asign(effect)
    try:
        return await effect.stream.read()
    finally:
        await effect.stream.aclose()


async def _asign(effect: Sign) -> Any:
    if effect.signer.ready():
        return effect.signer.sign(effect.request)
    import asyncio

    return await asyncio.to_thread(effect.signer.sign, effect.request)
