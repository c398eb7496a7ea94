"""An event as rows of tables: every column once, with its type, its meaning and its place in the event.

A row is made by DuckDB, from the event's JSON as stored, by the SQL that stands here: that takes a third of the time
Python needs, and hot rows and Parquet files cannot differ. `FILED` are the tables that have Parquet files, `TABLES` all
that people query; definitions, SELECT lists, views and documentation are derived from them.

Text that is not set is NULL, and so is every number that is not known; a count that is known to be none is 0.
"""

from collections.abc import Sequence

from callmeter.events.model import Attempt, CallEnded, CallFacts, CostAdjusted, ErrorFacts, EventsDropped
from callmeter.events.schema import MONEY, QUANTITY, Column, Nested, Table, described, field

# --- columns of `calls`


def _fact(name: str, about: str = "", type: str = "VARCHAR") -> Column:
    return Column(name, type, about or described(CallFacts, name), field(CallFacts, "call", name))


def _end(name: str, about: str = "", type: str = "VARCHAR") -> Column:
    return Column(name, type, about or described(CallEnded, name), field(CallEnded, "", name))


def _tokens(name: str, about: str) -> Column:
    count = f"usage.{name}" if name == "reasoning_tokens" else f"coalesce(usage.{name}, 0)"
    return Column(name, "BIGINT", about, f"CASE WHEN usage IS NOT NULL THEN {count} END")


def _instant(ns: str) -> str:
    return f"make_timestamptz({ns} // 1000)"


DAY_NS = 86_400 * 10**9

DAY = f"coalesce(call.at_ns, at_ns) // {DAY_NS}"
"""The UTC day of an event, as days since the epoch."""


def _money(text: str) -> str:
    # DuckDB reads an exponent into 64 bits seven times faster than into 128; what does not fit is NULL at first.
    return f"coalesce(CAST(TRY_CAST({text} AS DECIMAL(18,15)) AS {MONEY}), CAST({text} AS {MONEY}))"


_WRITES = "starts_with(item.line, 'cache_write')"
_PLAIN = "item.line IN ('input', 'output', 'cache_read')"


def _part(name: str, about: str, lines: str) -> Column:
    """The amounts of some lines together: NULL where nothing is known, 0 where there is no such line."""
    amounts = f"[{_money('item.amount')} for item in cost.items if {lines}]"
    total = f"coalesce(list_sum({amounts}), 0)"
    return Column(name, MONEY, about, f"CASE WHEN cost.total IS NOT NULL THEN CAST({total} AS {MONEY}) END")


_UNITS = (
    f"CASE WHEN usage IS NOT NULL THEN map_from_entries([(unit.key, CAST(unit.value AS {QUANTITY})) "
    "for unit in map_entries(coalesce(usage.units, MAP {}))]) END"
)

REPRICED = {
    "repriced_call": "VARCHAR",
    "repriced_cost": MONEY,
    "repriced_table": "VARCHAR",
    "repriced_status": "VARCHAR",
    "repriced_reason": "VARCHAR",
}
"""Columns that stand beside the stored ones of `calls`: a call's last adjustment, NULL where it has none."""

_ADJUSTED = "repriced_call IS NOT NULL"

