"""What is noted of a test's calls to compare them with later."""

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

import callmeter
from callmeter.events.model import END_TYPES
from callmeter.pricing import default_book
from callmeter.testing import FakeProvider, capture_events
from callmeter.testing.charges import Charge, charges_of
from callmeter.testing.tally import Ended

HELLO = [{"role": "user", "content": "Hello"}]


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as server:
        yield server


def ended(provider: FakeProvider, *models: str, **given: Any) -> list[Ended]:
    with capture_events(sleep=lambda _: None) as events:
        for model in models:
            callmeter.completion(model, HELLO, **{"api_base": provider.openai_base, "api_key": "sk-fake", **given})
    return [event for event in events if isinstance(event, END_TYPES)]


def charges(calls: list[Ended]) -> list[Charge]:
    return charges_of(calls, default_book())


def test_charges_stand_in_the_order_in_which_calls_began_whichever_ended_first(provider: FakeProvider) -> None:
    calls = ended(provider, "openai/gpt-4o", "openai/gpt-4o-mini")
    assert [charge.name for charge in charges(calls[::-1])] == ["openai/gpt-4o", "openai/gpt-4o-mini"]


def test_a_private_name_is_noted_as_the_model_it_is_priced_as(provider: FakeProvider) -> None:
    (charge,) = charges(ended(provider, "openai/ours", base_model="gpt-4o"))
    assert (charge.name, charge.cost, charge.rates) == ("openai/gpt-4o", Decimal("0.0001125"), {})


def test_a_deployment_s_price_is_that_of_the_model_its_answer_names(provider: FakeProvider) -> None:
    answer = {
        "model": "gpt-4o-2024-08-06",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12},
    }
    provider.answer(body=json.dumps(answer).encode())
    (charge,) = charges(ended(provider, "azure/ours", api_base=provider.url, api_version="2024-10-21"))
    assert (charge.name, charge.rates) == ("azure/gpt-4o-2024-08-06", {})


def test_the_caller_s_own_rates_are_noted(provider: FakeProvider) -> None:
    given = {"input_cost_per_token": 0.001, "output_cost_per_token": 0.002}
    (charge,) = charges(ended(provider, "openai/gpt-4o", **given))
    assert charge.rates == {"input": Decimal("0.001"), "output": Decimal("0.002")}


def test_every_attempt_that_consumed_something_is_a_charge(provider: FakeProvider) -> None:
    provider.answer(503)
    provider.cut(30)
    calls = ended(provider, "openai/gpt-4o")
    assert [attempt.status for attempt in calls[0].attempts] == ["failure", "failure", "success"]
    noted = charges(calls)
    assert len(noted) == 2
    assert sum(charge.cost for charge in noted) == calls[0].cost.total


def test_a_cost_nobody_knows_cannot_be_noted(provider: FakeProvider) -> None:
    calls = ended(provider, "openai/gpt-made-up")
    with pytest.raises(ValueError, match="the cost of a call to openai/gpt-made-up is not known: unknown model"):
        charges(calls)
