"""The end of a test run: baselines are written, and what calls cost is said."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path

from callmeter.cli._figures import money
from callmeter.testing import baselines
from callmeter.testing.charges import Charge
from callmeter.testing.verdict import Told


def write_baselines(tests: Sequence[tuple[str, Told]]) -> list[str]:
    """Write the new baselines, a file at a time; a sentence for each file that changed."""
    files: Mapping[str, dict[str, Sequence[Charge]]] = defaultdict(dict)
    for _, test in tests:
        if test.baseline:
            files[test.baseline][test.name] = test.charges
    return [
        f"baselines of {_counted(len(changed), 'test')} written to {path}"
        for path, changed in files.items()
        if baselines.update(Path(path), changed)
    ]


def lines(tests: Sequence[tuple[str, Told]]) -> Iterator[str]:
    """What the calls cost, and where that is not what it was."""
    calls, replayed = sum(test.calls for _, test in tests), sum(test.replayed for _, test in tests)
    known = sum((test.known for _, test in tests), Decimal(0))
    unknown = sum(len(test.unknown) for _, test in tests)
    said = f"{_counted(len(tests), 'test')}: {_counted(calls, 'model call')}, ${money(known)}"
    if unknown:
        said += f" and {_counted(unknown, 'call')} of unknown cost"
    if replayed:
        said += f"; {replayed} of {_counted(calls, 'call')} replayed, which cost nothing"
    yield said
    for name, test in tests:
        if test.difference:
            yield f"{name}: {test.difference}"
        if test.only_prices and not test.baseline:
            yield "  Only prices changed, so the test does not fail; `pytest --callmeter-update` takes them over."


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun if count == 1 else noun + 's'}"