CALLS = Table(
    "calls",
    "One row a call: what was asked of whom, by whom, what it used, what it cost, how it went.",
    ("call.succeeded", "stream.completed", "call.failed"),
    (
        _fact("call_id", "The call's id: 128 bits, time-ordered, 32 hex digits."),
        _fact("parent_id"),
        Column(
            "trace_id",
            "VARCHAR",
            described(CallFacts, "trace_id"),
            "nullif(call.trace_id, call.call_id)",
            "coalesce(trace_id, call_id)",
        ),
        Column(
            "span_id",
            "VARCHAR",
            described(CallFacts, "span_id"),
            "nullif(call.span_id, left(sha256(call.call_id), 16))",
            "coalesce(span_id, left(sha256(call_id), 16))",
        ),
        Column("at", "TIMESTAMPTZ", "When the call began.", _instant("coalesce(call.at_ns, at_ns)")),
        _fact("operation", "`chat`, `embedding`, …"),
        _fact("stream", "Whether the answer was streamed.", "BOOLEAN"),
        _fact("provider", "Who served it, by our name for them."),
        _fact("model", "The model as the provider knows it, without our prefix."),
        _fact("model_requested"),
        _fact("deployment", "The deployment that served it."),
        _fact("region", "Where it was served."),
        Column(
            "service_tier",
            "VARCHAR",
            "The tier that served the call, else the one asked for.",
            "coalesce(nullif(service_tier, ''), call.service_tier)",
        ),
        _fact("api_base", "The address it was sent to."),
        _fact("project"),
        _fact("user"),
        _fact("team"),
        _fact("key_id", "The virtual key it was made with; never the key itself."),
        _fact("customer"),
        _fact("feature"),
        _fact("session_id"),
        _fact("environment"),
        Column("tags", "VARCHAR[]", "The caller's tags.", "coalesce(call.tags, [])"),
        Column(
            "metadata", "MAP(VARCHAR, VARCHAR)", described(CallFacts, "metadata"), "coalesce(call.metadata, MAP {})"
        ),
        Column("status", "VARCHAR", "success or failure.", "if(type = 'call.failed', 'failure', 'success')"),
        _end("finish_reason", "Why the answer ended; `cancelled` where its reader closed the stream early."),
        Column("error_class", "VARCHAR", "The exception's name, `cancelled` or `process_died`.", "error.error_class"),
        Column("http_status", "INTEGER", "Status of the failure, where there was an answer.", "error.http_status"),
        Column("attempts", "INTEGER", "Requests made for this call.", "len(coalesce(attempts, []))"),
        _tokens("input_tokens", "All input; contains cache reads and writes, audio, image and video."),
        _tokens("output_tokens", "All output; contains reasoning, audio and image."),
        Column("total_tokens", "BIGINT", "Input and output together.", "", "input_tokens + output_tokens"),
        _tokens("cache_read_tokens", "Input read from a cache."),
        _tokens("cache_write_tokens", "Input written to a cache for five minutes, or for its only life time."),
        _tokens("cache_write_1h_tokens", "Input written to a cache for an hour."),
        _tokens("reasoning_tokens", "Hidden reasoning within the output; NULL where the provider does not say."),
        _tokens("input_audio_tokens", "Audio within the input."),
        _tokens("output_audio_tokens", "Audio within the output."),
        _tokens("cache_read_audio_tokens", "Audio within the cache reads."),
        _tokens("input_image_tokens", "Images within the input."),
        _tokens("output_image_tokens", "Images within the output."),
        _tokens("input_video_tokens", "Video within the input."),
        Column("units", f"MAP(VARCHAR, {QUANTITY})", "Everything used that is not a token, by line.", _UNITS),
        _end("usage_source", "Who counted: `provider`, `counted` (us) or `none`."),
        Column(
            "cost",
            MONEY,
            "USD; NULL where no price is known. Of a call priced anew, the last price.",
            _money("cost.total"),
            f"CASE WHEN {_ADJUSTED} THEN repriced_cost ELSE cost END",
        ),
        Column(
            "cost_status",
            "VARCHAR",
            "priced, free, partial, unpriced, no_usage or invalid_usage; only the first two are complete.",
            "CASE WHEN cost IS NULL THEN 'no_usage' ELSE coalesce(cost.status, 'unpriced') END",
            f"CASE WHEN {_ADJUSTED} THEN repriced_status ELSE cost_status END",
        ),
        _part("cost_input", "USD of `cost_original` for uncached text input.", "item.line = 'input'"),
        _part("cost_output", "USD of `cost_original` for text output.", "item.line = 'output'"),
        _part("cost_cache_read", "USD of `cost_original` for cache reads.", "item.line = 'cache_read'"),
        _part("cost_cache_write", "USD of `cost_original` for cache writes of both kinds.", _WRITES),
        _part("cost_other", "USD of `cost_original` for every other line.", f"NOT ({_PLAIN} OR {_WRITES})"),
        Column(
            "cache_saved",
            MONEY,
            "USD saved: by cache reads against the full rate; by a `cache_hit`, its whole cost.",
            _money("cost.saved"),
        ),
        Column("cost_reported", MONEY, "USD the provider itself said the call cost.", _money("cost.reported")),
        Column(
            "price_table",
            "VARCHAR",
            "Hash of the price table used.",
            'cost."table"',
            f"CASE WHEN {_ADJUSTED} THEN repriced_table ELSE price_table END",
        ),
        _end("latency_s", "Seconds from the call to its last byte or its failure.", "DOUBLE"),
        _end("time_to_first_chunk_s", "Seconds to the first chunk that carried content.", "DOUBLE"),
        _end("overhead_s", type="DOUBLE"),
        _end("retry_wait_s", type="DOUBLE"),
        _fact("prompt_bytes", type="BIGINT"),
        _end("answer_bytes", "Size of the answer.", "BIGINT"),
        _end("prompt_hash"),
        Column("cost_original", MONEY, "USD as priced when the call was made.", "", "cost"),
        Column(
            "cost_reason",
            "VARCHAR",
            "Why the cost is not complete.",
            "nullif(cost.reason, '')",
            f"CASE WHEN {_ADJUSTED} THEN repriced_reason ELSE cost_reason END",
        ),
        Column("cost_estimated", "BOOLEAN", "Whether we counted what was priced.", "coalesce(cost.estimated, false)"),
        Column("response_model", "VARCHAR", "The model the answer names.", "nullif(response_model, '')"),
        Column("error_message", "VARCHAR", "What the failure said.", "nullif(error.message, '')"),
        Column("day", "DATE", "The UTC day of `at`.", f"DATE '1970-01-01' + CAST({DAY} AS INTEGER)"),
        # `at` and `user` are words of SQL's own; what somebody types without quotes should have a name as well.
        Column("started_at", "TIMESTAMPTZ", "The same as `at`, without a need for quotes.", "", '"at"'),
        Column("user_id", "VARCHAR", "The same as `user`, without a need for quotes.", "", '"user"'),
        Column("cost_status_original", "VARCHAR", "`cost_status` when the call was made.", "", "cost_status"),
        Column("cost_reason_original", "VARCHAR", "`cost_reason` when the call was made.", "", "cost_reason"),
        Column("price_table_original", "VARCHAR", "`price_table` when the call was made.", "", "price_table"),
        _fact("base_model"),
        Column(
            "cache_hit",
            "BOOLEAN",
            "Whether the response cache answered; NULL where the call took no part in one.",
            "CASE WHEN cache IS NOT NULL THEN coalesce(cache.hit, false) END",
        ),
        Column("cache_key", "VARCHAR", "The call's key in the response cache.", "cache.key"),
    ),
)

