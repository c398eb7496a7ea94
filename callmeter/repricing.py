"""Stored usage priced again: with today's table, which appends adjustments, or with the table of then, as a check.

    with callmeter.ledger.connect() as ledger:
        found = reprice(ledger, Period(since=…), reason="gpt-9 got a price", dry_run=True)

Nothing is overwritten. An adjustment is an event like any other: committed to the journal, then moved to the ledger's
files; `calls.cost` is the last one's `new`, `calls.cost_original` what was charged when the call was made.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from functools import partial
from pathlib import Path
from uuid import uuid4

from msgspec import Struct

from callmeter.clock import Clock, IdSource, SystemClock
from callmeter.errors import ConfigError, JournalError
from callmeter.events.journal import ADJUSTED, Journal, Row
from callmeter.events.model import CostAdjusted
from callmeter.events.stored import stored_form
from callmeter.pricing.archive import Archive
from callmeter.pricing.book import PriceBook, default_book
from callmeter.pricing.rates import EXACT, USER
from callmeter.pricing.totals import add_costs
from callmeter.sinks.duckdb.compactor import MAX_HOT_ROWS, Compactor
from callmeter.sinks.duckdb.connect import Ledger
from callmeter.traffic import Period, StoredCall, Try, calls_of, days
from callmeter.types import Cost, Usage

LEASE = "reprice"
LEASE_S = 60.0
"""Two re-pricings at once would append everything twice. A dead one's lease is free after this long."""

DEFAULT_REASON = "priced with today's table"

MOST_KEPT = 100
"""Disagreements that a check lists; all are counted."""

COMPLETE = ("priced", "free")

OnProgress = Callable[[int], None]
"""Told how many calls were looked at since the last time."""


class Change(Struct, frozen=True, kw_only=True):
    """A call's cost, old and new."""

    call: StoredCall
    new: Cost


class Group(Struct, kw_only=True):
    """The changes of one model at one provider. Sums are of what is known, USD."""

    calls: int = 0
    newly_priced: int = 0
    old: Decimal = Decimal(0)
    new: Decimal = Decimal(0)

    def add(self, change: Change) -> None:
        """Count a change in."""
        self.calls += 1
        self.newly_priced += change.call.cost is None
        self.old = EXACT.add(self.old, change.call.cost or Decimal(0))
        self.new = EXACT.add(self.new, change.new.total or Decimal(0))


def together(groups: Iterable[Group]) -> Group:
    """The sums over groups."""
    total = Group()
    for group in groups:
        total.calls += group.calls
        total.newly_priced += group.newly_priced
        total.old, total.new = EXACT.add(total.old, group.old), EXACT.add(total.new, group.new)
    return total


class Repriced(Struct, kw_only=True):
    """What a re-pricing found. `appended` is 0 for a dry run."""

    looked_at: int = 0
    appended: int = 0
    groups: dict[tuple[str, str], Group] = {}
    """Changes by provider and model."""
    left: dict[str, int] = {}
    """Calls whose cost was left as it is, by the reason why."""


class Disagreement(Struct, frozen=True, kw_only=True):
    """A stored cost that its own table does not give."""

    call_id: str
    table: str
    stored: Decimal | None
    computed: Decimal | None
    reason: str


class Verified(Struct, kw_only=True):
    """What a check found. One call may hold several costs: the first one and each adjustment."""

    looked_at: int = 0
    agreed: int = 0
    disagreed: int = 0
    disagreements: list[Disagreement] = []
    not_checked: dict[str, int] = {}
    """Costs that could not be computed again, by the reason why."""


def reprice(
    ledger: Ledger,
    period: Period,
    *,
    reason: str = DEFAULT_REASON,
    dry_run: bool = False,
    book: PriceBook | None = None,
    clock: Clock | None = None,
    on_progress: OnProgress = lambda _: None,
) -> Repriced:
    """Price the period's calls with the book's table and append an adjustment for each whose cost is another now.

    A call is priced at its own instant. What stays: rates the user gave for it, a cost that is complete where the table
    is not, and calls without usage. So a second run appends nothing. Raises `JournalError` where the home cannot be
    written or is being priced anew by another process; what was appended by then stays and is not appended again.
    """
    found = Repriced(groups=defaultdict(Group), left=Counter())
    pricer = partial(_today, book or default_book())
    if dry_run:
        for page in _pages(ledger, period):
            _changes(page, pricer, found)
            on_progress(len(page))
        return found
    with _writing(ledger.home, clock or SystemClock()) as writer:
        for page in _pages(ledger, period):
            changes = _changes(page, pricer, found)
            found.appended += writer.append(changes, reason)
            on_progress(len(page))
    return found


