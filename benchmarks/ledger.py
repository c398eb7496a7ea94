"""The ledger's figures: ingest into Parquet, bytes a call, and questions to five million calls.

    python benchmarks/ledger.py [--calls 5000000] [--home DIR]

Calls are made up (log-normal sizes, three models, 500 users, a tenth with a failure or a retry), encoded as the writer
stores them, and compacted from a real journal. The rest of the calls are these again, on other days with other ids,
written by the compactor's own writer. Each question is asked six times; the median of the last five counts.
"""

import argparse
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import cast

import msgspec

from callmeter.clock import SystemClock
from callmeter.dashboards import queries
from callmeter.errors import JournalError
from callmeter.events.journal import Journal
from callmeter.events.journal_schema import END, LEDGER_LEASE, Row
from callmeter.events.model import (
    AnyEvent,
    Attempt,
    CallEnded,
    CallFacts,
    CallFailed,
    CallSucceeded,
    ErrorFacts,
    StreamCompleted,
)
from callmeter.events.stored import stored_form
from callmeter.events.trace import span_id_of
from callmeter.ledger import connect, explain
from callmeter.sinks.duckdb.compactor import Compactor
from callmeter.sinks.duckdb.parquet import Origin, journal_tag, write_file
from callmeter.sinks.duckdb.staging import open_memory
from callmeter.types import Cost, CostItem, Usage

BASE = 200_000
"""Calls that are really encoded, journalled and compacted."""

DAY_NS = 86_400 * 10**9
START_NS = 1_764_028_800 * 10**9
MODELS = (
    ("openai", "gpt-4o-mini", Decimal("0.00000015"), Decimal("0.0000006")),
    ("openai", "gpt-4o", Decimal("0.0000025"), Decimal("0.00001")),
    ("anthropic", "claude-sonnet-4-5", Decimal("0.000003"), Decimal("0.000015")),
)
WEIGHTS = (60, 15, 25)


