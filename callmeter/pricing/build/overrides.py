"""Our decisions on what no rule may decide: `overrides.toml`, each with its reason."""

import tomllib
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from callmeter.errors import ConfigError
from callmeter.pricing.build.offers import SOURCES
from callmeter.pricing.rates import femtos

KINDS: Mapping[str, str] = {
    "price": "no suspicion: a choice between sources that we make ourselves",
    "zero": "one source says 0, another does not",
    "power-of-ten": "two sources differ by a factor of 10, 100, 1,000 or more",
    "cache-read": "a cache read is dearer than the input it spares",
    "cache-write": "a cache write is cheaper than a cache read",
    "long-context": "a long context is cheaper than a short one",
    "embedding-output": "an embedding has a price for output",
    "alias": "a name that stands for another model has another price",
    "image-text-rate": "image output at the rate of text",
    "unit": "a rate so high or low that it must be for another unit",
    "currency": "figures that may be in another currency than USD",
}
"""What a decision can be about."""

TAKES = frozenset({*SOURCES, "rules", "nothing"})


class Decision(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One decision: for which models it holds, what it takes and why."""

    kind: str
    reason: str
    provider: str = "*"
    model: str = "*"
    take: str = "rules"
    """A source whose price list holds; `rules`: what the rules decided is right; `nothing`: no price is known."""
    drop: tuple[str, ...] = ()
    """Lines that are left out."""
    flat: bool = False
    """Long contexts cost what short ones do, whatever an older list says."""
    set: Mapping[str, str] = {}
    """Lines and their price, USD per million tokens or per piece."""
    times: Mapping[str, str] = {}
    """By source, a factor on its rates of tokens that name no region: it lists the price of another place."""

    def covers(self, kind: str, provider: str, model: str) -> bool:
        return self.kind == kind and fits(provider, self.provider) and fits(model, self.model)


class Overrides:
    """All decisions, in order; the first that covers a case holds. It remembers which were of use."""

    def __init__(self, decisions: Sequence[Decision]) -> None:
        self.decisions, self.used = decisions, set[int]()

    def find(self, kind: str, provider: str, model: str) -> Decision | None:
        for position, decision in enumerate(self.decisions):
            if decision.covers(kind, provider, model):
                self.used.add(position)
                return decision
        return None

    @property
    def idle(self) -> list[Decision]:
        """Those that no model needed."""
        return [decision for position, decision in enumerate(self.decisions) if position not in self.used]


def combined(decisions: Sequence[Decision]) -> Decision | None:
    """Several decisions on one model as one: the first source that one of them takes, and all they drop and set."""
    if not decisions:
        return None
    taken = next((d for d in decisions if d.take != "rules"), decisions[0])
    return replace(
        taken,
        drop=tuple(dict.fromkeys(line for d in decisions for line in d.drop)),
        flat=any(d.flat for d in decisions),
        set={line: price for d in reversed(decisions) for line, price in d.set.items()},
        times={source: factor for d in reversed(decisions) for source, factor in d.times.items()},
    )


def read(path: Path) -> Overrides:
    """The decisions of a file. Raises `ConfigError` naming the entry for one that is none."""
    entries = tomllib.loads(path.read_text(encoding="utf-8")).get("decision", [])
    try:
        decisions = msgspec.convert(entries, list[Decision])
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path.name}: {error}") from None
    for decision in decisions:
        _check(decision, path.name)
    return Overrides(decisions)


def fits(name: str, pattern: str) -> bool:
    """Whether a name is of a pattern: a shell's, with `{one,other}` for alternatives."""
    head, brace, rest = pattern.partition("{")
    if not brace:
        return fnmatchcase(name, pattern)
    choices, _, tail = rest.partition("}")
    return any(fits(name, f"{head}{choice}{tail}") for choice in choices.split(","))


def _check(decision: Decision, where: str) -> None:
    what = f"{where}: the decision on {decision.kind} of {decision.provider}/{decision.model}"
    if decision.kind not in KINDS:
        raise ConfigError(f"{what}: {decision.kind!r} is no kind of suspicion; use one of {', '.join(KINDS)}")
    if decision.take not in TAKES:
        raise ConfigError(f"{what}: take = {decision.take!r} is none of {', '.join(sorted(TAKES))}")
    if not decision.reason.strip():
        raise ConfigError(f"{what}: give it a reason")
    for line, price in decision.set.items():
        femtos(price, "1M", f"{what}: {line}")
    for source, factor in decision.times.items():
        if source not in SOURCES:
            raise ConfigError(f"{what}: times has {source!r}, which is no source; use one of {', '.join(SOURCES)}")
        femtos(factor, "1", f"{what}: times {source}")
