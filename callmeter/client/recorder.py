"""One call's account: a start, its attempts, exactly one end. The only place where a call is priced."""

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from callmeter.client.codecs.base import Meter
from callmeter.client.estimate import NOTHING_COUNTED, calibrated, counted_usage, estimated
from callmeter.client.known import Known
from callmeter.client.operations import prompt_of, shown
from callmeter.client.plan import Target, Turn, retryable
from callmeter.client.prices import cost_of, timed
from callmeter.client.usage import completion_usage
from callmeter.errors import APIConnectionError, APIError
from callmeter.events.model import (
    Attempt,
    AttemptFailed,
    CacheFacts,
    CallFacts,
    CallFailed,
    CallStarted,
    CallSucceeded,
    Content,
    ErrorFacts,
    StreamCompleted,
)
from callmeter.pricing.calibration import NOTHING_LEARNED, Learned
from callmeter.pricing.totals import add_costs, add_usages
from callmeter.results import EmbeddingResponse
from callmeter.shapes import Completion, CompletionUsage, Result
from callmeter.types import Call, Cost, Deployment, Usage, UsageSource
from callmeter.wire import WireRequest

if TYPE_CHECKING:
    from callmeter.caching.entry import Found
    from callmeter.runtime import Runtime

MESSAGE_LIMIT = 2_000
"""Characters of an error's message that an event keeps."""

ANTHROPIC_KEYS = frozenset({"anthropic", "bedrock"})
"""Providers whose usage also has the names that Anthropic's users read."""


class Delivered(Struct, frozen=True, kw_only=True):
    """What came of an answer that may not be whole."""

    meter: Meter = Meter()
    output_chars: int = 0
    output_bytes: int = 0
    received: bool = False
    """Whether the reader was given any chunk."""
    first_chunk_ns: int | None = None
    """Monotonic time of the first chunk that carried something, or None before it."""
    answer: Result | None = None


NOTHING = Delivered()


