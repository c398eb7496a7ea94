"""The whole way from a call to its destinations: who is told of what, and homes that cannot be used."""

import fcntl
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import callmeter
from callmeter.events import home as home_module
from callmeter.events.model import AnyEvent, CallFacts
from callmeter.runtime import Runtime, using
from callmeter.settings import Settings
from callmeter.sinks.base import Delivery, Sink

M = [{"role": "user", "content": "Hi"}]


class Judge(Sink):
    """A plug-in that asks a model about every call it is told of."""

    name = "judge"
    dedupe_key = "id"

    def __init__(self, project: str, ask: Callable[[], object] | None = None) -> None:
        self.project = project
        self.told: list[str] = []
        self._ask = ask

    def export(self, events: Sequence[AnyEvent]) -> Delivery:
        self.told += [event.call.call_id for event in events]  # type: ignore[union-attr]
        for _ in events if self._ask else ():
            self._ask()  # type: ignore[misc]
        return Delivery(accepted=[event.id for event in events])


@pytest.fixture(autouse=True)
def _no_callbacks(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("success_callback", "failure_callback", "input_callback", "callbacks"):
        monkeypatch.setattr(callmeter, name, [])


@pytest.fixture
def made() -> Iterator[list[Runtime]]:
    """Runtimes to be closed at the end."""
    runtimes: list[Runtime] = []
    yield runtimes
    for runtime in runtimes:
        runtime.close(5)


def ask(**params: Any) -> Any:
    return callmeter.completion("gpt-4o", M, mock_response="Hello", **params)


def in_ledger(home: Path) -> int:
    with callmeter.ledger.connect(home) as ledger:
        return int(ledger.sql("select count(distinct call_id) from calls").fetchall()[0][0])


def test_a_sink_is_not_told_of_the_calls_it_makes_itself_and_all_others_are(home: Path, made: list[Runtime]) -> None:
    judge, other = Judge("one", ask), Judge("two")
    runtime = Runtime(Settings(home=str(home), ledger=True), sinks=[judge, other])
    made.append(runtime)
    with using(runtime):
        first = ask()._hidden_params["litellm_call_id"]
        while len(other.told) < 2:
            assert runtime.flush(10)
    assert judge.told == [first]
    assert other.told[0] == first
    assert len(set(other.told)) == 2
    assert in_ledger(home) == 2


def test_a_callback_is_not_told_of_the_calls_it_makes_itself(made: list[Runtime]) -> None:
    told: list[tuple[str, str]] = []

    def first(kwargs: dict[str, Any], *_: Any) -> None:
        told.append(("first", kwargs["litellm_call_id"]))
        ask()

    def second(kwargs: dict[str, Any], *_: Any) -> None:
        told.append(("second", kwargs["litellm_call_id"]))
        ask()

    runtime = Runtime()
    made.append(runtime)
    with using(runtime):
        callmeter.success_callback = [first, second]
        ask()
        while not runtime.flush(10) or len(told) < 4:
            assert len(told) <= 4
    # Both hear of the call, and each of the one that the other made because of it; there it ends.
    assert sorted(name for name, _ in told) == ["first", "first", "second", "second"]
    assert len({call_id for _, call_id in told}) == 3


def test_a_home_that_is_busy_for_a_while_costs_one_warning_and_no_call(
    home: Path, made: list[Runtime], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(home_module, "LOCK_WAIT_S", 0.02)
    home.mkdir(mode=0o700)
    lock = os.open(home / "journal.lock", os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    runtime = Runtime(Settings(home=str(home), ledger=True))
    made.append(runtime)
    with using(runtime):
        ask()
        assert runtime.delivery is not None
        while not runtime.delivery.writer.failing:
            assert not runtime.flush(0.1)
        ask()
        os.close(lock)
        while not runtime.flush(10):
            pass
    assert runtime.delivery._temporary is None
    assert in_ledger(home) == 2
    warned = [r.getMessage() for r in caplog.records if r.levelname == "WARNING" and "locked" in r.getMessage()]
    assert len(warned) == 1
    assert str(home) in warned[0]


READ_ONLY = """
import logging, os, sys
import callmeter
from callmeter.runtime import Runtime, using
from callmeter.settings import Settings

# Whatever is imported on the way is imported now: the other user may not read this one's Python.
with using(Runtime(Settings(home=os.environ["WARM"], ledger=True))) as warm:
    callmeter.completion("gpt-4o", [{"role": "user", "content": "Hi"}], mock_response="Hello")
    warm.close(5)
if os.getuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
logging.basicConfig()
callmeter.success_callback = ["duckdb"]
for _ in range(3):
    answer = callmeter.completion("gpt-4o", [{"role": "user", "content": "Hi"}], mock_response="Hello")
    print(answer.choices[0].message.content)
try:
    open(os.environ["CALLMETER_HOME"] + "/probe", "w")
except OSError as error:
    print("refused", type(error).__name__)
"""


@pytest.fixture
def read_only_home() -> Iterator[Path]:
    """A directory of the user's own that nothing can be written to, even where the tests run as root."""
    with tempfile.TemporaryDirectory() as outer:
        os.chmod(outer, 0o755)
        home = Path(outer) / "home"
        home.mkdir()
        if os.getuid() == 0:
            os.chown(home, 65534, 65534)
        home.chmod(0o500)
        yield home
        home.chmod(0o700)


def test_a_read_only_home_costs_one_warning_and_no_call(read_only_home: Path, tmp_path: Path) -> None:
    root = str(Path(callmeter.__file__).parents[1])
    env = {**os.environ, "CALLMETER_HOME": str(read_only_home), "PYTHONPATH": root, "WARM": str(tmp_path / "warm")}
    env.pop("TMPDIR", None)
    out = subprocess.run(
        [sys.executable, "-c", READ_ONLY], env=env, capture_output=True, text=True, timeout=60, cwd="/"
    )
    assert out.returncode == 0, out.stderr
    assert out.stdout == "Hello\nHello\nHello\nrefused PermissionError\n"
    assert out.stderr.count("WARNING") == 1, out.stderr
    assert str(read_only_home) in out.stderr
    assert "set another CALLMETER_HOME" in out.stderr
    assert list(read_only_home.iterdir()) == []


def test_a_sink_that_lacks_its_variables_costs_one_warning_and_no_call(
    home: Path, made: list[Runtime], caplog: pytest.LogCaptureFixture
) -> None:
    made.append(Runtime())
    callmeter.success_callback = ["webhook"]
    with using(made[0]):
        for _ in range(3):
            assert ask().choices[0].message.content == "Hello"
    (warning,) = [record.getMessage() for record in caplog.records if record.name == "callmeter"]
    assert warning.startswith(
        "webhook stays off, and calls go on without it: the sink 'webhook' needs CALLMETER_WEBHOOK"
    )


def test_a_sink_that_nobody_knows_is_an_error_that_lists_those_there_are(home: Path, made: list[Runtime]) -> None:
    made.append(Runtime())
    callmeter.success_callback = ["webhok"]
    with using(made[0]), pytest.raises(callmeter.ConfigError, match="did you mean 'webhook'"):
        ask()


def test_a_sink_hears_only_of_calls_that_it_takes(home: Path, made: list[Runtime]) -> None:
    class Picky(Judge):
        name = "picky"

        def takes(self, call: CallFacts) -> bool:
            if call.user == "broken":
                raise RuntimeError("odd")
            return call.user == "ada"

    sink = Picky("p")
    made.append(Runtime(sinks=[sink]))
    with using(made[0]):
        for user in ("ada", "grace", "broken"):
            ask(user=user)
        assert made[0].flush(20)
    assert len(sink.told) == 2
    (account,) = made[0].delivery.accounts()  # type: ignore[union-attr]
    assert (account.accepted, account.delivered, account.dropped) == (2, 2, 0)
