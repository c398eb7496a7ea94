"""The webhook sends signed CloudEvents, content only on request, and never shows its address."""

import base64
import hashlib
import hmac
import json

import msgspec
import pytest

from callmeter.errors import ConfigError
from callmeter.events.model import CallSucceeded
from callmeter.sinks.webhook import Webhook
from callmeter.testing.clocks import FixedClock
from callmeter.testing.host import ended, ids

URL = "https://hooks.example.com/services/canary-path?token=canary-query"


def encoded(sink: Webhook, *events: CallSucceeded):  # type: ignore[no-untyped-def]
    ((request, said),) = sink.encode(events)
    return request, said


def test_a_batch_is_cloudevents_1_0_and_its_data_reads_back_as_the_event() -> None:
    request, said = encoded(Webhook(URL), ended(1), ended(2))
    assert (request.method, request.url, list(said)) == ("POST", URL, ids([1, 2]))
    assert request.headers["content-type"] == "application/cloudevents-batch+json; charset=utf-8"
    first, _ = json.loads(request.body)
    assert first.pop("data")["type"] == "call.succeeded"
    assert first == {
        "specversion": "1.0",
        "id": ids([1])[0],
        "source": "callmeter",
        "type": "ai.callmeter.call.succeeded",
        "time": "2025-06-15T15:06:40Z",
        "datacontenttype": "application/json",
    }
    raw = msgspec.json.decode(request.body, type=list[dict[str, msgspec.Raw]])
    assert msgspec.json.decode(raw[1]["data"], type=CallSucceeded) == ended(2)


def test_content_goes_along_only_where_it_is_asked_for() -> None:
    event = ended(1, content_chars=30)
    assert b"xxx" not in encoded(Webhook(URL), event)[0].body
    assert b"xxx" in encoded(Webhook(URL, capture_content=True), event)[0].body
    assert event.content is not None


@pytest.mark.parametrize("secret", ["plain secret", "whsec_" + base64.b64encode(b"\x00\xffbytes").decode()])
def test_the_signature_is_what_a_receiver_computes(secret: str) -> None:
    clock = FixedClock()
    request, _ = encoded(Webhook(URL, secret, clock=clock), ended(1))
    key = b"\x00\xffbytes" if secret.startswith("whsec_") else secret.encode()
    stamp = str(clock.wall_ns() // 10**9)
    message = f"{request.headers['webhook-id']}.{stamp}.".encode() + request.body
    expected = base64.b64encode(hmac.new(key, message, hashlib.sha256).digest()).decode()
    assert request.headers["webhook-timestamp"] == stamp
    assert request.headers["webhook-signature"] == f"v1,{expected}"


def test_the_message_id_follows_from_the_events_alone() -> None:
    first, again, other = (
        encoded(Webhook(URL, clock=clock), *events)[0].headers["webhook-id"]
        for clock, events in ((FixedClock(), (ended(1),)), (FixedClock(5), (ended(1),)), (FixedClock(), (ended(2),)))
    )
    assert first == again != other


def test_address_secret_headers_and_content_policy_each_make_another_identity() -> None:
    sinks = [
        Webhook(URL),
        Webhook(URL + "2"),
        Webhook(URL, "s"),
        Webhook(URL, headers={"Authorization": "Bearer a"}),
        Webhook(URL, headers={"Authorization": "Bearer b"}),
        Webhook(URL, capture_content=True),
    ]
    assert len({sink.identity() for sink in sinks}) == len(sinks)
    assert Webhook(URL).identity() == Webhook(URL).identity()


def test_neither_endpoint_nor_identity_shows_a_credential() -> None:
    sink = Webhook(URL, "canary-secret", headers={"Authorization": "canary-header"})
    assert sink.endpoint == "https://hooks.example.com"
    for shown in (sink.identity(), sink.endpoint, repr(sink), repr(sink.key)):
        assert "canary" not in shown


@pytest.mark.parametrize(
    "url", ["http://example.com/", "http://10.0.0.1/", "ftp://x", "example.com/hook", "", "https://"]
)
def test_an_address_that_is_not_https_is_refused_with_a_cure(url: str) -> None:
    with pytest.raises(ConfigError, match="set an https:// address"):
        Webhook(url)


@pytest.mark.parametrize("url", ["http://localhost:1/", "http://127.0.0.9/", "http://[::1]:80/"])
def test_plain_http_is_for_this_machine(url: str) -> None:
    assert Webhook(url).endpoint.startswith("http://")


def test_a_malformed_secret_is_refused_without_being_shown() -> None:
    with pytest.raises(ConfigError, match="not base64 after its whsec_") as caught:
        Webhook(URL, "whsec_canary!!")
    assert "canary" not in str(caught.value)
