"""Every benchmark, by one command: `python benchmarks/run.py [names…] [--quick] [--venvs DIR]`.

Makes an environment for each peer on first use (from the package index; nothing else leaves this machine), measures,
prints the tables and writes them into `docs/benchmarks.md`, each between its own markers, with date and machine.
Without names: all of them, which takes about an hour; `--quick` takes minutes, and its figures are rough.
"""

import argparse
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks import imports, overhead, pipeline, pricing, publish
from benchmarks.harness import ROOT, Bench, machine

WINDOW_MS = 10
"""How long an event may wait for its commit."""

PAGE = ROOT / "docs" / "benchmarks.md"


def _said(script: str, *arguments: str) -> str:
    """What a script prints, as it prints it; the last line tells its exit code if that is not 0."""
    command = [sys.executable, str(ROOT / "benchmarks" / script), *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    return done.stdout.strip() + (f"\nexit code {done.returncode}" if done.returncode else "")


def ledger(bench: Bench) -> str:
    """Five million calls, or two."""
    return "```\n" + _said("ledger.py", "--calls", str(bench.times(5_000_000, 2_200_000))) + "\n```"


def replay(bench: Bench) -> str:
    """Both traces as fast as possible, or their first 3,000 requests."""
    return _said("replay_trace.py", *(("--count", "3000") if bench.quick else ()))


def kills(bench: Bench) -> str:
    """Two hundred instants and every fault point, or ten and none. Missing calls are counted by their age."""
    rounds = ("--instants", "10") if bench.quick else ("--instants", "200", "--points")
    said = _said("kill_campaign.py", *rounds, "--window-ms", "60000")
    ended = [line for line in said.splitlines() if line.startswith("exit code") or " rounds, " in line]
    ages = sorted(float(found) for found in re.findall(r"process: .*\(oldest ([\d.]+) ms\)", said))
    late = sum(age > WINDOW_MS for age in ages)
    return "\n\n".join(
        (
            "Missing calls are not held against a round here, however old; their ages are below.",
            "\n".join(ended)
            + ": unsound is what lost, doubled or changed anything acknowledged, or differs in any row.",
            f"With `process`, in {late} of {len(ages)} rounds a call is missing that began more than {WINDOW_MS} ms "
            f"before the kill; the oldest in each: median {ages[len(ages) // 2]:.0f} ms, at most {ages[-1]:.0f} ms.",
        )
    )


BENCHMARKS: dict[str, Callable[[Bench], str]] = {
    "imports": imports.measure,
    "overhead": overhead.measure,
    "publish": publish.measure,
    "pricing": pricing.measure,
    "pipeline": pipeline.measure,
    "ledger": ledger,
    "replay": replay,
    "kills": kills,
}


def written(page: str, name: str, found: str) -> str:
    """The page with what stands between a benchmark's markers replaced. Raises `ValueError` where there are none."""
    begin, end = f"<!-- measured: {name} -->", f"<!-- end: {name} -->"
    before, there, rest = page.partition(begin)
    _, ends, after = rest.partition(end)
    if not there or not ends:
        raise ValueError(f"{PAGE} has no lines {begin!r} and {end!r}; put them where the tables of {name!r} belong")
    return f"{before}{begin}\n{found}\n{end}{after}"


def main() -> None:
    """Measure what was named."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", help=f"of {', '.join(BENCHMARKS)}; all unless said")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter runs")
    parser.add_argument("--venvs", type=Path, default=ROOT / ".venv-bench", help="folder of the peers' environments")
    given = parser.parse_args()
    unknown = set(given.names) - BENCHMARKS.keys()
    if unknown:
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    bench = Bench(quick=given.quick, venvs=given.venvs)
    for name in given.names or BENCHMARKS:
        thoroughly = ", quick and rough" if bench.quick else ""
        found = f"{machine()}{thoroughly}.\n\n{BENCHMARKS[name](bench)}"
        print(f"\n## {name}\n\n{found}", flush=True)
        PAGE.write_text(written(PAGE.read_text(), name, found))


if __name__ == "__main__":
    main()
