"""What all tests share: a home of their own, and no key or setting of the developer's."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.caches"]

# The same examples on every machine and every day: a busy machine must not decide what passes.
settings.register_profile(
    "callmeter", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("callmeter")


PROVIDERS = ("OPENAI_", "ANTHROPIC_", "OLLAMA_")
SINKS = ("ARIZE_", "LANGCHAIN_", "LANGFUSE_", "LANGSMITH_", "MLFLOW_", "OTEL_", "PHOENIX_", "SENTRY_", "TRACELOOP_")
OURS = ("CALLMETER_", *PROVIDERS, *SINKS)
"""What the names of variables begin with that callmeter reads."""


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(OURS) and name != "CALLMETER_TEST_SERVICES":
            monkeypatch.delenv(name)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh home that the settings point at."""
    path = tmp_path / "home"
    monkeypatch.setenv("CALLMETER_HOME", str(path))
    return path


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB, that can be filled."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "none", str(folder)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting a small disk needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)
