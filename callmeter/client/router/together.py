"""Several calls of a router at once, on the caller's event loop."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from callmeter.errors import BadRequestError

if TYPE_CHECKING:
    from callmeter.client.router.router import Router


async def abatch_completion(
    router: "Router", models: Sequence[str], messages: Sequence[Any], **params: Any
) -> list[Any]:
    """The conversation put to every model, or each of several conversations; exceptions stand in their answers' place.

    For one conversation the answers in the models' order; for a list of them, such a list for each.
    """
    if messages and isinstance(messages[0], list | tuple):
        return list(await asyncio.gather(*(abatch_completion(router, models, one, **params) for one in messages)))
    calls = (router.acompletion(model, messages, **params) for model in models)
    return list(await asyncio.gather(*calls, return_exceptions=True))


async def abatch_completion_one_model_multiple_requests(
    router: "Router", model: str, messages: Sequence[Sequence[Any]], **params: Any
) -> list[Any]:
    """Each conversation put to one group; the answers in their order, exceptions in their places."""
    calls = (router.acompletion(model, one, **params) for one in messages)
    return list(await asyncio.gather(*calls, return_exceptions=True))


async def abatch_completion_fastest_response(
    router: "Router", model: str | Sequence[str], messages: Sequence[Any], **params: Any
) -> Any:
    """The first answer of several groups (a list, or names with commas between); the other calls are cancelled.

    A stream counts from its head. Where every call fails, the first group's error is raised.
    """
    models = [name.strip() for name in model.split(",")] if isinstance(model, str) else list(model)
    if not models:
        raise BadRequestError("there is no model to ask; pass model='a, b'")
    tasks = [asyncio.ensure_future(router.acompletion(name, messages, **params)) for name in models]
    winner: asyncio.Future[Any] | None = None
    try:
        waiting = set(tasks)
        while waiting and winner is None:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            winner = next((task for task in tasks if task in done and task.exception() is None), None)
        return (winner or tasks[0]).result()
    finally:
        others = [task for task in tasks if task is not winner]
        for task in others:
            task.cancel()
        # A stream whose head came at the same moment would hold its connection.
        for answer in await asyncio.gather(*others, return_exceptions=True):
            if hasattr(answer, "aclose"):
                await answer.aclose()
