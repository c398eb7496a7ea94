"""The provider of a replay, as a process of its own: `callmeter.testing`'s, which also fails a call's first attempts.

    python -m benchmarks.replay_provider --count-file served.jsonl

A request with the header `x-replay-fail: 429*2` is answered 429 the first two times its `x-callmeter-call-id` is seen.
It prints its port as one JSON line, appends a line to the file for each answer, and ends with SIGTERM or SIGINT.
"""

import argparse
import signal
from collections import Counter

import msgspec

from callmeter.testing import FakeProvider
from callmeter.testing.scripts import Heard, Script
from callmeter.testing.wires import failure, wire_of


class FailFirst:
    """Behaviour for every request: refuse the first few attempts of the calls that ask for it."""

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()

    def __call__(self, heard: Heard, script: Script) -> Script:
        asked = heard.headers.get("x-replay-fail")
        if asked is None:
            return script
        status, _, times = asked.partition("*")
        call = heard.headers.get("x-callmeter-call-id", "")
        self._seen[call] += 1
        if self._seen[call] > int(times):
            return script
        refusal = failure(wire_of(heard.path), int(status), model=script.answer.model)
        return Script(answer=refusal, headers=(("retry-after", "0"),))


def main() -> None:
    """Serve until told to end."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--count-file", required=True)
    options = parser.parse_args()
    ends = {signal.SIGTERM, signal.SIGINT}
    # Blocked before the server's thread starts, so that it inherits the mask and sigwait gets them.
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    with FakeProvider(count_file=options.count_file, keep=0) as provider:
        provider.script(FailFirst(), times=None)
        print(msgspec.json.encode({"port": provider.port, "url": provider.url}).decode(), flush=True)
        signal.sigwait(ends)


if __name__ == "__main__":
    main()
