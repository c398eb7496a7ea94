"""What the caller is doing, carried beside their code: `with tags(project="search"): completion(...)`."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

made_by: ContextVar[str] = ContextVar("callmeter.made_by", default="")
"""Identity of the sink that is sending here. It is not told of the calls it makes itself: that would never end."""

within: ContextVar[tuple[Any, ...]] = ContextVar("callmeter.within", default=())
"""The user's callbacks that are running here, outermost first. None of them is told of a call made within it."""

_current: ContextVar[Mapping[str, Any]] = ContextVar("callmeter.tags", default=MappingProxyType({}))


def current_tags() -> Mapping[str, Any]:
    """The tags in force here, in this task or thread."""
    return _current.get()


@contextmanager
def tags(*names: str, **values: Any) -> Iterator[None]:
    """Label every call made within, across awaits and into tasks started here.

    `project`, `user`, `team`, `customer`, `feature`, `session_id` and `environment` become the columns of those names;
    bare names and `tags=[…]` join the list of tags; anything else goes into the call's metadata. Inner values win,
    lists add up. Also works as a decorator.
    """
    outer = _current.get()
    merged = {**outer, **values}
    merged["tags"] = (*outer.get("tags", ()), *names, *values.get("tags", ()))
    token = _current.set(merged)
    try:
        yield
    finally:
        _current.reset(token)
