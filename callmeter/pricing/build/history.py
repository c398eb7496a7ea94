"""Keeps what earlier builds said: a price that changed gets an end, a model that no source has any more stays. Pure."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from callmeter.pricing.build.complete import INFERRED
from callmeter.pricing.match import canonical

_ABOUT = frozenset({"from", "until", "src", "agreed", "checked", "confidence", "note"})
"""What a block says about its prices; the rest are the prices."""

Entry = Mapping[str, Any]


def kept(before: Sequence[Entry], now: Sequence[Entry], taken: frozenset[str], as_of: date) -> list[Entry]:
    """Today's models with the past of earlier builds, and the models only these had, sorted.

    `taken` are canonical names that stand above the generated part by now.
    """
    earlier = {canonical(entry["id"]): entry for entry in before}
    found = [
        carried(earlier[name], entry, as_of) if (name := canonical(entry["id"])) in earlier else entry for entry in now
    ]
    names = {canonical(name) for entry in now for name in (entry["id"], *entry.get("aliases", ()))} | taken
    gone = [_without(entry, names) for form, entry in earlier.items() if form not in names]
    return sorted([*found, *gone], key=lambda entry: canonical(entry["id"]))


def carried(before: Entry, now: Entry, as_of: date) -> Entry:
    """A model with the prices it had: where today's list is another one, the earlier list ends where it begins.

    A collection that dates the change is believed; else it is the day of this build. Where the stated prices are the
    same, the figures that we find by proportion are today's from the beginning: the earlier ones were mistaken.
    """
    if before.get("free") or now.get("free"):
        return now
    earlier, present = _in_force(before, as_of), _in_force(now, as_of)
    if any(block["until"] <= as_of for block in now["rates"] if "until" in block):
        # The collection knows the past by its dates; what an earlier build wrote was taken from it or is coarser.
        return now
    past = [block for block in before["rates"] if "until" in block and block["until"] <= as_of]
    if _prices(earlier) == _prices(present):
        start = min((block["from"] for block in earlier if "from" in block), default=None) if past else None
    else:
        past += [{**block, "until": as_of} for block in earlier if block.get("from", date.min) < as_of]
        start = as_of
    today = [block if start is None else {**block, "from": start} for block in present]
    later = [block for block in now["rates"] if block.get("from", date.min) > as_of]
    return {**now, "rates": [_ordered(block) for block in (*past, *today, *later)]}


def _in_force(entry: Entry, at: date) -> list[Entry]:
    """The blocks of a day."""
    return [b for b in entry.get("rates", ()) if b.get("from", date.min) <= at < b.get("until", date.max)]


def _prices(blocks: Sequence[Entry]) -> list[Entry]:
    bare = [
        {key: value for key, value in block.items() if key not in _ABOUT}
        for block in blocks
        if block.get("src") != INFERRED
    ]
    return sorted(_joined(bare), key=str)


def _joined(blocks: Sequence[Entry]) -> list[Entry]:
    """Blocks of one condition as one, so that who says a line makes no difference."""
    found: dict[str, dict[str, Any]] = {}
    for block in blocks:
        key = str((sorted(block.get("when", {}).items()), block["per"]))
        known = found.setdefault(key, {"over": []})
        known |= {name: value for name, value in block.items() if name != "over"}
        known["over"] = [*known["over"], *block.get("over", ())]
    return [{**block, "over": sorted(map(str, block["over"]))} for block in found.values()]


def _ordered(block: Entry) -> Entry:
    """`from` and `until` first, as they are written."""
    first = {key: block[key] for key in ("from", "until") if key in block}
    return {**first, **{key: value for key, value in block.items() if key not in first}}


def _without(entry: Entry, names: set[str]) -> Entry:
    """A model that no source has any more, without the other names that are somebody else's by now."""
    aliases = [name for name in entry.get("aliases", ()) if canonical(name) not in names]
    rest = {key: value for key, value in entry.items() if key != "aliases"}
    return {"id": rest.pop("id"), **({"aliases": aliases} if aliases else {}), **rest}
