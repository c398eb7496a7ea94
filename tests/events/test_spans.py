"""An ended call as spans: nothing of it is lost, nothing unknown becomes a zero, and its parts are told apart."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from callmeter.events.model import CacheFacts, CallFacts, Content
from callmeter.events.spans import Span, by_line, call_attributes, first_chunk_ns, spans_of
from callmeter.events.trace import span_id_of
from callmeter.types import Cost, CostItem, Usage
from tests.ended_calls import AT_NS, CALL_ID, COST, ERROR, UNPRICED, answered, attempt, facts, failed, retried


def only(*given: Span) -> Span:
    (span,) = given
    return span


def test_a_call_is_one_client_span_named_and_timed_by_it() -> None:
    span = only(*spans_of(answered()))
    assert (span.name, span.trace_id, span.span_id) == ("chat claude-sonnet-4-5", CALL_ID, span_id_of(CALL_ID))
    assert (span.start_ns, span.end_ns) == (AT_NS, AT_NS + 2_000_000_000)
    assert (span.parent_id, span.error, span.attempt) == ("", None, None)


def test_the_attributes_have_the_conventions_names() -> None:
    shown = {name: value for name, value in call_attributes(answered()).items() if not name.startswith("callmeter.")}
    assert json.loads(str(shown.pop("gen_ai.input.messages")))[0]["role"] == "system"
    assert json.loads(str(shown.pop("gen_ai.output.messages")))[0]["finish_reason"] == "tool_calls"
    assert shown == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": "claude-sonnet-4-5",
        "gen_ai.request.stream": True,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 200,
        "gen_ai.response.id": "msg_1",
        "gen_ai.response.model": "claude-sonnet-4-5-20250929",
        "gen_ai.response.finish_reasons": ("tool_calls",),
        "gen_ai.response.time_to_first_chunk": 0.4,
        "gen_ai.conversation.id": "s-1",
        "gen_ai.usage.input_tokens": 1000,
        "gen_ai.usage.output_tokens": 100,
        "gen_ai.usage.cache_read.input_tokens": 600,
        "gen_ai.usage.cache_write.input_tokens": 100,
        "gen_ai.usage.cache_creation.input_tokens": 100,
        "gen_ai.usage.reasoning.output_tokens": 20,
        "gen_ai.usage.cost": 0.002955,
        "server.address": "api.anthropic.com",
        "server.port": 443,
        "session.id": "s-1",
        "user.id": "ada",
    }


def test_what_the_conventions_have_no_name_for_is_under_ours() -> None:
    shown = {
        name.removeprefix("callmeter."): value
        for name, value in call_attributes(answered()).items()
        if name.startswith("callmeter.")
    }
    assert Decimal(str(shown.pop("cost.exact"))) == COST.total
    assert shown == {
        "call_id": CALL_ID,
        "event.id": CALL_ID[::-1],
        "provider": "anthropic",
        "model_requested": "anthropic/claude-sonnet-4-5",
        "project": "search",
        "team": "red",
        "environment": "test",
        "tags": ("env:test", "beta"),
        "metadata.run": "7",
        "attempts": 1,
        "usage.source": "provider",
        "cost.total": 0.002955,
        "cost.currency": "USD",
        "cost.status": "priced",
        "cost.table": "t1",
        "cost.line.input": 0.0009,
        "cost.line.cache_read": 0.00018,
        "cost.line.cache_write_5m": 0.000375,
        "cost.line.output": 0.0012,
        "cost.line.reasoning": 0.0003,
        "overhead_s": 0.001,
        "retry_wait_s": 0.0,
        "prompt_bytes": 1234,
        "answer_bytes": 321,
        "prompt_hash": "00ff00ff00ff00ff",
    }


def test_what_is_not_known_is_left_out() -> None:
    shown = call_attributes(answered(usage=None, cost=UNPRICED, time_to_first_chunk_s=None))
    assert [name for name in shown if name.startswith("gen_ai.usage")] == []
    assert "gen_ai.response.time_to_first_chunk" not in shown
    assert {name: value for name, value in shown.items() if name.startswith("callmeter.cost")} == {
        "callmeter.cost.status": "unpriced",
        "callmeter.cost.reason": "unknown model 'x'",
    }


@pytest.mark.parametrize("hit", [True, False])
def test_a_call_that_took_part_in_the_cache_says_whether_it_answered(hit: bool) -> None:
    assert call_attributes(answered(cache=CacheFacts(key="k", hit=hit)))["callmeter.cache.hit"] is hit
    assert "callmeter.cache.hit" not in call_attributes(answered())


def test_a_free_call_costs_zero() -> None:
    shown = call_attributes(answered(cost=Cost(total=Decimal(0), status="free")))
    assert (shown["gen_ai.usage.cost"], shown["callmeter.cost.exact"]) == (0.0, "0")


def test_content_is_there_only_if_the_event_has_it() -> None:
    assert [name for name in call_attributes(answered(content=None)) if "messages" in name] == []
    assert [name for name in call_attributes(answered(content=Content())) if "messages" in name] == []


def test_a_failure_has_its_class_status_and_message() -> None:
    span = only(*spans_of(failed()))
    assert span.error == ERROR
    assert span.attributes["error.type"] == "RateLimitError"
    assert span.attributes["http.response.status_code"] == 429
    assert span.attributes["callmeter.error.request_id"] == "req_1"


def test_several_attempts_are_children_without_usage_or_cost_that_a_reader_would_add_up() -> None:
    whole, first, second = spans_of(retried())
    assert {first.trace_id, second.trace_id} == {whole.trace_id}
    assert first.parent_id == second.parent_id == whole.span_id
    assert len({whole.span_id, first.span_id, second.span_id}) == 3
    assert (first.error, second.error) == (ERROR, None)
    assert (second.start_ns, second.end_ns) == (AT_NS + 1_100_000_000, AT_NS + 2_000_000_000)
    assert second.attributes["server.address"] == "localhost"
    assert second.attributes["server.port"] == 8080
    assert second.attributes["gen_ai.request.model"] == "gpt-5"
    assert second.attributes["callmeter.attempt.reason"] == "fallback"
    assert second.attributes["callmeter.attempt.wait_s"] == 0.25
    assert second.attributes["callmeter.attempt.cost"] == 0.002955
    for span in (first, second):
        assert [name for name in span.attributes if name.startswith(("gen_ai.usage", "callmeter.cost"))] == []
        assert "gen_ai.operation.name" not in span.attributes


def test_the_parent_is_the_callers_span() -> None:
    below = answered(facts(trace_id="a" * 32, parent_id="b" * 16))
    assert only(*spans_of(below)).parent_id == "b" * 16
    assert only(*spans_of(below)).trace_id == "a" * 32
    assert only(*spans_of(answered(facts(parent_id="of another kind")))).parent_id == ""


def test_the_first_chunk_is_timed_from_the_last_attempt() -> None:
    assert first_chunk_ns(answered()) == AT_NS + 500_000_000
    assert first_chunk_ns(retried()) == AT_NS + 1_500_000_000
    assert first_chunk_ns(answered(attempts=())) == AT_NS + 400_000_000
    assert first_chunk_ns(answered(time_to_first_chunk_s=None)) is None


@pytest.mark.parametrize(
    ("ours", "theirs"), [("azure", "azure.ai.openai"), ("gemini", "gcp.gemini"), ("xai", "x_ai"), ("groq", "groq")]
)
def test_providers_go_by_the_conventions_names_and_keep_ours(ours: str, theirs: str) -> None:
    shown = call_attributes(answered(facts(provider=ours)))
    assert (shown["gen_ai.provider.name"], shown["callmeter.provider"]) == (theirs, ours)


@pytest.mark.parametrize("url", ["", "not a url", "http://[", "http://host:99999/", "//host"])
def test_an_address_that_is_none_is_left_out(url: str) -> None:
    assert "server.address" not in call_attributes(answered(facts(api_base=url))) or url == "//host"


def test_audio_images_and_units_are_counted_by_kind() -> None:
    usage = Usage(input_tokens=50, input_audio_tokens=20, output_image_tokens=5, units={"search.web": 3})
    shown = call_attributes(answered(usage=usage))
    assert shown["gen_ai.usage.audio.input_tokens"] == 20
    assert shown["gen_ai.usage.image.output_tokens"] == 5
    assert shown["callmeter.usage.search.web"] == 3.0


amounts = st.decimals(min_value=0, max_value=10**6, places=15, allow_nan=False)


@given(amounts=st.lists(st.tuples(st.sampled_from(["input", "output", "search.web"]), amounts), min_size=1))
def test_the_lines_of_a_cost_add_up_to_its_exact_total(amounts: list[tuple[str, Decimal]]) -> None:
    lines = tuple(CostItem(line, 1, "token", usd, usd) for line, usd in amounts)
    cost = Cost(total=sum((line.amount for line in lines), Decimal(0)), status="priced", items=lines)
    shown = call_attributes(answered(cost=cost))
    assert sum(by_line(cost).values()) == cost.total == Decimal(str(shown["callmeter.cost.exact"]))
    assert shown["gen_ai.usage.cost"] == float(cost.total)


@given(call_id=st.text("0123456789abcdef", min_size=32, max_size=32), name=st.text(), attempts=st.integers(0, 4))
def test_the_same_event_is_always_the_same_spans(call_id: str, name: str, attempts: int) -> None:
    call = CallFacts(call_id=call_id, trace_id=name, at_ns=AT_NS)
    event = replace(answered(call), attempts=tuple(attempt(n) for n in range(1, attempts + 1)))
    spans = spans_of(event)
    assert spans == spans_of(event)
    assert len({span.span_id for span in spans}) == len(spans) == (attempts + 1 if attempts > 1 else 1)
