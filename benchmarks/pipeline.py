"""How many events a second one core journals, and how many calls a second it turns into Parquet.

    python benchmarks/pipeline.py [--quick]

Events are realistic ends of calls (`ledger.py`'s: cost lines, tags, attempts), offered to a `Writer` in a process of
its own, as fast as it takes them; then the compactor moves them. Rates are by CPU time of the whole process.

With `durability="process"`, an event is safe from `kill -9` once it is in the spool. How long that takes is measured
for one event after the other, in an idle process and beside a thread that computes without a pause, which Python lets
do so for 5 ms before another has its turn. The commit to the journal follows, and nothing depends on how soon.
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
    } | {
        f"from `publish` {what}, {where}, p50 and p99": " and ".join(
            f"{found[f'{beside}_{step}_{share}_ms']:.2f} ms" for share in ("p50", "p99")
        )
        for beside, where in (("idle", "idle process"), ("busy", "beside a busy thread"))
        for step, what in (("spooled", "to safety from a kill"), ("committed", "to the commit"))
    }
    return "\n\n".join(
        (
            table(("", "measured"), [list(row) for row in shown.items()]),
            targets(
                target("events journalled", found["journalled"], 30_000, "a second", at_least=True),
                target("calls into Parquet", found["compacted"], 50_000, "a second", at_least=True),
                target("to safety from a kill, idle process, p99", found["idle_spooled_p99_ms"], 10, "ms"),
                target("to safety from a kill, beside a busy thread, p50", found["busy_spooled_p50_ms"], 10, "ms"),
            ),
        )
    )


if __name__ == "__main__":
    command_line(measure, __doc__)
