"""Langfuse's official SDK speaks to our double of its server, and says of a call what our sink says of it."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from callmeter.clock import SystemClock
from callmeter.sinks.langfuse import Langfuse
from callmeter.sinks.sending import deliver
from callmeter.testing.faultserver import FaultServer
from callmeter.testing.host import SENDER
from tests.ended_calls import CONTENT, answered
from tests.sinks.langfuse_server import answer, observations
from tests.sinks.otlp.wire import span_ids
from tools.environments import interpreter

pytestmark = pytest.mark.slow

VENVS = Path(__file__).parents[2] / ".venv-servers"

SDK = "langfuse==5.0.4"

SCRIPT = """
import json, os
from datetime import datetime, timezone
from langfuse import Langfuse, propagate_attributes

say = json.loads(os.environ["SAY"])
client = Langfuse(public_key="pk-lf-1", secret_key="sk-lf-1", base_url=os.environ["URL"], environment="test")
with propagate_attributes(user_id="ada", session_id="s-1", tags=["env:test", "beta"]):
    generation = client.start_observation(
        as_type="generation", name="chat claude-sonnet-4-5", model=say["model"], model_parameters=say["parameters"],
        input=say["input"], output=say["output"], usage_details=say["usage"], cost_details=say["cost"],
        metadata={"run": "7"}, completion_start_time=datetime.fromisoformat(say["first_token_at"]),
    )
    generation.end()
client.flush()
"""


def test_the_sdk_and_our_sink_are_shown_alike() -> None:
    with FaultServer(span_ids, healthy=answer) as server:
        sink = Langfuse("pk-lf-1", "sk-lf-1", host=server.base_url, environment="test", capture_content=True)
        list(deliver(sink, [answered()], SENDER, SystemClock(), lambda: 60))
        ours = server.received[0]
        (row,) = observations(ours.body)
        say = {name: row[name] for name in ("model", "parameters", "usage", "cost", "first_token_at")}
        say |= {"input": CONTENT.messages, "output": CONTENT.completion["choices"][0]["message"]}
        environ = {"URL": server.base_url, "SAY": json.dumps(say), "PATH": "/usr/bin:/bin"}
        python = interpreter(VENVS / "langfuse", (SDK,))
        subprocess.run([python, "-c", SCRIPT], env=environ, check=True, timeout=120, capture_output=True)
        theirs = server.received[-1]
    (their_row,) = observations(theirs.body)
    assert theirs.path == ours.path
    for header in ("authorization", "content-type", "content-encoding", "x-langfuse-ingestion-version"):
        assert theirs.headers[header] == ours.headers[header]
    assert comparable(their_row) == comparable(row)


def comparable(row: dict[str, Any]) -> dict[str, Any]:
    """What both have to say alike: not ids and times, which are each one's own."""
    own = {"id", "trace_id", "start_ns", "end_ns", "first_token_at", "input", "output", "metadata"}
    shown = {name: value for name, value in row.items() if name not in own}
    shown |= {name: json.loads(row[name]) for name in ("input", "output")}
    # This SDK writes each value of the metadata as JSON.
    shown["metadata"] = {name: str(value).strip('"') for name, value in row["metadata"].items()}
    return shown
