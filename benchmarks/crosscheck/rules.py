"""Why engines differ: `rules.toml`, each with its reason and evidence. The first that covers a difference holds."""

import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from benchmarks.crosscheck.differences import Difference
from callmeter.pricing.build.overrides import fits

HERE = Path(__file__).parent

Verdict = Literal["peer wrong", "peer silent", "same figure"]


class Rule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Differences of one kind. A pattern is a shell's, with `{one,other}` for alternatives."""

    id: str
    verdict: Verdict
    reason: str
    evidence: tuple[str, ...]
    """Pages with the day they were read, files of the peer, or what of our table proves it."""
    peer: str = "*"
    provider: str = "*"
    model: str = "*"
    shape: str = "*"
    line: str = "*"
    tier: str = "*"
    region: str = "*"
    charged_as: str = "*"
    context: Literal["any", "short", "long"] = "any"
    """The length of context whose rate we charge."""
    stated: tuple[str, ...] = ()
    """Of those who may have our rate (`Difference.stated`), one at least has it."""
    via: str = "*"
    blank: bool | None = None
    same_figure: bool | None = None

    def covers(self, found: Difference) -> bool:
        """Whether a difference is of this kind."""
        return (
            (self.blank is None or self.blank == found.blank)
            and (self.same_figure is None or self.same_figure == found.same_figure)
            and self.context in ("any", "long" if found.floor else "short")
            and (not self.stated or not found.stated.isdisjoint(self.stated))
            and all(
                pattern == "*" or fits(text, pattern)
                for text, pattern in (
                    (found.peer, self.peer),
                    (found.provider, self.provider),
                    (found.model, self.model),
                    (found.shape, self.shape),
                    (found.line, self.line),
                    (found.tier, self.tier),
                    (found.region, self.region),
                    (found.charged_as, self.charged_as),
                    (found.via, self.via),
                )
            )
        )


def read(path: Path = HERE / "rules.toml") -> tuple[Rule, ...]:
    """The rules of a file, in order. Raises `ValueError` for two of one name, or one without evidence."""
    rules = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8"))["rule"], tuple[Rule, ...])
    names = [rule.id for rule in rules]
    for rule in rules:
        if names.count(rule.id) > 1 or not rule.evidence or not rule.reason:
            raise ValueError(f"{path.name}: {rule.id!r} needs a name of its own, a reason and evidence")
    return rules


def rule_of(found: Difference, rules: Sequence[Rule]) -> Rule | None:
    """The rule that a difference falls under; None where nobody has decided."""
    return next((rule for rule in rules if rule.covers(found)), None)


def idle(rules: Iterable[Rule], used: set[str]) -> list[str]:
    """Rules that nothing fell under."""
    return [rule.id for rule in rules if rule.id not in used]