def verify(ledger: Ledger, period: Period, archive: Archive, *, on_progress: OnProgress = lambda _: None) -> Verified:
    """Compute every stored cost of the period again, with the table its row names, where that is at hand."""
    found = Verified(not_checked=Counter())
    for page in _pages(ledger, period):
        adjustments = _adjustments(ledger, page)
        for call in page:
            _verify_call(call, adjustments.get(call.call_id, ()), archive, found)
        on_progress(len(page))
    return found


def price_stored(call: StoredCall, book: PriceBook) -> Cost | str:
    """What a stored call costs by a book's prices, at its own instant; or why that cannot be said."""
    if call.usage is None:
        return "no usage is known"
    if len(call.tries) < 2:
        return _priced(call, call.usage, call.provider, call.base_model or call.model, call.region, book)
    if _beyond_tries(call.usage):
        return "it has audio, images or fees in several attempts, which are not kept apart"
    priced = [_Priced(each.usage, _priced_try(call, each, book)) for each in call.tries]
    return add_costs(priced, priced[-1].cost)


class _Priced(Struct, frozen=True):
    usage: Usage
    cost: Cost


def _priced_try(call: StoredCall, each: Try, book: PriceBook) -> Cost:
    served = (each.provider, each.model, each.deployment) == (call.provider, call.model, call.deployment)
    model = (call.base_model if served else "") or each.model
    return _priced(call, each.usage, each.provider, model, call.region if served else "", book)


def _priced(call: StoredCall, usage: Usage, provider: str, model: str, region: str, book: PriceBook) -> Cost:
    return book.price(
        model,
        usage,
        provider=provider,
        at=call.at_ns,
        service_tier=call.service_tier or None,
        region=region or None,
    )


def _beyond_tries(usage: Usage) -> bool:
    """Whether anything was used that the ledger keeps for the call as a whole only."""
    return bool(
        usage.units
        or usage.input_audio_tokens
        or usage.output_audio_tokens
        or usage.input_image_tokens
        or usage.output_image_tokens
        or usage.input_video_tokens
    )


def _was_recalled(call: StoredCall) -> bool:
    """Whether nothing was used and nothing charged, as where the response cache answered."""
    return call.cost_status == "free" and call.usage == Usage()


def _today(book: PriceBook, call: StoredCall) -> Cost | str:
    """The cost by today's table, or why the call keeps the one it has."""
    if call.own_rates or call.price_table == USER:
        return "charged at rates of your own"
    if call.usage is None or _was_recalled(call):
        return ""
    if call.cost_status == "unpriced" and call.host and call.host in call.cost_reason:
        return "sent to a host whose prices are not known"
    new = price_stored(call, book)
    if isinstance(new, Cost) and call.cost_status in COMPLETE and new.status not in COMPLETE:
        return f"priced then, and today's table cannot: {new.reason or new.status}"
    if isinstance(new, Cost) and call.cost is not None and new.total is None:
        return f"priced in part then, and today's table cannot: {new.reason or new.status}"
    return new


def _changes(page: Sequence[StoredCall], pricer: Callable[[StoredCall], Cost | str], found: Repriced) -> list[Change]:
    """The page's calls whose cost is another now, counted into what was found."""
    changes = []
    for call in page:
        new = pricer(call)
        if isinstance(new, str):
            if new:
                found.left[new] += 1
        elif (new.total, new.status) != (call.cost, call.cost_status):
            changes.append(Change(call=call, new=new))
            found.groups[call.provider, call.base_model or call.model].add(changes[-1])
    found.looked_at += len(page)
    return changes


def _pages(ledger: Ledger, period: Period) -> Iterator[list[StoredCall]]:
    for day, _count in days(ledger, period):
        yield from calls_of(ledger, day, period)


# --- writing


