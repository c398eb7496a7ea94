"""The conformance suite finds what it is there to find: each of these sinks is wrong in one way."""

from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import ClassVar

import pytest

from callmeter.events.model import AnyEvent
from callmeter.sinks.base import Delivery, HttpSink, Sink
from callmeter.testing.faultserver import FaultServer
from callmeter.testing.host import Host
from callmeter.testing.sink_conformance import SinkConformance
from callmeter.wire import WireReply, WireRequest


class Plain(HttpSink):
    """Does nothing wrong."""

    name = "plain"
    dedupe_key = "id"

    def __init__(self, url: str) -> None:
        self.endpoint = url

    def encode(self, events: Sequence[AnyEvent]) -> Iterator[tuple[WireRequest, Sequence[str]]]:
        yield self.request(events), [event.id for event in events]

    def request(self, events: Sequence[AnyEvent]) -> WireRequest:
        listed = ",".join(f'{{"id":"{self.id_of(event)}"}}' for event in events)
        return WireRequest(url=self.endpoint, body=f"[{listed}]".encode())

    def id_of(self, event: AnyEvent) -> str:
        return event.id


class DrawsIds(Plain):
    """Mints an id at each sending."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._next = count(10**6)

    def id_of(self, event: AnyEvent) -> str:
        return f"{next(self._next):032x}"


class Swallows(Plain):
    """Leaves an event out, and says that it was taken."""

    def request(self, events: Sequence[AnyEvent]) -> WireRequest:
        return super().request(events[1:])


class Believes(Plain):
    """Says that it checks answers, and does not."""


class Blabs(Plain):
    """Shows its key in its address."""

    def __init__(self, url: str) -> None:
        super().__init__(f"{url}/canary")


class Forgets(Plain):
    """Is another one after each start."""

    started = count()

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.project = str(next(self.started))


class Resends(Plain):
    """Refuses nothing: asks for the whole batch again, for ever."""

    def verdict(self, reply: WireReply, ids: Sequence[str]) -> Delivery:
        return Delivery()


def suite(kind: type[Plain]) -> SinkConformance:
    class Suite(SinkConformance):
        secrets: ClassVar[tuple[str, ...]] = ("canary",)
        checks_answers: ClassVar[bool] = kind is Believes

        def make_sink(self, url: str) -> Sink:
            return kind(url)

    return Suite()


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as one:
        yield one


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    one = Host(tmp_path)
    yield one
    one.close()


@pytest.mark.parametrize(
    ("kind", "case", "arguments"),
    [
        (DrawsIds, "when_no_answer_comes_the_same_keys_are_sent_again_or_become_dead_letters", ("reset",)),
        (DrawsIds, "a_process_that_dies_before_it_could_note_the_answer_is_followed_by_another", ()),
        (Swallows, "a_healthy_service_gets_everything_once", ()),
        (Resends, "a_healthy_service_gets_everything_once", ()),
        (Forgets, "a_process_that_dies_before_it_could_note_the_answer_is_followed_by_another", ()),
    ],
)
def test_a_sink_that_is_wrong_fails(
    host: Host, server: FaultServer, kind: type[Plain], case: str, arguments: tuple[str, ...]
) -> None:
    tests = suite(kind)
    with pytest.raises(AssertionError):
        getattr(tests, f"test_{case}")(host, tests.impatient(server.base_url), server, *arguments)


def test_one_that_does_not_look_at_answers_fails(host: Host, server: FaultServer) -> None:
    tests = suite(Believes)
    with pytest.raises(AssertionError):
        tests.test_a_200_that_confirms_nothing(host, tests.impatient(server.base_url), server, b"<html>")


def test_one_that_shows_its_key_fails(host: Host, server: FaultServer, caplog: pytest.LogCaptureFixture) -> None:
    tests = suite(Blabs)
    with pytest.raises(AssertionError, match="canary"):
        tests.test_no_credential_shows(host, tests.impatient(server.base_url), server, caplog)


def test_one_that_is_right_passes(host: Host, server: FaultServer) -> None:
    tests = suite(Plain)
    tests.test_when_no_answer_comes_the_same_keys_are_sent_again_or_become_dead_letters(
        host, tests.impatient(server.base_url), server, "reset"
    )
