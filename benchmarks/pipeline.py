"""How many events a second one core journals, and how many calls a second it turns into Parquet.

    python benchmarks/pipeline.py [--quick]

Events are realistic ends of calls (`ledger.py`'s: cost lines, tags, attempts), offered to a `Writer` in a process of
its own, as fast as it takes them; then the compactor moves them. Rates are by CPU time of the whole process. A commit
is how long one group of 25 events takes, alone and beside a thread that computes without pause: SQLite gives the
interpreter back at every row, and Python lets a thread wait 5 ms to have it again.
"""

from benchmarks.harness import Bench, Row, by_turns, command_line, table, target, targets


def measure(bench: Bench) -> str:
    """The tables."""

    def run() -> Row:
        return bench.run("callmeter", "pipeline_load.py", bench.times(100_000, 20_000))

    found = by_turns(bench.times(3, 1), {"callmeter": run})["callmeter"]
    shown = {
        "events journalled, a second of CPU": f"{found['journalled']:,.0f}",
        "calls compacted, a second of CPU": f"{found['compacted']:,.0f}",
        "commit of 25 events, idle process, p50": f"{found['idle_ms']:.2f} ms",
        "commit of 25 events, beside a busy thread, p50": f"{found['busy_ms']:.1f} ms",
        "commit of 25 events, beside a busy thread, p99": f"{found['busy_p99_ms']:.1f} ms",
    }
    return "\n\n".join(
        (
            table(("", "measured"), [list(row) for row in shown.items()]),
            targets(
                target("events journalled", found["journalled"], 30_000, "a second", at_least=True),
                target("calls into Parquet", found["compacted"], 50_000, "a second", at_least=True),
                target("commit beside a busy thread, p50", found["busy_ms"], 10, "ms"),
            ),
        )
    )


if __name__ == "__main__":
    command_line(measure, __doc__)
