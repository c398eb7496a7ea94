"""What calls share: settings, clock, prices, transports, the bus, and where events go.

There is one default `Runtime`, made when the first call needs it. It is the only global state; tests make their own.
"""

import atexit
import logging
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from msgspec import Struct

import callmeter as front_door
from callmeter import settings as settings_module
from callmeter.clock import Clock, IdSource, SystemClock
from callmeter.context import within
from callmeter.errors import CallmeterError
from callmeter.events.bus import Bus, Subscriber, Subscription
from callmeter.events.callbacks import Registered
from callmeter.events.dispatch import CallbackQueue
from callmeter.events.model import AnyEvent
from callmeter.events.transforms import Transform
from callmeter.pricing import PriceBook, default_book
from callmeter.pricing.calibration import Calibration
from callmeter.pricing.shelf import Shelf, check_overrides, place_of
from callmeter.settings import Settings
from callmeter.tap import current_tap, no_await, no_wait

if TYPE_CHECKING:
    from callmeter.delivery import Delivery
    from callmeter.sinks.base import Sink

log = logging.getLogger("callmeter")


class FlushResult(Struct, frozen=True, kw_only=True):
    """What became of everything published before the flush. Truthy only if all of it is where it was going."""

    journalled: bool = True
    """Everything durable is committed to the journal, and the journal could be asked."""
    callbacks: bool = True
    """Every user callback has run."""
    delivered: Mapping[str, int] = {}
    """Events that each sink has taken so far, in this process's home."""
    pending: Mapping[str, int] = {}
    """Events from before the flush that still wait, by this process's sinks; they go out later."""
    failed: Mapping[str, str] = {}
    """Sinks that are parked or failing, with their last error."""
    timed_out: bool = False

    def __bool__(self) -> bool:
        return self.journalled and self.callbacks and not self.timed_out and not any(self.pending.values())


