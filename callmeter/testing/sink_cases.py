"""The cases of the conformance suite; see `sink_conformance`, which is what test modules import."""

import logging
import math
import socket
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import ClassVar

import pytest

from callmeter import faultpoints
from callmeter.events.model import AnyEvent, CallFailed, CallSucceeded, ErrorFacts
from callmeter.sinks.base import HttpSink, Sink
from callmeter.testing.faultserver import Act, FaultServer, ids_of_json_list
from callmeter.testing.host import Host, ended

MINUTE = 60.0
HOUR = 3600.0

IMPATIENT_S = 0.3
"""How long the sink waits for an answer in these tests."""

GARBAGE = (b"<html>Welcome</html>", b'{"accepted": [', b"\xff\xfe\x00")


class Died(BaseException):
    """The end of a process, in the middle of something."""


class SinkConformance:
    """Subclass it, say how the sink is made, and where its keys are in what it sends."""

    checks_answers: ClassVar[bool] = False
    """Whether a 2xx answer with a body that confirms nothing leaves the events waiting; else any 2xx takes them."""
    secrets: ClassVar[tuple[str, ...]] = ()
    """What `make_sink` uses as credentials, to be looked for where they must not be."""
    count: ClassVar[int] = 60
    """Events a test publishes."""

    # --- what the author says

    def make_sink(self, url: str) -> Sink:
        """A new sink that sends to the server at this address, `http://host:port`. Equal each time: a restart."""
        raise NotImplementedError

    def event(self, number: int) -> AnyEvent:
        """The event with this number, one that the sink wants."""
        return ended(number) if CallSucceeded in self.make_sink("http://127.0.0.1").wants else failed(number)

    def key(self, event: AnyEvent) -> str:
        """What the service tells this event from others by."""
        return event.id

    def keys(self, body: bytes) -> Sequence[str]:
        """The keys in a request's body; none where it is of another kind."""
        return ids_of_json_list(body)

    def healthy(self, keys: Sequence[str]) -> Act:
        """How the service answers what it takes."""
        return Act()

    def refusal(self, keys: Sequence[str]) -> Act:
        """How the service answers a request with something malformed in it."""
        return Act(status=400, body=b"an event is malformed", takes=False)

    # --- what they share

    @pytest.fixture
    def server(self, tmp_path: Path) -> Iterator[FaultServer]:
        """The service."""
        with FaultServer(self.keys, healthy=self.healthy, refusal=self.refusal) as one:
            yield one

    @pytest.fixture
    def host(self, tmp_path: Path) -> Iterator[Host]:
        """The machine the sink's events are on."""
        one = Host(tmp_path / "home")
        yield one
        faultpoints.handler = None
        one.close()

    @pytest.fixture
    def sink(self, server: FaultServer) -> Sink:
        """The sink, of little patience."""
        return self.impatient(server.base_url)

    def impatient(self, url: str) -> Sink:
        """A sink that waits for answers only as long as a test can."""
        sink = self.make_sink(url)
        if isinstance(sink, HttpSink):
            sink.timeout_s = IMPATIENT_S
        return sink

    def publish(self, host: Host, sink: Sink, numbers: range) -> list[str]:
        """Commit these events for the sink; their keys."""
        events = [self.event(number) for number in numbers]
        host.append(sink, events)
        return [self.key(event) for event in events]

    # --- the cases

    def test_a_healthy_service_gets_everything_once(self, host: Host, sink: Sink, server: FaultServer) -> None:
        worker = host.worker(sink)
        keys = self.publish(host, sink, range(self.count))
        host.run(worker, MINUTE)
        assert host.accounts(sink).delivered == self.count
        assert server.taken == dict.fromkeys(keys, 1)

    @pytest.mark.parametrize("status", [500, 503])
    def test_an_hour_of_5xx_loses_nothing_and_is_probed_once_a_minute(
        self, host: Host, sink: Sink, server: FaultServer, caplog: pytest.LogCaptureFixture, status: int
    ) -> None:
        worker = host.worker(sink)
        server.answer(status)
        keys = self.publish(host, sink, range(self.count))
        with caplog.at_level(logging.INFO, "callmeter"):
            host.run(worker, HOUR, at_least_s=5)
            assert 50 <= server.acts[status] <= 5 + 60
            accounts = host.accounts(sink)
            assert (accounts.waiting, accounts.state) == (self.count, "failing")
            server.heal()
            host.run(worker, 5 * MINUTE)
        accounts = host.accounts(sink)
        assert (accounts.delivered, accounts.state) == (self.count, "ok")
        assert server.taken == dict.fromkeys(keys, 1)
        assert len(caplog.records) <= 2, caplog.text

    @pytest.mark.parametrize(
        ("asked", "seconds"),
        [("120", 120.0), ("date", 120.0), ("999999999", 900.0), ("-5", 0.0), ("soon", 0.0), (None, 0.0)],
    )
    def test_429_is_not_tried_again_before_retry_after(
        self, host: Host, sink: Sink, server: FaultServer, asked: str | None, seconds: float
    ) -> None:
        worker = host.worker(sink)
        if asked == "date":
            then = datetime.fromtimestamp(host.clock.wall_ns() / 1e9, UTC) + timedelta(seconds=120)
            asked = format_datetime(then, usegmt=True)
        server.answer(429, times=1, headers={"Retry-After": asked} if asked else {})
        keys = self.publish(host, sink, range(3))
        host.turn(worker)
        keys += self.publish(host, sink, range(3, 6))
        if seconds:
            host.run(worker, seconds - 1)
        assert server.acts == {429: 1}
        host.run(worker, MINUTE)
        assert server.taken == dict.fromkeys(keys, 1)

    @pytest.mark.parametrize("fault", ["hang", "drip", "reset"])
    def test_when_no_answer_comes_the_same_keys_are_sent_again_or_become_dead_letters(
        self, host: Host, sink: Sink, server: FaultServer, fault: str
    ) -> None:
        worker = host.worker(sink)
        if fault == "drip":
            server.drip(b"x" * 1000, pause_s=IMPATIENT_S / 2, times=1)
        else:
            getattr(server, fault)(times=1)
        keys = self.publish(host, sink, range(3))
        host.run(worker, 5 * MINUTE)
        assert server.acts[fault] == 1
        self.holds(host, sink, server, keys)

    def test_a_slow_service_delays_only_itself(self, host: Host, sink: Sink, server: FaultServer) -> None:
        with FaultServer(self.keys, healthy=self.healthy) as other_server:
            other = self.impatient(other_server.base_url)
            assert other.identity() != sink.identity()
            slow, quick = host.worker(sink), host.worker(other)
            server.answer(429, headers={"Retry-After": "60"})
            for minute in range(10):
                self.publish(host, sink, range(minute * 10, minute * 10 + 10))
                self.publish(host, other, range(1000 + minute * 10, 1010 + minute * 10))
                host.turn(slow)
                host.turn(quick)
                host.clock.advance(MINUTE)
            assert host.accounts(other).delivered == 100
            assert host.accounts(sink).waiting == 100

    @pytest.mark.parametrize("body", GARBAGE)
    def test_a_200_that_confirms_nothing(self, host: Host, sink: Sink, server: FaultServer, body: bytes) -> None:
        worker = host.worker(sink)
        server.garbage(body, times=1)
        keys = self.publish(host, sink, range(3))
        host.turn(worker)
        assert server.acts[200] == 1
        if not self.checks_answers:
            assert host.accounts(sink).delivered == 3
            return
        assert host.accounts(sink).waiting == 3
        host.run(worker, 5 * MINUTE)
        assert server.taken == dict.fromkeys(keys, 1)

    @pytest.mark.parametrize("poison", [0, 250, 499])
    def test_one_malformed_event_in_500_is_found_and_the_others_get_through(
        self, host: Host, sink: Sink, server: FaultServer, poison: int
    ) -> None:
        worker = host.worker(sink)
        keys = self.publish(host, sink, range(500))
        server.poison = frozenset({keys[poison]})
        host.run(worker, MINUTE)
        accounts = host.accounts(sink)
        assert (accounts.delivered, accounts.dead) == (499, 1)
        assert list(host.dead(sink)) == [self.event(poison).id]
        batches = math.ceil(500 / sink.batch.max_events)
        assert len(server.received) <= batches + 2 * math.log2(500) + 2
        assert server.taken == dict.fromkeys({*keys} - {keys[poison]}, 1)

    def test_what_is_too_large_is_split(self, host: Host, sink: Sink, server: FaultServer) -> None:
        worker = host.worker(sink)
        keys = self.publish(host, sink, range(8))
        host.turn(worker)
        largest = max(len(received.body) for received in server.received)
        server.max_body_bytes = largest // 2
        more = self.publish(host, sink, range(8, 16))
        host.run(worker, MINUTE)
        assert 1 <= server.acts[413] <= 15
        assert server.taken == dict.fromkeys([*keys, *more], 1)

    @pytest.mark.parametrize("status", [401, 403, 404])
    def test_a_service_that_refuses_us_parks_the_sink_with_one_alert_until_it_is_mended(
        self, host: Host, sink: Sink, server: FaultServer, caplog: pytest.LogCaptureFixture, status: int
    ) -> None:
        worker = host.worker(sink)
        server.answer(status)
        keys = self.publish(host, sink, range(self.count))
        with caplog.at_level(logging.INFO, "callmeter"):
            host.run(worker, HOUR, at_least_s=5)
        (alert,) = caplog.messages
        assert sink.name in alert
        assert str(status) in alert
        assert 59 <= server.acts[status] <= 61
        accounts = host.accounts(sink)
        assert (accounts.state, accounts.waiting) == ("parked", self.count)
        server.heal()
        host.run(worker, 5 * MINUTE)
        assert host.accounts(sink).state == "ok"
        assert server.taken == dict.fromkeys(keys, 1)

    @pytest.mark.parametrize("fault", ["refused", "tls", "dns"])
    def test_where_no_connection_comes_about_everything_is_kept(
        self, host: Host, server: FaultServer, caplog: pytest.LogCaptureFixture, fault: str
    ) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            urls = {
                "refused": f"http://127.0.0.1:{unused.getsockname()[1]}",
                "tls": server.base_url.replace("http:", "https:"),
                "dns": "https://name.invalid",
            }
            sink = self.impatient(urls[fault])
            worker = host.worker(sink)
            self.publish(host, sink, range(3))
            with caplog.at_level(logging.INFO, "callmeter"):
                host.run(worker, 5 * MINUTE, at_least_s=5)
        accounts = host.accounts(sink)
        assert (accounts.waiting, accounts.dead, accounts.state) == (3, 0, "failing")
        assert len(caplog.records) == 1, caplog.text
        assert server.taken == {}

    def test_a_process_that_dies_before_it_could_note_the_answer_is_followed_by_another(
        self, host: Host, sink: Sink, server: FaultServer
    ) -> None:
        keys = self.publish(host, sink, range(3))
        dying = host.worker(sink, "live/dying")
        faultpoints.handler = _die_at("worker.send.after")
        with pytest.raises(Died):
            dying.step(host.clock.mono_ns())
        faultpoints.handler = None
        assert server.taken == dict.fromkeys(keys, 1)
        again = self.impatient(server.base_url)
        assert again.identity() == sink.identity()
        host.clock.advance(10)
        host.run(host.worker(again, "live/next"), 5 * MINUTE)
        self.holds(host, sink, server, keys)

    def test_no_credential_shows(
        self, host: Host, sink: Sink, server: FaultServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        worker = host.worker(sink)
        server.answer(401, times=1)
        server.answer(400, times=1)
        self.publish(host, sink, range(1))
        with caplog.at_level(logging.DEBUG, "callmeter"):
            host.run(worker, 5 * MINUTE)
        seen = [repr(sink), str(sink), sink.identity(), sink.endpoint, caplog.text, repr(host.journal.accounts())]
        seen += host.dead(sink).values()
        assert [secret for secret in self.secrets if any(secret in text for text in seen)] == []

    def test_it_can_be_opened_and_closed_more_than_once(self, sink: Sink) -> None:
        for _ in range(2):
            sink.open()
            sink.close()
        sink.close()

    # --- what holds after a fault that left the outcome open

    def holds(self, host: Host, sink: Sink, server: FaultServer, keys: Sequence[str]) -> None:
        """Nothing lost; nothing doubled where the service can tell; else what is uncertain is a dead letter."""
        accounts = host.accounts(sink)
        if sink.dedupe_key:
            assert accounts.delivered == len(keys)
            assert set(server.taken) == set(keys)
            return
        assert accounts.dead == len(keys)
        assert all(reason.startswith("uncertain: ") for reason in host.dead(sink).values())
        assert max(server.taken.values(), default=0) <= 1


def failed(number: int) -> CallFailed:
    """The end of a call that failed."""
    whole = ended(number)
    return CallFailed(
        id=whole.id,
        at_ns=whole.at_ns,
        call=whole.call,
        attempts=whole.attempts,
        error=ErrorFacts(error_class="RateLimitError", message="slow down", http_status=429),
    )


def _die_at(name: str) -> Callable[[str], None]:
    def handle(passed: str) -> None:
        if passed == name:
            raise Died

    return handle
