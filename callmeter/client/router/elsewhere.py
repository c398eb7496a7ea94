"""Fallbacks: the groups to try when one cannot answer, by the kind of failure."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from msgspec import Struct

from callmeter.errors import APIError, ConfigError, ContentPolicyViolationError, ContextWindowExceededError

NOTHING: Mapping[str, Any] = MappingProxyType({})

ANY = "*"
"""The group whose fallbacks hold for those that have none."""


class Elsewhere(Struct, frozen=True):
    """Another group (or a deployment's id), and what of the call is to be different there."""

    group: str
    changes: Mapping[str, Any] = NOTHING


Table = Mapping[str, tuple[Elsewhere, ...]]
"""Fallbacks by the group that they are for, in the order in which they are tried."""


class Fallbacks(Struct, frozen=True, kw_only=True):
    """The fallbacks of a router, or of one call."""

    general: Table = NOTHING
    context_window: Table = NOTHING
    content_policy: Table = NOTHING

    def after(self, error: APIError, names: Sequence[str]) -> tuple[Elsewhere, ...]:
        """Where a call goes after this error of a group that is known by these names.

        Prompts that are too long and content that is refused have fallbacks of their own; without them, the general
        ones hold.
        """
        for table in (self._special(error), self.general):
            for name in (*names, ANY):
                if name in table:
                    return table[name]
        return ()

    def _special(self, error: APIError) -> Table:
        if isinstance(error, ContextWindowExceededError):
            return self.context_window
        return self.content_policy if isinstance(error, ContentPolicyViolationError) else NOTHING

    def any_for(self, names: Sequence[str]) -> bool:
        """Whether there is a general fallback for a group with these names."""
        return any(self.general.get(name) for name in (*names, ANY))


def table_of(given: Any, argument: str, default: Iterable[Any] | None = None) -> dict[str, tuple[Elsewhere, ...]]:
    """A router's list `[{"group": ["other", …]}, …]` as a table. Raises `ConfigError` naming the argument."""
    table: dict[str, tuple[Elsewhere, ...]] = {}
    entries = [given] if isinstance(given, Mapping) else given or ()
    for at, entry in enumerate(entries):
        if not isinstance(entry, Mapping) or not all(_is_list(others) for others in entry.values()):
            raise ConfigError(f'{argument}[{at}] is {entry!r:.200}; it takes {{"group": ["other group", …]}}')
        for group, others in entry.items():
            table[group] = table.get(group, ()) + _list(others, f"{argument}[{at}]")
    if default:
        table[ANY] = table.get(ANY, ()) + _list(default, "default_fallbacks")
    return table


def asked_for(given: Any, group: str, argument: str) -> Table:
    """A call's own list: groups, dicts of changes with a `model`, or a router's form. Raises `ConfigError`."""
    entries = [given] if isinstance(given, str | Mapping) else list(given)
    if entries and all(isinstance(entry, Mapping) and "model" not in entry for entry in entries):
        return table_of(entries, argument)
    return {group: _list(entries, argument)}


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _list(others: Iterable[Any], argument: str) -> tuple[Elsewhere, ...]:
    found = []
    for other in others:
        if isinstance(other, str):
            found.append(Elsewhere(other))
        elif isinstance(other, Mapping) and isinstance(other.get("model"), str):
            found.append(Elsewhere(other["model"], {name: value for name, value in other.items() if name != "model"}))
        else:
            raise ConfigError(
                f'{argument} has {other!r:.200}; it takes names of groups, or {{"model": group, …}} with what is to be '
                "different there"
            )
    return tuple(found)
