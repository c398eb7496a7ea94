"""Every operation in turn, blocking and awaited."""

from typing import Any

import pytest

from callmeter.testing import FakeProvider
from tests.client.endpoints.asked import OPERATIONS, Asked


@pytest.fixture
def provider(provider: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> FakeProvider:
    """The provider that this environment's OpenAI is, and its Jina."""
    monkeypatch.setenv("JINA_API_KEY", "jina-test")
    monkeypatch.setenv("JINA_AI_API_BASE", provider.openai_base)
    return provider


@pytest.fixture(params=OPERATIONS, ids=repr)
def asked(request: pytest.FixtureRequest) -> Any:
    """Each operation in turn."""
    return request.param


@pytest.fixture(params=["sync", "async"])
def ask(request: pytest.FixtureRequest, asked: Asked) -> Any:
    """The operation, blocking and awaited."""
    return asked if request.param == "sync" else asked.awaited
