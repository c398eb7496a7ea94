"""Running a call that is ready, whatever its operation, for callers that block and for callers that await."""

from typing import Any

from callmeter.client import flow
from callmeter.client.drive import adrive, drive
from callmeter.client.making import Made
from callmeter.client.streaming import AsyncStream, Stream


def run(made: Made) -> Any:
    """The call's answer, or its stream."""
    if made.streamed:
        return Stream(drive(flow.stream(made.way, made.recorder, made.memory), made.runtime))
    answer = drive(flow.complete(made.way, made.recorder, made.memory), made.runtime)
    _finish(made, answer)
    return answer


async def arun(made: Made) -> Any:
    """The same with awaiting."""
    if made.streamed:
        return AsyncStream(await adrive(flow.stream(made.way, made.recorder, made.memory), made.runtime))
    answer = await adrive(flow.complete(made.way, made.recorder, made.memory), made.runtime)
    _finish(made, answer)
    return answer


def _finish(made: Made, answer: Any) -> None:
    """What follows once the answer is accounted for; one that is not what was asked for is not remembered."""
    if made.check is not None:
        made.check(answer)
    if made.memory is not None:
        made.memory.keep(answer)
