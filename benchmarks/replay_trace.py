"""Replays real traffic through the whole of callmeter and checks the ledger against the provider's own count.

    python benchmarks/replay_trace.py [--speed 0] [--workers 2] [--count N] [--seed 1] [--traces DIR | --made-up N]

HTTP to a provider server in its own process, events, pricing, journal, ledger: 28,185 requests of two Azure services
at their own arrival times (`--speed 60`: sixty times faster; 0: as fast as possible), by asynchronous client processes
with 64 calls in flight each. Models, streams, retries, failures, fallbacks, cut and abandoned streams are mixed in by
number from a seed (`replay_mix.py`). `replay_check.py` compares calls, attempts, tokens and dollars. Exit code 1 if any
differ.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from benchmarks.replay_check import Report, check, table, verdict
from benchmarks.replay_client import Done, Share, requests
from benchmarks.replay_mix import asked

ROOT = Path(__file__).parent.parent
TRACES = ROOT.parent / "shared" / "traces"


@contextmanager
def provider(count_file: Path) -> Iterator[str]:
    """A provider in its own process. Yields its URL; at the end its count is complete."""
    command = [sys.executable, "-m", "benchmarks.replay_provider", "--count-file", str(count_file)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield msgspec.json.decode(process.stdout.readline())["url"]
        process.send_signal(signal.SIGTERM)


def environment(home: Path, **settings: str) -> dict[str, str]:
    """The environment of a client: no key or setting of the caller's own, the ledger on."""
    ours = ("CALLMETER_", "OPENAI_", "ANTHROPIC_", "OLLAMA_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    said = {"HOME": str(home), "LEDGER": "true", "STRICT_ACCOUNTS": "true", "EXIT_TIMEOUT_S": "30"}
    # What the checker computes of its own accord is the estimate of a text alone, whichever streams came before it.
    said |= {"CALIBRATE": "false"}
    said |= {name.upper(): value for name, value in settings.items()}
    return kept | {f"CALLMETER_{name}": value for name, value in said.items()}


def client(share: Share, environ: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    """A client process; its first line says that it is about to begin."""
    command = [sys.executable, "-m", "benchmarks.replay_client", msgspec.json.encode(share).decode()]
    return subprocess.Popen(command, cwd=ROOT, env=dict(environ), stdout=subprocess.PIPE)


def replay(shares: Sequence[Share], home: Path, count_file: Path) -> tuple[list[Done], Report]:
    """Run the shares, one process each, against a provider, and check the ledger. Their `url` is filled in here."""
    with provider(count_file) as url, ExitStack() as stack:
        clients = [
            stack.enter_context(client(msgspec.structs.replace(share, url=url), environment(home))) for share in shares
        ]
        outputs = [process.communicate()[0].splitlines() for process in clients]
    failed = [process.returncode for process in clients if process.returncode]
    if failed:
        raise RuntimeError(f"clients ended with {failed}; what they said is above")
    done = [msgspec.json.decode(lines[-1], type=Done) for lines in outputs]
    every = requests(shares[0])
    return done, check(home, count_file, lambda number: asked(number, every[number], shares[0].seed))


def main() -> None:
    """Replay, check, report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--traces", type=Path, default=TRACES, help="folder of the trace's CSV files")
    parser.add_argument("--made-up", type=int, help="so many made-up requests instead of the traces")
    parser.add_argument("--count", type=int, help="only the first so many requests")
    parser.add_argument("--speed", type=float, default=0.0, help="times faster than life; 0 is as fast as possible")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    share = Share(
        url="",
        seed=given.seed,
        traces="" if given.made_up else str(given.traces),
        count=given.made_up or given.count,
        every=given.workers,
        speed=given.speed,
        in_flight=given.in_flight,
    )
    try:
        requests(share)
    except FileNotFoundError as error:
        parser.error(str(error))
    shares = [msgspec.structs.replace(share, first=at) for at in range(given.workers)]
    with tempfile.TemporaryDirectory(prefix="callmeter-replay-") as folder:
        done, report = replay(shares, Path(folder) / "home", Path(folder) / "served.jsonl")
    calls, wall_s = sum(d.calls for d in done), max(d.wall_s for d in done)
    cpu_ms = sum(d.cpu_s for d in done) / calls * 1e3
    print(f"{calls:,} calls in {wall_s:.1f} s, {calls / wall_s:,.0f} a second; client CPU {cpu_ms:.2f} ms a call\n")
    print(table(report))
    print("\n" + verdict(report))
    sys.exit(0 if report.sound and all(d.flushed for d in done) else 1)


if __name__ == "__main__":
    main()
