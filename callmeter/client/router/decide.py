"""Which deployments may take a call, best first, or why none may. Pure: what is known goes in, a decision comes out."""

from collections.abc import Iterator, Mapping, Sequence, Set
from itertools import chain, groupby
from typing import Literal

from msgspec import Struct

from callmeter.client.router.load import IDLE, Load
from callmeter.client.router.members import Member
from callmeter.client.router.strategies import Draw, Strategy

DEFAULT_TAG = "default"
"""Marks the deployments for calls without a tag, and for calls whose tags nobody has."""


class Need(Struct, frozen=True, kw_only=True):
    """What a call asks of a deployment."""

    tokens: int = 0
    """About how many it will use: the prompt's, and as many of the answer's as it may have at most, if it says so."""
    prompt_tokens: int | None = None
    """For comparing with the deployments' windows; None: do not."""
    tags: frozenset[str] | None = None
    """None: tags are not looked at."""
    all_tags: bool = False
    """Whether a deployment must have all of the tags, in place of any."""
    region: str = ""

    @property
    def picky(self) -> bool:
        """Whether some deployments may be unfit for the call, however free they are."""
        return self.tags is not None or bool(self.region) or self.prompt_tokens is not None


Kind = Literal["tags", "region", "window", "cooldown", "rpm", "tpm", "parallel"]


class Obstacle(Struct, frozen=True):
    """Why a deployment cannot take the call now."""

    kind: Kind
    member: Member
    wait_s: float | None = None
    """When it may be able to; None: that is not a matter of time, or nobody can know."""
    load: Load = IDLE

    def __str__(self) -> str:
        member, load = self.member, self.load
        if self.kind == "cooldown" and load.cooldown is not None:
            cause = load.cooldown
            return f"{member.id} is cooling down for {load.cooldown_s:.1f} s after {cause.error_class} ({cause.status})"
        about = {
            "tags": f"has the tags {sorted(member.tags)}",
            "region": f"is in region {member.region or 'unknown'}",
            "window": f"takes prompts of {member.window} tokens",
            "rpm": f"was sent {load.requests} of its {member.rpm} requests a minute",
            "tpm": f"has used {load.tokens} of its {member.tpm} tokens a minute",
            "parallel": f"has {load.in_flight} of {member.parallel} calls in flight",
        }
        return f"{member.id} {about[self.kind]}"


class Decision(Struct, frozen=True):
    """Deployments that can take the call, best first, and what stands in the way of the others."""

    ranked: tuple[Member, ...] = ()
    obstacles: tuple[Obstacle, ...] = ()


def decide(
    members: Sequence[Member],
    need: Need,
    loads: Mapping[str, Load],
    strategy: Strategy,
    draw: Draw,
    *,
    tried: Set[str] = frozenset(),
    alone: bool = False,
) -> Decision:
    """Rank the deployments that are fit, not cooling down and below their limits.

    Those that this call has not tried come before those it has, then a lower `order` before a higher, then the
    strategy's choice. With `alone` there is nowhere else to go, and a cooldown keeps nobody back.
    """
    fit, obstacles = fitting(members, need) if need.picky else (members, [])
    free: list[Member] = []
    for member in fit:
        obstacle = _obstacle(member, need, loads.get(member.id, IDLE), alone)
        if obstacle is None:
            free.append(member)
        else:
            obstacles.append(obstacle)
    return Decision(tuple(_ranked(free, loads, strategy, draw, tried)), tuple(obstacles))


def _ranked(
    free: Sequence[Member], loads: Mapping[str, Load], strategy: Strategy, draw: Draw, tried: Set[str]
) -> Iterator[Member]:
    if len(free) < 2:
        return iter(free)
    if not tried and len({member.order for member in free}) == 1:
        return strategy.ranked(free, loads, draw)

    def level(member: Member) -> tuple[bool, int]:
        return member.id in tried, member.order

    levels = groupby(sorted(free, key=level), level)
    return chain.from_iterable(strategy.ranked(list(equals), loads, draw) for _, equals in levels)


def fitting(members: Sequence[Member], need: Need) -> tuple[Sequence[Member], list[Obstacle]]:
    """The deployments that the call's own nature allows, however busy they are, and what bars the others."""
    obstacles: list[Obstacle] = []

    def without(kind: Kind, fit: Sequence[Member], left: Sequence[Member]) -> list[Member]:
        obstacles.extend(Obstacle(kind, member) for member in left if member not in fit)
        return list(fit)

    fit = list(members)
    if need.tags is not None:
        fit = without("tags", tagged(fit, need.tags, need.all_tags), fit)
    if need.region:
        fit = without("region", [member for member in fit if in_region(member.region, need.region)], fit)
    if need.prompt_tokens is not None:
        size = need.prompt_tokens
        fit = without("window", [member for member in fit if member.window is None or size <= member.window], fit)
    return fit, obstacles


def tagged(members: Sequence[Member], tags: Set[str], all_of_them: bool) -> list[Member]:
    """The deployments for these tags: those that have any (or all) of them, else the default ones.

    Without tags: the default ones, else those without tags, else all.
    """
    default = [member for member in members if DEFAULT_TAG in member.tags]
    if tags:
        found = [m for m in members if (tags <= m.tags if all_of_them else not tags.isdisjoint(m.tags))]
        return found or default
    return default or [member for member in members if not member.tags] or list(members)


EUROPEAN = ("eu", "france", "germany", "italy", "northeurope", "poland", "spain", "sweden", "westeurope")
AMERICAN = ("us", "centralus", "eastus", "northcentralus", "southcentralus", "westcentralus", "westus")
"""How the names of regions in the EU and the US begin, at AWS, Google and Azure."""

NOT_EU = frozenset({"eu-west-2", "eu-central-2", "europe-west2", "europe-west6"})
"""London and Zurich, at AWS and Google."""


def in_region(name: str, wanted: str) -> bool:
    """Whether a cloud's region is in `"eu"` or `"us"`, or is the very one that is wanted."""
    name, wanted = name.lower().replace(" ", ""), wanted.lower().replace(" ", "")
    if not name or (wanted == "eu" and name in NOT_EU):
        return False
    return name == wanted or name.startswith({"eu": EUROPEAN, "us": AMERICAN}.get(wanted, ()))


def _obstacle(member: Member, need: Need, load: Load, alone: bool) -> Obstacle | None:
    if load.cooldown is not None and not alone:
        return Obstacle("cooldown", member, load.cooldown_s, load)
    if (limited := over(member, need.tokens, load)) is not None:
        return Obstacle(limited, member, None if limited == "parallel" else load.frees_s, load)
    return None


def over(member: Member, tokens: int, load: Load) -> Literal["rpm", "tpm", "parallel"] | None:
    """The limit that one more call would break. A call larger than the whole `tpm` goes alone."""
    if member.rpm is not None and load.requests + 1 > member.rpm:
        return "rpm"
    if member.tpm is not None and load.tokens + min(tokens, member.tpm) > member.tpm:
        return "tpm"
    if member.parallel is not None and load.in_flight + 1 > member.parallel:
        return "parallel"
    return None
