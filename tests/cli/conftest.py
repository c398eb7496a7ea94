"""A home in which real calls were kept, and the real command to run on it."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import callmeter
from callmeter.runtime import Runtime, using
from callmeter.settings import Settings
from callmeter.testing import FakeProvider

ROOT = Path(__file__).parents[2]
QUESTION = [{"role": "user", "content": "hello"}]

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def environment(**more: str) -> dict[str, str]:
    """The environment of a user without settings, in UTC."""
    ours = ("CALLMETER_", "OPENAI_", "ANTHROPIC_", "OLLAMA_", "COV_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**kept, "PYTHONPATH": str(ROOT), "TZ": "UTC", "COLUMNS": "100", **more}


def run_command(*arguments: object, **more: str) -> "subprocess.CompletedProcess[str]":
    """`callmeter ARGUMENTS`, to its end."""
    command = [sys.executable, "-m", "callmeter", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment(**more), timeout=60)


@pytest.fixture
def run() -> Run:
    return run_command


@pytest.fixture(scope="session")
def spent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with nine calls: plain, streamed, cached, retried, free, unpriced, refused, cut short, and one nameless."""
    home = tmp_path_factory.mktemp("cli") / "home"
    with FakeProvider() as provider, runtime(home):
        for make in calls(provider):
            make()
    return home


class runtime:
    """The default runtime for a `with`, keeping calls in a home. Everything is on disk when it ends."""

    def __init__(self, home: Path) -> None:
        self._made = Runtime(Settings(home=str(home), ledger=True))
        self._using = using(self._made)

    def __enter__(self) -> Runtime:
        return self._using.__enter__()

    def __exit__(self, *error: object) -> None:
        assert self._made.flush(10)
        self._made.close()
        self._using.__exit__(None, None, None)


def ask(provider: FakeProvider, model: str, prompt: int = 1000, completion: int = 100, **more: object) -> object:
    """One call whose token counts are known beforehand."""
    base = provider.openai_base if "/" not in model or model.startswith("openai/") else provider.url
    wish = {"prompt_tokens": prompt, "completion_tokens": completion, **more.pop("wish", {})}  # type: ignore[dict-item]
    return callmeter.completion(model, QUESTION, api_base=base, api_key="sk-test-canary", x_fake=wish, **more)


def calls(provider: FakeProvider) -> Iterator[Callable[[], object]]:
    """The calls, one function each, in the order of `SPENT`."""
    search = {"project": "search", "feature": "answers"}
    yield lambda: ask(provider, "gpt-4o", user="ada", metadata={**search, "tags": ["x", "y"]})
    yield lambda: list(ask(provider, "gpt-4o", user="ada", stream=True, metadata=search))  # type: ignore[call-overload]
    yield lambda: ask(provider, "anthropic/claude-sonnet-4-5", wish={"cached_tokens": 400}, user="grace")
    provider.answer(429, headers={"retry-after": "0"})
    yield lambda: ask(provider, "gpt-4o", 2000, 50, user="grace", metadata={"project": "support", "tags": ["y"]})
    yield lambda: ask(provider, "ollama/llama3.2", user="grace")
    yield lambda: ask(provider, "openai/acme-tuned-7b", user="ada")
    yield lambda: refused(provider)
    yield lambda: cut_short(provider)
    yield lambda: ask(provider, "gpt-4o", 4, 1)


def refused(provider: FakeProvider) -> None:
    provider.answer(401)
    with pytest.raises(callmeter.AuthenticationError):
        ask(provider, "gpt-4o", user="ada")


def cut_short(provider: FakeProvider) -> None:
    stream = ask(provider, "gpt-4o", 500, 400, user="ada", stream=True)
    next(stream)  # type: ignore[call-overload]
    stream.close()  # type: ignore[attr-defined]