class Recorder:
    """Publishes one call's events and prices it once. Whichever end comes first is the end."""

    def __init__(self, call: Call, facts: CallFacts, runtime: "Runtime", kwargs: Mapping[str, Any]) -> None:
        self.call = call
        self.facts = facts
        self.runtime = runtime
        self.end: CallSucceeded | StreamCompleted | CallFailed | None = None
        self._kwargs = kwargs
        self._shows_content = runtime.wants_content or "own_callbacks" in kwargs
        self._attempts: list[Attempt] = []
        self._body = b""
        self._began = False
        self._began_at: Target | None = None
        self._in_flight = False
        self._start_ns = self._sent_ns = self._left_ns = runtime.clock.mono_ns()
        self._sent_at_ns = 0
        self._away_ns = 0
        self._wait_s = self._waited_s = 0.0
        self._turn: Turn | None = None
        self._trying = False
        """Whether an attempt is under way that is not accounted for yet."""
        self.cache: CacheFacts | None = None
        """The call's part in the response cache, if it takes one."""
        self._found: Found | None = None

    @property
    def _target(self) -> Target | None:
        return None if self._turn is None else self._turn.target

    # -- on the way

    def attempting(self, turn: Turn) -> None:
        """It is this target's turn."""
        self._turn = turn
        self._trying = True
        self._wait_s += turn.waited_s
        self._waited_s += turn.waited_s
        self._sent_ns = self.runtime.clock.mono_ns()

    def sending(self, request: WireRequest) -> None:
        """The attempt is about to be sent; before the first one the call begins."""
        if not self._began:
            self._body = request.body
            self._begin()
        self._left_ns = self.runtime.clock.mono_ns()
        if not self._in_flight:
            self._in_flight = True
            self._sent_at_ns, self._sent_ns = self.runtime.clock.wall_ns(), self._left_ns

    def received(self) -> None:
        """Control is back from the network, with an answer or an error."""
        self._away_ns += self.runtime.clock.mono_ns() - self._left_ns

    def given(self, seconds: float) -> None:
        """The provider was given this long before it is asked how far it is."""
        self._away_ns += int(seconds * 1e9)

    def attempt_failed(self, error: APIError, retry_in_s: float, seen: Delivered = NOTHING) -> None:
        """The attempt failed and another follows, after a pause."""
        attempt = self._attempt(*self._left_of(error, seen), seen, error)
        self._in_flight = False
        self._attempts.append(attempt)
        self._wait_s = retry_in_s
        self._waited_s += retry_in_s
        event = AttemptFailed(
            id=self.runtime.ids(),
            at_ns=self.runtime.clock.wall_ns(),
            call=self.facts,
            attempt=attempt,
            retry_in_s=retry_in_s,
        )
        self.runtime.publish(event, 0)

    def recalled(self, found: "Found") -> Target:
        """The response cache has the answer: the call begins, and nobody is asked. Returns who once gave it."""
        entry = found.entry
        assert self.cache is not None
        self.cache = CacheFacts(
            key=self.cache.key, hit=True, stored_at_ns=entry.stored_at_ns, saved_estimated=entry.estimated
        )
        self._found = found
        where = Deployment(provider=entry.provider, model=entry.model, codec="", api_base="")
        target = Target(self.call, where)
        self._turn = Turn(target)
        self._begin()
        return target

    # -- the ends

    def succeeded(self, answer: Result, meter: Meter, answer_bytes: int) -> None:
        """An answer came, whole."""
        chars, size = (0, 0) if meter.usage or meter.problem else _answer_size(answer)
        seen = Delivered(meter=meter, output_chars=chars, output_bytes=size, answer=answer)
        self._end(CallSucceeded, seen, *self._metered(seen, whole=True), answer_bytes=answer_bytes)

    def stream_completed(self, seen: Delivered) -> None:
        """A stream was read to its end."""
        self._learn(seen)
        self._end(StreamCompleted, seen, *self._metered(seen, whole=True), answer_bytes=seen.output_bytes)

    def stream_cancelled(self, seen: Delivered) -> None:
        """A stream's reader stopped: a completed stream if it had received anything, else a cancelled call."""
        metered = self._metered(seen, whole=False)
        if not seen.received:
            self._end(CallFailed, seen, *metered, error=Cancelled())
        else:
            self._end(StreamCompleted, seen, *metered, answer_bytes=seen.output_bytes, finish="cancelled")

    def failed(self, error: BaseException, seen: Delivered = NOTHING) -> None:
        """The call ends in an error; what a stream had delivered before it broke is counted."""
        self._end(CallFailed, seen, *self._left_of(error, seen), error=error, answer_bytes=seen.output_bytes)

    def aborted(self, error: BaseException) -> None:
        """The flow was interrupted: cancelled by its caller, or by something nobody foresaw."""
        self.failed(error if isinstance(error, Exception) else Cancelled())

    # -- what the caller sees of it

    def usage_shown(self) -> CompletionUsage | None:
        """The usage of the ended call in OpenAI's shape, with its cost."""
        if self._found is not None:
            return _at_no_cost(self._found.answer.usage)
        if self.end is None or self.end.usage is None:
            return None
        usage = completion_usage(self.end.usage, anthropic_keys=self.end.call.provider in ANTHROPIC_KEYS)
        total = self.end.cost.total
        usage.cost = None if total is None else float(total)
        return usage

    def sign(self, answer: Result, headers: Mapping[str, str]) -> None:
        """Attach to an answer what is known about it beyond OpenAI's format, and usage that we had to count."""
        if (answer.usage is None or self._found is not None) and isinstance(answer, SHOWING_TOKENS):
            answer.usage = self.usage_shown()
        end = self.end
        latency_ms = None if end is None else end.latency_s * 1e3
        answer.__dict__["_response_ms"] = latency_ms
        # Few callers look, so it is put together when one does; nothing of the call's content is kept for it.
        answer.__dict__["_known"] = self._known(headers, latency_ms).hidden_params

    def hidden_params(self, headers: Mapping[str, str]) -> dict[str, Any]:
        """The `_hidden_params` of existing code. The cost is a float or None there, exact under `cost`."""
        return self._known(headers).hidden_params()

    def _known(self, headers: Mapping[str, str], latency_ms: float | None = None) -> Known:
        target, end, turn = self._target, self.end, self._turn
        where = target.deployment if target is not None else None
        attempts = end.attempts if end is not None else self._attempts
        reasons = [attempt.reason for attempt in attempts] + [turn.reason for turn in (turn,) if end is None and turn]
        return Known(
            provider=where.provider if where is not None else None,
            api_base=where.api_base if where is not None else None,
            deployment=where.id or None if where is not None else None,
            call_id=self.facts.call_id,
            model_requested=self.facts.model_requested,
            response_model=end.response_model if end is not None else None,
            cost=end.cost if end is not None else None,
            headers=headers,
            latency_ms=latency_ms,
            cache=self.cache,
            retries=reasons.count("retry"),
            fallbacks=reasons.count("fallback"),
            routed=turn is not None and bool(turn.group),
        )

    # -- how

    def _begin(self) -> None:
        self._began, self._began_at = True, self._target
        if self._target is not None:
            self.facts = _located(self.facts, self._target, len(self._body))
        event = CallStarted(
            id=self.runtime.ids(),
            at_ns=self.facts.at_ns,
            call=self.facts,
            content=self._content(None) if self._shows_content else None,
        )
        self.runtime.publish(event, self._kept_bytes() if self._shows_content else 0)

    def _metered(self, seen: Delivered, *, whole: bool) -> "Metered":
        """The provider's count of a whole answer; else ours, which never exceeds what was delivered and sent."""
        meter = seen.meter
        if self._found is not None:
            return Usage(), "none", Cost(total=Decimal(0), status="free", saved=self._found.entry.cost)
        if meter.problem:
            return None, "none", Cost(status="invalid_usage", reason=meter.problem, reported=meter.reported)
        if whole and meter.usage is not None:
            usage = self._timed(meter.usage)
            billed = usage if meter.billed is None else self._timed(meter.billed)
            return usage, "provider", self._price(billed, meter)
        call, learned = self._asked(), self._learned()
        counted = counted_usage(call, seen.output_chars, seen.output_bytes, meter.usage)
        if counted[0] is NOTHING_COUNTED:
            return None, "none", Cost(status="no_usage", reason="the provider reported nothing that could be counted")
        found = calibrated(call, counted, learned, seen.output_bytes, len(self._body), meter.usage)
        count, most, low, high = map(self._timed, found)
        return count, "counted", estimated(lambda usage: self._price(usage, meter), count, most, (low, high))

    def _learn(self, seen: Delivered) -> None:
        """Whole streams that the provider counted show how long this model's tokens are."""
        target, usage = self._target, seen.meter.usage
        if target is None or usage is None or usage.output_audio_tokens:
            return
        where, calibration = target.deployment, self.runtime.calibration
        shown = usage.output_tokens - (usage.reasoning_tokens or 0)
        calibration.answer(where.provider, where.model, seen.output_bytes, shown)
        calibration.prompt(where.provider, where.model, len(self._body), usage.input_tokens)

    def _learned(self) -> Learned:
        if self._target is None or not self.runtime.settings.calibrate:
            return NOTHING_LEARNED
        where = self._target.deployment
        return self.runtime.calibration.of(where.provider, where.model)

    def _left_of(self, error: BaseException, seen: Delivered) -> "Metered":
        """What a failed attempt is charged for: what its stream had delivered, or perhaps the request alone."""
        return self._lost(error) if seen is NOTHING else self._metered(seen, whole=False)

    def _lost(self, error: BaseException) -> "Metered":
        """A request that got no answer. In flight, it may be charged for: at least nothing, at most its prompt."""
        nobody_knows = isinstance(error, Cancelled) or (isinstance(error, APIConnectionError) and error.sent)
        if not (self._in_flight and nobody_knows):
            return None, "none", Cost(status="no_usage", reason="no answer that is charged for")
        count, source, cost = self._metered(NOTHING, whole=False)
        return count, source, msgspec.structs.replace(cost, low=None if cost.total is None else Decimal(0))

    def _asked(self) -> Call:
        return self._target.call if self._target is not None else self.call

    def _end(
        self,
        kind: type[CallSucceeded] | type[StreamCompleted] | type[CallFailed],
        seen: Delivered,
        usage: Usage | None,
        source: UsageSource,
        cost: Cost,
        *,
        answer_bytes: int = 0,
        finish: str = "",
        error: BaseException | None = None,
    ) -> None:
        if self.end is not None:
            return
        if not self._began:
            self._begin()
        attempts, one = tuple(self._attempts), False
        if self._found is not None:
            one = True
        elif self._trying or not attempts:
            one = not attempts
            attempts = (*attempts, self._attempt(usage, source, cost, seen, error))
        rt, answer, meter = self.runtime, seen.answer, seen.meter
        whole_ns = rt.clock.mono_ns() - self._start_ns
        self.end = kind(
            id=rt.ids(),
            at_ns=rt.clock.wall_ns(),
            call=self._facts_at_end(),
            usage=usage if one else add_usages(attempts, usage),
            usage_source=source,
            usage_problem=meter.problem,
            raw_usage=meter.raw,
            cost=cost if one else add_costs(attempts, cost),
            attempts=attempts,
            finish_reason=finish or _finish_reason(answer),
            response_id=answer.id or "" if answer is not None else "",
            response_model=answer.model or "" if answer is not None else "",
            service_tier=meter.service_tier,
            latency_s=whole_ns / 1e9,
            time_to_first_chunk_s=self._first_chunk_s(seen),
            overhead_s=max(0.0, (whole_ns - self._away_ns) / 1e9 - self._waited_s),
            retry_wait_s=self._waited_s,
            answer_bytes=answer_bytes,
            error=None if error is None else error_facts(error),
            content=self._content(answer, error),
            cache=self.cache,
        )
        rt.publish(self.end, self._kept_bytes(answer_bytes))

    def _facts_at_end(self) -> CallFacts:
        """The start's facts; after a fallback, with the deployment that served the call."""
        if self._target is None or self._target is self._began_at:
            return self.facts
        return _located(self.facts, self._target, len(self._body))

    def _content(self, answer: Result | None, error: BaseException | None = None) -> Content:
        """References for the writer (which hashes the body) and, where somebody wants them, for callbacks."""
        if not self._shows_content:
            return Content(request_body=self._body)
        return Content(
            messages=prompt_of(self.call),
            completion=shown(self.call.operation, answer).copy() if answer is not None else None,
            request_body=self._body,
            kwargs={**self._kwargs, "exception": error},
        )

    def _kept_bytes(self, answer_bytes: int = 0) -> int:
        """About how much an event keeps alive: the request as it was sent, and perhaps what it was made of."""
        return 2 * len(self._body) + answer_bytes if self._shows_content else len(self._body)

    def _timed(self, usage: Usage) -> Usage:
        """The usage, with the attempt's own time where that is what the caller's price is for."""
        if self._target is None or self._target.deployment.own_price is None:
            return usage
        return timed(self._target.deployment, usage, self.runtime.clock.mono_ns() - self._sent_ns)

    def _price(self, usage: Usage, meter: Meter) -> Cost:
        target = self._target
        if target is None:
            return Cost(status="unpriced", reason="no deployment was reached")
        cost = cost_of(
            self.runtime.prices,
            target.deployment,
            usage,
            at_ns=self.facts.at_ns,
            service_tier=meter.service_tier or target.call.params.get("service_tier"),
            served=meter.model,
        )
        return cost if meter.reported is None else msgspec.structs.replace(cost, reported=meter.reported)

    def _attempt(
        self, usage: Usage | None, source: UsageSource, cost: Cost, seen: Delivered, error: BaseException | None
    ) -> Attempt:
        """The attempt that is over now. Whoever gave its target is told."""
        turn = self._turn
        where = turn.target.deployment if turn is not None else None
        attempt = Attempt(
            number=len(self._attempts) + 1,
            provider=where.provider if where else self.facts.provider,
            model=where.model if where else self.facts.model,
            api_base=where.api_base if where else "",
            deployment=where.id if where else "",
            status="success" if error is None else "failure",
            at_ns=self._sent_at_ns or self.facts.at_ns,
            latency_s=(self.runtime.clock.mono_ns() - self._sent_ns) / 1e9,
            wait_s=self._wait_s,
            usage=usage,
            cost=cost,
            billable=_billable(error, usage, source),
            error=None if error is None else error_facts(error),
            reason=turn.reason if turn is not None else "first",
            because=turn.because if turn is not None else "",
            model_group=turn.group if turn is not None else "",
        )
        if self._trying and turn is not None and turn.ended is not None:
            turn.ended(attempt, error, self._first_chunk_s(seen))
        self._trying = False
        return attempt

    def _first_chunk_s(self, seen: Delivered) -> float | None:
        return None if seen.first_chunk_ns is None else (seen.first_chunk_ns - self._sent_ns) / 1e9


