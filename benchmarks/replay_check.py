"""Checks a ledger against the provider's own count of a replay, call by call and in sum, to the last digit.

What should be there is worked out from three things only: the provider's count file, the mix (what was asked), and the
rates and the estimate written out here, in fractions. None of callmeter's pricing, usage or estimating code takes part.
The ledger is read as anybody reads it, through `callmeter.ledger.connect()`.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

import callmeter
from benchmarks.replay_mix import Asked
from callmeter.events.journal import Accounts, Journal

USD_PER_MILLION: Mapping[str, Mapping[str, str]] = {
    "gpt-4o-mini": {"input": "0.15", "read": "0.075", "output": "0.6"},
    "gpt-4o": {"input": "2.5", "read": "1.25", "output": "10"},
    "claude-sonnet-4-5": {"input": "3", "read": "0.3", "write": "3.75", "write_1h": "6", "output": "15"},
    "claude-haiku-4-5": {"input": "1", "read": "0.1", "write": "1.25", "write_1h": "2", "output": "5"},
    "llama3.2": {"input": "0", "output": "0"},
}
"""List prices in force in November 2025 and since, standard tier, prompts under 200,000 tokens.

Sources: https://openai.com/api/pricing, https://docs.anthropic.com/en/docs/about-claude/pricing
"""

LEAD = {"openai": 1, "anthropic": 3, "ollama": 0}
"""Pieces a stream of each wire has before its first text."""

ERRORS = {400: "BadRequestError", 429: "RateLimitError", 500: "InternalServerError", 503: "ServiceUnavailableError"}

COLUMNS = (
    "status finish_reason error_class http_status provider model stream attempts input_tokens output_tokens "
    "cache_read_tokens cache_write_tokens cache_write_1h_tokens usage_source cost_status cost_estimated"
).split()
"""Columns of `calls` that are compared beside the cost; the keys of an expectation."""

SHOWN = 10
"""Differences that are named; the rest are counted."""


class Row(Struct, frozen=True):
    """One call in the ledger."""

    number: int
    call_id: str
    cost: Decimal | None
    columns: dict[str, Any]


class Sum(Struct):
    """Calls of one outcome, and what they come to."""

    calls: int = 0
    attempts: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: Fraction = Fraction(0)

    def add(self, columns: Mapping[str, Any], cost: Fraction | None) -> None:
        """One more call."""
        self.calls += 1
        self.attempts += columns["attempts"]
        self.input_tokens += columns["input_tokens"] or 0
        self.output_tokens += columns["output_tokens"] or 0
        self.cost += cost or 0


class Deaths(Struct, frozen=True, kw_only=True):
    """What is known about clients that were killed."""

    acknowledged: frozenset[int]
    """Numbers of the calls they had been told are kept."""
    at_ns: tuple[int, ...]
    """Wall times at which they were killed."""
    window_ns: int = 0
    """A call that began this long before may be missing altogether; 0: none may."""

    def age_ns(self, began_ns: int) -> int:
        """How long before its client's death a call began."""
        return min((at - began_ns for at in self.at_ns if at >= began_ns), default=0)


class Report(Struct, kw_only=True):
    """What the comparison found."""

    provider: dict[str, Sum]
    """By outcome, from the provider's count."""
    ledger: dict[str, Sum]
    differences: list[str]
    died: list[int]
    """Numbers of the calls that ended as `process_died`."""
    missing: dict[int, int]
    """Calls that began so shortly before the kill that they may be missing, and are: nanoseconds, by number."""
    accounts: list[Accounts]

    @property
    def sound(self) -> bool:
        """Whether everything agrees."""
        return not self.differences