# --- what is kept nested in a row of `calls`, and the tables it becomes


_BUCKETS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "cache_write_1h_tokens")


def _unless_same(name: str, type: str, about: str, value: str) -> Column:
    """Of an only attempt whose figures are the call's, nothing is stored but that they are the same."""
    return Column(name, type, about, value, f"if(each.same, {name}, each.{name})")


def _attempt(name: str, about: str = "", type: str = "VARCHAR") -> Column:
    return Column(name, type, about or described(Attempt, name), field(Attempt, "attempt", name), f"each.{name}")


def _attempt_error(name: str, source: str, about: str, type: str = "VARCHAR") -> Column:
    return Column(name, type, about, field(ErrorFacts, "attempt.error", source), f"each.{name}")


ATTEMPTS = Table(
    "attempts",
    "One row for each request to a provider; a call's usage and cost are the sums over its attempts.",
    CALLS.events,
    (
        Column("call_id", "VARCHAR", "The call it belongs to.", ""),
        _attempt("number", "1 for the first.", "INTEGER"),
        Column("at", "TIMESTAMPTZ", "When it was sent.", _instant("coalesce(attempt.at_ns, 0)"), 'each."at"'),
        _attempt("provider", "Who was asked."),
        _attempt("model", "The model as the provider knows it."),
        _attempt("api_base", "The address."),
        _attempt("deployment", "The deployment."),
        _attempt("status", "success or failure."),
        _attempt("reason"),
        _attempt("latency_s", type="DOUBLE"),
        _attempt("wait_s", type="DOUBLE"),
        _attempt("billable", type="BOOLEAN"),
        *(
            _unless_same(
                n,
                "BIGINT",
                "As in `calls`.",
                f"CASE WHEN attempt.usage IS NOT NULL THEN coalesce(attempt.usage.{n}, 0) END",
            )
            for n in _BUCKETS
        ),
        _unless_same("reasoning_tokens", "BIGINT", "As in `calls`.", "attempt.usage.reasoning_tokens"),
        _unless_same(
            "cost", MONEY, "USD as priced when the call was made; NULL where not known.", _money("attempt.cost.total")
        ),
        _unless_same(
            "cost_status",
            "VARCHAR",
            "As in `calls`; NULL where the attempt was not priced.",
            "CASE WHEN attempt.cost IS NOT NULL THEN coalesce(attempt.cost.status, 'unpriced') END",
        ),
        _attempt_error("error_class", "error_class", "The exception's name, or `cancelled`."),
        _attempt_error("http_status", "http_status", "Status of the failure.", "INTEGER"),
        _attempt_error("request_id", "request_id", "The provider's id for the request."),
        _attempt_error("error_message", "message", "What the failure said."),
        Column("day", "DATE", "The UTC day on which the call began.", "", "day"),
        Column("started_at", "TIMESTAMPTZ", "The same as `at`, without a need for quotes.", "", 'each."at"'),
        _attempt("because"),
        _attempt("model_group"),
    ),
)


