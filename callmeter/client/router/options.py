"""A router's settings: everything `Router(…)` takes beside its model list, checked and frozen."""

import difflib
import logging
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from callmeter.client.router.elsewhere import NOTHING, Fallbacks, table_of
from callmeter.client.router.policy import (
    DEFAULT_ALLOWED_FAILS,
    DEFAULT_COOLDOWN_S,
    AllowedFailsPolicy,
    RetryPolicy,
    Rules,
    policy_of,
)
from callmeter.errors import ConfigError

log = logging.getLogger("callmeter")

STRATEGIES = (
    "simple-shuffle",
    "least-busy",
    "usage-based-routing",
    "usage-based-routing-v2",
    "latency-based-routing",
    "cost-based-routing",
)

NEEDLESS = frozenset(
    """assistants_config client_ttl enable_weighted_failover fallback_on_unsupported_params guardrail_list
    ignore_invalid_deployments polling_interval router_general_settings search_tools""".split()
)
"""Arguments of existing code that are always so here, or have nothing to do. The list's own is read where it is set."""

NOT_HERE: Mapping[str, str] = {
    "alerting_config": "alerts are sinks, put one into failure_callback",
    "cache_responses": "set callmeter.cache = callmeter.Cache(…), it holds for routed calls too",
    "caching_groups": "each group's answers are kept for that group",
    "deployment_affinity_ttl_seconds": "calls are not bound to deployments",
    "enable_health_check_routing": "deployments are judged by their calls",
    "enable_mid_stream_fallback_continuation": "a stream that breaks after its first word raises",
    "model_group_affinity_config": "calls are not bound to deployments",
    "plugins": "a strategy of your own is set by set_custom_routing_strategy",
    "provider_budget_config": "the router has no budgets",
    "routing_groups": "a group has the strategy of its router",
    "tag_routing_prefix": "every tag counts",
}
"""Arguments of existing code whose absence may matter; whoever passes them is told so."""

LIMITS_HOLD = "enforce_model_rate_limits"
"""The one of `optional_pre_call_checks` that is always on here."""


class Options(Struct, frozen=True, kw_only=True):
    """What holds for the calls of a router. Names are those of `Router(…)`."""

    routing_strategy: str = "simple-shuffle"
    routing_strategy_args: Mapping[str, Any] = NOTHING
    num_retries: int | None = None
    """None: as the runtime's settings say."""
    retry_after: float = 0.0
    """Seconds to wait at least before a retry."""
    max_fallbacks: int = 5
    timeout: Any = None
    stream_timeout: float | None = None
    default_litellm_params: Mapping[str, Any] = NOTHING
    default_max_parallel_requests: int | None = None
    default_fallbacks: tuple[Any, ...] = ()
    fallbacks: tuple[Any, ...] = ()
    context_window_fallbacks: tuple[Any, ...] = ()
    content_policy_fallbacks: tuple[Any, ...] = ()
    model_group_alias: Mapping[str, Any] = NOTHING
    retry_policy: RetryPolicy | None = None
    model_group_retry_policy: Mapping[str, RetryPolicy] = NOTHING
    allowed_fails: int | None = None
    allowed_fails_policy: AllowedFailsPolicy | None = None
    cooldown_time: float = DEFAULT_COOLDOWN_S
    disable_cooldowns: bool = False
    enable_pre_call_checks: bool = False
    enable_tag_filtering: bool = False
    tag_filtering_match_any: bool = True
    default_priority: int | None = None

    elsewhere: Fallbacks = Fallbacks()
    """The four lists of fallbacks, as tables."""
    rules: Rules = Rules()

    def shown(self) -> dict[str, Any]:
        """The settings as `get_settings()` lists them."""
        listed = {name: getattr(self, name) for name in self.__struct_fields__ if name not in ("elsewhere", "rules")}
        listed = {name: list(value) if isinstance(value, tuple) else value for name, value in listed.items()}
        return {**listed, "allowed_fails": DEFAULT_ALLOWED_FAILS if self.allowed_fails is None else self.allowed_fails}


