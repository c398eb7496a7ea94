"""A call's ids in a trace: always of W3C's form, the same for the same call, different for different ones."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callmeter.clock import IdSource
from callmeter.events.model import CallFacts
from callmeter.events.trace import is_span_id, span_id, span_id_of, trace_id, trace_id_of, traceparent
from callmeter.testing.clocks import FixedClock

HEX = set("0123456789abcdef")


@given(text=st.text())
def test_any_spelling_of_a_trace_becomes_an_id_that_is_its_own(text: str) -> None:
    found = trace_id_of(text)
    assert len(found) == 32
    assert set(found) <= HEX
    assert set(found) != {"0"}
    assert trace_id_of(found) == found


def test_a_uuid_is_the_trace_id_it_writes() -> None:
    trace = uuid.UUID("6d674ec3-6dd0-4ac0-8d3c-aa59c98737f6")
    assert trace_id_of(str(trace)) == trace_id_of(str(trace).upper()) == trace.hex


def test_a_name_becomes_the_id_under_which_langfuse_looks_for_it() -> None:
    # What Langfuse.create_trace_id(seed="order-4711") of its SDK 5.0.4 returned.
    assert trace_id_of("order-4711") == "173d0ddbff034193face7ce60d3f58b4"


def test_spans_differ_although_the_clock_stands_still() -> None:
    ids = IdSource(FixedClock())
    calls = [ids() for _ in range(10_000)]
    assert len({call[:16] for call in calls}) == 1
    assert len({span_id_of(call, attempt) for call in calls for attempt in range(3)}) == 30_000


def test_an_event_that_names_no_span_or_trace_has_those_of_its_call() -> None:
    call = CallFacts(call_id="18eb4c12e01097bcaed895e133000001")
    assert span_id(call) == span_id_of(call.call_id)
    assert trace_id(call) == call.call_id


@pytest.mark.parametrize("text", ["", "0" * 16, "0" * 15 + "G", "1" * 15, "1" * 17, "A" * 16])
def test_what_is_no_span_id(text: str) -> None:
    assert not is_span_id(text)


@pytest.mark.parametrize(("sampled", "flags"), [(True, "01"), (False, "00")])
def test_the_header_says_whether_the_trace_is_recorded(sampled: bool, flags: str) -> None:
    call = CallFacts(call_id="1" * 32, trace_id="2" * 32, span_id="3" * 16, sampled=sampled)
    assert traceparent(call) == f"00-{'2' * 32}-{'3' * 16}-{flags}"
