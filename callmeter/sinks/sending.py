"""From a batch to the destination's answers: what a plain sink said, or what each HTTP request's status means."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol
from urllib.parse import urlsplit

import msgspec

from callmeter.clock import Clock
from callmeter.errors import APIConnectionError, CallmeterError
from callmeter.events.model import AnyEvent
from callmeter.sinks.backoff import retry_after_s
from callmeter.sinks.base import Delivery, HttpSink, Misconfigured, Refused, RetryLater, Sink, TooLarge
from callmeter.types import Timeouts
from callmeter.wire import WireReply, WireRequest

Answer = tuple[Sequence[str], Delivery | Exception]
"""Ids of the events that went out together, and what was said about them."""

SAID = (RetryLater, Refused, TooLarge, Misconfigured)
"""The exceptions by which a sink says something about its destination."""

_SHOWN_CHARS = 200
"""So much of an error body is quoted."""

# By name, because each HTTP library has its own and none of them is imported here.
_NOT_CONNECTED = frozenset(
    {"ConnectError", "ConnectTimeout", "ConnectTimeoutError", "PoolTimeout", "PoolTimeoutError"}
    | {"ConnectionRefusedError", "gaierror", "SSLCertVerificationError"}
)

_BUSY = frozenset({408, 425, 429})
_NOT_FOR_US = {
    401: "set a valid key",
    402: "settle the account",
    403: "give the key the right to write",
    404: "check the address",
    405: "check the address",
    407: "set the proxy's credentials",
    410: "the address is gone: set a new one",
}


class Sender(Protocol):
    """The part of a transport that sinks need."""

    def send(self, request: WireRequest) -> WireReply:
        """Send and read the whole answer. Raises `APIConnectionError`, of which `Timeout` is one."""
        ...


def deliver(
    sink: Sink, events: Sequence[AnyEvent], sender: Sender, clock: Clock, time_left_s: Callable[[], float]
) -> Iterator[Answer]:
    """Send a batch; one answer for each request, or one for the whole batch where the sink sends by itself.

    Stops when no time is left, and after an answer that says that the next request would fare no better. Exceptions a
    sink is meant to raise are answers; anything else it raises is raised here.
    """
    if isinstance(sink, HttpSink):
        yield from _deliver_http(sink, events, sender, clock, time_left_s)
        return
    ids = [event.id for event in events]
    try:
        answer = sink.export(events)
    except SAID as error:
        yield ids, error
        return
    yield ids, _checked(sink, answer, "export")


def _deliver_http(
    sink: HttpSink, events: Sequence[AnyEvent], sender: Sender, clock: Clock, time_left_s: Callable[[], float]
) -> Iterator[Answer]:
    left = {event.id: None for event in events}
    requests = sink.encode(events)
    while left and time_left_s() > 0:
        try:
            request, ids = next(requests)
        except StopIteration:
            names = f"{sink.name}.encode() put {len(left)} of {len(events)} events into no request"
            yield list(left), RetryLater(names)
            return
        except SAID as error:
            yield list(left), error
            return
        except CallmeterError as error:
            yield list(left), Misconfigured(str(error))
            return
        except Exception as error:
            # Encoding is pure: what failed once fails always, so the search for the poison event begins.
            yield list(left), Refused(f"{sink.name}.encode() raised {type(error).__name__}: {error}")
            return
        for event_id in ids:
            left.pop(event_id, None)
        answer = _exchange(sink, request, ids, sender, clock, min(sink.timeout_s, time_left_s()))
        yield ids, answer
        if isinstance(answer, RetryLater | Misconfigured):
            return


def _exchange(
    sink: HttpSink, request: WireRequest, ids: Sequence[str], sender: Sender, clock: Clock, timeout_s: float
) -> Delivery | Exception:
    limits = Timeouts(connect_s=timeout_s, first_byte_s=timeout_s, between_chunks_s=timeout_s, total_s=timeout_s)
    try:
        reply = (sink.sender() or sender).send(msgspec.structs.replace(request, timeouts=limits))
    except APIConnectionError as error:
        return RetryLater(f"{where(request.url)}: {error}", uncertain=may_have_arrived(error))
    if not 200 <= reply.status < 300:
        return verdict_of_status(reply, where(request.url), clock.wall_ns())
    try:
        answer = sink.verdict(reply, ids)
    except SAID as error:
        return error
    return Delivery(accepted=ids) if answer is None else _checked(sink, answer, "verdict")


def verdict_of_status(reply: WireReply, place: str, wall_ns: int) -> Exception:
    """What a status outside of 2xx means for the batch. `place` is the destination without its secrets."""
    status = reply.status
    text = reply.body[:_SHOWN_CHARS].decode("utf-8", "replace").strip()
    told = f"{place} answered {status}" + (f": {text!r}" if text else "")
    if status in _NOT_FOR_US:
        return Misconfigured(f"{told}; {_NOT_FOR_US[status]}")
    if 300 <= status < 400:
        # Not followed: a redirect would carry the credentials to wherever it points.
        target = where(reply.headers.get("location", ""))
        return Misconfigured(f"{told}, a redirect to {target or 'nowhere'}; set the final address")
    if status == 413:
        return TooLarge(told)
    if status in _BUSY or not 400 <= status < 500:
        # 504: the server behind the one that answered may well have taken it.
        return RetryLater(told, retry_after_s(reply.headers.get("retry-after"), wall_ns), uncertain=status == 504)
    return Refused(told)


def may_have_arrived(error: APIConnectionError) -> bool:
    """Whether the request may have been taken although no answer came. Surely not where no connection was made."""
    cause: BaseException | None = error
    while cause is not None:
        if type(cause).__name__ in _NOT_CONNECTED:
            return False
        cause = cause.__cause__ or cause.__context__
    return True


def where(url: str) -> str:
    """Scheme, host and port of a URL. Its path and query may be secrets (Slack's are) and are not shown."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if ":" in host:
        host = f"[{host}]"
    return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port else "") if host else ""


def _checked(sink: Sink, answer: object, method: str) -> Delivery:
    if isinstance(answer, Delivery):
        return answer
    raise TypeError(f"{sink.name}.{method}() returned {type(answer).__name__}; it has to return a Delivery")
