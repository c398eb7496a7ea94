"""callmeter in servers of others that fork: every worker's calls reach the ledger and a network sink exactly once."""

import json
import os
import subprocess
import sys
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

import callmeter
from callmeter.testing.faultserver import FaultServer
from tests.servers import running, said

pytestmark = pytest.mark.slow

REDIS = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")

METERED = """
import os
import callmeter
from callmeter.sinks.webhook import Webhook

callmeter.success_callback = ["duckdb", Webhook(os.environ["EVENTS_URL"])]

def ask():
    callmeter.completion("gpt-4o", [{"role": "user", "content": "Hi"}], mock_response="Hello", tags=[str(os.getpid())])
"""

WSGI = """
ask()  # in the parent, before it forks its workers

def app(environ, start_response):
    ask()
    start_response("200 OK", [("content-type", "text/plain")])
    return [str(os.getpid()).encode()]
"""

TASKS = """
from celery import Celery

ask()
queue = Celery("metered", broker=os.environ["BROKER"], backend=os.environ["BROKER"])
queue.conf.task_default_queue = os.environ["QUEUE"]
queue.conf.broker_connection_retry_on_startup = True

@queue.task
def work():
    ask()
    return os.getpid()
"""


def module(folder: Path, name: str, *parts: str) -> None:
    (folder / f"{name}.py").write_text("".join((METERED, *parts)))


def hosting(folder: Path, *command: str, **environ: str) -> AbstractContextManager[subprocess.Popen[str]]:
    """A server of this environment that imports the modules in a folder."""
    path = os.pathsep.join((str(folder), str(Path(callmeter.__file__).parents[1])))
    return running([sys.executable, "-m", *command], folder, PYTHONPATH=path, **environ)


def by_process(home: Path) -> Counter[str]:
    """How many calls each process has in the ledger."""
    with callmeter.ledger.connect(home) as ledger:
        rows: list[Any] = ledger.sql("select tags[1], call_id from calls").fetchall()
    assert len({call_id for _, call_id in rows}) == len(rows)
    return Counter(pid for pid, _ in rows)


def delivered(server: FaultServer, home: Path) -> None:
    """What the workers left when they were ended is delivered by whoever has the sink next; then all came once."""
    script = METERED + "ask()\nassert callmeter.flush(30)"
    env = {**os.environ, "EVENTS_URL": server.url, "CALLMETER_HOME": str(home)}
    subprocess.run([sys.executable, "-c", script], env=env, check=True, timeout=60)


def test_gunicorn_with_preload_and_four_workers(home: Path, tmp_path: Path) -> None:
    module(tmp_path, "web", WSGI)
    command = ["gunicorn", "--preload", "-w", "4", "-b", "127.0.0.1:0", "web:app"]
    with FaultServer() as events:
        with hosting(tmp_path, *command, EVENTS_URL=events.url, CALLMETER_HOME=str(home)) as server:
            url = said(tmp_path, r"Listening at: (http://\S+)", server)[1]
            with ThreadPoolExecutor(8) as pool:
                pids = Counter(pool.map(lambda _: urlopen(url, timeout=30).read().decode(), range(200)))
        assert len(pids) >= 2, "one worker did everything: nothing was tested"
        delivered(events, home)
        calls = by_process(home)
        assert {pid: calls[pid] for pid in pids} == dict(pids)
        assert calls.total() == 1 + 200 + 1
        assert len(events.taken) == 202
        assert set(events.taken.values()) == {1}


def test_celery_with_forked_workers(home: Path, tmp_path: Path) -> None:
    redis = pytest.importorskip("redis")
    try:
        redis.Redis.from_url(REDIS).ping()
    except redis.ConnectionError:
        if os.environ.get("CALLMETER_TEST_SERVICES") == "required":
            raise
        pytest.skip(f"no Redis at {REDIS}")
    module(tmp_path, "tasks", TASKS)
    queue = f"callmeter-{uuid.uuid4().hex}"
    environ = {"BROKER": REDIS, "QUEUE": queue, "CALLMETER_HOME": str(home)}
    command = ["celery", "-A", "tasks", "worker", "--pool", "prefork", "-c", "3", "-Q", queue, "-l", "info"]
    send = (
        "import json, tasks\n"
        "sent = [tasks.work.delay() for _ in range(60)]\n"
        "print(json.dumps([one.get(timeout=60) for one in sent]))"
    )
    with FaultServer() as events:
        environ["EVENTS_URL"] = events.url
        with hosting(tmp_path, *command, **environ) as server:
            said(tmp_path, r"ready\.", server)
            path = os.pathsep.join((str(tmp_path), str(Path(callmeter.__file__).parents[1])))
            sender = subprocess.run(
                [sys.executable, "-c", send],
                env={**os.environ, **environ, "PYTHONPATH": path},
                capture_output=True,
                text=True,
                timeout=120,
            )
            assert sender.returncode == 0, sender.stderr
        pids = Counter(map(str, json.loads(sender.stdout)))
        assert len(pids) >= 2, "one worker did everything: nothing was tested"
        delivered(events, home)
        calls = by_process(home)
        assert {pid: calls[pid] for pid in pids} == dict(pids)
        assert calls.total() == 60 + 3  # and one each in celery's parent, in the sender and in the last process
        assert len(events.taken) == 63
        assert set(events.taken.values()) == {1}


LOOPS = """
async def one():
    await callmeter.acompletion("gpt-4o", [{"role": "user", "content": "Hi"}], mock_response="Hello", tags=["loop"])

for _ in range(1000):
    RUN(one())
"""


@pytest.mark.parametrize(
    ("loop", "prelude"),
    [
        ("asyncio", "import asyncio\nRUN = asyncio.run\n"),
        ("uvloop", "import uvloop\nRUN = uvloop.run\n"),
    ],
)
def test_a_thousand_event_loops_one_after_another(loop: str, prelude: str, home: Path) -> None:
    pytest.importorskip(loop)
    with FaultServer() as events:
        env = {**os.environ, "EVENTS_URL": events.url, "CALLMETER_HOME": str(home)}
        script = METERED + prelude + LOOPS + "assert callmeter.flush(60)"
        out = subprocess.run(
            [sys.executable, "-X", "dev", "-c", script], env=env, capture_output=True, text=True, timeout=300
        )
        assert out.returncode == 0, out.stderr
        assert "never awaited" not in out.stderr
        assert by_process(home) == {"loop": 1000}
        assert len(events.taken) == 1000
        assert set(events.taken.values()) == {1}
