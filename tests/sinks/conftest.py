from collections.abc import Iterator
from pathlib import Path

import pytest

from callmeter.testing.faultserver import FaultServer
from callmeter.testing.host import Host


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    one = Host(tmp_path)
    yield one
    one.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FaultServer]:
    with FaultServer(oracle=tmp_path / "arrived.jsonl") as one:
        yield one
