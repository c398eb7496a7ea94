"""Many calls at once, on threads. Each is an ordinary call, with its own events and its own cost."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextvars import copy_context
from typing import Any

from callmeter.client.api import completion
from callmeter.errors import BadRequestError

MAX_WORKERS = 100
"""Threads of a batch that names no number."""


def batch_completion(
    model: str, messages: Sequence[Sequence[Any]] = (), *, max_workers: int | None = None, **params: Any
) -> list[Any]:
    """`completion()` for each of several conversations; the answers in their order.

    A call that fails has its exception in the answer's place, so that one failure loses none of the others. At most
    `max_workers` (100) calls run at once. Raises `BadRequestError` where `messages` is a single conversation.
    """
    for one in messages:
        if isinstance(one, Mapping | str) or not isinstance(one, Sequence):
            raise BadRequestError(
                f"batch_completion takes a list of conversations, each a list of messages; one of them is {one!r:.80}",
                model=model,
            )
    return _all([{"model": model, "messages": one, **params} for one in messages], max_workers)


def batch_completion_models_all_responses(
    models: Sequence[str] | str = (),
    messages: Sequence[Any] = (),
    *,
    deployments: Sequence[Mapping[str, Any]] = (),
    max_workers: int | None = None,
    **params: Any,
) -> list[Any]:
    """One conversation put to every model; their answers in the models' order, exceptions in place.

    `deployments` are dicts of arguments (`model`, `api_key`, `api_base`, …) in place of, or beside, plain `models`.
    """
    return _all(_calls(models, deployments, messages, params), max_workers)


def batch_completion_models(
    models: Sequence[str] | str = (),
    messages: Sequence[Any] = (),
    *,
    deployments: Sequence[Mapping[str, Any]] = (),
    max_workers: int | None = None,
    **params: Any,
) -> Any:
    """One conversation put to every model at once; the first answer that comes. Streams count from their head.

    The others run to their end and are charged for by their providers, so they are accounted for too; streams among
    them are closed. Where every call fails, the error of the first model is raised.
    """
    futures = _started(_calls(models, deployments, messages, params), max_workers)
    winner: Future[Any] | None = None
    try:
        winner = next((done for done in as_completed(futures) if done.exception() is None), None)
        return (winner or futures[0]).result()
    finally:
        _leave(future for future in futures if future is not winner)


def _calls(
    models: Sequence[str] | str,
    deployments: Sequence[Mapping[str, Any]],
    messages: Sequence[Any],
    params: Mapping[str, Any],
) -> list[dict[str, Any]]:
    named = [{"model": name} for name in ((models,) if isinstance(models, str) else models)]
    calls = [{**params, "messages": messages, **where} for where in (*named, *deployments)]
    if not calls:
        raise BadRequestError("there is no model to ask; pass models=[…] or deployments=[…]")
    return calls


def _all(calls: Sequence[Mapping[str, Any]], max_workers: int | None) -> list[Any]:
    futures = _started(calls, max_workers)
    try:
        return [future.exception() or future.result() for future in futures]
    except BaseException:
        # The caller was interrupted while he waited; what has not begun need not.
        _leave(futures)
        raise


def _started(calls: Sequence[Mapping[str, Any]], max_workers: int | None) -> list[Future[Any]]:
    """The calls, under way; each sees the tags that are in force here."""
    if not calls:
        return []
    workers = min(MAX_WORKERS if max_workers is None else max_workers, len(calls))
    pool = ThreadPoolExecutor(workers, thread_name_prefix="callmeter-batch")
    started = [pool.submit(copy_context().run, _ask, call) for call in calls]
    # The threads end with their last call; nobody has to wait for them here.
    pool.shutdown(wait=False)
    return started


def _ask(call: Mapping[str, Any]) -> Any:
    return completion(**call)


def _leave(futures: Iterable[Future[Any]]) -> None:
    """Let go of calls whose answers nobody will read."""
    for future in futures:
        future.cancel()
        future.add_done_callback(_close)


def _close(future: Future[Any]) -> None:
    if not future.cancelled() and future.exception() is None and hasattr(future.result(), "close"):
        future.result().close()
