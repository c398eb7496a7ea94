"""Pricing one call with its four lines: warm, under a new spelling each time, and of an unknown model.

    python benchmarks/pricing.py [--quick]

callmeter's `price`, LiteLLM's `completion_cost` of an answer, genai-prices' `calc_price`; each in its own environment,
in turns. CPU microseconds a price, of the fastest of five passes in each process; the median over processes.
"""

from functools import partial

from benchmarks.harness import Bench, Row, by_turns, command_line, table, target, targets

PEERS = ("callmeter", "litellm", "genai-prices")
CASES = {"warm": "warm, with lines", "spelling": "new spelling", "unknown": "unknown name"}


def measure(bench: Bench) -> str:
    """The tables."""

    def run(peer: str) -> Row:
        return bench.run(peer, "pricing_load.py", peer, bench.times(20_000, 3_000))

    found = by_turns(bench.times(5, 1), {peer: partial(run, peer) for peer in PEERS})
    ours = found["callmeter"]
    rows = [
        [peer, *(f"{row[case]:.1f} ({row[case] / ours[case]:.2g}×)" for case in CASES)] for peer, row in found.items()
    ]
    return "\n\n".join(
        (
            f"Peers: {bench.versions(PEERS[1:])}. µs of CPU a price of four lines.",
            table(("", *CASES.values()), rows),
            targets(
                target("price with lines, warm", ours["warm"], 5, "µs"),
                target("unknown name, warm", ours["unknown"], 2, "µs"),
            ),
        )
    )


if __name__ == "__main__":
    command_line(measure, __doc__)
