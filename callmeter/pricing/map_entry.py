"""A model as an entry of LiteLLM's price map: what `price_map` reads, written. Pure."""

from collections.abc import Mapping
from typing import Any

from callmeter.pricing.plan import STANDARD, Charge, build
from callmeter.pricing.price_map import LINE_KEYS, TIER_SUFFIXES
from callmeter.pricing.table import FEATURES, Model


def entry(model: Model, provider: str, at_ns: int) -> dict[str, Any]:
    """Limits, features and the prices of an instant as floats, USD a unit. What is not known is not there.

    Rates of a region, and images by size and quality, have no key there and are left out.
    """
    limits = model.limits
    found: dict[str, Any] = {"litellm_provider": provider, "mode": model.mode}
    if limits is not None:
        shown = {
            "max_input_tokens": limits.input or limits.context,
            "max_output_tokens": limits.output,
            "max_tokens": limits.output,
        }
        found |= {key: tokens for key, tokens in shown.items() if tokens is not None}
    found |= {f"supports_{feature}": True for feature in model.features if feature in FEATURES}
    if model.free:
        return found | {"input_cost_per_token": 0.0, "output_cost_per_token": 0.0}
    for tier in sorted({rate.tier for rate in model.rates} | {STANDARD}):
        suffix = "" if tier in ("", STANDARD) else TIER_SUFFIXES.get(tier)
        if suffix is not None:
            found |= _prices(model, tier or STANDARD, suffix, at_ns)
    return found


def _prices(model: Model, tier: str, suffix: str, at_ns: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for floor, charges in build(model, tier, "").in_force(at_ns):
        # "Above 200k" is from 200,001; a limit that is part of the longer context is told the same way.
        above = f"_above_{floor // 1000}k_tokens" if floor else ""
        found |= {f"{key}{above}{suffix}": price for key, price in _listed(charges, floor, tier)}
    return found


def _listed(charges: Mapping[str, Charge], floor: int, tier: str) -> list[tuple[str, Any]]:
    """The lines that have a rate of their own under this very condition."""
    found: list[tuple[str, Any]] = []
    for line, charge in charges.items():
        inherited = tier != STANDARD and not charge.tier.startswith(tier)
        if charge.via or inherited or (floor and ">" not in charge.tier):
            continue
        if line == "search.web":
            found.append(("search_context_cost_per_query", {"search_context_size_medium": float(charge.rate)}))
        elif line in LINE_KEYS:
            found.append((LINE_KEYS[line], float(charge.rate)))
    return found
