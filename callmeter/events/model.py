"""The events. A call publishes one `CallStarted`, then exactly one of the three ends; `AttemptFailed` between.

Events are frozen. They evolve by gaining optional fields; a tag, once published, keeps its meaning for good. Field
metadata (`otel`, `column`) is what spans, ledger columns and the docs are derived from.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from callmeter.types import Cost, CostItem, Usage, UsageSource


def otel(name: str, unit: str = "") -> Meta:
    """The attribute a field becomes on a span."""
    return Meta(extra={"otel": name, "unit": unit})


class CallFacts(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What is known when a call begins. Its end carries it too, naming the deployment that served after a fallback."""

    call_id: str
    trace_id: Annotated[str, Meta(description="32 hex digits; the caller's active trace, else minted")] = ""
    span_id: Annotated[str, Meta(description="16 hex digits; the call's own span")] = ""
    parent_id: Annotated[str, Meta(description="span id of the caller's active span, or empty")] = ""
    at_ns: Annotated[int, Meta(description="wall clock at the start, ns since the epoch UTC")] = 0
    operation: Annotated[str, otel("gen_ai.operation.name")] = "chat"
    stream: bool = False
    provider: Annotated[str, otel("gen_ai.provider.name")] = ""
    model: Annotated[str, otel("gen_ai.request.model")] = ""
    model_requested: Annotated[str, Meta(description="as the caller wrote it, prefix and all")] = ""
    deployment: str = ""
    region: str = ""
    service_tier: Annotated[str, Meta(description="the tier asked for")] = ""
    api_base: Annotated[str, otel("server.address")] = ""
    project: str = ""
    user: str = ""
    team: str = ""
    key_id: str = ""
    customer: str = ""
    feature: str = ""
    session_id: str = ""
    environment: str = ""
    tags: tuple[str, ...] = ()
    metadata: Annotated[Mapping[str, str], Meta(description="the rest of the caller's metadata, as text")] = {}
    prompt_bytes: Annotated[int, Meta(description="size of the first request body")] = 0
    made_by: Annotated[str, Meta(description="the sink that made this call and is not told of it, or empty")] = ""
    base_model: Annotated[
        str, Meta(description="the model whose price applies, where the deployment's own name says nothing")
    ] = ""
    sampled: Annotated[bool, Meta(description="False where the caller's active span is not recorded")] = True
    parameters: Annotated[
        Mapping[str, str | int | float | bool], Meta(description="what was asked for beside the prompt: temperature, …")
    ] = {}


