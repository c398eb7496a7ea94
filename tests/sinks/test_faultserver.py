"""The fault server does as told and its books agree with what went over the wire."""

import http.client
import json
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from callmeter.testing.faultserver import FaultServer, ids_of_json_list


def post(server: FaultServer, *ids: str, timeout_s: float = 5.0) -> tuple[int, bytes]:
    parts = urlsplit(server.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout_s)
    try:
        connection.request("POST", parts.path, json.dumps([{"id": each} for each in ids]))
        reply = connection.getresponse()
        return reply.status, reply.read()
    finally:
        connection.close()


def test_a_script_runs_line_by_line_and_then_everything_is_taken(tmp_path: Path) -> None:
    oracle = tmp_path / "arrived.jsonl"
    with FaultServer(oracle=oracle) as server:
        server.answer(503, times=2, headers={"retry-after": "1"})
        server.garbage(b"<html>", times=1)
        server.drip(b"slow", pause_s=0.0, times=1)
        answers = [post(server, "a", "b") for _ in range(5)]
        assert answers == [(503, b""), (503, b""), (200, b"<html>"), (200, b"slow"), (200, b"")]
        assert server.acts == {503: 2, 200: 2, "drip": 1}
        assert server.taken == {"a": 2, "b": 2}
    assert [json.loads(line)["id"] for line in oracle.read_text().splitlines()] == ["a", "b", "a", "b"]


def test_a_reset_takes_the_events_and_a_hang_does_not() -> None:
    with FaultServer() as server:
        server.reset(times=1)
        server.hang(times=1)
        with pytest.raises(ConnectionResetError):
            post(server, "a")
        with pytest.raises(TimeoutError):
            post(server, "b", timeout_s=0.2)
        assert server.acts == {"reset": 1, "hang": 1}
        assert server.taken == {"a": 1}


def test_poison_and_size_come_before_the_script_and_healing_ends_it() -> None:
    with FaultServer(max_body_bytes=30) as server:
        server.poison = frozenset({"bad"})
        server.answer(503)
        assert post(server, "bad")[0] == 400
        assert post(server, "a", "b", "c")[0] == 413
        assert post(server, "a")[0] == 503
        server.heal()
        assert post(server, "a")[0] == 200
        assert [r.ids for r in server.received] == [("bad",), ("a", "b", "c"), ("a",), ("a",)]


@pytest.mark.parametrize("body", [b"", b"{}", b"[1, null, {}]", b"\xff", b'"id"'])
def test_a_body_without_ids_has_none(body: bytes) -> None:
    assert ids_of_json_list(body) == []
