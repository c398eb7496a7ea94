"""CPU of a call, of an asynchronous call (64 in flight) and of a 200-chunk stream, against other clients.

    python benchmarks/overhead.py [--quick]

Every client runs in its own environment and process against the same fake provider, in turns, with bytecode compiled.
Counted is the whole process's CPU time after a warm-up, threads, callbacks and commits included: not the wall time,
which is the provider's as well. A library or transport "alone" sends the same bytes and does not look at the answer;
callmeter's own share is what it takes above the transport it uses itself.
"""

import tempfile
import time
from functools import partial

from benchmarks.harness import Bench, Row, by_turns, command_line, provider, table, target, targets

CHUNKS = 200

FAST = {"CALLMETER_TRANSPORT": "pyreqwest"}

CLIENTS: dict[str, tuple[str, str, dict[str, str]]] = {
    "raw socket": ("httpx", "raw", {}),
    "httpx alone": ("httpx", "httpx", {}),
    "httpx2 alone": ("httpx2", "httpx2", {}),
    "pyreqwest alone": ("pyreqwest", "pyreqwest", {}),
    "OpenAI SDK": ("openai", "openai", {}),
    "LiteLLM, a callback": ("litellm", "litellm", {}),
    "callmeter's transport alone": ("callmeter", "transport", {}),
    "callmeter": ("callmeter", "callmeter", {}),
    "callmeter, ledger": ("callmeter", "callmeter", {"CALLMETER_LEDGER": "true"}),
    "callmeter[fast]'s transport alone": ("callmeter-fast", "transport", FAST),
    "callmeter[fast]": ("callmeter-fast", "callmeter", FAST),
    "callmeter[fast], ledger": ("callmeter-fast", "callmeter", {**FAST, "CALLMETER_LEDGER": "true"}),
}
"""By the name shown: the environment, the client in `overhead_load.py`, and its settings."""

MODES = {"sync": "call, sync", "async": "call, async", "stream": "stream, sync", "astream": "stream, async"}


def measure(bench: Bench) -> str:
    """The tables."""
    calls = {
        "sync": bench.times(2_000, 300),
        "async": bench.times(2_000, 320),
        "stream": bench.times(60, 15),
        "astream": bench.times(64, 16),
    }
    found: dict[str, dict[str, float]] = {name: {} for name in CLIENTS}
    with provider() as url, tempfile.TemporaryDirectory(prefix="callmeter-overhead-") as folder:

        def run(name: str, mode: str) -> Row:
            peer, client, settings = CLIENTS[name]
            home = f"{folder}/{time.time_ns()}"
            return bench.run(peer, "overhead_load.py", client, mode, url, calls[mode], CALLMETER_HOME=home, **settings)

        for mode in MODES:
            runs = {name: partial(run, name, mode) for name in CLIENTS}
            for name, row in by_turns(bench.times(5, 1), runs).items():
                found[name][mode] = row["cpu_us"]
    peers = bench.versions(("httpx", "httpx2", "pyreqwest", "openai", "litellm"))
    return f"Peers: {peers}. CPU µs a call or stream.\n\n{_all(found)}\n\n{_targets(found)}"


def _all(found: dict[str, dict[str, float]]) -> str:
    ours = found["callmeter[fast], ledger"]
    rows = [
        [name, *(f"{row[mode]:,.0f} ({row[mode] / ours[mode]:.2g}×)" for mode in MODES)] for name, row in found.items()
    ]
    return table(("client (× callmeter[fast], ledger)", *MODES.values()), rows)


def _targets(found: dict[str, dict[str, float]]) -> str:
    plain, fast = found["callmeter, ledger"], found["callmeter[fast], ledger"]
    own, fast_own = found["callmeter's transport alone"], found["callmeter[fast]'s transport alone"]
    litellm, openai = found["LiteLLM, a callback"]["sync"], found["OpenAI SDK"]["sync"]
    return targets(
        target("sync call with the ledger, above its transport", plain["sync"] - own["sync"], 80, "µs"),
        target("the same above httpx2", plain["sync"] - found["httpx2 alone"]["sync"], 80, "µs"),
        target("sync call with the ledger, [fast], above its transport", fast["sync"] - fast_own["sync"], 80, "µs"),
        target("LiteLLM ÷ callmeter[fast] with the ledger", litellm / fast["sync"], 20, "×", at_least=True),
        target("OpenAI SDK ÷ callmeter[fast] with the ledger", openai / fast["sync"], 6, "×", at_least=True),
        target("a chunk above its transport, sync", (plain["stream"] - own["stream"]) / CHUNKS, 10, "µs"),
        target("a chunk above its transport, async", (plain["astream"] - own["astream"]) / CHUNKS, 10, "µs"),
    )


if __name__ == "__main__":
    command_line(measure, __doc__)