class ErrorFacts(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What went wrong. The message is the provider's or ours and never holds a credential."""

    error_class: Annotated[str, otel("error.type")]
    message: str = ""
    http_status: int | None = None
    code: str = ""
    request_id: Annotated[str, Meta(description="the provider's id for the request")] = ""
    retryable: bool = False


class Attempt(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One request to one deployment. A call's usage and cost are the sums over its attempts."""

    number: int
    provider: str
    model: str
    api_base: str = ""
    deployment: str = ""
    status: Literal["success", "failure"] = "success"
    at_ns: int = 0
    latency_s: Annotated[float, Meta(description="sending to last byte or failure, s")] = 0.0
    wait_s: Annotated[float, Meta(description="waited before this attempt, s")] = 0.0
    usage: Usage | None = None
    cost: Cost | None = None
    billable: Annotated[bool | None, Meta(description="None: the provider may or may not charge for it")] = None
    error: ErrorFacts | None = None
    reason: Annotated[str, Meta(description="why this attempt was made: first, retry, fallback")] = "first"
    because: Annotated[
        str, Meta(description="what led to it: the failure before it, or why other deployments were passed over")
    ] = ""
    model_group: Annotated[str, Meta(description="the router's model group it was chosen from, or empty")] = ""
    same: Annotated[bool, Meta(description="as stored only: usage and cost are the call's and not kept twice")] = False


class Content(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Prompts and answers, by reference. In a stored event only where capture is on, after redaction."""

    messages: Any = None
    completion: Any = None
    request_body: bytes = b""
    answer_bytes: int = 0
    kwargs: Any = None
    """For the process's own callbacks: the caller's arguments, the live exception. Never stored."""


class Event(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type"):
    """A past fact about one call."""

    id: Annotated[str, Meta(description="128-bit time-ordered, 32 hex digits; what sinks dedupe by")]
    at_ns: Annotated[int, Meta(description="wall clock when it happened, ns since the epoch UTC")]
    call: CallFacts
    content: Content | None = None


class CallStarted(Event, frozen=True, kw_only=True, omit_defaults=True, tag="call.started"):
    """A call begins: published before anything is sent."""


class AttemptFailed(Event, frozen=True, kw_only=True, omit_defaults=True, tag="attempt.failed"):
    """An attempt failed and another may follow."""

    attempt: Attempt
    retry_in_s: float | None = None


class CacheFacts(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A call's part in the response cache."""

    key: str
    hit: bool = False
    """Whether the answer was found there: then no provider was asked, and `cost.saved` is what the answer cost once."""
    stored_at_ns: Annotated[int, Meta(description="wall clock when the answer was stored, ns; 0 if not a hit")] = 0
    saved_estimated: Annotated[bool, Meta(description="whether what was saved rests on counts of ours")] = False


class CallEnded(Event, frozen=True, kw_only=True, omit_defaults=True):
    """What the three ends share. Not published itself."""

    usage: Usage | None = None
    """Units consumed; None where nothing is known. Totals include their parts."""
    usage_source: UsageSource = "none"
    usage_problem: Annotated[str, Meta(description="why the provider's counts were refused")] = ""
    raw_usage: Any = None
    cost: Cost = Cost(status="no_usage")
    """What it cost: exact total, lines and status; the total is None where no price is known, not the same as free."""
    attempts: tuple[Attempt, ...] = ()
    finish_reason: Annotated[str, otel("gen_ai.response.finish_reasons")] = ""
    response_id: Annotated[str, otel("gen_ai.response.id")] = ""
    response_model: Annotated[str, otel("gen_ai.response.model")] = ""
    service_tier: Annotated[str, Meta(description="the tier that served the call")] = ""
    latency_s: Annotated[float, otel("gen_ai.client.operation.duration", unit="s")] = 0.0
    time_to_first_chunk_s: Annotated[float | None, otel("gen_ai.response.time_to_first_chunk", unit="s")] = None
    overhead_s: Annotated[float, Meta(description="callmeter's own time within the latency, s")] = 0.0
    retry_wait_s: Annotated[float, Meta(description="waited between attempts, s")] = 0.0
    answer_bytes: int = 0
    prompt_hash: Annotated[str, Meta(description="keyed 64-bit BLAKE2 of the request body, hex; by the writer")] = ""
    error: ErrorFacts | None = None
    cache: CacheFacts | None = None
    """The call's part in the response cache; None where it took none."""

    @property
    def cache_hit(self) -> bool | None:
        """Whether the response cache answered; None where the call took no part in one."""
        return None if self.cache is None else self.cache.hit


class CallSucceeded(CallEnded, frozen=True, kw_only=True, omit_defaults=True, tag="call.succeeded"):
    """A call that was not streamed ended well."""


class StreamCompleted(CallEnded, frozen=True, kw_only=True, omit_defaults=True, tag="stream.completed"):
    """A streamed call ended: its last chunk was read, or its reader closed it early (`finish_reason="cancelled"`)."""


class CallFailed(CallEnded, frozen=True, kw_only=True, omit_defaults=True, tag="call.failed"):
    """A call ended in an error, was cancelled before anything was received, or died with its process.

    `error.error_class` is the exception's name, or `cancelled`, or `process_died`. What a stream had delivered before
    it was cut by the provider is in `usage` and `cost`.
    """


class EventsDropped(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag="events.dropped"):
    """Events were lost or thinned, and how many. About no single call."""

    id: str
    at_ns: int
    sink: str
    reason: str
    count: int
    bytes: int = 0


class CostAdjusted(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag="cost.adjusted"):
    """A call was priced anew. The old value stays; reports take the last, which is the one with the greatest id."""

    id: str
    at_ns: int
    call_id: str
    old: Decimal | None
    new: Decimal | None
    old_table: str
    new_table: str
    reason: str
    status: Annotated[str, Meta(description="how far the new cost can be trusted, as `calls.cost_status`")] = ""
    why: Annotated[str, Meta(description="why the new cost is not complete")] = ""
    items: tuple[CostItem, ...] = ()
    """The lines of the new cost."""


AnyEvent = CallStarted | AttemptFailed | CallSucceeded | StreamCompleted | CallFailed | EventsDropped | CostAdjusted
"""Everything the journal stores and a subscriber may see; decodes by its tag."""

END_TYPES = (CallSucceeded, StreamCompleted, CallFailed)