class Runtime:
    """Everything a call needs besides its arguments."""

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        clock: Clock | None = None,
        ids: Callable[[], str] | None = None,
        prices: PriceBook | None = None,
        transport: Any = None,
        async_transport: Any = None,
        sleep: Callable[[float], None] = time.sleep,
        asleep: Any = None,
        jitter: Callable[[], float] = random.random,
        sinks: Sequence["Sink"] = (),
    ) -> None:
        self.settings = settings_module.load() if settings is None else settings
        self.clock: Clock = clock or SystemClock()
        self.ids = ids or IdSource(self.clock)
        self.prices = prices or default_book()
        self.calibration = Calibration()
        """How long each model's tokens are, from the streams of this process."""
        self.jitter = jitter
        self.bus = Bus()
        self.delivery: Delivery | None = None
        self._sleep = sleep
        self._asleep = asleep
        self._transport = transport
        self._async_transport = async_transport
        self._subscriptions: tuple[Subscription, ...] = ()
        self._transforms: tuple[Transform, ...] = ()
        self._on: list[Any] = []
        self._making = threading.RLock()
        self.losses: dict[tuple[str, str], int] = {}
        """Events lost without ever reaching the journal, by sink and reason."""
        self.callbacks = CallbackQueue(
            self._registered,
            self.clock,
            max_bytes=self.settings.max_memory_bytes,
            timeout_s=self.settings.callback_timeout_s,
            on_loss=self._lost,
        )
        self.bus.queues = (self.callbacks,)
        if sinks or self.settings.ledger:
            self._deliver(sinks, ledger=self.settings.ledger)

    # -- what calls ask for

    @property
    def transport(self) -> Any:
        """The blocking transport, made on first use."""
        tap = current_tap()
        return self._own_transport() if tap is None else tap.transport(self._own_transport)

    def _own_transport(self) -> Any:
        if self._transport is None:
            from callmeter.transport import sync_transport

            with self._making:
                self._transport = self._transport or sync_transport(self.settings.transport)
        return self._transport

    @property
    def async_transport(self) -> Any:
        """The awaited transport, made on first use."""
        tap = current_tap()
        return self._own_async_transport() if tap is None else tap.async_transport(self._own_async_transport)

    def _own_async_transport(self) -> Any:
        if self._async_transport is None:
            from callmeter.transport import async_transport

            with self._making:
                self._async_transport = self._async_transport or async_transport(self.settings.transport)
        return self._async_transport

    @property
    def sleep(self) -> Callable[[float], None]:
        """Waiting for threads."""
        tap = current_tap()
        return self._sleep if tap is None or not tap.offline else no_wait

    @property
    def asleep(self) -> Any:
        """Waiting for event loops."""
        tap = current_tap()
        if tap is not None and tap.offline:
            return no_await
        if self._asleep is None:
            from asyncio import sleep

            self._asleep = sleep
        return self._asleep

    @property
    def wants_content(self) -> bool:
        """Whether anybody is to see prompts and answers: a callback of the process, or a sink with capture on."""
        if self.settings.capture_content or self._subscriptions:
            return True
        return _anybody_listens()

    def front(self, name: str) -> Any:
        """A switch that existing code sets on the module itself: `callmeter.drop_params = True`."""
        return vars(front_door)[name]

    def publish(self, event: AnyEvent, size: int = 0) -> None:
        """Hand an event to everyone who wants it."""
        tap = current_tap()
        if tap is not None:
            tap.hear(event)
        self.bus.publish(event, size)

    # -- who listens

    def subscribe(
        self, call: Subscriber, types: type | Sequence[type] | None = None, *, inline: bool = False
    ) -> Callable[[], None]:
        """Call a function with every event (of the given types). Returns a function that ends it.

        It runs on the callback thread; with `inline` within the call itself, where it must be quick.
        """
        wanted = None if types is None else (types,) if isinstance(types, type) else tuple(types)
        subscription = Subscription(call, wanted)
        if inline:
            return self.bus.subscribe_inline(subscription)
        self._subscriptions = (*self._subscriptions, subscription)

        def unsubscribe() -> None:
            self._subscriptions = tuple(s for s in self._subscriptions if s is not subscription)

        return unsubscribe

    def transform(self, *transforms: Transform) -> None:
        """Change or leave out events before they are stored or sent to any sink (see `events/transforms.py`)."""
        self._transforms = (*self._transforms, *transforms)
        if self.delivery is not None:
            self.delivery.transform(transforms)

    def listen(self, given: Mapping[str, Any]) -> None:
        """Turn on the sinks that are named, on the module or in the call's own arguments, and not yet on.

        Raises `ConfigError` for a name nobody knows.
        """
        for listed in (front_door.success_callback, front_door.failure_callback, front_door.callbacks):
            if listed:
                self._turn_on(listed)
        for name in ("success_callback", "failure_callback", "callbacks"):
            if given.get(name):
                self._turn_on(given[name])

    def _turn_on(self, listed: Sequence[Any]) -> None:
        for entry in listed:
            if entry in self._on or not (isinstance(entry, str) or _is_sink(entry)):
                continue
            with self._making:
                if entry not in self._on:
                    self._start(entry)
                    # Last, so that no other thread takes it for on before it is.
                    self._on.append(entry)

    def _start(self, entry: Any) -> None:
        """Turn one on. A name that nobody knows is the caller's mistake; one that lacks something costs a warning."""
        factory = None
        if isinstance(entry, str) and entry != "duckdb":
            from callmeter.sinks.registry import find

            factory = find(entry)
        try:
            if factory is not None:
                self._deliver((factory(self.settings, os.environ),), ledger=False)
            elif isinstance(entry, str):
                self._deliver((), ledger=True)
            else:
                self._deliver((entry,), ledger=False)
        except Exception as error:
            name = entry if isinstance(entry, str) else type(entry).__name__
            told = str(error) if isinstance(error, CallmeterError) else f"{type(error).__name__}: {error}"
            log.warning("%s stays off, and calls go on without it: %s", name, told)

    def _deliver(self, sinks: Sequence["Sink"], *, ledger: bool) -> None:
        from callmeter.delivery import Delivery

        if self.delivery is None:
            self.delivery = Delivery(self.settings, self.clock, self.ids, self._lost)
            self.delivery.transform(self._transforms)
            # Handlers run last in, first out: callbacks and sinks have their turn before the writer closes for good.
            _close_at_end()
            self.bus.queues = (self.delivery, self.callbacks)
        self.delivery.add(sinks, ledger=ledger)

    def _registered(self, event: AnyEvent) -> Registered:
        """The callbacks in force now, those of the event's own call among them, but none within which we are."""
        content = getattr(event, "content", None)
        own = (content.kwargs or {}).get("own_callbacks") if content is not None else None
        if own is None and not (self._subscriptions or _anybody_listens()):
            return NOBODY
        both = [entry for entry in front_door.callbacks if not isinstance(entry, str)]
        inputs, successes, failures = own or ((), (), ())
        outer = within.get()
        return Registered(
            inputs=_own(front_door.input_callback, both, inputs, outer),
            successes=_own(front_door.success_callback, both, successes, outer),
            failures=_own(front_door.failure_callback, both, failures, outer),
            subscriptions=tuple(s for s in self._subscriptions if s.call not in outer),
            within=outer,
            redact=bool(front_door.turn_off_message_logging or (own and content and content.kwargs.get("redact"))),
            excluded_fields=tuple(front_door.standard_logging_payload_excluded_fields),
        )

    def _lost(self, sink: str, reason: str, count: int, size: int) -> None:
        key = (sink, reason)
        if key not in self.losses:
            what = "prompts and answers" if reason == "content_shed" else "events"
            whose = f" for {sink}" if sink else ""
            log.warning("%s%s are being dropped (%s); see `callmeter sinks`", what, whose, reason)
        self.losses[key] = self.losses.get(key, 0) + count

    # -- the end

    def flush(self, timeout: float | None = None) -> FlushResult:
        """Wait until all that was published is where it was going, `timeout` seconds at most; say how far it got."""
        until = time.monotonic() + (self.settings.exit_timeout_s if timeout is None else timeout)
        callbacks = self.callbacks.flush(max(0.0, until - time.monotonic()))
        if self.delivery is None:
            return FlushResult(callbacks=callbacks, timed_out=not callbacks)
        journalled, flushed, accounts = self.delivery.flush(max(0.0, until - time.monotonic()))
        pending = {sink: seen.waiting for sink, seen in flushed.items()}
        failed = {a.sink: a.last_error or a.state for a in accounts if a.state not in ("ok", "")}
        unread = {sink: seen.problem for sink, seen in flushed.items() if seen.problem}
        failed |= unread
        return FlushResult(
            journalled=journalled and not unread,
            callbacks=callbacks,
            delivered={account.sink: account.delivered for account in accounts},
            pending=pending,
            failed=failed,
            timed_out=not (callbacks and journalled) or any(pending.values()),
        )

    def close(self, timeout: float | None = None) -> None:
        """Run what callbacks wait, commit everything to the journal, deliver what time allows, and stop the threads."""
        until = time.monotonic() + (self.settings.exit_timeout_s if timeout is None else timeout)
        self.callbacks.flush(max(0.0, until - time.monotonic()))
        if self.delivery is not None:
            self.delivery.close(max(0.0, until - time.monotonic()))
        if hasattr(self._transport, "close"):
            self._transport.close()


