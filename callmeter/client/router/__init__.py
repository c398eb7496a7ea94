"""Routing: from a group's name to one of its deployments, call by call.

`decide.py` and what it imports are the pure core: what is known goes in, a decision comes out. `state.py` knows,
`routed.py` is one call's way, `router.py` the public class.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from callmeter.client.router.custom import CustomRoutingStrategyBase
    from callmeter.client.router.policy import AllowedFailsPolicy, RetryPolicy
    from callmeter.client.router.router import Router

__all__ = ["AllowedFailsPolicy", "CustomRoutingStrategyBase", "RetryPolicy", "Router"]

_HOMES = {
    "AllowedFailsPolicy": "policy",
    "CustomRoutingStrategyBase": "custom",
    "RetryPolicy": "policy",
    "Router": "router",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
