"""The caller's own routing strategy: an object that is asked for a deployment each time one is needed."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from callmeter.client.effects import Consult
from callmeter.client.router.members import Member
from callmeter.errors import ConfigError
from callmeter.types import Call


class CustomRoutingStrategyBase:
    """Override the method for the kind of calls that are made: the first for blocking ones, the second for awaited.

    Each returns an entry of `router.model_list`. Cooldowns and limits are the strategy's own affair then; calls are
    counted and failures followed by retries and fallbacks as ever.
    """

    def get_available_deployment(
        self,
        model: str,
        messages: Sequence[Any] | None = None,
        input: Any = None,
        specific_deployment: bool | None = False,
        request_kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """The entry to call."""
        raise NotImplementedError(f"{type(self).__name__} has no get_available_deployment; awaited calls only")

    async def async_get_available_deployment(
        self,
        model: str,
        messages: Sequence[Any] | None = None,
        input: Any = None,
        specific_deployment: bool | None = False,
        request_kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """The entry to call, for event loops."""
        raise NotImplementedError(f"{type(self).__name__} has no async_get_available_deployment; blocking calls only")


def asking(strategy: Any, name: str, call: Call, given: Mapping[str, Any]) -> Consult:
    """What has the strategy say where a call for a group's name goes."""
    kwargs = {
        "model": name,
        "messages": list(call.messages),
        "input": call.params.get("input"),
        "specific_deployment": False,
        "request_kwargs": dict(given),
    }
    return Consult(
        partial(strategy.get_available_deployment, **kwargs),
        partial(strategy.async_get_available_deployment, **kwargs),
    )


def chosen(answer: Any, members: Sequence[Member], strategy: Any) -> Member:
    """The member that an answer means. Raises `ConfigError` for one that means none."""
    info = answer.get("model_info") if isinstance(answer, Mapping) else getattr(answer, "model_info", None)
    wanted = info.get("id") if isinstance(info, Mapping) else getattr(info, "id", None)
    for member in members:
        if member.id == wanted:
            return member
    raise ConfigError(
        f"{type(strategy).__name__} chose {answer!r:.200}, which is no deployment of the group; it has to return an "
        f"entry of router.model_list, one with model_info.id in {[member.id for member in members]}"
    )
