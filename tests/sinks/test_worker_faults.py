"""What the worker makes of odd answers (faults 28 to 36). What every sink has to live through is in `test_conformance.py`."""

import json
import logging
import math
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callmeter.sinks.base import Batch, Delivery, Refused, TooLarge
from callmeter.testing.faultserver import FaultServer
from callmeter.testing.host import Host, ids
from tests.sinks.rig import Hook, Scripted

MINUTE = 60.0
HOUR = 3600.0


def test_what_a_healthy_destination_takes_is_gone_from_the_outbox(host: Host, server: FaultServer) -> None:
    sink = Hook(server.url)
    worker = host.worker(sink)
    host.publish(sink, range(1200))
    host.run(worker, 10)
    assert [len(r.ids) for r in server.received] == [500, 500, 200]
    assert host.accounts(sink).delivered == 1200
    assert server.taken == dict.fromkeys(ids(range(1200)), 1)


def test_a_wait_the_destination_asked_for_outlives_the_process(host: Host, server: FaultServer) -> None:
    sink = Hook(server.url)
    first, second = host.worker(sink, "live/a"), host.worker(sink, "live/b")
    server.answer(429, times=1, headers={"Retry-After": "120"})
    host.publish(sink, range(10))
    host.turn(first)
    first.close()
    host.run(second, 119)
    assert server.acts == {429: 1}
    host.run(second, 5)
    assert host.accounts(sink).delivered == 10


def listing(taken: list[str]) -> bytes:
    return json.dumps({"taken": taken}).encode()


class Confirming(Hook):
    """Takes as delivered only what the answer lists."""

    name = "confirming"

    def verdict(self, reply, ids):  # type: ignore[no-untyped-def]
        try:
            listed = json.loads(reply.body)["taken"]
        except (ValueError, TypeError, KeyError):
            return Delivery()
        return Delivery(accepted=listed)


@pytest.mark.parametrize("body", [b"", b"<html>OK</html>", b'{"taken": ["0000', b"[1, 2]", b"\xff\xfe\x00", b"null"])
def test_a_200_with_garbage_acknowledges_nothing(host: Host, server: FaultServer, body: bytes) -> None:
    sink = Confirming(server.url)
    worker = host.worker(sink)
    server.garbage(body, times=1)
    server.answer(200, body=listing(ids(range(5))))
    host.publish(sink, range(5))
    host.turn(worker)
    assert server.acts[200] == 1
    assert host.accounts(sink).waiting == 5
    host.run(worker, MINUTE)
    assert host.accounts(sink).delivered == 5


def test_of_a_partial_confirmation_only_the_rest_is_sent_again(host: Host, server: FaultServer) -> None:
    sink = Confirming(server.url)
    worker = host.worker(sink)
    server.answer(200, times=1, body=listing(ids([0, 3])))
    server.answer(200, body=listing(ids([1, 2])))
    host.publish(sink, range(4))
    host.run(worker, MINUTE)
    assert [list(r.ids) for r in server.received] == [ids([0, 1, 2, 3]), ids([1, 2])]
    assert host.accounts(sink).delivered == 4


class Undeduped(Hook):
    """Has a deadline that a test can wait for; no other may have one, lest a busy machine decide what arrives twice."""

    timeout_s = 0.3
    name = "undeduped"
    dedupe_key = ""


@pytest.mark.parametrize("fault", ["reset", "hang"])
def test_without_a_dedupe_key_an_uncertain_send_becomes_a_dead_letter(
    host: Host, server: FaultServer, fault: str
) -> None:
    sink = Undeduped(server.url)
    worker = host.worker(sink)
    getattr(server, fault)(times=1)
    host.publish(sink, range(3))
    host.run(worker, 5 * MINUTE)
    assert server.acts[fault] == 1
    assert host.accounts(sink).dead == 3
    assert all(reason.startswith("uncertain: ") for reason in host.dead(sink).values())
    assert max(server.taken.values(), default=0) <= 1


def test_without_a_dedupe_key_a_refused_connection_is_simply_retried(host: Host) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        sink = Undeduped(f"http://127.0.0.1:{unused.getsockname()[1]}/")
        worker = host.worker(sink)
        host.publish(sink, range(3))
        host.run(worker, 5 * MINUTE)
    accounts = host.accounts(sink)
    assert (accounts.waiting, accounts.dead, accounts.state) == (3, 0, "failing")


