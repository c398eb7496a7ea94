"""A stream may break at any byte: there is one end event each time, and what it costs never exceeds what it could."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from callmeter.client import codecs, flow
from callmeter.client.drive import drive
from callmeter.client.estimate import counted_usage
from callmeter.client.plan import Listed, Plan, Target
from callmeter.client.recorder import Recorder
from callmeter.client.streaming import FRAMINGS, Stream
from callmeter.errors import APIConnectionError, APIError
from callmeter.events.model import CallFacts, CallFailed, CallStarted, Event, StreamCompleted
from callmeter.runtime import Runtime
from callmeter.testing import FixedClock, FixedIds
from tests.golden_cases import Case, load_cases

PRICED = {
    "openai_chat": ("openai", "gpt-4o"),
    "openai_text": ("openai", "gpt-4o"),
    "openai_responses": ("openai", "gpt-4o"),
    "anthropic": ("anthropic", "claude-sonnet-4-5"),
    "bedrock": ("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"),
    "gemini": ("openai", "gpt-4o"),  # any price will do
    "ollama": ("ollama", "llama3.2"),
}

STRIDE = {"bedrock": 5}
"""Every how many bytes a wire is cut, where most bytes are around what it says and not of it (see `test_eventstream`)."""

CASES = [case for codec in PRICED for case in load_cases(codec, stream=True)]
GOOD = [case for case in CASES if case.error is None]

NOW_NS = 1_790_000_000_000_000_000
"""An instant at which all models have a price."""


class Cut:
    """An answer that ends after its bytes: in good order, or with the connection lost."""

    status = 200

    def __init__(self, body: bytes, lost: bool) -> None:
        self.headers: dict[str, str] = {}
        self.closed = 0
        self._body, self._lost = body, lost

    def __iter__(self) -> Iterator[bytes]:
        if self._body:
            yield self._body
        if self._lost:
            raise APIConnectionError("the connection was lost on purpose")

    def close(self) -> None:
        self.closed += 1


class Wire:
    """A transport whose every answer is the same."""

    def __init__(self, answer: Cut) -> None:
        self.answer = answer

    def open(self, request: object) -> Cut:
        return self.answer


def streamed(case: Case, body: bytes, *, lost: bool) -> tuple[list[Event], APIError | None, Cut]:
    """Read one answer through the whole flow: the events, the error raised, and the answer."""
    answer, events = Cut(body, lost), list[Any]()
    rt = Runtime(clock=FixedClock(wall_ns=NOW_NS), ids=FixedIds(), transport=Wire(answer))
    rt.subscribe(events.append, inline=True)
    provider, model = PRICED[case.deployment.codec]
    # At an address of its own a provider's prices would not hold for another's model.
    where = msgspec.structs.replace(case.deployment, provider=provider, model=model, api_base="https://provider.test")
    facts = CallFacts(call_id=case.call.id, at_ns=rt.clock.wall_ns(), provider=provider, model=model, stream=True)
    recorder = Recorder(case.call, facts, rt, {})
    way = Listed(Plan(max_retries=0), lambda _: Target(case.call, where))
    try:
        for _ in Stream(drive(flow.stream(way, recorder), rt)):
            pass
    except APIError as error:
        return events, error, answer
    return events, None, answer


@pytest.mark.parametrize("case", GOOD, ids=lambda case: f"{case.deployment.codec}-{case.name}")
def test_cut_at_every_byte_a_stream_has_one_end_and_a_cost_within_its_bound(case: Case) -> None:
    counted_before, cuts = -1, 0
    stride = STRIDE.get(case.deployment.codec, 1)
    for at in range(0, len(case.body), stride):
        events, error, answer = streamed(case, case.body[:at], lost=True)
        start, end = events
        assert isinstance(start, CallStarted)
        assert isinstance(end, CallFailed)
        assert error is not None
        assert answer.closed
        cuts += 1
        if end.usage_source == "none":
            assert end.cost.status == "invalid_usage"
            continue
        assert end.usage is not None
        assert end.cost.estimated
        assert end.cost.total is not None
        assert end.cost.low is not None
        assert end.cost.high is not None
        assert end.cost.low <= end.cost.total <= end.cost.high <= bound(case, end)
        assert end.usage.output_tokens >= counted_before
        counted_before = end.usage.output_tokens
    assert cuts == -(-len(case.body) // stride)


def bound(case: Case, end: CallFailed) -> Decimal:
    """The most it can cost: a token for each byte of the prompt and of the answer, at the dearest rate, and searches."""
    provider, model = PRICED[case.deployment.codec]
    most = counted_usage(case.call, len(case.body), len(case.body), None)[1]
    inputs = max(most.input_tokens, end.usage.input_tokens if end.usage else 0)
    found = Runtime().prices.bound(
        model, input_tokens=inputs, output_tokens=most.output_tokens, provider=provider, at=NOW_NS
    )
    assert found is not None
    return found + sum(item.amount for item in end.cost.items if item.line.startswith("search."))


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.deployment.codec}-{case.name}")
def test_a_whole_stream_ends_as_its_bytes_say(case: Case) -> None:
    events, error, answer = streamed(case, case.body, lost=False)
    assert [type(event) for event in events] == [CallStarted, StreamCompleted if case.error is None else CallFailed]
    assert (None if error is None else type(error).__name__) == (case.error and case.error["class"])
    assert answer.closed


def test_the_cuts_cover_all_wires_with_a_price() -> None:
    assert {case.deployment.codec for case in GOOD} == set(PRICED)
    assert {codecs.load(name).framing for name in PRICED} == set(FRAMINGS)