def check(home: Path, count_file: Path, plan: Callable[[int], Asked], deaths: Deaths | None = None) -> Report:
    """Compare the ledger in `home` with what the provider counted. `plan` tells what call number n asked for."""
    served, began = _served(count_file)
    with callmeter.ledger.connect(home) as ledger:
        rows, found = _rows(ledger)
        found += [f"the ledger has a problem: {problem}" for problem in ledger.problems]
        found += _unsound_items(ledger)
    journal = Journal.open(home)
    accounts = journal.accounts()
    journal.close()
    report = Report(
        provider=defaultdict(Sum), ledger=defaultdict(Sum), differences=found, died=[], missing={}, accounts=accounts
    )
    _check_accounts(report, len(rows))
    acknowledged = deaths.acknowledged if deaths else frozenset[int]()
    for number in sorted(served.keys() | rows.keys() | acknowledged):
        lines = served.get(number, [])
        _check_call(report, number, lines, began.get(number, 0), rows.get(number), plan(number), deaths)
    _check_sums(report)
    return report


def _check_call(
    report: Report,
    number: int,
    lines: Sequence[Mapping[str, Any]],
    began_ns: int,
    row: Row | None,
    asked: Asked,
    deaths: Deaths | None,
) -> None:
    may_be_lost = deaths is not None and number not in deaths.acknowledged
    if row is None:
        _missing(report, number, began_ns, deaths if may_be_lost else None)
        return
    if row.columns["error_class"] == "process_died":
        report.died.append(number)
        if not may_be_lost:
            report.differences.append(f"call {number} ({row.call_id}) is process_died, and nothing allows that")
        return
    if not lines:
        report.differences.append(f"call {number} ({row.call_id}) ended, and the provider never heard of it")
        return
    columns, cost = expected(lines, asked)
    report.provider[_outcome(columns)].add(columns, cost)
    report.ledger[_outcome(row.columns)].add(row.columns, None if row.cost is None else Fraction(row.cost))
    wrong = [
        f"{name} is {row.columns[name]!r}, not {columns[name]!r}"
        for name in COLUMNS
        if row.columns[name] != columns[name]
    ]
    if (None if row.cost is None else Fraction(row.cost)) != cost:
        wrong.append(f"cost is {row.cost}, not {_usd(cost)}")
    if wrong:
        report.differences.append(f"call {number} ({row.call_id}, {asked.kind} {asked.model}): {'; '.join(wrong)}")


def _missing(report: Report, number: int, began_ns: int, deaths: Deaths | None) -> None:
    if deaths is None:
        report.differences.append(f"call {number} is not in the ledger, and nothing allows that")
        return
    age_ns = deaths.age_ns(began_ns)
    if deaths.window_ns and age_ns <= deaths.window_ns:
        report.missing[number] = age_ns
    else:
        report.differences.append(f"call {number} is not in the ledger; it began {age_ns / 1e6:.1f} ms before the kill")


def _check_sums(report: Report) -> None:
    for outcome in report.provider.keys() | report.ledger.keys():
        if report.provider.get(outcome) != report.ledger.get(outcome):
            report.differences.append(f"the sums of {outcome!r} differ")


def _check_accounts(report: Report, calls: int) -> None:
    for account in report.accounts:
        parts = account.delivered + account.waiting + account.dead + account.dropped
        if account.accepted != parts:
            report.differences.append(f"{account.sink} accepted {account.accepted} events and accounts for {parts}")
        if account.dropped or account.dead:
            report.differences.append(f"{account.sink} dropped {account.dropped} and buried {account.dead} events")
        if account.sink == "duckdb" and account.accepted != calls:
            report.differences.append(f"the ledger accepted {account.accepted} calls and shows {calls}")


# --- the ledger


def _rows(ledger: callmeter.ledger.Ledger) -> tuple[dict[int, Row], list[str]]:
    """The ledger's calls by number, and what is wrong with their being there."""
    found = ledger.execute(
        f"SELECT metadata['number'], call_id, cost, {', '.join(COLUMNS)} FROM calls ORDER BY call_id"  # noqa: S608
    ).fetchall()
    rows: dict[int, Row] = {}
    wrong = []
    for number, call_id, cost, *values in found:
        row = Row(int(number), call_id, cost, dict(zip(COLUMNS, values, strict=True)))
        if row.number in rows:
            wrong.append(f"call {row.number} has two rows: {rows[row.number].call_id} and {call_id}")
        rows[row.number] = row
    ids = Counter(call_id for _, call_id, *_ in found)
    wrong += [f"{call_id} ended {count} times" for call_id, count in ids.items() if count > 1]
    return rows, wrong


