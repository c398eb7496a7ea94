"""What callers put into calls, at its worst, on the whole way: the call works, the row is there, every sink gets it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import callmeter
from callmeter.runtime import Runtime, using
from callmeter.settings import Settings
from callmeter.sinks.webhook import Webhook
from callmeter.testing import FakeProvider
from callmeter.testing.faultserver import FaultServer

TEXTS = {
    "a lone surrogate": "a\ud800b",
    "a lone low surrogate": "\udfff",
    "NUL": "a\x00b",
    "control characters": "".join(map(chr, range(1, 32))),
    "right to left": "\u202eevil\u202c שלום",
    "four bytes": "💸" * 100,
    "a grapheme of a million characters": "e" + "\u0301" * 1_000_000,
    "noncharacters": "\ufffe\uffff",
    "what looks like JSON": '"},{"x":"',
    "what looks like SQL": "'); DROP TABLE calls; --",
    "bytes that are no UTF-8, as Python reads file names": b"\xff\xfe".decode("utf-8", "surrogateescape"),
}

MAX_CONTENT = 256 << 10


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as server:
        yield server


@pytest.fixture
def sink() -> Iterator[FaultServer]:
    with FaultServer() as server:
        yield server


@pytest.fixture
def rt(home: Path, sink: FaultServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runtime]:
    for name in ("success_callback", "failure_callback", "input_callback", "callbacks"):
        monkeypatch.setattr(callmeter, name, [])
    settings = Settings(home=str(home), ledger=True, capture_content=True)
    runtime = Runtime(settings, sinks=[Webhook(sink.url, capture_content=True)])
    with using(runtime):
        yield runtime
    runtime.close(5)


def called(provider: FakeProvider, messages: list[Any], **params: Any) -> Any:
    return callmeter.completion("openai/gpt-4o", messages, api_base=provider.openai_base, api_key="sk-test", **params)


def kept(home: Path, query: str) -> list[tuple[Any, ...]]:
    with callmeter.ledger.connect(home) as ledger:
        assert ledger.problems == ()
        found: list[tuple[Any, ...]] = ledger.sql(query).fetchall()
    return found


@pytest.mark.parametrize("what", TEXTS)
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_any_text_anywhere_reaches_the_ledger_and_the_sink(
    what: str, stream: bool, provider: FakeProvider, sink: FaultServer, rt: Runtime, home: Path
) -> None:
    text = TEXTS[what]
    short = text[:200]
    answer = called(
        provider,
        [{"role": "user", "content": text}],
        stream=stream,
        user=short,
        metadata={"tags": [short], "project": short, short: short},
    )
    if stream:
        assert list(answer)
    assert len(provider.requests) == 1
    assert rt.flush(20)
    (row,) = kept(home, "select status, cost > 0, project, tags[1] from calls")
    assert row[:2] == ("success", True)
    storable = short.encode("utf-8", "replace").decode().replace("\x00", "")
    assert [value.replace("\x00", "") for value in row[2:]] == [storable, storable]
    assert len(sink.taken) == 1
    (account,) = [a for a in rt.delivery.accounts() if a.name == "webhook"]  # type: ignore[union-attr]
    assert (account.delivered, account.dead, account.dropped) == (1, 0, 0)


def deep(levels: int) -> Any:
    value: Any = "bottom"
    for _ in range(levels):
        value = [value]
    return value


HUGE: dict[str, Any] = {
    "a prompt of 100 MB": lambda: [{"role": "user", "content": "x" * 100_000_000}],
    "ten thousand messages": lambda: [{"role": "user", "content": f"message {n}"} for n in range(10_000)],
    "an image of 50 MB": lambda: [
        {
            "role": "user",
            "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 50_000_000}}],
        }
    ],
}


@pytest.mark.parametrize("what", HUGE)
def test_content_of_any_size_is_sent_whole_and_kept_cut(
    what: str, provider: FakeProvider, sink: FaultServer, rt: Runtime, home: Path
) -> None:
    messages = HUGE[what]()
    sent = len(json.dumps(messages))
    called(provider, messages)
    assert len(provider.requests[0].body) >= sent * 0.9
    assert rt.flush(30)
    (row,) = kept(home, "select status, prompt_bytes, prompt_hash is not null from calls")
    assert row[:2] == ("success", len(provider.requests[0].body))
    # What alone is larger than the memory events may take is let go of before it is looked at, and that is counted.
    assert row[2] is (sent < rt.settings.max_memory_bytes) is not bool(rt.losses)
    (body,) = [received.body for received in sink.received]
    assert 0 < len(body) < 2 * MAX_CONTENT


def test_json_five_thousand_levels_deep_costs_the_call_alone(
    provider: FakeProvider, sink: FaultServer, rt: Runtime, home: Path
) -> None:
    messages = [{"role": "user", "content": "Hi", "name": deep(5_000)}]
    with pytest.raises(callmeter.BadRequestError, match="messages is nested too deeply"):
        called(provider, messages)
    called(provider, [{"role": "user", "content": "Hi"}])
    assert rt.flush(20)
    assert kept(home, 'select status from calls order by "at"') == [("failure",), ("success",)]
    assert len(sink.taken) == 2


MEMORY = """
import os
from benchmarks.hanging import Hangs, Source, publish, resident_mb, warm_up
from callmeter.runtime import Runtime
from callmeter.settings import Settings

settings = Settings(home=os.environ["CALLMETER_HOME"], ledger=True, capture_content=True)
rt, source = Runtime(settings, sinks=(Hangs("a"), Hangs("b"))), Source()
warm_up(rt, source)
publish(rt, source, 500)
before = after = resident_mb()
for _ in range(20):
    publish(rt, source, 500)
    after = max(after, resident_mb())
waiting = {account.name: account.waiting for account in rt.delivery.accounts()}
print(after - before, waiting["hangs"], flush=True)
os._exit(0)
"""


@pytest.mark.slow
def test_a_gigabyte_of_payloads_while_every_sink_hangs_costs_less_than_50_mb(home: Path) -> None:
    out = subprocess.run(
        [sys.executable, "-c", MEMORY],
        env={**os.environ, "PYTHONPATH": str(Path(callmeter.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert out.returncode == 0, out.stderr
    growth_mb, waiting = map(float, out.stdout.split())
    print(f"{growth_mb:.1f} MB for 10,000 events of 100 kB, {waiting:.0f} of them waiting")
    assert waiting > 1_000
    assert growth_mb < 50
