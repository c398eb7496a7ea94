"""Made-up events for the ledger's tests: any that a call can leave behind, with money that is exact to 1e-15 USD."""

from decimal import Decimal
from typing import cast

import msgspec
from hypothesis import strategies as st

from callmeter.events.journal_schema import ADJUSTED, DROPPED, END, Row
from callmeter.events.model import (
    AnyEvent,
    Attempt,
    CallEnded,
    CallFacts,
    CallFailed,
    CallSucceeded,
    Content,
    CostAdjusted,
    ErrorFacts,
    EventsDropped,
    StreamCompleted,
)
from callmeter.events.stored import stored_form
from callmeter.types import Cost, CostItem, Usage

START_NS = 1_764_028_800 * 10**9
FEMTO = Decimal(1).scaleb(-15)

LINES = (
    "input",
    "output",
    "cache_read",
    "cache_write_5m",
    "cache_write_1h",
    "input_audio",
    "search.web",
    "reasoning",
)

texts = st.text(st.characters(codec="utf-8"), max_size=12)
rates = st.integers(0, 10**12).map(lambda n: n * FEMTO)
instants = st.integers(START_NS, START_NS + 3 * 86_400 * 10**9)


def call_id(number: int, at_ns: int = START_NS) -> str:
    """An id as the source of ids mints it."""
    return f"{at_ns:016x}{'c0ffee0000'}{number & 0xFFFFFF:06x}"


@st.composite
def items(draw: st.DrawFn) -> CostItem:
    quantity, rate = draw(st.integers(0, 10**7)), draw(rates)
    return CostItem(draw(st.sampled_from(LINES)), quantity, "token", rate, quantity * rate, draw(texts), "2025-01-01")


@st.composite
def costs(draw: st.DrawFn) -> Cost:
    status = draw(st.sampled_from(("priced", "partial", "free", "unpriced", "no_usage", "invalid_usage")))
    if status in ("unpriced", "no_usage", "invalid_usage"):
        return Cost(status=status, reason=draw(texts))
    lines = tuple(draw(st.lists(items(), max_size=6)))
    return Cost(total=sum((i.amount for i in lines), Decimal()), status=status, items=lines, table=draw(texts))


usages = st.builds(
    Usage,
    input_tokens=st.integers(0, 10**9),
    output_tokens=st.integers(0, 10**9),
    cache_read_tokens=st.integers(0, 10**6),
    reasoning_tokens=st.none() | st.integers(0, 10**6),
    units=st.dictionaries(texts, st.integers(0, 10**6) | st.decimals(0, 10**6, places=6), max_size=2),
)


@st.composite
def calls(draw: st.DrawFn, number: int) -> CallEnded:
    """An end event of call `number`: one to three attempts whose costs add up to the call's."""
    at_ns = draw(instants)
    priced = draw(st.lists(costs(), min_size=1, max_size=3))
    attempts = tuple(
        Attempt(
            number=place,
            provider=draw(texts),
            model=draw(texts),
            at_ns=at_ns + place,
            usage=draw(st.none() | usages),
            cost=cost,
            error=draw(st.none() | st.just(ErrorFacts(error_class="RateLimitError", http_status=429))),
        )
        for place, cost in enumerate(priced, 1)
    )
    known = [cost.total for cost in priced if cost.total is not None]
    lines = tuple(item for cost in priced for item in cost.items)
    total = Cost(total=sum(known, Decimal()) if known else None, status=priced[-1].status, items=lines)
    facts = CallFacts(
        call_id=call_id(number, at_ns),
        trace_id=draw(st.sampled_from(("", "f" * 32, call_id(number, at_ns)))),
        at_ns=at_ns,
        stream=draw(st.booleans()),
        model=draw(texts),
        provider=draw(texts),
        user=draw(texts),
        tags=tuple(draw(st.lists(texts, max_size=3))),
        metadata=draw(st.dictionaries(texts, texts, max_size=3)),
    )
    kind = draw(st.sampled_from((CallSucceeded, StreamCompleted, CallFailed)))
    return kind(
        id=f"{at_ns:016x}{'e0e0e00000'}{number & 0xFFFFFF:06x}",
        at_ns=at_ns + draw(st.integers(0, 10**10)),
        call=facts,
        usage=draw(st.none() | usages),
        cost=priced[0] if len(priced) == 1 else total,
        attempts=attempts,
        latency_s=draw(st.floats(0, 1e6)),
        error=ErrorFacts(error_class="Timeout", message=draw(texts)) if kind is CallFailed else None,
    )


def several_calls(most: int = 12) -> st.SearchStrategy[list[CallEnded]]:
    """Ends of different calls."""
    return st.integers(0, most).flatmap(lambda count: st.tuples(*(calls(n) for n in range(count))).map(list))


def plain_call(number: int, *, at_ns: int | None = None, femto_usd: int = 10**9) -> CallSucceeded:
    """A call like any other, costing `femto_usd` 1e-15 USD."""
    began = START_NS + number * 10**9 if at_ns is None else at_ns
    amount = femto_usd * FEMTO
    item = CostItem("input", 1, "token", amount, amount, "test")
    cost = Cost(total=amount, status="priced", items=(item,), table="t")
    usage = Usage(input_tokens=1, output_tokens=2)
    attempt = Attempt(number=1, provider="openai", model="gpt-4o", at_ns=began, usage=usage, cost=cost)
    facts = CallFacts(call_id=call_id(number, began), at_ns=began, provider="openai", model="gpt-4o", project="p")
    return CallSucceeded(
        id=f"{began:016x}{'e0e0e00000'}{number & 0xFFFFFF:06x}",
        at_ns=began + 10**8,
        call=facts,
        usage=usage,
        usage_source="provider",
        cost=cost,
        attempts=(attempt,),
        finish_reason="stop",
    )


def call_with_content(number: int, text: str) -> CallSucceeded:
    """A call whose prompt was captured."""
    content = Content(messages=[{"role": "user", "content": text}], completion={"answer": number})
    return msgspec.structs.replace(plain_call(number), content=content)


def adjusted(number: int, call: CallEnded, new: Decimal | None) -> CostAdjusted:
    """The call priced anew."""
    return CostAdjusted(
        id=f"{call.at_ns + number:016x}{'adadad0000'}{number & 0xFFFFFF:06x}",
        at_ns=call.at_ns + 10**9 + number,
        call_id=call.call.call_id,
        old=call.cost.total,
        new=new,
        old_table="t",
        new_table=f"t{number}",
        reason="test",
    )


def row(event: AnyEvent) -> Row:
    """The event as the writer hands it to the journal."""
    kind = ADJUSTED if isinstance(event, CostAdjusted) else DROPPED if isinstance(event, EventsDropped) else END
    call = event.call.call_id if isinstance(event, CallEnded) else getattr(event, "call_id", "")
    return Row(event.id, call, kind, event.at_ns, stored(event), ledger=True)


def stored(event: AnyEvent | CallEnded) -> bytes:
    """The event as the writer stores it, where content is captured."""
    return stored_form(cast(AnyEvent, event), hash_key=b"", max_content_bytes=1 << 20)
