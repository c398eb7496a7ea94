"""Every operation in turn, blocking and awaited."""

from typing import Any

import pytest

from tests.client.endpoints.asked import OPERATIONS, Asked


@pytest.fixture(params=OPERATIONS, ids=repr)
def asked(request: pytest.FixtureRequest) -> Any:
    """Each operation in turn."""
    return request.param


@pytest.fixture(params=["sync", "async"])
def ask(request: pytest.FixtureRequest, asked: Asked) -> Any:
    """The operation, blocking and awaited."""
    return asked if request.param == "sync" else asked.awaited
