"""What two price tables say differently: models that came and went, and rates that changed. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Literal

from msgspec import Struct

from callmeter.pricing.document import Document
from callmeter.pricing.match import find
from callmeter.pricing.rates import Rate
from callmeter.pricing.table import Model, Table

MAX_FACTOR = 2
"""A price that is more than so many times another, either way, is a big change."""

MAX_GONE = Decimal("0.05")
"""More than this share of the models gone is a big change."""

Kind = Literal["new model", "model gone", "new rate", "rate gone", "dearer", "cheaper", "now free", "no longer free"]
Key = tuple[str, str, str, str, str]
"""Line, tier, region and length of context."""


class Change(Struct, frozen=True, kw_only=True):
    """One difference. Rates are femtos (1e-15 USD) a unit; None where there is none."""

    provider: str
    model: str
    kind: Kind
    at_s: int
    """The instant that both tables were looked at for."""
    line: str = ""
    condition: str = ""
    """Tier, region and length of context; empty where the rate is for any."""
    old: int | None = None
    new: int | None = None

    @property
    def percent(self) -> Decimal | None:
        """By how much the price changed; None where one of the two is none or the first was 0."""
        return percent(self.old, self.new)


def percent(old: int | None, new: int | None) -> Decimal | None:
    """By how much one price is above another, to a tenth; None where there is none, or the first is 0."""
    if old is None or new is None or not old:
        return None
    return (Decimal(new - old) * 100 / Decimal(old)).quantize(Decimal("0.1"))


def differences(old: Document, new: Document, at_s: int, new_at_s: int | None = None) -> list[Change]:
    """What is different between two tables at an instant, or between two instants, by provider and model."""
    until_s = at_s if new_at_s is None else new_at_s
    found: list[Change] = []
    for slug in sorted(old.providers.keys() | new.providers.keys()):
        found += _of_provider(slug, old.providers.get(slug), new.providers.get(slug), at_s, until_s)
    return found


def upcoming(old: Document, new: Document, now_s: int) -> list[Change]:
    """What is different now, and at each later instant from which a rate of either table begins or ends.

    A difference that goes on is listed once, at the first instant it is there.
    """
    found: dict[tuple[object, ...], Change] = {}
    for at_s in (now_s, *sorted(_turns(old, now_s) | _turns(new, now_s))):
        for change in differences(old, new, at_s):
            same = (change.provider, change.model, change.line, change.condition, change.old, change.new)
            found.setdefault(same, change)
    return list(found.values())


def big(changes: Iterable[Change], old: Document) -> list[str]:
    """What somebody should look at before it is believed, as sentences: see `MAX_FACTOR` and `MAX_GONE`."""
    changes = list(changes)
    models = sum(len(table.models) for table in old.providers.values())
    gone = {(c.provider, c.model) for c in changes if c.kind == "model gone"}
    said = []
    if len(gone) > MAX_GONE * models:
        said.append(f"{len(gone)} of {models} models are gone, more than {MAX_GONE:.0%}")
    return said + [sentence for change in changes if (sentence := _alarm(change))]


def _alarm(change: Change) -> str:
    name = " ".join(part for part in (f"{change.provider}/{change.model}", change.line, change.condition) if part)
    if change.kind == "now free":
        return f"{name} was priced and is now free"
    if change.old and change.new and max(change.old, change.new) > MAX_FACTOR * min(change.old, change.new):
        return f"{name} changed by {change.percent:+f} %, by more than a factor of {MAX_FACTOR}"
    return ""


def _turns(document: Document, now_s: int) -> set[int]:
    rates = (rate for table in document.providers.values() for model in table.models for rate in model.rates)
    return {at for rate in rates for at in (rate.start_s, rate.until_s) if at is not None and at > now_s}


def _of_provider(slug: str, old: Table | None, new: Table | None, at_s: int, until_s: int) -> Iterator[Change]:
    before = {model.id: model for model in (old.models if old else ()) if _sold(model, at_s)}
    after = {model.id: model for model in (new.models if new else ()) if _sold(model, until_s)}
    met = set()
    for name, model in before.items():
        successor = after.get(name) or _renamed(name, new, after)
        if successor is None:
            yield Change(provider=slug, model=name, kind="model gone", at_s=until_s)
        else:
            met.add(successor.id)
            yield from _of_model(slug, model, successor, at_s, until_s)
    for name in after:
        if name not in met:
            yield Change(provider=slug, model=name, kind="new model", at_s=until_s)


def _sold(model: Model, at_s: int) -> bool:
    return model.free or any(_covers(rate, at_s) for rate in model.rates)


def _renamed(name: str, table: Table | None, sold: Mapping[str, Model]) -> Model | None:
    """The model that has the name as another name of it."""
    position = find(name, table)[0] if table is not None else None
    return sold.get(table.models[position].id) if table is not None and position is not None else None


def _of_model(slug: str, old: Model, new: Model, at_s: int, until_s: int) -> Iterator[Change]:
    if old.free or new.free:
        if old.free != new.free:
            kind: Kind = "now free" if new.free else "no longer free"
            yield Change(provider=slug, model=old.id, kind=kind, at_s=until_s)
        return
    before, after = in_force(old.rates, at_s), in_force(new.rates, until_s)
    for key in sorted(before.keys() | after.keys()):
        was, now = before.get(key), after.get(key)
        if was != now:
            line, *condition = key
            yield Change(
                provider=slug,
                model=old.id,
                kind=_kind(was, now),
                at_s=until_s,
                line=line,
                condition=" ".join(filter(None, condition)),
                old=was,
                new=now,
            )


def _kind(was: int | None, now: int | None) -> Kind:
    if was is None or now is None:
        return "new rate" if was is None else "rate gone"
    if not now or not was:
        return "no longer free" if now else "now free"
    return "dearer" if now > was else "cheaper"


def in_force(rates: Sequence[Rate], at_s: int) -> dict[Key, int]:
    """The rates of an instant, in femtos, by line and condition."""
    return {(r.line, _tier(r), r.region, r.window, r.over): r.femtos for r in rates if _covers(r, at_s)}


def _tier(rate: Rate) -> str:
    return "" if rate.tier == "standard" else rate.tier


def _covers(rate: Rate, at_s: int) -> bool:
    return rate.start_s <= at_s and (rate.until_s is None or at_s < rate.until_s)
