"""What an import costs, and the first call after it.

    python benchmarks/imports.py [--quick]

Fresh interpreters, in turns, bytecode compiled: the wall time from exec to exit of an interpreter that imports a
package and ends, and of a bare one. The first call is timed within the process, from after the import to the answer of
a local provider: it includes making the HTTP client and everything that is loaded on first use.
"""

import subprocess
import tempfile
import time
from functools import partial
from pathlib import Path

from benchmarks.harness import Bench, Row, by_turns, clean, command_line, provider, table, target, targets

IMPORTS = {
    "bare interpreter": ("callmeter", "pass"),
    "callmeter": ("callmeter", "import callmeter"),
    "openai": ("openai", "import openai"),
    "litellm": ("litellm", "import os, litellm; os._exit(0)"),
}

FIRST_CALLS = {
    "callmeter": ("callmeter", "callmeter", {}),
    "callmeter, ledger": ("callmeter", "callmeter", {"CALLMETER_LEDGER": "true"}),
    "callmeter[fast], ledger": (
        "callmeter-fast",
        "callmeter",
        {"CALLMETER_LEDGER": "true", "CALLMETER_TRANSPORT": "pyreqwest"},
    ),
    "openai": ("openai", "openai", {}),
    "litellm": ("litellm", "litellm", {}),
}


def measure(bench: Bench) -> str:
    """The tables."""
    rounds = bench.times(15, 3)
    imports = by_turns(rounds, {name: partial(_import, bench, name) for name in IMPORTS})
    with provider() as url, tempfile.TemporaryDirectory(prefix="callmeter-imports-") as folder:

        def first(name: str) -> Row:
            peer, client, settings = FIRST_CALLS[name]
            home = f"{folder}/{time.time_ns()}"
            return bench.run(peer, "imports_load.py", client, url, CALLMETER_HOME=home, **settings)

        calls = by_turns(rounds, {name: partial(first, name) for name in FIRST_CALLS})
    bare = imports["bare interpreter"]["ms"]
    rows = [[name, f"{row['ms']:.1f}", f"{row['ms'] - bare:+.1f}"] for name, row in imports.items()]
    after = [[name, f"{row['wall_ms']:.0f}", f"{row['cpu_ms']:.0f}"] for name, row in calls.items()]
    return "\n\n".join(
        (
            f"Peers: {bench.versions(('openai', 'litellm'))}.",
            table(("import", "ms", "above bare"), rows),
            table(("first call after it", "wall ms", "CPU ms"), after),
            targets(
                target("import callmeter, above bare", imports["callmeter"]["ms"] - bare, 15, "ms"),
                target("first call", calls["callmeter"]["wall_ms"], 250, "ms"),
                target("first call, ledger", calls["callmeter, ledger"]["wall_ms"], 250, "ms"),
            ),
        )
    )


def _import(bench: Bench, name: str) -> Row:
    peer, code = IMPORTS[name]
    command = [str(bench.python(peer)), "-c", code]
    began = time.perf_counter()
    subprocess.run(command, check=True, env=clean(), cwd=Path(tempfile.gettempdir()))
    return {"ms": (time.perf_counter() - began) * 1e3}


if __name__ == "__main__":
    command_line(measure, __doc__)
