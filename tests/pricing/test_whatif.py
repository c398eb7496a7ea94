"""What requests would cost elsewhere: exact sums, nothing unknown counted as 0, and what does not fit."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callmeter.errors import ConfigError
from callmeter.pricing import PriceBook
from callmeter.pricing.fit import features_used, misfit, unknowns
from callmeter.pricing.table import Limits, Model
from callmeter.pricing.whatif import Request, simulate
from callmeter.types import Usage

BOOK = PriceBook()
NOW = int(datetime(2026, 11, 1, tzinfo=UTC).timestamp()) * 10**9
DAY_NS = 86_400 * 10**9
MODELS = ("gpt-4o", "gpt-4o-mini", "anthropic/claude-sonnet-4-5", "anthropic/claude-haiku-4-5", "ollama/llama3.2")


def day_of(at_ns: int) -> date:
    return datetime.fromtimestamp(at_ns // 10**9, UTC).date()


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    read, plain, output = draw(st.integers(0, 10**6)), draw(st.integers(0, 10**6)), draw(st.integers(0, 10**5))
    return Usage(
        input_tokens=read + plain,
        cache_read_tokens=read,
        output_tokens=output,
        reasoning_tokens=draw(st.none() | st.integers(0, output)),
        units=draw(st.sampled_from([{}, {}, {"search.web": 2}, {"nonsense": 1}])),
    )


requests = st.builds(
    Request,
    usage=usages(),
    at_ns=st.none() | st.integers(NOW - 5 * DAY_NS, NOW),
    cost=st.none() | st.integers(0, 10**18).map(lambda n: Decimal(n).scaleb(-15)),
    service_tier=st.sampled_from(["", "default", "batch", "flex", "nonsense"]),
)


def whole(request: Request, model: str, at_ns: int) -> Decimal | None:
    """The cost of one request priced alone."""
    cost = BOOK.price(model, request.usage, at=at_ns, service_tier=request.service_tier or None)
    return cost.total if cost.status in ("priced", "free") else None


def added(amounts: Sequence[Decimal | None]) -> int:
    """The sum in 1e-15 USD, by integers."""
    return sum(int(amount.scaleb(15)) for amount in amounts if amount is not None)


def femtos(amount: Decimal) -> int:
    assert amount.scaleb(15) == int(amount.scaleb(15))
    return int(amount.scaleb(15))


@given(st.lists(requests, max_size=12), st.lists(st.sampled_from(MODELS), min_size=1, max_size=3, unique=True))
def test_the_sums_are_those_of_requests_priced_one_by_one_to_the_last_digit(
    made: list[Request], models: list[str]
) -> None:
    found = simulate(iter(made), models, BOOK, at_ns=NOW, day_of=day_of)
    assert found.requests == len(made)
    for outcome, model in zip(found.outcomes, models, strict=True):
        alone = [whole(request, model, NOW) for request in made]
        assert femtos(outcome.priced.cost) == added(alone)
        assert outcome.priced.calls == sum(cost is not None for cost in alone)
        assert outcome.priced.calls + sum(outcome.unpriced.values()) == len(made)
        assert femtos(outcome.priced.cost) == sum(femtos(each.cost) for each in outcome.by_day.values())
        assert outcome.priced.calls == sum(each.calls for each in outcome.by_day.values())
        both = [(new, r.cost) for new, r in zip(alone, made, strict=True) if new is not None and r.cost is not None]
        assert outcome.compared == len(both)
        if both:
            assert outcome.difference is not None
            assert femtos(outcome.difference) == added([new for new, _ in both]) - added([old for _, old in both])
    assert femtos(found.actual.cost) == added([request.cost for request in made])


@given(st.lists(requests, min_size=1, max_size=8))
def test_the_cheapest_prices_and_serves_everything_and_nothing_that_does_is_cheaper(made: list[Request]) -> None:
    found = simulate(made, MODELS, BOOK, at_ns=NOW)
    able = [one for one in found.outcomes if not one.unpriced and not one.misfits]
    best = found.cheapest()
    assert (best is None) == (not able)
    assert best is None or best.priced.cost == min(one.priced.cost for one in able)
    assert best is None or best.priced.calls == len(made)


def test_a_fee_without_a_rate_is_named_and_in_no_sum() -> None:
    with_page = Request(usage=Usage(input_tokens=1000, units={"page": 3}))
    plain = Request(usage=Usage(input_tokens=1000))
    (gpt,) = simulate([with_page, plain], ["gpt-4o"], BOOK, at_ns=NOW).outcomes
    assert (gpt.priced.calls, gpt.priced.cost) == (1, Decimal("0.0025"))
    assert gpt.unpriced == {"no rate for page": 1}


def test_prices_of_then_are_those_in_force_at_each_requests_instant() -> None:
    at = int(datetime(2023, 3, 2, tzinfo=UTC).timestamp()) * 10**9
    request = Request(usage=Usage(input_tokens=1_000_000), at_ns=at)
    (then,) = simulate([request], ["gpt-3.5-turbo"], BOOK).outcomes
    (now,) = simulate([request], ["gpt-3.5-turbo"], BOOK, at_ns=NOW).outcomes
    assert (then.priced.cost, now.priced.cost) == (2, Decimal("0.5"))


def test_without_costs_of_their_own_requests_are_compared_with_the_first_model() -> None:
    request = Request(usage=Usage(input_tokens=1_000_000), cost=Decimal(7))
    gpt, mini = simulate([request], ["gpt-4o", "gpt-4o-mini"], BOOK, at_ns=NOW, actual=False).outcomes
    assert (gpt.difference, gpt.per_cent) == (0, 0)
    assert (mini.difference, mini.per_cent) == (Decimal("-2.35"), -94)


def test_a_model_nobody_knows_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="'gpt-99'"):
        simulate([], ["gpt-4o", "gpt-99"], BOOK)


LIMITED = Model(id="m", limits=Limits(context=1000, input=800, output=300))


@pytest.mark.parametrize(
    ("usage", "why"),
    [
        (Usage(input_tokens=800, output_tokens=200), ""),
        (Usage(input_tokens=800, output_tokens=201), "longer than its context of 1,000 tokens"),
        (Usage(input_tokens=801, output_tokens=1), "longer than its longest input of 800 tokens"),
        (Usage(input_tokens=1, output_tokens=301), "longer than its longest answer of 300 tokens"),
    ],
)
def test_a_request_fits_up_to_the_last_token(usage: Usage, why: str) -> None:
    assert misfit(LIMITED, usage) == why


def test_what_is_not_said_of_a_model_is_not_known_and_speaks_neither_for_nor_against_it() -> None:
    usage = Usage(input_tokens=10**9, input_image_tokens=5)
    uses = features_used(usage, "tool_calls")
    assert uses == {"vision", "function_calling"}
    assert misfit(Model(id="m"), usage, uses) == misfit(None, usage, uses) == ""
    assert unknowns(Model(id="m"), uses) == (
        "its context window and whether it has function_calling, whether it has vision"
    )
    assert unknowns(LIMITED, ()) == ""


def test_an_embedding_model_answers_no_chat() -> None:
    assert misfit(Model(id="m", mode="embedding"), Usage(input_tokens=1), operation="chat") == (
        "it is for embedding, not chat"
    )
    assert misfit(Model(id="m", mode="responses"), Usage(input_tokens=1), operation="chat") == ""


@pytest.mark.parametrize(
    ("operation", "mode"),
    [
        ("text_completion", "chat"),
        ("responses", "chat"),
        ("chat", "completion"),
        ("transcription", "audio_transcription"),
        ("speech", "audio_speech"),
        ("rerank", "rerank"),
        ("image_generation", "image_generation"),
    ],
)
def test_a_model_serves_the_operations_of_its_mode(operation: str, mode: str) -> None:
    assert misfit(Model(id="m", mode=mode), Usage(), operation=operation) == ""
    assert misfit(Model(id="m", mode="ocr"), Usage(), operation=operation) == f"it is for ocr, not {operation}"
