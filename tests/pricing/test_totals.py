"""A call's usage and cost are the sums over its attempts."""

from decimal import Decimal

from msgspec import Struct

from callmeter.pricing.totals import add_costs, add_usages
from callmeter.types import Cost, CostItem, Usage


class Attempt(Struct, frozen=True):
    usage: Usage | None = None
    cost: Cost | None = None


def priced(total: str, **more: object) -> Cost:
    item = CostItem("input", 1, "token", Decimal(total), Decimal(total))
    return Cost(total=Decimal(total), status="priced", items=(item,), **more)  # type: ignore[arg-type]


def test_usages_add_up_line_by_line() -> None:
    one = Usage(input_tokens=1, cache_read_tokens=1, reasoning_tokens=2, output_tokens=2, units={"search.web": 1})
    two = Usage(input_tokens=10, output_tokens=5, reasoning_tokens=3, units={"search.web": 2, "page": 1})
    total = add_usages([Attempt(one), Attempt(), Attempt(two)], None)
    assert total == Usage(
        input_tokens=11, cache_read_tokens=1, output_tokens=7, reasoning_tokens=5, units={"search.web": 3, "page": 1}
    )


def test_reasoning_that_one_attempt_does_not_tell_is_not_known() -> None:
    told, silent = Usage(output_tokens=2, reasoning_tokens=2), Usage(output_tokens=2)
    total = add_usages([Attempt(told), Attempt(silent)], None)
    assert total is not None
    assert (total.output_tokens, total.reasoning_tokens) == (4, None)


def test_costs_add_up_with_what_was_saved() -> None:
    first, last = priced("0.1", saved=Decimal("0.01")), priced("0.2")
    total = add_costs([Attempt(cost=first), Attempt(cost=last)], last)
    assert (total.total, total.status, total.saved) == (Decimal("0.3"), "priced", Decimal("0.01"))
    assert sum(item.amount for item in total.items) == total.total


def test_the_band_of_a_sum_contains_the_exact_attempts() -> None:
    guess = priced("0.2", estimated=True, low=Decimal("0.1"), high=Decimal("0.5"))
    total = add_costs([Attempt(cost=guess), Attempt(cost=priced("1"))], priced("1"))
    assert (total.low, total.total, total.high) == (Decimal("1.1"), Decimal("1.2"), Decimal("1.5"))
    assert total.estimated


def test_an_unknown_attempt_makes_the_sum_partial_and_one_that_consumed_nothing_does_not() -> None:
    unknown, nothing = Cost(status="unpriced", reason="unknown model"), Cost(status="no_usage")
    total = add_costs([Attempt(cost=unknown), Attempt(cost=priced("1"))], priced("1"))
    assert (total.total, total.status, total.reason) == (Decimal(1), "partial", "unknown model")
    assert add_costs([Attempt(cost=nothing), Attempt(cost=priced("1"))], priced("1")).status == "priced"
    both = add_costs([Attempt(cost=unknown), Attempt(cost=unknown)], unknown)
    assert (both.total, both.status) == (None, "unpriced")
