"""What a call cost, exactly: dated prices, quantities and integers.

    from callmeter.pricing import Usage, price
    cost = price("gpt-4o", Usage(input_tokens=1000, cache_read_tokens=400, output_tokens=100), provider="openai")
    cost.total    # Decimal("0.003")

Importing this loads nothing; each name is loaded when first used, a provider's table when a price of it is.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from callmeter.pricing.before import Bound, bound
    from callmeter.pricing.book import PriceBook, default_book, price
    from callmeter.pricing.table import Limits
    from callmeter.pricing.tokens import TokenCount, count_tokens
    from callmeter.types import Cost, CostItem, Usage

_WHERE = {
    "Bound": "callmeter.pricing.before",
    "bound": "callmeter.pricing.before",
    "PriceBook": "callmeter.pricing.book",
    "default_book": "callmeter.pricing.book",
    "price": "callmeter.pricing.book",
    "Limits": "callmeter.pricing.table",
    "TokenCount": "callmeter.pricing.tokens",
    "count_tokens": "callmeter.pricing.tokens",
    "Cost": "callmeter.types",
    "CostItem": "callmeter.types",
    "Usage": "callmeter.types",
}
__all__ = [
    "Bound",
    "Cost",
    "CostItem",
    "Limits",
    "PriceBook",
    "TokenCount",
    "Usage",
    "bound",
    "count_tokens",
    "default_book",
    "price",
]


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name not in _WHERE:
        raise AttributeError(f"module 'callmeter.pricing' has no attribute {name!r}")
    value = getattr(import_module(_WHERE[name]), name)
    globals()[name] = value
    return value
