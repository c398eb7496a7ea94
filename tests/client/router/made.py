"""What tests of the router's core are about."""

from collections.abc import Callable, Mapping
from typing import Any

from hypothesis import strategies as st

from callmeter.client.router.decide import Decision, Need, decide
from callmeter.client.router.load import Cooldown, Load
from callmeter.client.router.members import Member
from callmeter.client.router.state import Decide, Want
from callmeter.client.router.strategies import (
    CostBased,
    LatencyBased,
    LeastBusy,
    SimpleShuffle,
    Strategy,
    UsageBased,
)


def member(id: str, **fields: Any) -> Member:
    return Member(id=id, group="g", model="openai/gpt-4o", **fields)


def want(*members: Member, tokens: int = 0, **fields: Any) -> Want:
    return Want(group="g", members=members, tokens=tokens, **fields)


def deciding(want: Want, strategy: Strategy | None = None, draw: Callable[[], float] = lambda: 0.0) -> Decide:
    """What a claim decides by."""

    def rank(loads: Mapping[str, Load]) -> Decision:
        return decide(
            want.members, Need(tokens=want.tokens), loads, strategy or SimpleShuffle(), draw, alone=want.alone
        )

    return rank


STRATEGIES = [SimpleShuffle(), LeastBusy(), UsageBased(), LatencyBased(), LatencyBased(0.5), CostBased(lambda _: None)]

some = st.none() | st.integers(0, 4)


@st.composite
def members(draw: st.DrawFn, most: int = 5) -> list[Member]:
    """A few deployments with limits, orders and weights."""
    return [
        member(
            f"m{at}",
            order=draw(st.sampled_from([1, 2, 2**31])),
            weight=draw(st.none() | st.integers(0, 5)),
            rpm=draw(some),
            tpm=draw(some),
            parallel=draw(st.none() | st.integers(1, 4)),
        )
        for at in range(draw(st.integers(1, most)))
    ]


cooldowns = st.none() | st.builds(Cooldown, st.just(1), st.just("RateLimitError"), st.sampled_from([401, 429, 500]))
loads = st.builds(
    Load,
    in_flight=st.integers(0, 4),
    requests=st.integers(0, 4),
    tokens=st.integers(0, 4),
    latency_s=st.none() | st.floats(0, 10),
    cooldown=cooldowns,
    cooldown_s=st.floats(0, 60),
    frees_s=st.floats(0, 60),
)
