"""The ledger's calls as they have to be priced: usage, instant, model and conditions, one by one.

Rows come a UTC day at a time, streamed out of DuckDB, so that any number of calls takes little memory.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

from callmeter.pricing.calibration import LEAST_TOKENS, Calibration
from callmeter.sinks.duckdb.connect import Ledger
from callmeter.types import Usage

PAGE_ROWS = 2_000
"""Rows taken out of DuckDB at a time."""

COUNTS = tuple(name for name in Usage.__struct_fields__ if name != "units")
"""Columns of `calls` that are fields of `Usage`."""

TRY_COUNTS = COUNTS[:6]
"""Those that `attempts` has too."""

_FACTS = (
    "call_id",
    "provider",
    "model",
    "base_model",
    "deployment",
    "region",
    "service_tier",
    "api_base",
    "operation",
    "finish_reason",
    "cost",
    "cost_status",
    "cost_reason",
    "price_table",
    "cost_original",
    "cost_status_original",
    "price_table_original",
)


class Try(Struct, frozen=True):
    """One of several attempts of a call that consumed something."""

    provider: str
    model: str
    deployment: str
    usage: Usage


class StoredCall(Struct, frozen=True, kw_only=True):
    """A call of the ledger, as far as its price is concerned. Text that is not set is empty."""

    call_id: str
    at_ns: int
    provider: str
    model: str
    base_model: str
    deployment: str
    region: str
    service_tier: str
    api_base: str
    operation: str
    finish_reason: str
    cost: Decimal | None
    cost_status: str
    cost_reason: str
    price_table: str
    cost_original: Decimal | None
    cost_status_original: str
    price_table_original: str
    usage: Usage | None
    tries: tuple[Try, ...] = ()
    """Where more than one attempt consumed something: all of those."""
    own_rates: bool = False
    """Whether any line was charged at a rate that the user gave for the call."""

    @property
    def host(self) -> str:
        """Where it was sent."""
        return urlsplit(self.api_base).hostname or ""


class Period(Struct, frozen=True, kw_only=True):
    """Which calls are meant: those that began in `[since, until)`, of one model or provider; None means any."""

    since: datetime | None = None
    until: datetime | None = None
    model: str | None = None
    provider: str | None = None


def days(ledger: Ledger, period: Period) -> list[tuple[Any, int]]:
    """UTC days that have calls of the period, and how many."""
    where, values = _where(period)
    found: list[tuple[Any, int]] = ledger.execute(
        f"SELECT day, count(*) FROM calls WHERE {where} GROUP BY day ORDER BY day",  # noqa: S608
        values,
    ).fetchall()
    return found


def calls_of(ledger: Ledger, day: Any, period: Period) -> Iterator[list[StoredCall]]:
    """The calls of one UTC day, a page at a time, each once, as they are when this is called."""
    where, values = _where(period)
    ledger.refresh()
    # A connection of its own: other statements may come between two pages.
    with ledger.connection.cursor() as cursor:
        cursor.execute("SET TimeZone = 'UTC'")
        cursor.execute(_query(where), {**values, "day": day})
        names = [column[0] for column in cursor.description]
        while page := cursor.fetchmany(PAGE_ROWS):
            yield [_call(dict(zip(names, row, strict=True))) for row in page]


_RATIOS = """
SELECT provider, model, {size} * 1000 // ({tokens}) // 10 * 10 AS ratio, count(*)
FROM calls WHERE stream AND status = 'success' AND usage_source = 'provider' AND finish_reason <> 'cancelled'
  AND attempts = 1 AND output_audio_tokens = 0 AND ({tokens}) >= {least} AND {size} > 0
  AND "at" >= coalesce(CAST($since AS TIMESTAMPTZ), '-infinity')
GROUP BY ALL ORDER BY ALL
"""


def learn(ledger: Ledger, calibration: Calibration, since: datetime | None = None) -> None:
    """Teach a calibration from the ledger's whole streams that the provider counted."""
    for teach, size, tokens in (
        (calibration.answer, "answer_bytes", "output_tokens - coalesce(reasoning_tokens, 0)"),
        (calibration.prompt, "prompt_bytes", "input_tokens"),
    ):
        query = _RATIOS.format(size=size, tokens=tokens, least=LEAST_TOKENS)
        for provider, model, ratio, count in ledger.execute(query, {"since": since}).fetchall():
            # In thousandths of a byte a token, so a thousand tokens take as many bytes.
            teach(provider or "", model or "", ratio, 1000, count)


def _where(period: Period) -> tuple[str, Mapping[str, Any]]:
    tests = {
        "since": '"at" >= CAST($since AS TIMESTAMPTZ)',
        "until": '"at" < CAST($until AS TIMESTAMPTZ)',
        "model": "model = $model",
        "provider": "provider = $provider",
    }
    values = {name: getattr(period, name) for name in tests if getattr(period, name) is not None}
    return " AND ".join(tests[name] for name in values) or "true", values


def _query(where: str) -> str:
    # Nearly all calls have one attempt, whose usage is the call's; only of the others are the attempts looked at.
    columns = ", ".join((*_FACTS, *COUNTS, "units"))
    counts = ", ".join(f"'{name}': {name}" for name in ("provider", "model", "deployment", *TRY_COUNTS))
    return f"""
        WITH several AS (SELECT call_id FROM calls WHERE day = $day AND attempts > 1 AND {where}),
        tries AS (
          SELECT call_id, list({{{counts}}} ORDER BY number) AS tries FROM attempts SEMI JOIN several USING (call_id)
          WHERE day = $day AND input_tokens IS NOT NULL GROUP BY call_id HAVING count(*) > 1
        ),
        own AS (
          SELECT call_id, bool_or(source = 'user') AS own_rates FROM cost_items SEMI JOIN several USING (call_id)
          WHERE day = $day GROUP BY call_id
        )
        SELECT epoch_us("at") AS at_us, {columns}, tries,
          coalesce(own_rates, price_table_original = 'user') AS own_rates
        FROM calls LEFT JOIN tries USING (call_id) LEFT JOIN own USING (call_id) WHERE day = $day AND {where}
    """  # noqa: S608


def _call(row: Mapping[str, Any]) -> StoredCall:
    tries = row["tries"] or ()
    facts: dict[str, Any] = {name: row[name] or "" for name in _FACTS if name not in ("cost", "cost_original")}
    return StoredCall(
        at_ns=row["at_us"] * 1000,
        cost=row["cost"],
        cost_original=row["cost_original"],
        usage=_usage(row, COUNTS),
        tries=tuple(
            Try(t["provider"] or "", t["model"] or "", t["deployment"] or "", used)
            for t in tries
            if (used := _usage(t, TRY_COUNTS)) is not None
        ),
        own_rates=bool(row["own_rates"]),
        **facts,
    )


def _usage(row: Mapping[str, Any], names: Sequence[str]) -> Usage | None:
    """What was used; None where the ledger does not know."""
    if row["input_tokens"] is None:
        return None
    counts = {name: row[name] for name in names}
    return Usage(**counts, units=_units(row.get("units")))


def _units(units: Mapping[str, Decimal] | None) -> Mapping[str, Decimal | int]:
    """Whole quantities as integers, as they were when the call was priced."""
    return {line: int(n) if n == n.to_integral_value() else n.normalize() for line, n in (units or {}).items()}
