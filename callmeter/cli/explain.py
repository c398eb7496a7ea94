"""Every cent of one call: line, quantity, unit, rate, amount, where the rate was read and since when it is in force.

CALL_ID is a call's id, the first six or more characters of it, or `last`. The attempts that led to the answer are shown
with their waits and errors. The lines are added up and compared with the cost; the exit code is 1 where they differ.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from callmeter.cli import ExitCode
from callmeter.cli._figures import NO_MONEY, Unknown, money, plain, shown
from callmeter.cli._home import Home, opened_ledger
from callmeter.cli._options import Json, Period, Zone, period
from callmeter.cli._output import Report, print_report
from callmeter.errors import ConfigError

if TYPE_CHECKING:
    from callmeter.ledger import Explanation, Ledger

SHORTEST = 6

FACTS = (
    "call_id", "at", "operation", "stream", "provider", "model", "model_requested", "service_tier", "api_base",
    "project", "user", "team", "customer", "feature", "session_id", "environment", "tags", "metadata", "status",
    "finish_reason", "error_class", "http_status", "error_message", "input_tokens", "output_tokens",
    "cache_read_tokens", "cache_write_tokens", "cache_write_1h_tokens", "reasoning_tokens", "units", "usage_source",
    "latency_s", "time_to_first_chunk_s", "retry_wait_s", "price_table", "cost_reported", "cache_saved",
    "cache_hit", "cache_key",
)  # fmt: skip
"""What is said of a call. What is not set, and what there is none of, is left out."""

ALWAYS = ("input_tokens", "output_tokens")

ATTEMPT = ("number", "at", "provider", "model", "status", "reason", "wait_s", "latency_s", "cost", "error_message")
ITEM = ("attempt", "line", "quantity", "unit", "rate", "amount", "source", "since", "via", "tier")
ADJUSTMENT = ("at", "old", "new", "status", "why", "old_table", "new_table", "reason")
NEW_ITEM = ("adjustment", *ITEM[1:])


def explain(
    call_id: Annotated[str, typer.Argument(help="The call's id, its beginning, or `last`.")],
    zone: Zone = None,
    json: Json = False,
    home: Home = None,
) -> ExitCode:
    from callmeter.ledger import explain as explained

    when = period(zone=zone)
    with opened_ledger(home) as ledger:
        found = _found(ledger, call_id)
        if found is None:
            typer.echo(f"callmeter: there is no call {call_id!r} in {ledger.home}; see `callmeter calls`", err=True)
            return ExitCode.BROKEN if ledger.problems else ExitCode.NOTHING
        explanation = explained(found, ledger=ledger)
        print_explanation(explanation, when, json=json)
        if ledger.problems:
            return ExitCode.BROKEN
        return ExitCode.NOTHING if difference(explanation) else ExitCode.OK


def print_explanation(explanation: "Explanation", when: Period, *, json: bool = False) -> None:
    """Write an explanation to stdout."""
    if json:
        print(_document(explanation, when))
        return
    for report in _reports(explanation, when):
        print_report(report)
        print()
    print(verdict(explanation))


def _found(ledger: "Ledger", call_id: str) -> str | None:
    """The one call that is meant; None if there is none. Raises `ConfigError` where that is not clear."""
    from callmeter.dashboards import queries
    from callmeter.ledger import find

    if call_id == "last":
        newest = queries.run(ledger, "calls_list", limit=1)
        return str(newest.rows[0][newest.columns.index("call_id")]) if newest.rows else None
    if len(call_id) < SHORTEST:
        raise ConfigError(f"{call_id!r} is too short for a call's id; give {SHORTEST} characters or more, or `last`")
    matching = find(ledger, call_id)
    if len(matching) > 1:
        few = ", ".join(matching[:5])
        raise ConfigError(f"{call_id!r} begins the ids of {len(matching)} calls or more: {few}; give more of it")
    return matching[0] if matching else None


def difference(explanation: "Explanation") -> Decimal:
    """Cost minus the sum of its lines, USD; 0 where no cost is known. Anything else is a fault."""
    total = explanation.call["cost_original"]
    return Decimal(0) if total is None else total - _sum(explanation)


def verdict(explanation: "Explanation") -> str:
    """What the call cost and whether its lines add up to that, in a sentence."""
    call = explanation.call
    status = str(call["cost_status_original"]).replace("_", " ")
    reason = f": {call['cost_reason_original']}" if call["cost_reason_original"] else ""
    priced_anew = f"; priced anew since: {_now(call)}" if explanation.adjustments else ""
    if call["cost_original"] is None:
        return f"cost: {status}{reason}{priced_anew}"
    word = ", estimated because we counted the tokens" if call["cost_estimated"] else ""
    said = f"cost: {money(call['cost_original'])} USD ({status}{word}{reason})"
    if difference(explanation):
        return f"{said}, but its lines add up to {money(_sum(explanation))} USD: please report this"
    return f"{said}, the sum of its {_lines(len(explanation.items))}{priced_anew}"


def _sum(explanation: "Explanation") -> Decimal:
    return sum((item["amount"] for item in explanation.items), NO_MONEY)


def _lines(count: int) -> str:
    return "1 line" if count == 1 else f"{count} lines"


def _now(call: Mapping[str, Any]) -> str:
    status = str(call["cost_status"]).replace("_", " ")
    reason = f": {call['cost_reason']}" if call["cost_reason"] else ""
    return f"{status}{reason}" if call["cost"] is None else f"{money(call['cost'])} USD ({status}{reason})"


def _reports(explanation: "Explanation", when: Period) -> list[Report]:
    call = explanation.call
    said = [name for name in FACTS if call[name] or call[name] is False or name in ALWAYS]
    facts = [(name, shown(call[name], when.zone, column=name)) for name in said]
    tables = [_report(f"Call, {when}", ("what", "value"), facts, when)]
    for title, columns, records in (
        ("Attempts", ATTEMPT, explanation.attempts),
        ("Cost, USD", ITEM, explanation.items),
        ("Priced anew", ADJUSTMENT, explanation.adjustments),
        ("Lines of the new costs, USD", NEW_ITEM, _new_items(explanation)),
    ):
        if records:
            tables.append(_report(title, columns, _rows(records, columns), when))
    return tables


def _new_items(explanation: "Explanation") -> list[dict[str, Any]]:
    """The lines of each adjustment, which is named by its place."""
    return [
        {"adjustment": place, **item}
        for place, adjustment in enumerate(explanation.adjustments, 1)
        for item in adjustment["items"] or ()
    ]


def _report(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], when: Period) -> Report:
    """A table without the columns in which nothing stands."""
    used = [i for i, name in enumerate(columns) if any(row[i] is not None for row in rows)]
    return Report(
        title=title,
        columns=[columns[i] for i in used],
        rows=[[row[i] for i in used] for row in rows],
        zone=when.zone,
        zone_name=when.zone_name,
    )


def _rows(records: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> list[tuple[object, ...]]:
    def cell(record: Mapping[str, Any], name: str) -> object:
        if name == "cost" and record[name] is None:
            return Unknown(str(record["cost_status"] or "unpriced").replace("_", " "))
        return record[name]

    return [tuple(cell(record, name) for name in columns) for record in records]


def _document(explanation: "Explanation", when: Period) -> str:
    def records(of: Sequence[Mapping[str, Any]]) -> object:
        return [plain(record, when.zone) for record in of]

    document = {
        "zone": when.zone_name,
        "call": plain(explanation.call, when.zone),
        "attempts": records(explanation.attempts),
        "items": records(explanation.items),
        "adjustments": records(explanation.adjustments),
        "sum": plain(_sum(explanation), when.zone) if explanation.items else None,
        "adds_up": not difference(explanation),
    }
    return msgspec.json.encode(document).decode()