def _item(name: str, about: str, type: str = "VARCHAR") -> Column:
    return Column(name, type, about, f"item.{name}", f"each.{name}")


COST_ITEMS = Table(
    "cost_items",
    "One row for each line of a cost: quantity times rate is amount, exactly. Adds up to `calls.cost_original`.",
    CALLS.events,
    (
        Column("call_id", "VARCHAR", "The call it belongs to.", ""),
        Column(
            "attempt",
            "INTEGER",
            "The attempt's number; NULL where only the call as a whole is priced.",
            "attempt.number",
            "each.attempt",
        ),
        _item("line", "What was charged: `input`, `output`, `cache_read`, …"),
        _item("quantity", "How much.", QUANTITY),
        _item("unit", "What the quantity counts."),
        Column("rate", MONEY, "USD for one unit.", _money("item.rate"), "each.rate"),
        Column("amount", MONEY, "USD.", _money("item.amount"), "each.amount"),
        _item("source", "Where the rate was read."),
        _item("since", "The instant from which the rate is in force."),
        _item("via", "The line whose rate was used because this one has none of its own."),
        _item("tier", "The condition the rate was chosen by."),
        Column("day", "DATE", "The UTC day on which the call began.", "", "day"),
    ),
)


def packed(columns: Sequence[Column], **instead: str) -> str:
    """A DuckDB struct of the stored columns; `instead` gives another value for some."""
    kept = [column for column in columns if column.stored]
    return "{" + ", ".join(f"'{c.name}': CAST({instead.get(c.name, c.stored)} AS {c.type})" for c in kept) + "}"


def _packed_attempt() -> str:
    return packed(ATTEMPTS.columns)[:-1] + ", 'same': coalesce(attempt.same, false)}"


def _flat_items() -> str:
    def lines(cost: str, attempt: str) -> str:
        return f"[{packed(COST_ITEMS.columns, attempt=attempt)} for item in {cost}.items]"

    of_attempts = f"flatten([{lines('attempt.cost', 'attempt.number')} for attempt in attempts])"
    priced = "len(list_filter(coalesce(attempts, []), lambda attempt: len(attempt.cost.items) > 0)) > 0"
    return (
        f"CASE WHEN attempts[1].same THEN {lines('cost', 'attempts[1].number')}"
        f" WHEN {priced} THEN {of_attempts} ELSE {lines('cost', 'NULL')} END"
    )


NESTED = (
    Nested(ATTEMPTS, "tries", f"[{_packed_attempt()} for attempt in attempts]"),
    Nested(COST_ITEMS, "items", _flat_items()),
)


