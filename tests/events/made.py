"""Rows and events for the tests of this folder."""

from decimal import Decimal

import msgspec

from callmeter.events.journal import DROPPED, END, START, Loss, Row
from callmeter.events.model import CallFacts, CallStarted, CallSucceeded, Content, EventsDropped
from callmeter.types import Cost, CostItem, Usage

RATE = Decimal("0.0000025")


def start(number: int, *sinks: str, owner: str = "nobody", ledger: bool = False) -> Row:
    """The row of a start."""
    return Row(f"{number:031x}s", call_id(number), START, number, b"{}", ledger, (), owner, sinks)


def end(number: int, *sinks: str, ledger: bool = False, body: bytes = b"{}", kind: int = END) -> Row:
    """The row of an end."""
    return Row(f"{number:031x}e", call_id(number), kind, number, body, ledger, sinks)


def call_id(number: int) -> str:
    """The id of the call with this number."""
    return f"{number:031x}c"


def started(number: int, content: Content | None = None) -> CallStarted:
    """A start event."""
    return CallStarted(id=f"{number:031x}s", at_ns=number, call=facts(number), content=content)


def succeeded(number: int, content: Content | None = None) -> CallSucceeded:
    """An end event with a cost."""
    item = CostItem(line="input", quantity=number, unit="token", rate=RATE, amount=RATE * number)
    return CallSucceeded(
        id=f"{number:031x}e",
        at_ns=number,
        call=facts(number),
        usage=Usage(input_tokens=number),
        usage_source="provider",
        cost=Cost(total=RATE * number, status="priced", items=(item,)),
        content=content,
    )


def facts(number: int) -> CallFacts:
    """What is known of a call when it begins."""
    return CallFacts(call_id=call_id(number), at_ns=number, provider="openai", model="gpt-4o")


def loss_row(loss: Loss) -> Row:
    """The row that reports a loss, for the ledger."""
    event = EventsDropped(
        id=f"loss-{loss.sink}-{loss.reason}-{loss.count}",
        at_ns=1,
        sink=loss.sink,
        reason=loss.reason,
        count=loss.count,
        bytes=loss.bytes,
    )
    return Row(event.id, "", DROPPED, 1, msgspec.json.encode(event), ledger=True)