Metered = tuple[Usage | None, UsageSource, Cost]


class Cancelled(Exception):
    """Stands for the caller's own cancellation in a `CallFailed`; never raised to anyone."""


def error_facts(error: BaseException) -> ErrorFacts:
    """An exception as an event tells it."""
    if isinstance(error, Cancelled):
        return ErrorFacts(error_class="cancelled", message="cancelled by the caller before anything was received")
    if not isinstance(error, APIError):
        return ErrorFacts(error_class=type(error).__name__, message=str(error)[:MESSAGE_LIMIT])
    return ErrorFacts(
        error_class=type(error).__name__,
        message=error.message[:MESSAGE_LIMIT],
        http_status=error.status_code,
        code=error.code or "",
        request_id=error.request_id or "",
        retryable=retryable(error),
    )


def _at_no_cost(usage: CompletionUsage | None) -> CompletionUsage | None:
    """The usage of a stored answer, which nobody pays for again."""
    if usage is not None:
        usage.cost = None if usage.cost is None else 0.0
    return usage


def _billable(error: BaseException | None, usage: Usage | None, source: UsageSource) -> bool | None:
    if error is None or source == "provider":
        return True
    return None if usage is not None else False


def _located(facts: CallFacts, target: Target, prompt_bytes: int) -> CallFacts:
    where = target.deployment
    return msgspec.structs.replace(
        facts,
        provider=where.provider,
        model=where.model,
        deployment=where.id,
        region=where.region,
        api_base=where.api_base,
        prompt_bytes=prompt_bytes,
        base_model=where.base_model,
    )


SHOWING_TOKENS = (Completion, EmbeddingResponse)
"""Answers whose usage is tokens in OpenAI's counting, which we can count ourselves."""


def _finish_reason(answer: Result | None) -> str:
    if not isinstance(answer, Completion) or not answer.choices:
        return ""
    return answer.choices[0].finish_reason or ""


def _answer_size(answer: Result) -> tuple[int, int]:
    """Characters and bytes of what the model wrote, for answers that came without usage."""
    texts: list[str] = []
    for choice in answer.choices if isinstance(answer, Completion) else ():
        message = choice.message
        texts += [message.content or "", message.reasoning_content or ""]
        texts += [call.function.arguments for call in message.tool_calls or () if call.function]
    whole = "".join(texts)
    return len(whole), len(whole.encode("utf-8", "surrogatepass"))