class _Writer:
    """Appends adjustments to the journal, and moves them to the ledger's files as they get many."""

    def __init__(self, journal: Journal, owner: str) -> None:
        self._journal, self._owner = journal, owner
        self._ids = IdSource(journal.clock)
        self._hot = 0

    def append(self, changes: Sequence[Change], reason: str) -> int:
        """Append one adjustment a change; how many. Renews the lease."""
        if not self._journal.lease(LEASE, self._owner, LEASE_S):
            raise JournalError(f"another process prices the calls in {self._journal.home} anew; run this again later")
        appended = self._journal.append([self._row(change, reason) for change in changes]) if changes else 0
        self._hot += appended
        if self._hot >= MAX_HOT_ROWS:
            self._compact()
            self._hot = 0
        return appended

    def _row(self, change: Change, reason: str) -> Row:
        call, new = change.call, change.new
        event = CostAdjusted(
            id=self._ids(),
            at_ns=self._journal.clock.wall_ns(),
            call_id=call.call_id,
            old=call.cost,
            new=new.total,
            old_table=call.price_table,
            new_table=new.table,
            reason=reason,
            status=new.status,
            why=new.reason,
            items=new.items,
        )
        body = stored_form(event, hash_key=b"", max_content_bytes=None)
        return Row(event.id, event.call_id, ADJUSTED, event.at_ns, body, ledger=True)

    def _compact(self) -> None:
        # While another process compacts, it takes these rows too.
        home, clock = self._journal.home, self._journal.clock
        compactor = Compactor(partial(Journal.open, home, clock=clock), home, owner=self._owner, clock=clock)
        try:
            compactor.compact()
        finally:
            compactor.close()


@contextmanager
def _writing(home: Path, clock: Clock) -> Iterator[_Writer]:
    """The one writer of adjustments of a home, for the time of a `with`."""
    journal, owner = Journal.open(home, create=False, clock=clock), uuid4().hex
    try:
        if not journal.lease(LEASE, owner, LEASE_S):
            raise JournalError(
                f"the calls in {home} are being priced anew by another process; wait for it, or {LEASE_S:.0f} seconds "
                "if it died"
            )
        try:
            yield _Writer(journal, owner)
        finally:
            journal.release(LEASE, owner)
    finally:
        journal.close()


# --- checking


class _Claim(Struct, frozen=True):
    """A stored cost and the table it says it comes from."""

    cost: Decimal | None
    status: str
    table: str


def _adjustments(ledger: Ledger, page: Sequence[StoredCall]) -> Mapping[str, list[_Claim]]:
    """The page's adjustments by call, in the order they were made."""
    found = defaultdict(list)
    query = """
        SELECT call_id, new, status, new_table FROM adjustments
        WHERE call_id IN (SELECT unnest($ids)) ORDER BY id
    """
    with ledger.connection.cursor() as cursor:
        rows = cursor.execute(query, {"ids": [call.call_id for call in page]}).fetchall()
    for call_id, new, status, table in rows:
        found[call_id].append(_Claim(new, status, table or ""))
    return found


def _verify_call(call: StoredCall, later: Sequence[_Claim], archive: Archive, found: Verified) -> None:
    found.looked_at += 1
    if call.usage is None or _was_recalled(call):
        return
    first = _Claim(call.cost_original, call.cost_status_original, call.price_table_original)
    for claim in (first, *later):
        reason = _cannot_check(call, claim, archive)
        if reason:
            found.not_checked[reason] += 1
        else:
            _compare(call, claim, archive, found)


def _cannot_check(call: StoredCall, claim: _Claim, archive: Archive) -> str:
    if claim.cost is None and not claim.table:
        return "it had no price and names no table"
    if call.own_rates or claim.table == USER or f"+{USER}." in claim.table:
        return "charged at rates of your own, which no table holds"
    if archive.book(claim.table) is None:
        return f"its price table {claim.table} is not at hand"
    tables = {claim.table.partition("@")[0]} | {each.provider for each in call.tries}
    return "its attempts were priced by several tables" if len(tables) > 1 else ""


def _compare(call: StoredCall, claim: _Claim, archive: Archive, found: Verified) -> None:
    book = archive.book(claim.table)
    assert book is not None
    again = price_stored(call, book)
    if isinstance(again, str):
        found.not_checked[again] += 1
    elif (again.total, again.status) == (claim.cost, claim.status):
        found.agreed += 1
    else:
        found.disagreed += 1
        if len(found.disagreements) < MOST_KEPT:
            found.disagreements.append(
                Disagreement(
                    call_id=call.call_id,
                    table=claim.table,
                    stored=claim.cost,
                    computed=again.total,
                    reason=again.reason or again.status,
                )
            )


def folders_of(home: Path, named: Sequence[Path]) -> list[Path]:
    """Where price tables of earlier versions may lie. Raises `ConfigError` for a named folder that is not there."""
    for folder in named:
        if not folder.is_dir():
            raise ConfigError(f"there is no folder {str(folder)!r} with price tables; name one that exists")
    return [*named, home / "prices"]
