"""A call stands below the span that is active where it is made, whoever's tracer that is."""

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

import callmeter
from callmeter.clock import IdSource
from callmeter.events.model import CallFacts
from callmeter.runtime import Runtime
from callmeter.testing import FakeProvider, FixedClock, capture_events


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeProvider]:
    with FakeProvider() as one:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        monkeypatch.setenv("OPENAI_BASE_URL", one.openai_base)
        yield one


@pytest.fixture
def tracer() -> trace.Tracer:
    """A program's own tracer; nothing of it is global."""
    return TracerProvider().get_tracer("app")


def asked(**params: Any) -> CallFacts:
    with capture_events() as events:
        callmeter.completion("openai/gpt-4o", [{"role": "user", "content": "Hi"}], **params)
    return events[-1].call  # type: ignore[union-attr]


def test_the_active_span_is_the_parent_and_its_trace_goes_out(provider: FakeProvider, tracer: trace.Tracer) -> None:
    with tracer.start_as_current_span("work") as span:
        call = asked()
    context = span.get_span_context()
    assert call.trace_id == trace.format_trace_id(context.trace_id)
    assert call.parent_id == trace.format_span_id(context.span_id)
    assert call.sampled
    assert provider.requests[0].headers["traceparent"] == f"00-{call.trace_id}-{call.span_id}-01"


def test_a_span_that_is_given_goes_before_the_active_one(provider: FakeProvider, tracer: trace.Tracer) -> None:
    given = tracer.start_span("elsewhere")
    with tracer.start_as_current_span("work"):
        call = asked(metadata={"litellm_parent_otel_span": given, "run": 7})
    assert call.parent_id == trace.format_span_id(given.get_span_context().span_id)
    assert call.metadata == {"run": "7"}


def test_below_a_span_that_is_not_recorded_a_call_is_metered_and_says_so(provider: FakeProvider) -> None:
    with TracerProvider(sampler=ALWAYS_OFF).get_tracer("app").start_as_current_span("work"):
        call = asked()
    assert call.parent_id
    assert not call.sampled
    assert provider.requests[0].headers["traceparent"].endswith("-00")


def test_a_trace_that_is_named_has_no_parent_in_another(provider: FakeProvider, tracer: trace.Tracer) -> None:
    with tracer.start_as_current_span("work") as span:
        named = asked(metadata={"trace_id": "order-4711"})
        same = asked(litellm_trace_id=trace.format_trace_id(span.get_span_context().trace_id))
    assert (named.trace_id, named.parent_id) == ("order-4711", "")
    assert same.parent_id == trace.format_span_id(span.get_span_context().span_id)


def test_a_tracer_that_breaks_does_not_break_the_call(provider: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("no context")

    monkeypatch.setattr(trace, "get_current_span", broken)
    call = asked(metadata={"litellm_parent_otel_span": "not a span"})
    assert (call.trace_id, call.parent_id) == (call.call_id, "")


def test_calls_made_while_the_clock_stands_still_are_spans_of_their_own(provider: FakeProvider) -> None:
    clock = FixedClock()
    with capture_events(Runtime(clock=clock, ids=IdSource(clock))) as events:
        for _ in range(3):
            callmeter.completion("openai/gpt-4o", [{"role": "user", "content": "Hi"}])
    assert len({event.call.span_id for event in events}) == 3  # type: ignore[union-attr]


def test_settings_of_the_model_are_kept_and_nothing_else(provider: FakeProvider) -> None:
    call = asked(temperature=0.5, max_tokens=7, seed=2**70, n=1, stop=["secret"], top_p=float("nan"), user="ada")
    assert call.parameters == {"temperature": 0.5, "max_tokens": 7, "seed": 2**70, "n": 1}


def test_metadata_that_is_a_list_or_a_mapping_is_kept_as_json(provider: FakeProvider) -> None:
    call = asked(metadata={"trace_metadata": {"tier": "gold"}, "keys": ["a"], "odd": {"self": object}, "run": 7})
    assert call.metadata["trace_metadata"] == '{"tier":"gold"}'
    assert (call.metadata["keys"], call.metadata["run"]) == ('["a"]', "7")
    assert "self" in call.metadata["odd"]
