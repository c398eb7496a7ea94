"""Running a call that is ready, whatever its operation, for callers that block and for callers that await."""

from typing import Any

from callmeter.client import flow
from callmeter.client.drive import adrive, drive
from callmeter.client.making import Made
from callmeter.client.mock import AsyncMockTransport, MockTransport
from callmeter.client.streaming import AsyncStream, Stream


def run(made: Made) -> Any:
    """The call's answer, or its stream."""
    transport = made.runtime.transport if made.mock is None else MockTransport(made.mock)
    if made.streamed:
        return Stream(drive(flow.stream(made.plan, made.recorder, made.memory), transport, made.runtime.sleep))
    answer = drive(flow.complete(made.plan, made.recorder, made.memory), transport, made.runtime.sleep)
    _finish(made, answer)
    return answer


async def arun(made: Made) -> Any:
    """The same with awaiting."""
    transport = made.runtime.async_transport if made.mock is None else AsyncMockTransport(made.mock)
    if made.streamed:
        opening = flow.stream(made.plan, made.recorder, made.memory)
        return AsyncStream(await adrive(opening, transport, made.runtime.asleep))
    answer = await adrive(flow.complete(made.plan, made.recorder, made.memory), transport, made.runtime.asleep)
    _finish(made, answer)
    return answer


def _finish(made: Made, answer: Any) -> None:
    """What follows once the answer is accounted for; one that is not what was asked for is not remembered."""
    if made.check is not None:
        made.check(answer)
    if made.memory is not None:
        made.memory.keep(answer)
