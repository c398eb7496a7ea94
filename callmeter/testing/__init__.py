"""For tests of code that calls models: a provider on a loopback port, a clock and ids that a test owns.

`plugin` is the pytest plugin.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from callmeter.testing.capture import capture_events
    from callmeter.testing.clocks import FixedClock, FixedIds
    from callmeter.testing.provider import Counts, FakeProvider
    from callmeter.testing.scripts import Answer, Heard, Script, Served, Tokens, ToolUse, Wish
    from callmeter.testing.tally import Tally

__all__ = [
    "Answer",
    "Counts",
    "FakeProvider",
    "FixedClock",
    "FixedIds",
    "Heard",
    "Script",
    "Served",
    "Tally",
    "Tokens",
    "ToolUse",
    "Wish",
    "capture_events",
]

_HOMES = {"FixedClock": "clocks", "FixedIds": "clocks", "FakeProvider": "provider", "Counts": "provider"}
_HOMES |= {"capture_events": "capture", "Tally": "tally"}


def __getattr__(name: str) -> Any:
    # Loaded on first use, so that `python -m callmeter.testing.provider` finds its module not yet imported.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_HOMES.get(name, 'scripts')}"), name)
    globals()[name] = value
    return value