def _unsound_items(ledger: callmeter.ledger.Ledger) -> list[str]:
    """Calls whose cost lines or attempts do not add up to the call."""
    items = ledger.execute(
        "SELECT call_id, cost, amount FROM calls LEFT JOIN "
        "(SELECT call_id, sum(amount) AS amount FROM cost_items GROUP BY call_id) USING (call_id) "
        "WHERE cost IS DISTINCT FROM amount AND NOT (coalesce(cost, 0) = 0 AND amount IS NULL)"
    ).fetchall()
    tries = ledger.execute(
        "SELECT call_id, attempts, n FROM calls LEFT JOIN "
        "(SELECT call_id, count(*) AS n FROM attempts GROUP BY call_id) USING (call_id) "
        "WHERE attempts <> coalesce(n, 0)"
    ).fetchall()
    wrong = [f"{call_id} costs {cost} and its lines add up to {amount}" for call_id, cost, amount in items]
    return wrong + [f"{call_id} made {said} attempts and has rows for {there}" for call_id, said, there in tries]


# --- the provider


def _served(count_file: Path) -> tuple[dict[int, list[Mapping[str, Any]]], dict[int, int]]:
    """The provider's lines by call number, and when each call began, as its requests said."""
    served: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    began: dict[int, int] = {}
    for text in count_file.read_bytes().splitlines():
        line = msgspec.json.decode(text)
        number, _, at_ns = line["call_id"].partition("@")
        served[int(number)].append(line)
        began[int(number)] = int(at_ns)
    return served, began


def expected(lines: Sequence[Mapping[str, Any]], asked: Asked) -> tuple[dict[str, Any], Fraction | None]:
    """The row and the cost that follow from the answers a call was given, in order."""
    last = lines[-1]
    columns: dict[str, Any] = dict.fromkeys(COLUMNS)
    columns |= {
        "provider": last["wire"],
        "model": last["model"],
        "stream": asked.stream,
        "attempts": len(lines),
        "status": "success",
        "usage_source": "provider",
        "cost_estimated": False,
    }
    if last["status"] != 200:
        error = {"error_class": ERRORS[last["status"]], "http_status": last["status"], "status": "failure"}
        return {**columns, **error, "usage_source": "none", "cost_status": "no_usage"}, None
    if asked.kind == "cut":
        columns |= {"status": "failure", "error_class": "APIConnectionError", "http_status": 500}
    else:
        columns["finish_reason"] = "cancelled" if asked.kind == "cancelled" else "stop"
    if last["complete"] != (asked.kind not in ("cut", "cancelled")):
        columns["status"] = "the provider wrote {pieces_written} of {pieces} pieces".format(**last)
    usage = _reported(last["tokens"])
    if asked.kind in ("silent", "cut", "cancelled"):
        columns |= {"usage_source": "counted", "cost_estimated": True}
        usage = _counted(last, asked)
    rates = USD_PER_MILLION.get(last["model"])
    if rates is None:
        return {**columns, **usage, "cost_status": "unpriced"}, None
    return {**columns, **usage, "cost_status": "free" if last["wire"] == "ollama" else "priced"}, price(usage, rates)


def _reported(tokens: Mapping[str, int]) -> dict[str, int]:
    return {
        "input_tokens": tokens["prompt_tokens"],
        "output_tokens": tokens["completion_tokens"],
        "cache_read_tokens": tokens["cached_tokens"],
        "cache_write_tokens": tokens["cache_write_tokens"],
        "cache_write_1h_tokens": tokens["cache_write_1h_tokens"],
    }


