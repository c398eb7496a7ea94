"""What a router offers: groups by name, patterns, aliases. Frozen, and replaced as a whole when it changes."""

import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from callmeter.client.router.members import Member
from callmeter.errors import ConfigError

KEPT = 1_000
"""Names that a pattern matched, with the deployments made for them, kept for the next call."""


class Alias(Struct, frozen=True):
    """Another name of a group."""

    group: str
    hidden: bool = False
    """Works, and is in no list."""


class Pool(Struct, frozen=True):
    """The deployments that a name means, and how the name was understood."""

    group: str
    """The group's own name: what fallbacks, policies and events go by."""
    members: tuple[Member, ...]


class Pattern(Struct, frozen=True):
    """A group whose name has `*` in it: it is asked for by any name of that form."""

    name: str
    matches: re.Pattern[str]
    members: tuple[Member, ...]

    def pool(self, name: str) -> Pool | None:
        """The group's deployments, each with its model filled in; None where the name has another form."""
        found = self.matches.fullmatch(name)
        if found is None:
            return None
        stars = found.groups()
        return Pool(self.name, tuple(_filled(member, stars) for member in self.members))


class Catalogue:
    """The deployments of one moment. Nothing of it changes."""

    def __init__(self, members: Sequence[Member] = (), aliases: Mapping[str, Alias] | None = None) -> None:
        self.members = tuple(members)
        self.aliases = dict(aliases or {})
        self.by_id = {member.id: member for member in self.members}
        groups: dict[str, list[Member]] = {}
        models: dict[str, list[Member]] = {}
        for member in self.members:
            groups.setdefault(member.group, []).append(member)
            models.setdefault(member.model, []).append(member)
        self.groups = {name: tuple(found) for name, found in groups.items()}
        self._models = {name: tuple(found) for name, found in models.items()}
        # The longer what is said outright, the more is said: `openai/gpt-*` before `openai/*` before `*`.
        patterns = (name for name in self.groups if "*" in name)
        self._patterns = tuple(
            Pattern(name, _compiled(name), self.groups[name])
            for name in sorted(patterns, key=lambda name: (-len(name.replace("*", "")), name.count("*"), name))
        )
        self._matched: OrderedDict[str, Pool] = OrderedDict()

    def pool(self, name: str) -> Pool | None:
        """The deployments that a call for `name` may go to: those of an alias, a group, a deployment's id or a pattern.

        Last of all come deployments that have this very model. None where the name means nothing.
        """
        alias = self.aliases.get(name)
        group = alias.group if alias is not None else name
        if members := self.groups.get(group):
            return Pool(group, members)
        if (member := self.by_id.get(group)) is not None:
            return Pool(member.group, (member,))
        pool = self._matched.get(group)
        if pool is None:
            pool = next((pool for pattern in self._patterns if (pool := pattern.pool(group))), None)
            if pool is None:
                members = self._models.get(group)
                return Pool(members[0].group, members) if members else None
            self._matched[group] = pool
            if len(self._matched) > KEPT:
                self._matched.popitem(last=False)
        return pool

    def named(self, name: str | None = None) -> Iterable[tuple[str, Member]]:
        """Every deployment with the name it is listed under: of all groups and open aliases, or of one name."""
        if name is not None:
            pool = self.pool(name)
            return [(name, member) for member in pool.members] if pool is not None else []
        aliased = (
            (other, member)
            for other, alias in self.aliases.items()
            if not alias.hidden and (pool := self.pool(alias.group)) is not None
            for member in pool.members
        )
        return [*((member.group, member) for member in self.members), *aliased]

    def names(self) -> list[str]:
        """The names that calls can ask for, hidden ones left out."""
        return [*self.groups, *(name for name, alias in self.aliases.items() if not alias.hidden)]

    def with_members(self, members: Sequence[Member]) -> "Catalogue":
        """Another one, of these deployments."""
        return Catalogue(members, self.aliases)


def aliases_of(given: Mapping[str, Any] | None) -> dict[str, Alias]:
    """`model_group_alias`: a group's name, or `{"model": name, "hidden": bool}`. Raises `ConfigError` for others."""
    found = {}
    for name, value in (given or {}).items():
        if isinstance(value, str):
            found[name] = Alias(value)
        elif isinstance(value, Mapping) and isinstance(value.get("model"), str):
            found[name] = Alias(value["model"], bool(value.get("hidden")))
        else:
            raise ConfigError(
                f"model_group_alias[{name!r}] is {value!r}; it takes a group's name, or "
                '{"model": name, "hidden": True}'
            )
    return found


def _compiled(name: str) -> re.Pattern[str]:
    return re.compile("(.*)".join(map(re.escape, name.split("*"))), re.DOTALL)


def _filled(member: Member, stars: tuple[str, ...]) -> Member:
    """The member with its model's stars replaced, from left to right; one star alone takes all that was matched."""
    if "*" not in member.model:
        return member
    parts = member.model.split("*")
    model = parts[0]
    for star, part in zip((*stars, *("",) * len(parts)), parts[1:], strict=False):
        model += star + part
    # `"*"` served by `"openai/*"` is asked for as `gpt-4o` and as `openai/gpt-4o`.
    prefix = parts[0]
    if prefix.endswith("/") and model.startswith(prefix * 2):
        model = model.removeprefix(prefix)
    return msgspec.structs.replace(member, model=model)
