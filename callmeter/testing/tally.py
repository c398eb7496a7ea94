"""The calls of a test and what they cost."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from callmeter.events.model import END_TYPES, AnyEvent, CallFailed, CallSucceeded, StreamCompleted
from callmeter.pricing.totals import add_costs, add_usages
from callmeter.testing.cassette import Cassette
from callmeter.types import Cost, Usage

Ended = CallSucceeded | StreamCompleted | CallFailed

COMPLETE = ("priced", "free")

_NOTHING = Cost(total=Decimal(0), status="free")


class Tally:
    """Calls that have ended, in the order in which they did. It grows as a test makes more of them."""

    def __init__(self, ended: Sequence[Ended]) -> None:
        self._ended = ended

    @property
    def calls(self) -> tuple[Ended, ...]:
        """The calls' end events: usage, cost with its lines, attempts, error, …"""
        return tuple(self._ended)

    @property
    def usage(self) -> Usage:
        """What the calls consumed together."""
        return add_usages(self._ended, None) or Usage()

    @property
    def tokens(self) -> int:
        """Input and output tokens together."""
        return self.usage.total_tokens

    @property
    def cost(self) -> Cost:
        """What the calls cost together, with all lines; `partial` where the cost of some is not known."""
        return add_costs(self._ended, _NOTHING)

    @property
    def total(self) -> Decimal | None:
        """USD; None where the cost of some call is not known, which `cost.reason` explains."""
        cost = self.cost
        return cost.total if cost.status in COMPLETE else None

    @property
    def by_model(self) -> "dict[str, Tally]":
        """The same for the calls of each model, by `provider/model`."""
        found: dict[str, list[Ended]] = {}
        for end in self._ended:
            found.setdefault(f"{end.call.provider}/{end.call.model}", []).append(end)
        return {name: Tally(ended) for name, ended in found.items()}

    def __repr__(self) -> str:
        return f"Tally({len(self._ended)} calls, {self.tokens} tokens, total={self.total!r})"


class Watch:
    """The tap of one test: counts its calls, and answers or records them where it has a cassette."""

    def __init__(self, cassette: Cassette | None = None) -> None:
        self.cassette = cassette
        self.counting = True
        self.complete = False
        """Whether what is watched ran to its end, and so asked for all that it does."""
        self._ended: list[Ended] = []
        self.tally = Tally(self._ended)

    @property
    def offline(self) -> bool:
        """Whether all answers come from the cassette."""
        return self.cassette is not None and self.cassette.record == "none"

    @property
    def missing(self) -> list[str]:
        """What was asked and is not in the cassette."""
        return [] if self.cassette is None else self.cassette.missing

    def transport(self, own: Callable[[], Any]) -> Any:
        """The runtime's own, or one that stands before it."""
        if self.cassette is None:
            return own()
        from callmeter.testing.replay import CassetteTransport

        return CassetteTransport(self.cassette, own)

    def async_transport(self, own: Callable[[], Any]) -> Any:
        """The runtime's own, or one that stands before it."""
        if self.cassette is None:
            return own()
        from callmeter.testing.replay import AsyncCassetteTransport

        return AsyncCassetteTransport(self.cassette, own)

    def hear(self, event: AnyEvent) -> None:
        """Count a call that has ended."""
        if self.counting and isinstance(event, END_TYPES):
            self._ended.append(event)
