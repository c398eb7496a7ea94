"""The jsonl sink: a line for each event, once, whatever interrupted the writing."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from callmeter.events.model import AnyEvent
from callmeter.sinks.base import Misconfigured, RetryLater
from callmeter.sinks.jsonl import JsonLines
from callmeter.testing.host import Host, ended, ids


def lines(path: Path) -> list[str]:
    """The ids in the file; every line is whole."""
    return [json.loads(line)["id"] for line in path.read_text().splitlines()]


def test_a_line_is_the_event_and_has_content_only_on_request(tmp_path: Path) -> None:
    plain, whole = tmp_path / "plain.jsonl", tmp_path / "whole.jsonl"
    JsonLines(plain).export([ended(1, content_chars=5)])
    JsonLines(whole, capture_content=True).export([ended(1, content_chars=5)])
    (line,) = plain.read_text().splitlines()
    event = json.loads(line)
    assert (event["type"], event["id"], event["cost"]["total"]) == ("call.succeeded", ids([1])[0], "0.000125")
    assert "xxxxx" not in line
    assert json.loads(whole.read_text())["content"]["messages"] == [{"role": "user", "content": "xxxxx"}]
    assert plain.stat().st_mode & 0o777 == 0o600


def test_events_reach_the_file_in_order_through_the_worker(host: Host, tmp_path: Path) -> None:
    sink = JsonLines(tmp_path / "calls.jsonl")
    worker = host.worker(sink)
    host.publish(sink, range(250))
    host.run(worker, 10)
    assert lines(tmp_path / "calls.jsonl") == ids(range(250))
    assert host.accounts(sink).delivered == 250


class KilledAfterWriting(JsonLines):
    """Dies when the lines are in the file and nobody knows it yet."""

    def export(self, events: Sequence[AnyEvent]) -> None:  # type: ignore[override]
        super().export(events)
        raise KeyboardInterrupt


def test_what_was_written_before_a_kill_is_not_written_again(host: Host, tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    dying = KilledAfterWriting(path)
    worker = host.worker(dying)
    host.publish(dying, range(40))
    with pytest.raises(KeyboardInterrupt):
        host.run(worker, 10)
    assert lines(path) == ids(range(40))
    assert host.accounts(dying).waiting == 40
    host.clock.advance(60)
    following = host.worker(JsonLines(path), owner="live/two")
    host.publish(following.sink, range(40, 50))
    host.run(following, 10)
    assert lines(path) == ids(range(50))
    assert host.accounts(following.sink).delivered == 50


def test_two_processes_that_take_turns_write_nothing_twice(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    one, two = JsonLines(path), JsonLines(path)
    one.export([ended(1)])
    two.export([ended(1), ended(2)])
    one.export([ended(2), ended(3)])
    assert lines(path) == ids([1, 2, 3])


@pytest.mark.parametrize("left", [1, 20, 200])
def test_a_line_that_a_power_failure_cut_is_taken_back_and_written_whole(tmp_path: Path, left: int) -> None:
    path = tmp_path / "calls.jsonl"
    JsonLines(path).export([ended(1), ended(2)])
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.index(b"\n") + 1 + left])
    JsonLines(path).export([ended(2), ended(3)])
    assert lines(path) == ids([1, 2, 3])


def test_a_full_disk_leaves_no_half_line_and_the_batch_waits(small_disk: Path) -> None:
    path, ballast = small_disk / "calls.jsonl", small_disk / "ballast"
    sink = JsonLines(path)
    sink.export([ended(1)])
    ballast.write_bytes(b"x" * 900_000)
    with pytest.raises(RetryLater, match=r"calls\.jsonl cannot be written to: No space left on device"):
        sink.export([ended(number) for number in range(2, 2000)])
    assert lines(path) == ids([1])
    ballast.unlink()
    sink.export([ended(number) for number in range(2, 200)])
    assert lines(path) == ids(range(1, 200))


def test_a_file_that_was_rotated_away_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    sink = JsonLines(path)
    sink.export([ended(1)])
    path.rename(tmp_path / "calls.jsonl.1")
    sink.export([ended(2)])
    assert (lines(tmp_path / "calls.jsonl.1"), lines(path)) == (ids([1]), ids([2]))


@pytest.mark.parametrize("make", ["missing", "a folder"])
def test_a_place_that_cannot_be_written_to_is_named_and_parks_the_sink(tmp_path: Path, make: str) -> None:
    path = tmp_path / "there" / "calls.jsonl"
    if make == "a folder":
        path.mkdir(parents=True)
    with pytest.raises(Misconfigured, match=r"there/calls\.jsonl cannot be written to: .*CALLMETER_JSONL_PATH"):
        JsonLines(path).export([ended(1)])