# --- the other tables


_NEW_ITEM = [column for column in COST_ITEMS.columns if "item." in column.stored]

ADJUSTMENTS = Table(
    "adjustments",
    "One row each time a call was priced anew. `calls.cost` is the last `new`.",
    ("cost.adjusted",),
    (
        Column("id", "VARCHAR", "The event's id.", "id"),
        Column("at", "TIMESTAMPTZ", "When it was priced anew.", _instant("at_ns")),
        Column("call_id", "VARCHAR", "The call.", "call_id"),
        Column("old", MONEY, "USD before.", _money("old")),
        Column("new", MONEY, "USD from then on.", _money("new")),
        Column("old_table", "VARCHAR", "Hash of the price table before.", "old_table"),
        Column("new_table", "VARCHAR", "Hash of the price table used.", "new_table"),
        Column("reason", "VARCHAR", "Why.", "reason"),
        Column(
            "status",
            "VARCHAR",
            "`calls.cost_status` from then on.",
            "nullif(status, '')",
            "coalesce(status, if(new IS NULL, 'unpriced', 'priced'))",
        ),
        Column("why", "VARCHAR", described(CostAdjusted, "why"), "nullif(why, '')"),
        Column(
            "items",
            f'STRUCT(line VARCHAR, quantity {QUANTITY}, unit VARCHAR, rate {MONEY}, amount {MONEY}, "source" VARCHAR,'
            " since VARCHAR, via VARCHAR, tier VARCHAR)[]",
            "The lines of `new`, with the columns of `cost_items`.",
            f"[{packed(_NEW_ITEM)} for item in coalesce(items, [])]",
        ),
    ),
)

EVENTS_DROPPED = Table(
    "events_dropped",
    "One row for each report of events lost or thinned.",
    ("events.dropped",),
    (
        Column("id", "VARCHAR", "The event's id.", "id"),
        Column("at", "TIMESTAMPTZ", "When it was reported.", _instant("at_ns")),
        Column("sink", "VARCHAR", "The sink that did not get them.", "sink"),
        Column("reason", "VARCHAR", "Why.", "reason"),
        Column("count", "BIGINT", "How many events.", '"count"'),
        Column("bytes", "BIGINT", "How many bytes.", field(EventsDropped, "", "bytes")),
    ),
)

CONTENT = Table(
    "content",
    "Prompts and answers as JSON, where they were captured.",
    CALLS.events,
    (
        Column("call_id", "VARCHAR", "The call.", "call.call_id"),
        Column("at", "TIMESTAMPTZ", "When the call began.", _instant("coalesce(call.at_ns, at_ns)")),
        Column("messages", "JSON", "What was asked.", "content.messages"),
        Column("completion", "JSON", "What was answered.", "content.completion"),
    ),
)

FILED = (CALLS, ADJUSTMENTS, EVENTS_DROPPED, CONTENT)
"""Tables that have Parquet files of their own."""

TABLES = (CALLS, ATTEMPTS, COST_ITEMS, ADJUSTMENTS, EVENTS_DROPPED, CONTENT)
"""Everything people query, but for views over these."""


def selected(table: Table) -> str:
    """The SELECT list that turns the JSON of an event into what is stored for `table`."""
    columns = [f'CAST({c.stored} AS {c.type}) AS "{c.name}"' for c in table.columns if c.stored]
    if table is CALLS:
        columns += [f"{nested.stored} AS {nested.name}" for nested in NESTED]
    return ",\n  ".join(columns)


def condition(table: Table) -> str:
    """Which events are rows of `table`."""
    names = ", ".join(f"'{name}'" for name in table.events)
    return f'"type" IN ({names})' + (" AND content IS NOT NULL" if table is CONTENT else "")


def shown(table: Table) -> str:
    """The SELECT list that turns what is stored for `table` into what people see."""
    return ",\n  ".join(f'{c.shown or _quoted(c.name)} AS "{c.name}"' for c in table.columns)


def _quoted(name: str) -> str:
    return f'"{name}"'
