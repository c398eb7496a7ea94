"""However a program runs and ends, each of its calls is in the ledger once and its callbacks have run."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import callmeter

PRELUDE = """
import asyncio, os, sys, threading, multiprocessing
import callmeter

callmeter.success_callback = ["duckdb"]
M = [{"role": "user", "content": "Hi"}]

def ask(**params):
    return callmeter.completion("gpt-4o", M, mock_response="Hello there", **params)

async def aask(**params):
    return await callmeter.acompletion("gpt-4o", M, mock_response="Hello there", **params)
"""


def run(home: Path, script: str, *, returncode: int = 0, **environ: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "CALLMETER_HOME": str(home), **environ}
    out = subprocess.run(
        [sys.executable, "-X", "dev", "-c", PRELUDE + script], env=env, capture_output=True, text=True, timeout=60
    )
    assert out.returncode == returncode, out.stderr
    return out


def rows(home: Path) -> list[tuple[Any, ...]]:
    with callmeter.ledger.connect(home) as ledger:
        found: list[tuple[Any, ...]] = ledger.sql(
            "select call_id, status, error_class, cost::varchar from calls order by call_id"
        ).fetchall()
    return found


def succeeded(home: Path) -> int:
    found = rows(home)
    assert len({row[0] for row in found}) == len(found)
    assert all(row[1] == "success" for row in found), found
    return len(found)


ENDINGS = {
    "falls off its end": "for _ in range(5): ask()",
    "calls sys.exit": "for _ in range(5): ask()\nsys.exit(0)",
    "ends with a daemon thread still running": (
        "threading.Thread(target=threading.Event().wait, daemon=True).start()\nfor _ in range(5): ask()"
    ),
    "calls from a thread it does not join": (
        "t = threading.Thread(target=lambda: [ask() for _ in range(5)])\nt.start()"
    ),
    "calls from an atexit handler": "import atexit\natexit.register(lambda: [ask() for _ in range(5)])",
    "flushes and calls os._exit": "for _ in range(5): ask()\nassert callmeter.flush(10)\nos._exit(0)",
    "runs one loop a call": "for _ in range(5): asyncio.run(aask())",
    "gathers calls in one loop": (
        "async def main(): await asyncio.gather(*(aask() for _ in range(5)))\nasyncio.run(main())"
    ),
    "runs loops in several threads": (
        "ts = [threading.Thread(target=lambda: asyncio.run(aask())) for _ in range(5)]\n"
        "[t.start() for t in ts]; [t.join() for t in ts]"
    ),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_program_loses_no_call_when_it(ending: str, home: Path) -> None:
    out = run(home, ENDINGS[ending])
    assert succeeded(home) == 5
    assert "never awaited" not in out.stderr
    assert "Traceback" not in out.stderr


def test_a_program_that_dies_of_its_own_error_loses_no_call(home: Path) -> None:
    out = run(home, "for _ in range(5): ask()\nraise RuntimeError('on purpose')", returncode=1)
    assert "on purpose" in out.stderr
    assert succeeded(home) == 5


@pytest.mark.parametrize("durability", ["sync", "power"])
def test_with_durability_sync_not_even_os_exit_loses_a_call(durability: str, home: Path) -> None:
    run(home, "for _ in range(5): ask()\nos._exit(0)", CALLMETER_DURABILITY=durability)
    assert succeeded(home) == 5


def test_a_program_that_ends_at_once_has_still_run_its_callbacks(home: Path) -> None:
    out = run(home, "callmeter.success_callback = [lambda kwargs, *_: print(kwargs['response_cost'])]\nask()")
    assert float(out.stdout) > 0


def test_a_callback_that_hangs_holds_up_the_end_for_no_longer_than_allowed(home: Path) -> None:
    script = "callmeter.success_callback = ['duckdb', lambda *_: threading.Event().wait()]\nask()"
    run(home, script, CALLMETER_EXIT_TIMEOUT_S="0.5")
    assert succeeded(home) == 1


def test_a_hundred_loops_in_a_row_lose_nothing(home: Path) -> None:
    out = run(home, "for _ in range(100): asyncio.run(aask())")
    assert succeeded(home) == 100
    assert "never awaited" not in out.stderr


FORK = """
ask()
children = []
for _ in range(4):
    pid = os.fork()
    if not pid:
        ask(); ask()
        assert callmeter.flush(10)
        os._exit(0)
    children.append(pid)
ask()
for pid in children:
    assert os.waitpid(pid, 0)[1] == 0
"""


def test_forked_children_deliver_their_own_calls(home: Path) -> None:
    run(home, FORK)
    assert succeeded(home) == 2 + 4 * 2


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing_children_deliver_their_calls_without_a_flush(method: str, home: Path, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        PRELUDE + f"if __name__ == '__main__':\n"
        f"    ask()\n"
        f"    context = multiprocessing.get_context({method!r})\n"
        f"    children = [context.Process(target=ask) for _ in range(3)]\n"
        f"    [child.start() for child in children]; [child.join() for child in children]\n"
        f"    assert [child.exitcode for child in children] == [0, 0, 0]\n"
    )
    env = {**os.environ, "CALLMETER_HOME": str(home)}
    out = subprocess.run([sys.executable, str(program)], env=env, capture_output=True, text=True, timeout=60)
    assert out.returncode == 0, out.stderr
    assert succeeded(home) == 4


def test_a_process_that_is_killed_leaves_its_open_call_to_be_closed_as_process_died(home: Path) -> None:
    run(
        home,
        "ask()\nstream = ask(stream=True)\nnext(stream)\nassert callmeter.flush(10)\nos.kill(os.getpid(), 9)",
        returncode=-9,
    )
    run(home, "ask()")
    found = rows(home)
    assert [row[2] for row in found] == [None, "process_died", None]
    assert found[1][3] is None


def test_many_processes_share_one_home(home: Path) -> None:
    env = {**os.environ, "CALLMETER_HOME": str(home)}
    script = PRELUDE + "for _ in range(25): ask()"
    children = [subprocess.Popen([sys.executable, "-c", script], env=env) for _ in range(6)]
    assert [child.wait(60) for child in children] == [0] * 6
    assert succeeded(home) == 150


def test_a_home_that_cannot_be_used_costs_one_warning_and_no_call(tmp_path: Path) -> None:
    home = tmp_path / "a-file"
    home.write_text("not a directory")
    out = run(home, "import logging\nlogging.basicConfig()\nprint(ask().choices[0].message.content)\nask()")
    assert out.stdout == "Hello there\n"
    assert out.stderr.count("WARNING") == 1
    assert str(home) in out.stderr


def test_the_events_of_a_flush_are_told_apart(home: Path) -> None:
    script = "import json\nask()\nr = callmeter.flush(10)\nprint(json.dumps([bool(r), r.journalled, r.callbacks]))"
    assert json.loads(run(home, script).stdout) == [True, True, True]
