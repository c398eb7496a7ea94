"""Whose prices hold: the caller's own for one call, a base model's, those of the host the call was sent to."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import callmeter
from callmeter.client.prices import cost_of
from callmeter.client.resolve import deployment
from callmeter.events.model import CallFailed
from callmeter.pricing import PriceBook, Usage, own
from callmeter.pricing.own import own_price
from callmeter.settings import load as load_settings
from callmeter.testing import FakeProvider, FixedClock, capture_events

M = [{"role": "user", "content": "Say something nice."}]
TEN_TWENTY = {"x_fake": {"prompt_tokens": 10, "completion_tokens": 20}}
USAGE = Usage(input_tokens=1000, output_tokens=100)


def ask(**params: Any) -> Any:
    answer = callmeter.completion(params.pop("model", "openai/gpt-4o"), M, **params)
    return list(answer) if params.get("stream") else answer


# --- the caller's own


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("where", ["arguments", "model_info"])
def test_a_calls_own_prices_hold_for_it_and_are_not_sent(
    stream: bool, where: str, provider: FakeProvider, events: list[Any]
) -> None:
    prices = {"input_cost_per_token": 1e-3, "output_cost_per_token": 1e-3}
    ask(stream=stream, **TEN_TWENTY, **(prices if where == "arguments" else {"model_info": prices}))
    cost = events[-1].cost
    assert (cost.total, cost.status, cost.table) == (Decimal("0.03"), "priced", "user")
    assert [(item.line, item.rate, item.source) for item in cost.items] == [
        ("input", Decimal("0.001"), "user"),
        ("output", Decimal("0.001"), "user"),
    ]
    assert not {"input_cost_per_token", "model_info"} & json.loads(provider.requests[-1].body).keys()
    ask(**TEN_TWENTY)
    assert events[-1].cost.items[0].source != "user"


def test_a_call_with_prices_of_its_own_needs_no_known_model(provider: FakeProvider, events: list[Any]) -> None:
    ask(model="openai/of-nobody", **TEN_TWENTY, input_cost_per_token="0.000001", output_cost_per_token=Decimal("2e-6"))
    assert events[-1].cost.total == Decimal("0.00005")


def test_mocked_calls_have_them_too(events: list[Any]) -> None:
    answer = ask(mock_response="hello", input_cost_per_token=1e-3, output_cost_per_token=1e-3)
    assert answer._hidden_params["response_cost"] == 0.03


def test_cached_and_written_tokens_have_prices_of_their_own_or_that_of_input(
    provider: FakeProvider, events: list[Any]
) -> None:
    used = {"x_fake": {"prompt_tokens": 1000, "completion_tokens": 0, "cached_tokens": 400}}
    ask(**used, input_cost_per_token=1e-6, output_cost_per_token=1e-6, cache_read_input_token_cost=1e-7)
    assert [(item.line, item.quantity, item.rate) for item in events[-1].cost.items] == [
        ("input", 600, Decimal("0.000001")),
        ("cache_read", 400, Decimal("1E-7")),
    ]
    ask(**used, input_cost_per_token=1e-6, output_cost_per_token=1e-6)
    assert (events[-1].cost.items[1].via, events[-1].cost.total) == ("input", Decimal("0.001"))


def test_what_no_price_was_given_for_is_not_known(provider: FakeProvider, events: list[Any]) -> None:
    ask(**TEN_TWENTY, input_cost_per_token=1e-6)
    cost = events[-1].cost
    assert (cost.status, cost.reason, cost.total) == ("partial", "no rate for output", Decimal("0.00001"))


def test_prices_of_zero_are_free_and_the_callers_word(provider: FakeProvider, events: list[Any]) -> None:
    ask(**TEN_TWENTY, input_cost_per_token=0, output_cost_per_token=0.0)
    cost = events[-1].cost
    assert (cost.status, cost.total, cost.table, {item.source for item in cost.items}) == ("free", 0, "user", {"user"})


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_a_price_by_the_second_is_for_the_time_the_call_took(stream: bool, provider: FakeProvider) -> None:
    class Ticking(FixedClock):
        def mono_ns(self) -> int:
            self.advance(0.25)
            return super().mono_ns()

    with capture_events(clock=Ticking()) as events:
        ask(stream=stream, **TEN_TWENTY, input_cost_per_second=0.25, output_cost_per_second="0.25")
    end = events[-1]
    seconds = end.usage.units["call_second"]
    assert 0 < seconds <= Decimal(repr(end.latency_s))
    assert (end.cost.status, end.cost.total) == ("priced", seconds * Decimal("0.5"))
    assert {item.line: item.source for item in end.cost.items} == dict.fromkeys(
        ("input", "output", "call_second"), "user"
    )


@pytest.mark.parametrize("wrong", [-1.0, float("nan"), "cheap", True, 1e308, [1]])
def test_a_price_that_is_none_stops_the_call_before_it_is_sent(
    wrong: Any, provider: FakeProvider, events: list[Any]
) -> None:
    with pytest.raises(callmeter.BadRequestError, match=r"gpt-4o: input_cost_per_token"):
        ask(input_cost_per_token=wrong, output_cost_per_token=1e-6)
    assert (len(provider.requests), type(events[-1])) == (0, CallFailed)


def test_a_price_there_is_no_line_for_is_refused(provider: FakeProvider, events: list[Any]) -> None:
    with pytest.raises(callmeter.BadRequestError, match="no line for input_cost_per_pixel"):
        ask(input_cost_per_pixel=1e-6)


def test_a_fallback_to_another_model_does_not_inherit_them(provider: FakeProvider, events: list[Any]) -> None:
    provider.answer(500, times=1)
    ask(num_retries=0, fallbacks=["openai/gpt-4o-mini"], input_cost_per_token=1.0, output_cost_per_token=1.0)
    assert (events[-1].call.model, events[-1].cost.items[0].source != "user") == ("gpt-4o-mini", True)


@given(
    read=st.floats(1e-9, 1.0),
    written=st.floats(1e-9, 1.0),
    tokens=st.tuples(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**9)),
)
def test_a_float_is_charged_as_it_was_written(read: float, written: float, tokens: tuple[int, int, int]) -> None:
    cached, rest, out = tokens
    usage = Usage(input_tokens=cached + rest, cache_read_tokens=cached, output_tokens=out)
    prices = {"input_cost_per_token": read, "output_cost_per_token": written}
    entry = own_price("m", prices)
    assert entry is not None
    cost = PriceBook().price_as(entry, usage)
    per_token = [round(Decimal(repr(price)), 15) for price in (read, written)]
    assert cost.total == (cached + rest) * per_token[0] + out * per_token[1]
    assert cost.total == sum(item.amount for item in cost.items)


def test_prices_given_again_are_not_read_again_and_true_is_not_one() -> None:
    first = own_price("m", {"input_cost_per_token": 1})
    assert own_price("m", {"input_cost_per_token": 1}) is first
    with pytest.raises(callmeter.ConfigError, match="True"):
        own_price("m", {"input_cost_per_token": True})


def test_every_argument_that_is_a_price_is_kept_out_of_the_body() -> None:
    assert {"input_cost_per_second", "cache_creation_input_token_cost_above_1hr", "tiered_pricing"} <= own.ARGUMENTS
    assert "output_cost_per_token_above_200k_tokens_priority" in own.ARGUMENTS


# --- the host


def priced(model: str, provider: str, api_base: str | None, book: PriceBook | None = None, **given: Any) -> Any:
    row = callmeter.client.providers.BY_NAME[provider]
    where = deployment(row, model, api_base=api_base, api_key="k", environ={}, **given)
    return cost_of(book or PriceBook(), where, USAGE, at_ns=1_790_000_000 * 10**9, service_tier=None)


@pytest.mark.parametrize(
    ("provider", "model", "api_base", "status"),
    [
        ("openai", "gpt-4o", None, "priced"),
        ("openai", "gpt-4o", "https://eu.api.openai.com/v1", "priced"),
        ("openai", "gpt-4o", "http://127.0.0.1:8080/v1", "priced"),
        ("openai", "gpt-4o", "http://[::1]:8080/v1", "priced"),
        ("openai", "gpt-4o", "http://0.0.0.0:8080/v1", "priced"),
        ("openai", "gpt-4o", "http://fake.localhost:8080/v1", "priced"),
        ("openai", "gpt-4o", "https://provider.test/v1", "priced"),
        ("openai", "gpt-4o", "https://llm.example.com/v1", "unpriced"),
        ("openai", "gpt-4o", "https://api.openai.com.example.com/v1", "unpriced"),
        ("openai", "gpt-4o", "http://10.1.2.3:8000/v1", "unpriced"),
        ("openai", "gpt-4o", "http://vllm:8000/v1", "unpriced"),
        ("openai", "claude-sonnet-4-5", "https://api.anthropic.com/v1", "priced"),
        ("openai", "llama3.2", "http://localhost:11434/v1", "free"),
        ("custom_openai", "gpt-4o", "https://api.openai.com/v1", "priced"),
        ("anthropic", "claude-sonnet-4-5", "https://claude.example.com", "unpriced"),
        ("ollama", "llama3.2", None, "free"),
        ("ollama", "llama3.2", "http://192.168.1.20:11434", "free"),
        ("ollama", "llama3.2", "http://ollama:11434", "free"),
        ("ollama", "llama3.2", "http://gpu.internal:11434", "free"),
        ("ollama", "llama3.2", "https://ollama.com", "unpriced"),
        ("ollama", "gpt-oss:120b", "https://ollama.com", "unpriced"),
        ("ollama", "llama3.2", "https://ollama.example.com", "unpriced"),
        ("ollama", "gpt-oss:120b-cloud", None, "unpriced"),
    ],
)
def test_prices_hold_at_the_hosts_they_are_of(provider: str, model: str, api_base: str | None, status: str) -> None:
    cost = priced(model, provider, api_base)
    assert cost.status == status
    assert (cost.total is None) is (status == "unpriced")
    assert cost.reason if status == "unpriced" else not cost.reason


@pytest.mark.parametrize(
    ("model", "host", "region", "factor"),
    [
        ("gpt-5.5", "api.openai.com", "", "1"),
        ("gpt-5.5", "eu.api.openai.com", "", "1.1"),
        ("gpt-5.5", "jp.api.openai.com", "", "1.1"),
        ("gpt-5.5", "eu.api.openai.com", "global", "1"),
        ("gpt-5.5", "api.openai.com", "in", "1.1"),
        ("gpt-4o", "eu.api.openai.com", "", "1"),  # of before regional endpoints cost more
        ("gpt-realtime-mini", "us.api.openai.com", "", "1"),
        ("gpt-realtime-2.1-mini", "us.api.openai.com", "", "1.1"),
    ],
)
def test_a_host_says_which_regions_price_holds_unless_the_call_does(
    model: str, host: str, region: str, factor: str
) -> None:
    ordinary = priced(model, "openai", None).total
    assert priced(model, "openai", f"https://{host}/v1", region=region).total == ordinary * Decimal(factor)


def test_the_reason_names_the_host_and_the_ways_out() -> None:
    reason = priced("gpt-4o", "openai", "https://llm.example.com/v1").reason
    assert all(part in reason for part in ("llm.example.com", "base_model=", "input_cost_per_token=", "register_model"))


def test_at_a_foreign_host_the_callers_word_is_taken() -> None:
    at = "https://llm.example.com/v1"
    assert priced("mine", "openai", at, base_model="gpt-4o").total == Decimal("0.0035")
    assert priced("mine", "openai", at, base_model="anthropic/claude-sonnet-4-5").total == Decimal("0.0045")
    assert priced("mine", "openai", at, base_model="claude-sonnet-4-5").total == Decimal("0.0045")
    book = PriceBook()
    book.register({"id": "mine", "rates": [{"per": "1M", "input": "1", "output": "2"}]}, "openai")
    assert priced("mine", "openai", at, book).total == Decimal("0.0012")
    assert priced("other", "openai", at, book).status == "unpriced"


def test_an_unknown_base_model_is_not_priced_as_something_else() -> None:
    cost = priced("gpt-4o", "openai", None, base_model="of-nobody")
    assert (cost.status, "of-nobody" in cost.reason) == ("unpriced", True)


def test_model_infos_base_model_is_the_calls(provider: FakeProvider, events: list[Any]) -> None:
    ask(model="openai/my-deployment", **TEN_TWENTY, model_info={"base_model": "gpt-3.5-turbo"})
    assert events[-1].cost.total == Decimal("0.000035")


def test_the_ledger_keeps_whose_prices_they_were(provider: FakeProvider, home: Any) -> None:
    pytest.importorskip("duckdb", reason="duckdb is not installed: pip install 'callmeter[ledger]'")
    with capture_events(settings=load_settings({"ledger": True})):
        ask(**TEN_TWENTY, input_cost_per_token=1e-3, output_cost_per_token=1e-3)
        ask(**TEN_TWENTY, input_cost_per_second=0.5)
        assert callmeter.flush(30)
        with callmeter.ledger.connect() as ledger:
            calls = ledger.sql("SELECT price_table, cost FROM calls ORDER BY call_id").fetchall()
            lines = ledger.sql("SELECT DISTINCT line, source FROM cost_items").fetchall()
    assert calls[0] == ("user", Decimal("0.03"))
    assert calls[1][0] == "user"
    assert set(lines) == {("input", "user"), ("output", "user"), ("call_second", "user")}
