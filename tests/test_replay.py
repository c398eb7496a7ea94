"""A small replay of real traffic through the whole path, and the checker that is to be trusted with the large one."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from benchmarks.replay_check import check, table, verdict
from benchmarks.replay_client import Share, requests
from benchmarks.replay_mix import KINDS, Asked, asked
from benchmarks.replay_trace import TRACES, replay
from callmeter.events.journal import Journal
from callmeter.sinks.duckdb.compactor import Compactor

CALLS = 300
SEED = 1

Plan = Callable[[int], Asked]


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Plan]:
    """The home and the provider's count of a replay by two processes, and what each call asked for."""
    folder = tmp_path_factory.mktemp("replay")
    traces = str(TRACES) if TRACES.exists() else ""
    shares = [Share(url="", seed=SEED, traces=traces, count=CALLS, first=at, every=2) for at in range(2)]
    done, _ = replay(shares, folder / "home", folder / "served.jsonl")
    assert sum(d.calls for d in done) == CALLS
    assert all(d.flushed for d in done)
    every = requests(shares[0])
    return folder / "home", folder / "served.jsonl", lambda number: asked(number, every[number], SEED)


def test_the_mix_has_every_kind_of_call_and_every_wire_both_ways(replayed: tuple[Path, Path, Plan]) -> None:
    calls = [replayed[2](number) for number in range(CALLS)]
    assert {call.kind for call in calls} == set(KINDS)
    assert {(call.model.partition("/")[0], call.stream) for call in calls} == {
        (provider, stream) for provider in ("openai", "anthropic", "ollama") for stream in (False, True)
    }


def test_provider_and_ledger_agree_on_every_call_before_and_after_compaction(
    replayed: tuple[Path, Path, Plan],
) -> None:
    home, served, plan = replayed
    hot = check(home, served, plan)
    assert hot.sound, verdict(hot)
    with closing(Compactor(lambda: Journal.open(home), home, owner="test")) as compactor:
        assert compactor.compact() == CALLS
    cold = check(home, served, plan)
    assert cold.sound, verdict(cold)
    assert table(cold) == table(hot)
    assert sum(outcome.calls for outcome in cold.ledger.values()) == CALLS


def one_token_more(lines: list[bytes]) -> list[bytes]:
    at = next(at for at, line in enumerate(lines) if b'"status":200' in line and b'"complete":true' in line)
    line = msgspec.json.decode(lines[at])
    line["tokens"]["completion_tokens"] += 1
    return [*lines[:at], msgspec.json.encode(line), *lines[at + 1 :]]


def one_answer_less(lines: list[bytes]) -> list[bytes]:
    return lines[1:]


def one_call_more(lines: list[bytes]) -> list[bytes]:
    return [*lines, lines[0].replace(b'"call_id":"', b'"call_id":"9')]


@pytest.mark.parametrize("tampered", [one_token_more, one_answer_less, one_call_more])
def test_the_checker_names_the_call_that_differs(
    replayed: tuple[Path, Path, Plan], tmp_path: Path, tampered: Callable[[list[bytes]], list[bytes]]
) -> None:
    home, served, plan = replayed
    before = check(home, served, plan)
    changed = tmp_path / "served.jsonl"
    changed.write_bytes(b"\n".join(tampered(served.read_bytes().splitlines())))
    after = check(home, changed, lambda number: plan(number % CALLS))
    assert [d for d in after.differences if d not in before.differences and d.startswith("call ")]
