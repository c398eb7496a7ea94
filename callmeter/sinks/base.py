"""What a sink has to offer, and the words it may answer with."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from msgspec import Struct
from msgspec.structs import replace

from callmeter.events.model import AnyEvent, CallFacts, CallFailed, CallSucceeded, StreamCompleted
from callmeter.types import Secret
from callmeter.wire import WireReply, WireRequest

if TYPE_CHECKING:
    from callmeter.sinks.sending import Sender


class Batch(Struct, frozen=True, kw_only=True):
    """How much a sink takes at once."""

    max_events: int = 500
    max_bytes: int = 4 << 20
    max_wait_s: float = 1.0


class Delivery(Struct, frozen=True, kw_only=True):
    """What became of a batch, by event id. An event named nowhere is tried again."""

    accepted: Sequence[str] = ()
    retry: Mapping[str, float] = {}
    """Seconds to wait, by event id."""
    refused: Mapping[str, str] = {}
    """Reasons, by event id: these go to the dead letters."""


class RetryLater(Exception):
    """The destination is away or busy; the whole batch waits `after_s` seconds (None: by the worker's own backoff)."""

    def __init__(self, reason: str, after_s: float | None = None, *, uncertain: bool = False) -> None:
        super().__init__(reason)
        self.after_s = after_s
        self.uncertain = uncertain
        """The batch may have been taken although no answer came. A sink without a dedupe key does not resend it."""


class Refused(Exception):
    """The destination says this batch is wrong: it is halved until the poison event is found."""


class TooLarge(Exception):
    """The destination says this batch is too big (413): it is halved; a single event sheds its content first."""


class Misconfigured(Exception):
    """The destination refuses us (401, 403, 404): the sink is parked, keeps its data and alerts once."""


class Sink:
    """Base of all sinks. Instances are made by the process that configures them and used by the worker's thread.

    `identity()` separates the backlogs of different accounts on one host: two instances with the same identity share
    one outbox. It is a hash and never contains the credential.
    """

    name: ClassVar[str] = ""
    wants: ClassVar[tuple[type, ...]] = (CallSucceeded, StreamCompleted, CallFailed)
    batch: ClassVar[Batch] = Batch()
    dedupe_key: ClassVar[str] = ""
    """What the destination collapses re-sends by; empty where it cannot, and uncertain sends become dead letters."""

    endpoint: str = ""
    project: str = ""
    key: Secret | None = None
    capture_content: bool = False

    def identity(self) -> str:
        """Name and 12 hex digits: a hash of kind, endpoint, project, key fingerprint and content policy."""
        fingerprint = hashlib.blake2b(self.key.reveal().encode(), digest_size=8).hexdigest() if self.key else ""
        parts = "\0".join((self.name, self.endpoint, self.project, fingerprint, str(self.capture_content)))
        return f"{self.name}:{hashlib.blake2b(parts.encode(), digest_size=6).hexdigest()}"

    def shown(self, event: AnyEvent) -> AnyEvent:
        """The event as this destination may see it: its content only with `capture_content`."""
        if self.capture_content or getattr(event, "content", None) is None:
            return event
        return replace(event, content=None)

    def takes(self, call: CallFacts) -> bool:
        """Whether it is told of this call at all. Asked on the writer's thread for each event, so only look at it."""
        return True

    def open(self) -> None:
        """Called once on the worker's thread before the first export; import heavy libraries here."""

    def export(self, events: Sequence[AnyEvent]) -> Delivery:
        """Send a batch. May raise `RetryLater`, `Refused`, `TooLarge` or `Misconfigured`; anything else is a retry.

        Must be safe to repeat with the same events.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Called once when the worker stops."""


class HttpSink(Sink):
    """A sink that is one pure function: events in, requests out. The worker's transport sends them.

    A batch may become several requests; each names the events it carries, so that a part that was taken is
    acknowledged although another part failed.
    """

    timeout_s: float = 10.0

    def encode(self, events: Sequence[AnyEvent]) -> Iterator[tuple[WireRequest, Sequence[str]]]:
        """Requests, each with the ids of the events it carries."""
        raise NotImplementedError

    def verdict(self, reply: WireReply, ids: Sequence[str]) -> Delivery | None:
        """What a 2xx answer says per event; None means the sink has no opinion beyond the status: all accepted."""
        return None

    def sender(self) -> "Sender | None":
        """The sink's own way out, for what the shared transport cannot do; None for the shared one."""
        return None