def ends(count: int, seed: int = 1) -> Iterator[CallEnded]:
    """Made-up ends of calls spread over one day, in the order they began."""
    chance = random.Random(seed)
    for number in range(count):
        yield _end(chance, number, START_NS + number * DAY_NS // count + chance.randrange(DAY_NS // count))


def _end(chance: random.Random, number: int, at_ns: int) -> CallEnded:
    provider, model, per_input, per_output = chance.choices(MODELS, WEIGHTS)[0]
    call_id = f"{at_ns:016x}{chance.getrandbits(40):010x}{number & 0xFFFFFF:06x}"
    given, made = int(chance.lognormvariate(6.5, 1.2)) + 1, int(chance.lognormvariate(5, 1)) + 1
    cached = int(given * chance.random()) if chance.random() < 0.4 else 0
    usage = Usage(input_tokens=given, output_tokens=made, cache_read_tokens=cached)
    lines = [("input", given - cached, per_input), ("output", made, per_output)]
    if cached:
        lines.append(("cache_read", cached, per_input / 10))
    items = tuple(
        CostItem(line, quantity, "token", rate, quantity * rate, f"{provider}-pricing", "2025-09-29T00:00:00Z")
        for line, quantity, rate in lines
    )
    cost = Cost(total=sum((i.amount for i in items), Decimal()), status="priced", items=items, table="5c31d0aa2f9e8b17")
    latency_s = chance.lognormvariate(0, 0.6)
    streamed, failed, retried = chance.random() < 0.5, chance.random() < 0.02, chance.random() < 0.05
    base = f"https://api.{provider}.com/v1"
    facts = CallFacts(
        call_id=call_id, trace_id=call_id, span_id=span_id_of(call_id), at_ns=at_ns, stream=streamed, provider=provider,
        model=model, model_requested=f"{provider}/{model}", deployment=f"{provider}/{model}", api_base=base,
        project=chance.choice(("search", "chat", "agents")), user=f"user-{int(chance.paretovariate(1)) % 500}",
        feature=chance.choice(("", "summary", "reply")), environment="production",
        tags=("batch",) if chance.random() < 0.3 else (), prompt_bytes=given * 4 + 300,
    )  # fmt: skip
    error = ErrorFacts(error_class="RateLimitError", http_status=429, message="Rate limit reached") if failed else None
    last = Attempt(
        number=2 if retried else 1, provider=provider, model=model, api_base=base, deployment=facts.deployment,
        status="failure" if failed else "success", at_ns=at_ns + 40_000, latency_s=latency_s, billable=not failed,
        usage=None if failed else usage, cost=None if failed else cost, error=error,
    )  # fmt: skip
    first = msgspec.structs.replace(
        last, number=1, status="failure", usage=None, cost=None, error=ErrorFacts(error_class="InternalServerError")
    )
    kind: type[CallEnded] = CallFailed if failed else StreamCompleted if streamed else CallSucceeded
    return kind(
        id=call_id[:-6] + f"{(number + 1) & 0xFFFFFF:06x}", at_ns=at_ns + int(latency_s * 1e9), call=facts,
        usage=None if failed else usage, usage_source="none" if failed else "provider",
        raw_usage=None if failed else {"prompt_tokens": given, "completion_tokens": made, "total_tokens": given + made},
        cost=Cost(status="no_usage") if failed else cost, attempts=(first, last) if retried else (last,),
        finish_reason="" if failed else "stop", response_id=f"chatcmpl-{chance.getrandbits(116):029x}",
        response_model=f"{model}-2025-09-29", latency_s=latency_s,
        time_to_first_chunk_s=latency_s / 3 if streamed else None, overhead_s=chance.random() * 1e-4,
        answer_bytes=made * 4, prompt_hash=f"{chance.getrandbits(64):016x}", error=error,
    )  # fmt: skip


def stored(end: CallEnded) -> bytes:
    """An end as the writer stores it."""
    return stored_form(cast(AnyEvent, end), hash_key=b"", max_content_bytes=None)


def ingest(home: Path) -> None:
    """Append the base calls to a journal and compact them; prints the rate of the compactor alone."""
    with_journal = Journal.open(home)
    rows = [Row(e.id, e.call.call_id, END, e.at_ns, stored(e), ledger=True) for e in ends(BASE)]
    for at in range(0, BASE, 5_000):
        with_journal.append(rows[at : at + 5_000])
    with_journal.close()
    del rows
    compactor = Compactor(lambda: Journal.open(home), home, owner="benchmark")
    cpu, wall = time.process_time(), time.perf_counter()
    moved = compactor.compact()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    compactor.close()
    print(f"ingest: {moved / wall:,.0f} calls/s by the clock, {moved / cpu:,.0f} calls/s of one core's time")


def multiply(home: Path, calls: int) -> None:
    """Write the base calls again for other days, through the writer of the compactor, and register them."""
    journal, db = Journal.open(home), open_memory(home / "spill", threads=1)
    sources = [str(home / file.path) for file in journal.snapshot().files]
    if not journal.lease(LEDGER_LEASE, "benchmark", 3_600):
        raise JournalError("the benchmark's home is in use")
    db.execute("CREATE TABLE base AS SELECT * FROM read_parquet(?, hive_partitioning = false)", [sources])
    for day in range(1, -(-calls // BASE)):
        at = time.strftime("%Y-%m-%d", time.gmtime((START_NS + day * DAY_NS) // 10**9))
        moved = f"lpad(format('{{:x}}', CAST('0x' || left(call_id, 16) AS BIGINT) + {day * DAY_NS}), 16, '0')"
        query = (
            f'SELECT * REPLACE ({moved} || substr(call_id, 17) AS call_id, "at" + INTERVAL {day} DAY AS "at",'  # noqa: S608
            " format('{:016x}', hash(prompt_hash) >> 1) AS prompt_hash) FROM base"
        )
        origin = Origin(day * BASE + 1, (day + 1) * BASE, journal_tag(journal.hash_key))
        journal.register_files("benchmark", [write_file(db, query, home, at, "calls", origin)], origin.last_seq)
    journal.release(LEDGER_LEASE, "benchmark")
    files = journal.snapshot().files
    rows, size = sum(file.rows for file in files), sum(file.bytes for file in files)
    print(f"stored: {rows:,} calls in {len(files)} files, {size / 1e6:,.0f} MB, {size / rows:.1f} bytes a call")
    journal.close()


def ask(home: Path) -> None:
    """Time the questions."""
    began = time.perf_counter()
    ledger = connect(home)
    print(f"open, every file's digest checked: {time.perf_counter() - began:.3f} s")
    middle = ledger.execute("SELECT call_id FROM calls OFFSET 2000000 LIMIT 1").fetchone() or ("",)
    by_day_and_model = "SELECT day, model, count(*), sum(cost) FROM calls GROUP BY ALL"
    questions = {
        "spend by day and model": lambda: ledger.execute(by_day_and_model).fetchall(),
        "spend by model": lambda: queries.run(ledger, "spend_by", by="model"),
        "spend by day in Asia/Kolkata": lambda: queries.run(ledger, "spend_by", by="day", zone="Asia/Kolkata"),
        "spend by user": lambda: queries.run(ledger, "spend_by", by="user"),
        "one call by id": lambda: ledger.execute("SELECT * FROM calls WHERE call_id = ?", [middle[0]]).fetchall(),
        "explain one call": lambda: explain(middle[0], ledger=ledger),
        "newest 100 calls": lambda: queries.run(ledger, "calls_list"),
    }
    for name, question in questions.items():
        times = []
        for _ in range(6):
            began = time.perf_counter()
            question()
            times.append(time.perf_counter() - began)
        print(f"{name:32} first {times[0] * 1000:8.1f} ms   then {statistics.median(times[1:]) * 1000:8.1f} ms")
    ledger.close()


def main() -> None:
    """Run everything in a home of its own."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    options.add_argument("--calls", type=int, default=5_000_000)
    options.add_argument("--home", type=Path, help="keep the ledger here instead of in a temporary directory")
    given = options.parse_args()
    home = given.home or Path(tempfile.mkdtemp(prefix="callmeter-benchmark-")) / "home"
    print(f"clock {SystemClock.wall_ns() // 10**9}, home {home}")
    try:
        if not (home / "ledger").exists():
            ingest(home)
            multiply(home, given.calls)
        ask(home)
    finally:
        if given.home is None:
            shutil.rmtree(home.parent)


if __name__ == "__main__":
    main()
