"""Differences between price tables as rows, and in a sentence."""

from collections import Counter
from collections.abc import Sequence

from callmeter.cli.prices import _read
from callmeter.pricing.difference import Change

COLUMNS = ("provider", "model", "change", "line", "condition", "old", "new", "percent", "per", "from")
BRIEF = ("provider", "model", "change", "line", "condition", "old", "new", "percent", "per")


def rows(changes: Sequence[Change]) -> list[tuple[object, ...]]:
    """A row for each difference; prices in USD for a million tokens, or for one of what the line counts."""
    return [
        (
            change.provider,
            change.model,
            change.kind,
            change.line or None,
            change.condition or None,
            _read.price_of(change.line, change.old),
            _read.price_of(change.line, change.new),
            change.percent,
            _read.per_unit(change.line)[1] if change.line else None,
            _read.instant(change.at_s),
        )
        for change in changes
    ]


def summary(changes: Sequence[Change]) -> str:
    """How many differences there are of each kind."""
    if not changes:
        return "no price is different"
    counts = Counter(change.kind for change in changes)
    return ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
