"""Ends of calls with everything in them that a destination may show."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from callmeter.events.model import Attempt, CallFacts, CallFailed, Content, ErrorFacts, StreamCompleted
from callmeter.events.trace import span_id_of
from callmeter.types import Cost, CostItem, Usage

AT_NS = 1_750_000_000_000_000_000

CALL_ID = "18eb4c12e01097bcaed895e133000001"

USAGE = Usage(input_tokens=1000, output_tokens=100, cache_read_tokens=600, cache_write_tokens=100, reasoning_tokens=20)


def items(**lines: tuple[int, str]) -> tuple[CostItem, ...]:
    """Lines of a cost: how many tokens at which rate."""
    return tuple(
        CostItem(line=line, quantity=count, unit="token", rate=Decimal(rate), amount=Decimal(rate) * count)
        for line, (count, rate) in lines.items()
    )


LINES = items(
    input=(300, "0.000003"),
    cache_read=(600, "0.0000003"),
    cache_write_5m=(100, "0.00000375"),
    output=(80, "0.000015"),
    reasoning=(20, "0.000015"),
)

COST = Cost(total=sum((item.amount for item in LINES), Decimal(0)), status="priced", items=LINES, table="t1")
"""0.002955 USD, of which 0.001455 for the input and 0.0015 for the output."""

UNPRICED = Cost(status="unpriced", reason="unknown model 'x'")

CONTENT = Content(
    messages=[
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Weather in Paris?"}]},
    ],
    completion={
        "choices": [
            {
                "finish_reason": "tool_calls",
                "message": {
                    "role": "assistant",
                    "content": "Let me look.",
                    "tool_calls": [
                        {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"at":"Paris"}'}}
                    ],
                },
            }
        ]
    },
)

ERROR = ErrorFacts(
    error_class="RateLimitError", message="slow down", http_status=429, code="rate_limited", request_id="req_1"
)


def facts(call_id: str = CALL_ID, **more: Any) -> CallFacts:
    """A call that says all it can about itself."""
    known: Mapping[str, Any] = {
        "trace_id": call_id,
        "span_id": span_id_of(call_id),
        "at_ns": AT_NS,
        "stream": True,
        "provider": "anthropic",
        "model": "claude-sonnet-4-5",
        "model_requested": "anthropic/claude-sonnet-4-5",
        "api_base": "https://api.anthropic.com",
        "project": "search",
        "user": "ada",
        "team": "red",
        "session_id": "s-1",
        "environment": "test",
        "tags": ("env:test", "beta"),
        "metadata": {"run": "7"},
        "parameters": {"temperature": 0.5, "max_tokens": 200},
        "prompt_bytes": 1234,
    }
    return CallFacts(call_id=call_id, **{**known, **more})


def attempt(number: int = 1, **more: Any) -> Attempt:
    """A request that was answered; each is sent a second after the one before it."""
    known: Mapping[str, Any] = {
        "provider": "anthropic",
        "model": "claude-sonnet-4-5",
        "api_base": "https://api.anthropic.com",
        "at_ns": AT_NS + 100_000_000 + (number - 1) * 1_000_000_000,
        "latency_s": 0.9,
        "usage": USAGE,
        "cost": COST,
        "billable": True,
    }
    return Attempt(number=number, **{**known, **more})


def answered(call: CallFacts | None = None, **more: Any) -> StreamCompleted:
    """A stream that was read to its end: two seconds, 0.4 of them to the first chunk."""
    call = call or facts()
    known: Mapping[str, Any] = {
        "at_ns": call.at_ns + 2_000_000_000,
        "usage": USAGE,
        "usage_source": "provider",
        "cost": COST,
        "attempts": (attempt(),),
        "finish_reason": "tool_calls",
        "response_id": "msg_1",
        "response_model": "claude-sonnet-4-5-20250929",
        "latency_s": 2.0,
        "time_to_first_chunk_s": 0.4,
        "overhead_s": 0.001,
        "answer_bytes": 321,
        "prompt_hash": "00ff00ff00ff00ff",
        "content": CONTENT,
    }
    return StreamCompleted(id=call.call_id[::-1], call=call, **{**known, **more})


def retried(call: CallFacts | None = None) -> StreamCompleted:
    """Answered at the second attempt, by another provider."""
    refused = attempt(1, status="failure", usage=None, cost=None, billable=False, error=ERROR)
    fallback = attempt(
        2, provider="openai", model="gpt-5", api_base="http://localhost:8080/v1", wait_s=0.25, reason="fallback"
    )
    return answered(call, attempts=(refused, fallback), retry_wait_s=0.25)


def failed(call: CallFacts | None = None) -> CallFailed:
    """A call that failed, and whose cost nobody knows."""
    call = call or facts()
    return CallFailed(
        id=call.call_id[::-1],
        at_ns=call.at_ns + 500_000_000,
        call=call,
        cost=Cost(status="no_usage", reason="no answer that is charged for"),
        attempts=(attempt(status="failure", usage=None, cost=None, billable=False, error=ERROR),),
        latency_s=0.5,
        error=ERROR,
    )
