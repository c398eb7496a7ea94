"""What each answer of an HTTP destination means for the events that were sent to it."""

import socket
from collections.abc import Iterator, Sequence

import pytest

from callmeter.errors import APIConnectionError, ConfigError
from callmeter.events.model import AnyEvent
from callmeter.sinks.base import Delivery, Misconfigured, Refused, RetryLater, TooLarge
from callmeter.sinks.sending import deliver, may_have_arrived, verdict_of_status, where
from callmeter.testing.clocks import FixedClock
from callmeter.testing.faultserver import FaultServer
from callmeter.testing.host import SENDER, ended, ids
from callmeter.types import Timeouts
from callmeter.wire import WireReply, WireRequest
from tests.sinks.rig import OneEach


def answers(sink: OneEach, count: int, time_left_s: float = 60.0) -> list[tuple[Sequence[str], Delivery | Exception]]:
    return list(deliver(sink, [ended(n) for n in range(count)], SENDER, FixedClock(), lambda: time_left_s))


@pytest.mark.parametrize(
    ("status", "meaning"),
    [
        *((status, RetryLater) for status in (408, 425, 429, 500, 502, 503, 504, 507, 529, 100, 600)),
        *((status, Refused) for status in (400, 406, 409, 415, 422, 431)),
        (413, TooLarge),
        *((status, Misconfigured) for status in (301, 302, 303, 304, 307, 308, 401, 402, 403, 404, 405, 407, 410)),
    ],
)
def test_every_status_has_one_meaning(status: int, meaning: type[Exception]) -> None:
    verdict = verdict_of_status(WireReply(status=status, body=b"no"), "https://x", 0)
    assert type(verdict) is meaning
    assert f"https://x answered {status}" in str(verdict)


def test_only_a_gateway_that_gave_up_leaves_it_open_whether_the_events_arrived() -> None:
    def uncertain(status: int) -> bool:
        verdict = verdict_of_status(WireReply(status=status), "https://x", 0)
        return isinstance(verdict, RetryLater) and verdict.uncertain

    assert [status for status in range(400, 600) if uncertain(status)] == [504]


def test_a_long_error_body_is_quoted_in_part() -> None:
    verdict = verdict_of_status(WireReply(status=400, body=b"\xff" + b"y" * 10_000_000), "https://x", 0)
    assert len(str(verdict)) < 300


def test_each_request_of_a_batch_is_answered_by_itself(server: FaultServer) -> None:
    server.answer(200, times=1)
    server.answer(400, times=1)
    server.answer(200, times=1)
    server.answer(503, headers={"retry-after": "7"})
    got = answers(OneEach(server.url), 6)
    assert [said_ids for said_ids, _ in got] == [[i] for i in ids(range(4))]
    assert [type(said) for _, said in got] == [Delivery, Refused, Delivery, RetryLater]
    assert got[3][1].after_s == 7.0  # type: ignore[union-attr]
    assert len(server.received) == 4


def test_no_request_is_begun_without_time(server: FaultServer) -> None:
    assert answers(OneEach(server.url), 3, time_left_s=0.0) == []
    assert server.received == []


def test_events_that_encode_leaves_out_are_named(server: FaultServer) -> None:
    class Forgetful(OneEach):
        def encode(self, events: Sequence[AnyEvent]) -> Iterator[tuple[WireRequest, Sequence[str]]]:
            return super().encode(events[:1])

    (_, first), (left, said) = answers(Forgetful(server.url), 3)
    assert isinstance(first, Delivery)
    assert (list(left), type(said)) == (ids([1, 2]), RetryLater)
    assert "2 of 3" in str(said)


@pytest.mark.parametrize(
    ("error", "meaning"),
    [(KeyError("x"), Refused), (ConfigError("no key"), Misconfigured), (TooLarge("one event"), TooLarge)],
)
def test_what_encode_raises_is_about_the_events_it_had_not_named(
    server: FaultServer, error: Exception, meaning: type[Exception]
) -> None:
    class Fragile(OneEach):
        def encode(self, events: Sequence[AnyEvent]) -> Iterator[tuple[WireRequest, Sequence[str]]]:
            yield from super().encode(events[:2])
            raise error

    *_, (left, said) = answers(Fragile(server.url), 5)
    assert (list(left), type(said)) == (ids([2, 3, 4]), meaning)


def test_a_request_gets_the_sinks_deadline_or_what_is_left_of_the_process(server: FaultServer) -> None:
    seen = []

    class Noting:
        def send(self, request: WireRequest) -> WireReply:
            seen.append(request.timeouts.total_s)
            return WireReply(status=200)

    for left_s in (60.0, 1.5):
        list(deliver(OneEach(server.url), [ended(1)], Noting(), FixedClock(), lambda left_s=left_s: left_s))  # type: ignore[misc]
    assert seen == [10.0, 1.5]


def caught(url: str) -> APIConnectionError:
    with pytest.raises(APIConnectionError) as found:
        SENDER.send(WireRequest(url=url, timeouts=Timeouts(connect_s=0.3, total_s=0.3)))
    return found.value


def test_only_where_no_connection_was_made_did_surely_nothing_arrive(server: FaultServer) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        assert not may_have_arrived(caught(f"http://127.0.0.1:{unused.getsockname()[1]}/"))
    assert not may_have_arrived(caught("http://name.invalid/"))
    assert not may_have_arrived(caught(server.url.replace("http:", "https:")))
    server.reset(times=1)
    server.hang(times=1)
    assert may_have_arrived(caught(server.url))
    assert may_have_arrived(caught(server.url))
    assert server.acts == {"reset": 1, "hang": 1}


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://hooks.example.com/services/T0/B0/secret?token=1", "https://hooks.example.com"),
        ("https://user:pass@example.com:8443/x", "https://example.com:8443"),
        ("http://[::1]:80/x", "http://[::1]:80"),
        ("/relative", ""),
        ("", ""),
    ],
)
def test_a_place_is_named_without_its_secrets(url: str, shown: str) -> None:
    assert where(url) == shown
