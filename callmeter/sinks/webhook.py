"""Events to any HTTP endpoint, as signed CloudEvents batches."""

import base64
import hashlib
import hmac
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import ClassVar
from urllib.parse import urlsplit

import msgspec

from callmeter.clock import Clock, SystemClock
from callmeter.errors import ConfigError
from callmeter.events.model import AnyEvent
from callmeter.sinks.base import HttpSink
from callmeter.sinks.sending import where
from callmeter.types import Secret
from callmeter.wire import WireRequest


class Webhook(HttpSink):
    """Post every call's end as a CloudEvents 1.0 batch: `id` is the event's id, `type` is `ai.callmeter.<tag>`.

    With a secret each request is signed by the Standard Webhooks convention: `webhook-signature` holds
    `v1,base64(HMAC-SHA256(id.timestamp.body))`. A secret that starts with `whsec_` is base64 after that, any other is
    used as it is. `webhook-id` is the same for the same events, so a receiver can drop a batch that comes twice.
    Any 2xx answer means that the whole batch was taken.
    Sources: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md#33-batched-content-mode
    and https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
    """

    name: ClassVar[str] = "webhook"
    dedupe_key: ClassVar[str] = "id"

    def __init__(
        self,
        url: str,
        secret: str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        capture_content: bool = False,
        clock: Clock | None = None,
    ) -> None:
        """Raises `ConfigError` for an address that is neither https nor this machine, and for a malformed secret."""
        _check_url(url)
        self.endpoint = where(url)
        # The path of a webhook is often its only credential, so the whole address is held as one.
        self.key = Secret("\0".join((url, secret or "", *(f"{k}:{v}" for k, v in sorted((headers or {}).items())))))
        self.capture_content = capture_content
        self._url = Secret(url)
        self._signing_key = _signing_key(secret)
        self._headers = dict(headers or {})
        self._clock = clock or SystemClock()

    def encode(self, events: Sequence[AnyEvent]) -> Iterator[tuple[WireRequest, Sequence[str]]]:
        """One request for the batch."""
        ids = [event.id for event in events]
        body = msgspec.json.encode([self._envelope(event) for event in events])
        headers = {**self._headers, "content-type": "application/cloudevents-batch+json; charset=utf-8"}
        headers |= self._signature(ids, body)
        yield WireRequest(url=self._url.reveal(), headers=headers, body=body), ids

    def _envelope(self, event: AnyEvent) -> dict[str, object]:
        return {
            "specversion": "1.0",
            "id": event.id,
            "source": "callmeter",
            "type": f"ai.callmeter.{event.__struct_config__.tag}",
            "time": datetime.fromtimestamp(event.at_ns // 1000 / 1e6, UTC).isoformat().replace("+00:00", "Z"),
            "datacontenttype": "application/json",
            "data": self.shown(event),
        }

    def _signature(self, ids: Sequence[str], body: bytes) -> dict[str, str]:
        message_id = hashlib.blake2b("".join(ids).encode(), digest_size=16).hexdigest()
        if self._signing_key is None:
            return {"webhook-id": message_id}
        timestamp = str(self._clock.wall_ns() // 10**9)
        signed = f"{message_id}.{timestamp}.".encode() + body
        digest = hmac.digest(self._signing_key, signed, "sha256")
        return {
            "webhook-id": message_id,
            "webhook-timestamp": timestamp,
            "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
        }


def _check_url(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme == "https" and parts.hostname:
        return
    if parts.scheme == "http" and parts.hostname and _is_this_machine(parts.hostname):
        return
    shown = where(url) or "an address without a host"
    raise ConfigError(f"the webhook goes to {shown}; set an https:// address, or http:// on this machine only")


def _is_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _signing_key(secret: str | None) -> bytes | None:
    if not secret:
        return None
    if not secret.startswith("whsec_"):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except ValueError:
        raise ConfigError("the webhook's secret is not base64 after its whsec_; copy it again") from None