@settings(max_examples=40, deadline=None)
@given(data=st.data(), size=st.integers(1, 200))
def test_any_poison_in_any_batch_costs_at_most_two_sends_a_halving(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, size: int
) -> None:
    poison = data.draw(st.sets(st.integers(0, size - 1), max_size=3))

    def export(events):  # type: ignore[no-untyped-def]
        if poison.intersection(int(e.id, 16) for e in events):
            raise Refused("malformed")
        return Delivery(accepted=[e.id for e in events])

    host, sink = Host(tmp_path_factory.mktemp("home")), Scripted(export)
    worker = host.worker(sink)
    host.publish(sink, range(size))
    host.turn(worker)
    assert sorted(host.dead(sink)) == sorted(ids(sorted(poison)))
    assert host.accounts(sink).delivered == size - len(poison)
    assert len(sink.batches) <= max(1, len(poison)) * (2 * math.log2(size) + 2)
    host.close()


def test_one_event_that_is_too_large_goes_without_its_content(host: Host, server: FaultServer) -> None:
    sink = Hook(server.url, capture_content=True)
    worker = host.worker(sink)
    server.max_body_bytes = 5_000
    host.publish(sink, [1], content_chars=50_000)
    host.publish(sink, [2], content_chars=10)
    host.run(worker, MINUTE)
    assert server.acts[413] == 2
    assert host.accounts(sink).delivered == 2
    taken = {i: r.body for r in server.received if r.act.takes for i in r.ids}
    assert b"xxxx" not in taken[ids([1])[0]]
    assert b"xxxx" in taken[ids([2])[0]]


def test_one_event_that_is_too_large_even_so_is_a_dead_letter(host: Host, server: FaultServer) -> None:
    sink = Hook(server.url, capture_content=True)
    worker = host.worker(sink)
    server.max_body_bytes = 100
    host.publish(sink, [1], content_chars=50_000)
    host.run(worker, HOUR, at_least_s=5)
    assert server.acts == {413: 2}
    assert host.accounts(sink).dead == 1
    assert host.dead(sink)[ids([1])[0]].startswith("too_large: ")


@pytest.mark.parametrize(("status", "cure"), [(401, "key"), (307, "redirect")])
def test_a_destination_that_refuses_us_parks_the_sink_with_one_alert(
    host: Host, server: FaultServer, caplog: pytest.LogCaptureFixture, status: int, cure: str
) -> None:
    sink = Hook(server.url)
    worker = host.worker(sink)
    server.answer(status, headers={"location": "http://127.0.0.1:9/elsewhere"} if status == 307 else {})
    host.publish(sink, range(1200))
    with caplog.at_level(logging.INFO, "callmeter"):
        host.run(worker, HOUR, at_least_s=5)
    assert 59 <= server.acts[status] <= 61
    assert {len(r.ids) for r in server.received[1:]} == {1}
    (alert,) = caplog.messages
    for told in ("webhook", sink.endpoint, str(status), cure):
        assert told in alert
    accounts = host.accounts(sink)
    assert (accounts.state, accounts.waiting) == ("parked", 1200)
    server.heal()
    host.run(worker, 2 * MINUTE)
    accounts = host.accounts(sink)
    assert (accounts.state, accounts.delivered) == ("ok", 1200)
    assert set(server.taken.values()) == {1}


def test_a_redirect_is_not_followed(host: Host, server: FaultServer) -> None:
    with FaultServer() as elsewhere:
        sink = Hook(server.url, secret="s")
        worker = host.worker(sink)
        server.answer(307, headers={"location": elsewhere.url})
        host.publish(sink, range(3))
        host.run(worker, 5 * MINUTE)
        assert server.acts[307] > 1
        assert elsewhere.received == []


def test_replaying_dead_letters_twice_delivers_each_once(host: Host, server: FaultServer) -> None:
    sink = Hook(server.url)
    worker = host.worker(sink)
    server.poison = frozenset(ids([1, 2]))
    host.publish(sink, range(10))
    host.run(worker, MINUTE)
    assert host.accounts(sink).dead == 2
    server.poison = frozenset()
    assert host.journal.revive(sink.identity()) == 2
    assert host.journal.revive(sink.identity()) == 0
    host.run(worker, MINUTE)
    assert host.accounts(sink).delivered == 10
    assert server.taken == dict.fromkeys(ids(range(10)), 1)


def test_one_event_that_alone_is_too_large_does_not_hold_up_its_batch(host: Host) -> None:
    def export(events):  # type: ignore[no-untyped-def]
        if any(e.content is not None for e in events):
            raise TooLarge("413")
        return Delivery(accepted=[e.id for e in events])

    sink = Scripted(export)
    sink.batch = Batch(max_events=100)  # type: ignore[misc]
    worker = host.worker(sink)
    host.publish(sink, range(50))
    host.publish(sink, [50], content_chars=20)
    host.publish(sink, range(51, 100))
    host.turn(worker)
    assert host.accounts(sink).delivered == 100
    assert len(sink.batches) <= 2 * math.ceil(math.log2(100)) + 2
