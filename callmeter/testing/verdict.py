"""What came of a test's calls: whether they are within their limit and no dearer than their baseline."""

from decimal import Decimal
from pathlib import Path

import msgspec
from msgspec import Struct

from callmeter.cli._figures import money
from callmeter.pricing.rates import EXACT
from callmeter.runtime import default_runtime
from callmeter.testing import baselines
from callmeter.testing.charges import Charge, charges_of
from callmeter.testing.comparison import Difference, compare
from callmeter.testing.tally import COMPLETE, Tally, Watch


class Wanted(Struct, frozen=True, kw_only=True):
    """What a test's markers ask for."""

    name: str
    """The test, within its file."""
    limit: Decimal | None = None
    """USD that its calls may cost."""
    baseline: Path | None = None
    """The file that holds its baseline."""
    tolerance: Decimal = Decimal(0)
    """By which share of its baseline it may be dearer."""
    update: bool = False
    """Whether what it costs now is to be the baseline."""


class Told(Struct, kw_only=True):
    """What is known of a test once it has run; as JSON it crosses from a worker of xdist."""

    calls: int
    replayed: int
    known: Decimal
    """USD of the calls whose cost is known."""
    unknown: list[str]
    """Why the others' is not."""
    problems: list[str] = []
    """Why the test fails."""
    difference: str = ""
    """How its calls differ from the baseline's."""
    only_prices: bool = False
    """Whether nothing but prices made the difference."""
    baseline: str = ""
    """The file to write a baseline to; empty for none."""
    name: str = ""
    charges: list[Charge] = []


def as_text(told: Told) -> str:
    """As it goes with a test's report."""
    return msgspec.json.encode(told).decode()


def of_text(text: str) -> Told:
    """As it comes with a test's report."""
    return msgspec.json.decode(text, type=Told)


def told(watch: Watch) -> Told:
    """What the calls cost, without a judgement."""
    costs = [end.cost for end in watch.tally.calls if end.cost.status != "no_usage"]
    return Told(
        calls=len(watch.tally.calls),
        replayed=0 if watch.cassette is None else watch.cassette.replayed,
        known=watch.tally.cost.total or Decimal(0),
        unknown=[cost.reason or cost.status for cost in costs if cost.status not in COMPLETE],
    )


def judged(watch: Watch, wanted: Wanted) -> Told:
    """What the calls cost, and what is wrong with that."""
    found = told(watch)
    if watch.missing:
        # Code that survives a provider's failure survives this too, and would test something else.
        found.problems = watch.missing
        return found
    if wanted.limit is not None:
        _limit(watch.tally, wanted.limit, found)
    if wanted.baseline is not None:
        _compare(watch.tally, wanted, wanted.baseline, found)
    return found


def _limit(tally: Tally, limit: Decimal, found: Told) -> None:
    total = tally.total
    if total is None:
        found.problems.append(
            f"nobody knows whether the calls cost more than ${money(limit)}: {'; '.join(found.unknown)}"
        )
    elif total > limit:
        each = [f"  ${money(each.cost.total or Decimal(0))}  {name}" for name, each in tally.by_model.items()]
        found.problems.append("\n".join([f"the calls cost ${money(total)}, more than ${money(limit)}:", *each]))


def _compare(tally: Tally, wanted: Wanted, path: Path, found: Told) -> None:
    book = default_runtime().prices
    try:
        charges = charges_of(tally.calls, book)
    except ValueError as problem:
        found.problems.append(f"the calls cannot be compared with a baseline: {problem}")
        return
    known = baselines.read(path).get(wanted.name)
    difference = None if known is None else compare(known, charges, book)
    if difference is not None:
        found.difference = str(difference)
        found.only_prices = not difference.rise
    if wanted.update:
        found.baseline, found.name, found.charges = str(path), wanted.name, charges
    elif known is None:
        found.problems.append(f"{path} has no baseline for it yet: take one with `pytest --callmeter-update`")
    elif difference is not None and _too_dear(difference, wanted.tolerance):
        found.problems.append(f"{difference}\nIf that is meant to be: `pytest --callmeter-update`")


def _too_dear(difference: Difference, tolerance: Decimal) -> bool:
    return difference.rise > EXACT.multiply(difference.old, tolerance)
