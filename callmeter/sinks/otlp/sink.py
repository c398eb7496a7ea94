"""What the OTLP sinks share: one request a batch, sent over HTTP or gRPC, and what its answer means."""

import gzip
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import msgspec

from callmeter.events.model import AnyEvent, CallEnded
from callmeter.sinks.base import Delivery, HttpSink, Refused, RetryLater
from callmeter.sinks.otlp.environ import Target
from callmeter.sinks.sending import where
from callmeter.types import Secret
from callmeter.wire import WireReply, WireRequest

if TYPE_CHECKING:
    from callmeter.sinks.otlp.encode import Encoder
    from callmeter.sinks.sending import Sender

GZIP_FROM_BYTES = 1024
"""Smaller bodies do not get smaller by being compressed."""


class OtlpSink(HttpSink):
    """Base of the sinks that send one signal by OTLP.

    2xx with an OTLP answer takes the batch; what else a 2xx carries confirms nothing. Where the answer rejects some of
    the batch (`partialSuccess`), it does not say which: the batch is searched for them as after a 400, and what was
    taken before collapses by its ids. Where nothing collapses, the whole batch becomes dead letters.
    Source: https://opentelemetry.io/docs/specs/otlp/#otlphttp-response
    """

    rejected: ClassVar[str] = ""
    """The member of a partial success that counts what was rejected."""
    response: ClassVar[str] = ""
    """The message of OpenTelemetry's protobufs that answers, dotted."""
    method: ClassVar[str] = ""
    """The gRPC method."""

    def __init__(self, target: Target, resource: Mapping[str, str], *, capture_content: bool = False) -> None:
        self.endpoint = where(target.url)
        self.target = target
        self.resource = dict(resource)
        self.capture_content = capture_content
        self.timeout_s = target.timeout_s
        # Whoever delivers speaks for its own program, so programs of other names have outboxes of their own.
        self.project = msgspec.json.encode(sorted(self.resource.items())).decode()
        secrets = sorted((name, secret.reveal()) for name, secret in target.headers.items())
        self.key = Secret("\0".join((target.url, *(f"{name}:{value}" for name, value in secrets))))
        self._encoder: Encoder | None = None
        self._sender: Sender | None = None

    # --- for the worker

    def open(self) -> None:
        """Import OpenTelemetry's encoder, and connect where that takes more than the shared transport."""
        self._encoder = self._made_encoder()
        if self.target.protocol == "grpc":
            from callmeter.sinks.otlp.grpc import GrpcSender

            self._sender = GrpcSender(self.target, self.method)
        elif self.target.certificate or self.target.client_certificate:
            from callmeter.sinks.otlp.tls import tls_sender

            self._sender = tls_sender(self.target)

    def close(self) -> None:
        """Close a connection of the sink's own."""
        close: Callable[[], None] = getattr(self._sender, "close", lambda: None)
        close()
        self._sender = None

    def sender(self) -> "Sender | None":
        """The sink's own way out; None for the shared transport."""
        return self._sender

    def encode(self, events: Sequence[AnyEvent]) -> Iterator[tuple[WireRequest, Sequence[str]]]:
        """One request for the batch."""
        ended = [shown for event in events if isinstance(shown := self.shown(event), CallEnded)]
        yield self._request(self.payload(ended)), [event.id for event in ended]

    def verdict(self, reply: WireReply, ids: Sequence[str]) -> Delivery | None:
        """What a 2xx answer confirms. Raises `Refused` where it rejects some, `RetryLater` where it says nothing."""
        if not reply.body:
            return None
        rejected, why = self._rejected(reply)
        if not rejected:
            return None
        told = f"{self.endpoint} rejected {rejected} {self.rejected.removeprefix('rejected_')}: {why}"
        if not self.dedupe_key:
            # To search for them would double those that were taken.
            return Delivery(refused=dict.fromkeys(ids, f"{told}; which of {len(ids)}, it does not say"))
        raise Refused(told)

    # --- for the subclasses

    def payload(self, events: Sequence[CallEnded]) -> bytes:
        """The body of a request that carries these."""
        raise NotImplementedError

    @property
    def encoder(self) -> "Encoder":
        """Turns spans into bytes; made on first use."""
        if self._encoder is None:
            self._encoder = self._made_encoder()
        return self._encoder

    # --- how

    def _made_encoder(self) -> "Encoder":
        from callmeter.sinks.otlp.encode import Encoder

        return Encoder(self.resource)

    def _request(self, body: bytes) -> WireRequest:
        headers = {name: secret.reveal() for name, secret in self.target.headers.items()}
        headers["content-type"] = "application/x-protobuf"
        if self.target.gzip and len(body) >= GZIP_FROM_BYTES and self.target.protocol != "grpc":
            # Without a time in it, so that the same events give the same bytes.
            body = gzip.compress(body, 6, mtime=0)
            headers["content-encoding"] = "gzip"
        return WireRequest(url=self.target.url, headers=headers, body=body)

    def _rejected(self, reply: WireReply) -> tuple[int, str]:
        """How many items the answer rejects, and why. Raises `RetryLater` for what is no OTLP answer."""
        kind = reply.headers.get("content-type", "").split(";")[0].strip().lower()
        try:
            if kind == "application/json":
                return self._rejected_in_json(reply.body)
            if kind in ("application/x-protobuf", "application/protobuf", "application/octet-stream", ""):
                return self._rejected_in_protobuf(reply.body)
        except ValueError:
            pass
        shown = reply.body[:100].decode("utf-8", "replace")
        raise RetryLater(f"{self.endpoint} answered {reply.status} with {kind or 'a body'} that is not OTLP: {shown!r}")

    def _rejected_in_json(self, body: bytes) -> tuple[int, str]:
        answer = msgspec.json.decode(body)
        partial = answer.get("partialSuccess") or {} if isinstance(answer, dict) else None
        if not isinstance(partial, dict):
            raise ValueError(body)
        member = "".join(word.title() for word in self.rejected.split("_"))
        return int(partial.get(member[0].lower() + member[1:]) or 0), str(partial.get("errorMessage") or "")

    def _rejected_in_protobuf(self, body: bytes) -> tuple[int, str]:
        from importlib import import_module

        from google.protobuf.message import DecodeError

        module, _, name = self.response.rpartition(".")
        answer = getattr(import_module(module), name)()
        try:
            answer.ParseFromString(body)
        except DecodeError as error:
            raise ValueError(str(error)) from None
        partial = answer.partial_success
        return getattr(partial, self.rejected), partial.error_message
