"""What the caller pays while every sink hangs: `publish()`, the event loop's lag, and memory.

    python benchmarks/publish.py [--quick] [--hang-s 600]

Two sinks that never return are on, in one process with the ledger and in one without. `publish()` is timed with an
event that holds a 10 MB prompt. Then, with content captured, 500 events a second of 100 kB each are published from an
event loop, whose lag is how much later than asked a sleep ends; resident memory is read each second, and its growth
counted from the first full second, when the ledger has been compacted before and DuckDB is loaded.

On a busy machine the lag is mostly the machine's: the loop, or the thread that has the interpreter's lock just then,
waits for a processor. The kernel counts how long each thread did, and the loop's own lag is without the longest of it.
"""

import argparse
from functools import partial
from pathlib import Path

from benchmarks.harness import ROOT, Bench, Row, by_turns, table, target, targets


def measure(bench: Bench, hang_s: float | None = None) -> str:
    """The tables. `hang_s`: seconds of events while sinks hang; 600 in full, 60 when quick."""
    seconds = hang_s if hang_s is not None else bench.times(600, 60)

    def run(ledger: str) -> Row:
        return bench.run("callmeter", "publish_load.py", seconds, ledger)

    found = by_turns(1, {"with the ledger": partial(run, "true"), "sinks alone": partial(run, "false")})
    figures = {
        "publish(), 10 MB prompt, p50, µs": "p50_us",
        "publish(), 10 MB prompt, p99, µs": "p99_us",
        "event loop's lag, p99, ms": "lag_p99_ms",
        "event loop's lag, worst, ms": "lag_max_ms",
        "event loop's lag, worst, but for waits for a processor, ms": "own_lag_max_ms",
        f"RSS growth over {seconds:g} s of 500 × 100 kB a second, MB": "growth_mb",
    }
    shown = [[name, *(f"{row[key]:.1f}" for row in found.values())] for name, key in figures.items()]
    return "\n\n".join(
        (
            table(("", *found), shown),
            targets(
                *(
                    row
                    for name, one in found.items()
                    for row in (
                        target(f"publish(), p99, {name}", one["p99_us"], 50, "µs"),
                        target(f"event loop's own lag, worst, {name}", one["own_lag_max_ms"], 10, "ms"),
                        target(f"RSS growth, {name}", one["growth_mb"], 50, "MB"),
                    )
                )
            ),
        )
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--venvs", type=Path, default=ROOT / ".venv-bench")
    parser.add_argument("--hang-s", type=float, help="seconds of events while every sink hangs")
    given = parser.parse_args()
    print(measure(Bench(quick=given.quick, venvs=given.venvs), given.hang_s))