NOBODY = Registered()


def _anybody_listens() -> bool:
    """Whether anything at all is listed on the module, sinks included."""
    front = front_door
    return bool(front.success_callback or front.failure_callback or front.callbacks or front.input_callback)


def _own(listed: Sequence[Any], both: Sequence[Any], more: Sequence[Any], outer: Sequence[Any]) -> tuple[Any, ...]:
    """Functions and objects to call, each once; names and sinks are delivered to otherwise."""
    found: list[Any] = []
    for entry in (*listed, *both, *more):
        if not isinstance(entry, str) and not _is_sink(entry) and entry not in found and entry not in outer:
            found.append(entry)
    return tuple(found)


def _is_sink(entry: Any) -> bool:
    return hasattr(entry, "identity") and hasattr(entry, "export")


_default: Runtime | None = None
_overrides: dict[str, Any] = {}
_lock = threading.Lock()
_pid = 0
"""The process that will close the default runtime at its end."""


def default_runtime() -> Runtime:
    """The runtime that module-level calls use, made on first use."""
    if _default is None:
        with _lock:
            if _default is None:
                _replace(Runtime(settings_module.load(_overrides)))
    if _pid != os.getpid():
        _close_at_end()
    assert _default is not None
    return _default


def configure(**settings: Any) -> Runtime:
    """Set anything that has an environment variable, for calls from now on. Returns the runtime they use.

    Raises `ConfigError` for an unknown name, a value it cannot have, or price overrides that cannot be used; nothing is
    changed then.
    """
    with _lock:
        loaded = settings_module.load({**_overrides, **settings})
        place = place_of(loaded)
        check_overrides(place)
        fresh = Runtime(loaded)
        _overrides.update(settings)
        previous = _default
        _replace(fresh)
        default_book().read_from(Shelf(lambda: place))
    if previous is not None:
        fresh._subscriptions = previous._subscriptions
        fresh.transform(*previous._transforms)
        previous.close()
    return fresh


@contextmanager
def using(runtime: Runtime) -> Iterator[Runtime]:
    """Make a runtime the default one for a while, in all threads. For tests."""
    global _default
    default_runtime()
    previous, _default = _default, runtime
    try:
        yield runtime
    finally:
        _default = previous


def subscribe(
    call: Subscriber, types: type | Sequence[type] | None = None, *, inline: bool = False
) -> Callable[[], None]:
    """`Runtime.subscribe` on the default runtime."""
    return default_runtime().subscribe(call, types, inline=inline)


def flush(timeout: float | None = None) -> FlushResult:
    """`Runtime.flush` on the default runtime; at once if no call was ever made."""
    return FlushResult() if _default is None else _default.flush(timeout)


def _replace(fresh: Runtime) -> None:
    global _default
    if _default is None:
        _close_at_end()
    _default = fresh


def _close_at_end() -> None:
    """Close the default runtime when this process ends, in whichever way it ends."""
    global _pid
    _pid = os.getpid()
    atexit.unregister(_at_exit)
    atexit.register(_at_exit)
    multiprocessing = sys.modules.get("multiprocessing.process")
    if multiprocessing is not None and multiprocessing.parent_process() is not None:
        # A forked worker of multiprocessing ends without atexit; its own finalizers it does run.
        from multiprocessing.util import Finalize

        Finalize(None, _at_exit, exitpriority=0)


def _at_exit() -> None:
    if _default is not None:
        _default.close()