def options_of(given: Mapping[str, Any], before: Options | None = None) -> Options:
    """Settings out of arguments, over those that held before.

    Raises `ConfigError` naming the argument, its value and what it takes, and `TypeError` for one nobody knows.
    """
    known = {name: getattr(before, name) for name in Options.__struct_fields__} if before is not None else {}
    for name, value in given.items():
        if name in NOT_HERE:
            if value:
                log.warning("Router(%s=…) has no effect: %s", name, NOT_HERE[name])
        elif name == "optional_pre_call_checks":
            if others := [check for check in value or () if check != LIMITS_HOLD]:
                log.warning("Router(%s=%s) has no effect: such checks are not made here", name, others)
        elif name not in NEEDLESS:
            known[name] = _checked(name, value)
    known["elsewhere"] = Fallbacks(
        general=table_of(known.get("fallbacks"), "fallbacks", known.get("default_fallbacks")),
        context_window=table_of(known.get("context_window_fallbacks"), "context_window_fallbacks"),
        content_policy=table_of(known.get("content_policy_fallbacks"), "content_policy_fallbacks"),
    )
    known["rules"] = Rules(
        allowed_fails=known.get("allowed_fails"),
        policy=known.get("allowed_fails_policy"),
        cooldown_s=known.get("cooldown_time", DEFAULT_COOLDOWN_S),
        off=known.get("disable_cooldowns", False),
    )
    return Options(**known)


def _checked(name: str, value: Any) -> Any:
    if name not in _DEFAULTS:
        near = difflib.get_close_matches(name, _DEFAULTS, 1)
        raise TypeError(f"Router has no argument {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    if value is None:
        return _DEFAULTS[name]
    return _CHECKS[name](name, value) if name in _CHECKS else value


def _number(least: float, kind: type = float) -> Callable[[str, Any], Any]:
    def check(name: str, value: Any) -> Any:
        number: Any = None
        try:
            number = msgspec.convert(value, kind, strict=not isinstance(value, str))
        except msgspec.ValidationError:
            pass
        if number is None or number < least:
            raise ConfigError(f"Router: {name} is {value!r}; it takes a number of at least {least:g}")
        return number

    return check


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"Router: {name} is {value!r}; it takes True or False")
    return value


def _strategy(name: str, value: Any) -> str:
    text = getattr(value, "value", value)
    if text not in STRATEGIES:
        raise ConfigError(f"Router: routing_strategy is {value!r}; it takes {', '.join(map(repr, STRATEGIES))}")
    return str(text)


def _sequence(name: str, value: Any) -> tuple[Any, ...]:
    if isinstance(value, Mapping):
        return (value,)
    if not isinstance(value, list | tuple):
        raise ConfigError(f"Router: {name} is {value!r:.200}; it takes a list")
    return tuple(value)


def _table(name: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"Router: {name} is {value!r:.200}; it takes a mapping")
    return dict(value)


def _group_policies(name: str, value: Any) -> Mapping[str, RetryPolicy | None]:
    return {
        group: policy_of(RetryPolicy, policy, f"Router: {name}[{group!r}]")
        for group, policy in _table(name, value).items()
    }


_DEFAULTS = {
    field.name: field.default for field in msgspec.structs.fields(Options) if field.name not in ("elsewhere", "rules")
}

_CHECKS: Mapping[str, Callable[[str, Any], Any]] = {
    "routing_strategy": _strategy,
    "routing_strategy_args": _table,
    "num_retries": _number(0, int),
    "retry_after": _number(0),
    "max_fallbacks": _number(0, int),
    "stream_timeout": _number(0),
    "default_litellm_params": _table,
    "default_max_parallel_requests": _number(1, int),
    "default_fallbacks": _sequence,
    "fallbacks": _sequence,
    "context_window_fallbacks": _sequence,
    "content_policy_fallbacks": _sequence,
    "model_group_alias": _table,
    "retry_policy": lambda name, value: policy_of(RetryPolicy, value, f"Router: {name}"),
    "model_group_retry_policy": _group_policies,
    "allowed_fails": _number(0, int),
    "allowed_fails_policy": lambda name, value: policy_of(AllowedFailsPolicy, value, f"Router: {name}"),
    "cooldown_time": _number(0),
    "disable_cooldowns": _flag,
    "enable_pre_call_checks": _flag,
    "enable_tag_filtering": _flag,
    "tag_filtering_match_any": _flag,
    "default_priority": _number(0, int),
}
