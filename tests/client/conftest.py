"""What most tests of calls need: a provider to call, and the events of what is called."""

from collections.abc import Iterator
from typing import Any

import pytest

from callmeter.testing import FakeProvider, capture_events


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeProvider]:
    """A provider that this environment's OpenAI is."""
    with FakeProvider() as server:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        monkeypatch.setenv("OPENAI_BASE_URL", server.openai_base)
        yield server


@pytest.fixture
def events() -> Iterator[list[Any]]:
    """Each event as it is published; retries wait for nothing."""
    with capture_events(sleep=lambda _: None, jitter=lambda: 0.0) as seen:
        yield seen
