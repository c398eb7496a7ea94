"""What all tests share: a home of their own, and no key or setting of the developer's."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# The same examples on every machine and every day: a busy machine must not decide what passes.
settings.register_profile(
    "callmeter", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("callmeter")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("CALLMETER_", "OPENAI_", "ANTHROPIC_", "OLLAMA_")) and name != "CALLMETER_TEST_SERVICES":
            monkeypatch.delenv(name)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh home that the settings point at."""
    path = tmp_path / "home"
    monkeypatch.setenv("CALLMETER_HOME", str(path))
    return path
