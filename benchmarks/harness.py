"""What the benchmarks share: a virtual environment for each peer, runs by turns, medians, tables.

A measured program is a script in this folder, run by the interpreter of its peer's environment in a process of its own;
it prints one JSON object last. Bytecode is compiled first, and no interpreter is told not to write it: imports would
take twice as long.
"""

import compileall
import os
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from tools.environments import interpreter

HERE = Path(__file__).parent
ROOT = HERE.parent

PEERS: Mapping[str, Sequence[str]] = {
    "callmeter": ("--editable", f"{ROOT}[ledger]"),
    "callmeter-fast": ("--editable", f"{ROOT}[fast,ledger]"),
    "httpx": ("httpx",),
    "httpx2": ("httpx2",),
    "pyreqwest": ("pyreqwest",),
    "openai": ("openai",),
    "litellm": ("litellm",),
    "genai-prices": ("genai-prices",),
}
"""What is installed for each peer, as new as pip finds it. Any other name is itself a requirement of pip."""

Row = dict[str, Any]


class Bench(Struct, frozen=True, kw_only=True):
    """How thoroughly to measure, and where the environments are."""

    quick: bool
    venvs: Path = ROOT / ".venv-bench"

    def times(self, thorough: int, quick: int) -> int:
        """One of the two counts."""
        return quick if self.quick else thorough

    def python(self, peer: str) -> Path:
        """The interpreter of a peer's environment, which is made if there is none."""
        python = interpreter(self.venvs / peer, PEERS.get(peer, (peer,)))
        if peer.startswith("callmeter"):
            compileall.compile_dir(str(ROOT / "callmeter"), quiet=2)
        return python

    def run(self, peer: str, script: str, *arguments: object, **environ: str) -> Row:
        """Run a script of this folder as a peer; the JSON object it prints last."""
        command = [str(self.python(peer)), str(HERE / script), *map(str, arguments)]
        said = subprocess.run(command, env=clean(**environ), stdout=subprocess.PIPE, check=True, cwd=ROOT).stdout
        found: Row = msgspec.json.decode(said.splitlines()[-1])
        return found

    def versions(self, peers: Iterable[str]) -> str:
        """The peers' versions, as they are installed."""
        return ", ".join(f"{peer} {self._version(peer)}" for peer in peers)

    def _version(self, peer: str) -> str:
        code = f"import importlib.metadata as m; print(m.version({peer!r}))"
        return subprocess.run([str(self.python(peer)), "-c", code], stdout=subprocess.PIPE, text=True).stdout.strip()


def clean(**more: str) -> dict[str, str]:
    """The environment without what would change a measurement or send a call anywhere but here."""
    theirs = ("CALLMETER_", "OPENAI_", "ANTHROPIC_", "OLLAMA_", "LITELLM_", "PYTHON", "VIRTUAL_ENV")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(theirs)}
    return {**kept, "LITELLM_LOCAL_MODEL_COST_MAP": "True", **more}


@contextmanager
def provider() -> Any:
    """The fake provider in a process of its own. Yields its URL."""
    command = [sys.executable, "-m", "callmeter.testing.provider"]
    with ExitStack() as stack:
        process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT))
        assert process.stdout is not None
        stack.callback(process.terminate)
        yield msgspec.json.decode(process.stdout.readline())["url"]


def by_turns(rounds: int, runs: Mapping[str, Callable[[], Row]]) -> dict[str, dict[str, float]]:
    """Run all, one after the other, so many times. The median of every number, by name."""
    found: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            for key, value in run().items():
                found[name][key].append(value)
    return {name: {key: statistics.median(values) for key, values in kept.items()} for name, kept in found.items()}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; the first column is text, the others are numbers."""
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def target(name: str, value: float, limit: float, unit: str, *, at_least: bool = False) -> list[str]:
    """A row that says whether a figure is reached: name, measured, target, verdict."""
    met = value >= limit if at_least else value <= limit
    off = limit / value if at_least else value / limit
    sign = "≥" if at_least else "≤"
    return [name, f"{value:,.4g} {unit}", f"{sign} {limit:,g} {unit}", "met" if met else f"**missed**, {off:.2g} times"]


def targets(*rows: list[str]) -> str:
    """The figures to reach."""
    return table(("figure", "measured", "target", ""), rows)


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which that share of the values lies."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def machine() -> str:
    """When and where this was measured."""
    found = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    model = found[0].partition(":")[2].strip() if found else os.uname().machine
    day = time.strftime("%Y-%m-%d", time.gmtime())
    return f"{day}, {model}, {os.cpu_count()} cores, {os.uname().sysname}, Python {sys.version.split()[0]}"


def command_line(measure: Callable[[Bench], str], about: str | None) -> None:
    """Let a script be run by itself: `[--quick] [--venvs DIR]`."""
    import argparse

    parser = argparse.ArgumentParser(description=(about or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer runs: to see that it works")
    parser.add_argument("--venvs", type=Path, default=ROOT / ".venv-bench", help="folder of the peers' environments")
    given = parser.parse_args()
    print(measure(Bench(quick=given.quick, venvs=given.venvs)))
