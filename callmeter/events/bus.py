"""The one place an event passes through on its way out of a call.

`publish` runs on the caller's thread and takes microseconds: it calls the inline subscribers and hands the event to
each queue. It takes no lock of its own, because a stream's finaliser may publish while another publish is under way.
"""

import logging
from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

from callmeter.events.model import AnyEvent

log = logging.getLogger("callmeter")

Subscriber = Callable[[AnyEvent], object]


class Queue(Protocol):
    """Something that takes an event and deals with it on a thread of its own."""

    def offer(self, event: AnyEvent, size: int) -> None:
        """Take the event; never block, never raise. `size` is about how many bytes it keeps alive."""
        ...


class Subscription(Struct, frozen=True, eq=False):
    """A subscriber and the types it wants; None wants all."""

    call: Subscriber
    types: tuple[type, ...] | None = None

    def wants(self, event: AnyEvent) -> bool:
        """Whether the subscriber should see this event."""
        return self.types is None or isinstance(event, self.types)


class Bus:
    """Publishes events to inline subscribers and queues; contains and counts whatever a subscriber raises."""

    def __init__(self) -> None:
        self.queues: tuple[Queue, ...] = ()
        self._inline: tuple[Subscription, ...] = ()
        self.failures = 0
        """How often an inline subscriber raised."""

    def subscribe_inline(self, subscription: Subscription) -> Callable[[], None]:
        """Call a subscriber within `publish`. For what must act before the caller goes on, such as budgets.

        Returns a function that ends the subscription.
        """
        self._inline = (*self._inline, subscription)

        def unsubscribe() -> None:
            self._inline = tuple(s for s in self._inline if s is not subscription)

        return unsubscribe

    def publish(self, event: AnyEvent, size: int = 0) -> None:
        """Tell everyone. Never raises and never waits."""
        for subscription in self._inline:
            if subscription.wants(event):
                self._tell(subscription, event)
        for queue in self.queues:
            queue.offer(event, size)

    def _tell(self, subscription: Subscription, event: AnyEvent) -> None:
        try:
            subscription.call(event)
        except Exception:
            self.failures += 1
            log.exception("an inline subscriber raised on %s; the call goes on", type(event).__name__)