def price(usage: Mapping[str, int], rates: Mapping[str, str]) -> Fraction:
    """USD: what was read from and written to caches at their own rates, the rest of the input at its."""
    read, write, hour = usage["cache_read_tokens"], usage["cache_write_tokens"], usage["cache_write_1h_tokens"]
    amounts = {
        "input": usage["input_tokens"] - read - write - hour,
        "read": read,
        "write": write,
        "write_1h": hour,
        "output": usage["output_tokens"],
    }
    return sum((Fraction(rates[line]) * count for line, count in amounts.items() if count), Fraction(0)) / 1_000_000


def _counted(line: Mapping[str, Any], asked: Asked) -> dict[str, int]:
    """The documented estimate: of the prompt unless the stream's head had counted it, and of the text that was written.

    Anthropic's first event says what the prompt took, and one token of output.
    """
    pieces = line["pieces_written"] - LEAD[line["wire"]] if asked.kind != "silent" else asked.chunks
    words = asked.text.split(" ")
    delivered = " ".join(words[: len(words) * pieces // asked.chunks])
    output = estimate(delivered)
    if line["wire"] == "anthropic" and asked.kind != "silent":
        return {**_reported(line["tokens"]), "output_tokens": max(output, 1)}
    none = dict.fromkeys(("cache_read_tokens", "cache_write_tokens", "cache_write_1h_tokens"), 0)
    return {"input_tokens": estimate(asked.prompt) + 4, "output_tokens": output, **none}


def estimate(text: str) -> int:
    """Tokens of a text: a quarter of its characters, 11/40 of the bytes UTF-8 adds, rounded up; at most its bytes."""
    size = len(text.encode())
    quarter = Fraction(len(text), 4) + Fraction(11, 40) * (size - len(text))
    return min(size, -(-quarter.numerator // quarter.denominator))


# --- saying it


def _outcome(columns: Mapping[str, Any]) -> str:
    if columns["status"] == "success":
        return "left by reader" if columns["finish_reason"] == "cancelled" else "answered"
    return "cut" if columns["error_class"] == "APIConnectionError" else f"failed {columns['http_status']}"


def table(report: Report) -> str:
    """The comparison as a Markdown table, both counts in each cell that differs."""
    lines = ["| outcome | calls | attempts | input tokens | output tokens | USD |", "|---|--:|--:|--:|--:|--:|"]
    whole = (Sum(), Sum())
    for outcome in sorted(report.provider.keys() | report.ledger.keys()):
        pair = report.provider.get(outcome, Sum()), report.ledger.get(outcome, Sum())
        lines.append(_line(outcome, pair))
        for total, part in zip(whole, pair, strict=True):
            for name in Sum.__struct_fields__:
                setattr(total, name, getattr(total, name) + getattr(part, name))
    lines.append(_line("**all**", whole))
    return "\n".join(lines)


def _line(outcome: str, pair: tuple[Sum, Sum]) -> str:
    cells = []
    for name in Sum.__struct_fields__:
        counted, kept = (_usd(getattr(s, name)) if name == "cost" else f"{getattr(s, name):,}" for s in pair)
        cells.append(counted if counted == kept else f"provider {counted}, ledger {kept}")
    return f"| {outcome} | {' | '.join(cells)} |"


def _usd(amount: Fraction | None) -> str:
    """A sum of money in decimal, exact: every rate is so many 1e-15 USD a token."""
    if amount is None:
        return "None"
    units = amount * 10**15
    return f"{Decimal(units.numerator).scaleb(-15).normalize():f}" if units.denominator == 1 else str(amount)


def verdict(report: Report) -> str:
    """One line for good news; for bad, the first ten differences."""
    accounts = ", ".join(
        f"{a.sink} {a.accepted} = {a.delivered}+{a.waiting}+{a.dead}+{a.dropped}" for a in report.accounts
    )
    if report.sound:
        return f"provider and ledger agree to the last digit. Accounts: {accounts}."
    named = "\n".join(report.differences[:SHOWN])
    return f"{len(report.differences)} differences. Accounts: {accounts}. The first {SHOWN}:\n{named}"
