"""A home, its journal and its compactor."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from callmeter.events.journal import Journal
from callmeter.sinks.duckdb.compactor import Compactor


class FixedClock:
    """A clock that stands still until it is moved. Nanoseconds."""

    def __init__(self) -> None:
        self.now_ns = 1_764_200_000 * 10**9

    def wall_ns(self) -> int:
        return self.now_ns

    def mono_ns(self) -> int:
        return self.now_ns

    def forward(self, seconds: float) -> None:
        self.now_ns += int(seconds * 10**9)


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def journal(home: Path, clock: FixedClock) -> Iterator[Journal]:
    opened = Journal.open(home, clock=clock)
    yield opened
    opened.close()


@pytest.fixture
def new_compactor(home: Path, clock: FixedClock) -> Iterator[Callable[..., Compactor]]:
    made: list[Compactor] = []

    def make(owner: str = "compactor", **options: int) -> Compactor:
        made.append(Compactor(lambda: Journal.open(home, clock=clock), home, owner=owner, clock=clock, **options))
        return made[-1]

    yield make
    for compactor in made:
        compactor.close()


@pytest.fixture
def compactor(new_compactor: Callable[..., Compactor]) -> Compactor:
    return new_compactor()
