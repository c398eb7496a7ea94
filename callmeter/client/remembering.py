"""One call's part in the response cache: the answer it takes from there in place of a provider's, or the one it leaves.

An answer is kept under the key of the call's first target, so one that a fallback to another model gave is not kept.
Nor is what did not come whole, or was not what was asked for.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from callmeter.caching import Cache
from callmeter.caching.controls import Controls, controls_of
from callmeter.caching.entry import Entry, Found, answer_bytes
from callmeter.caching.key import SAME_ANSWER
from callmeter.client import replay, replay_native
from callmeter.client.codecs import openai_responses
from callmeter.client.codecs.base import Meter
from callmeter.client.codecs.responses_answer import WHOLE
from callmeter.client.effects import Consult, Flow
from callmeter.client.plan import Target
from callmeter.client.streaming import StreamCore
from callmeter.errors import ConfigError
from callmeter.events.model import Attempt, CacheFacts
from callmeter.records import ResponsesAnswer
from callmeter.shapes import Completion, Result
from callmeter.types import Call

if TYPE_CHECKING:
    from callmeter.client.recorder import Recorder

T = TypeVar("T")

WHOM = "callmeter_asks"
"""Under which name a request has all that is neither a parameter nor a message."""

NOT_THE_REQUEST = frozenset(
    """api-key authorization cookie idempotency-key traceparent tracestate x-api-key x-goog-api-key
    x-request-id""".split()
)
"""Headers of a caller's that change no answer: credentials, and names for one request."""


def memory_of(
    cache: Cache,
    call_type: str,
    given: Mapping[str, Any],
    recorder: "Recorder",
    first: Target | Sequence[Mapping[str, Any]],
) -> "Memory | None":
    """A call's part in the cache, or None where it takes none. Raises `BadRequestError` for controls nobody knows.

    `first` is that of the call's `Way`.
    """
    if not isinstance(cache, Cache):
        raise ConfigError(f"callmeter.cache is {cache!r:.80}; set it to callmeter.Cache(…), or to None")
    controls = controls_of(given.get("cache"))
    if not cache.wants(call_type, given.get("caching"), controls) or not (controls.read or controls.store):
        return None
    target = first if isinstance(first, Target) else None
    asked = _request(first) if isinstance(first, Target) else _asked_of_a_group(recorder.call, given, first)
    key = cache.key(asked, controls.namespace)
    if key is None:
        return None
    recorder.cache = CacheFacts(key=key)
    return Memory(cache, controls, key, recorder, target)


class Memory:
    """What one call does with the cache."""

    def __init__(self, cache: Cache, controls: Controls, key: str, recorder: "Recorder", target: Target | None) -> None:
        self._cache = cache
        self._controls = controls
        self._key = key
        self._recorder = recorder
        self._target = target
        self._keeps = controls.store

    def answer(self, fresh: Flow[Result]) -> Flow[Result]:
        """The stored answer, else the one that the flow brings."""
        return self._unless_found(fresh, self._recalled)

    def stream(self, fresh: Flow[StreamCore]) -> Flow[StreamCore]:
        """The stored answer as a stream, else the one that the flow opens."""
        return self._unless_found(fresh, self._replayed)

    def keep(self, answer: Result) -> None:
        """Store an answer that came whole. Never raises, and never waits."""
        end = self._recorder.end
        if not self._keeps or end is None or not end.attempts or not _is_whole(answer):
            return
        last = end.attempts[-1]
        if not self._is_its_own(last):
            return
        if isinstance(answer, Completion) and answer.usage is None:
            answer.usage = self._recorder.usage_shown()
        try:
            encoded = answer_bytes(answer)
        except ValueError:  # text that is no Unicode, which JSON cannot hold
            return
        entry = Entry(
            operation=self._recorder.call.operation,
            answer=encoded,
            stored_at_ns=self._recorder.runtime.clock.wall_ns(),
            provider=last.provider,
            model=last.model,
            cost=last.cost.total if last.cost else None,
            estimated=bool(last.cost and last.cost.estimated),
            hidden=_hidden(answer),
        )
        self._cache.keep(self._key, entry, self._controls.ttl_s)

    def _is_its_own(self, last: Attempt) -> bool:
        """Whether no fallback gave the answer."""
        if self._target is None:
            return last.reason != "fallback"
        where = self._target.deployment
        return (last.provider, last.model, last.api_base) == (where.provider, where.model, where.api_base)

    def _unless_found(self, fresh: Flow[T], use: Callable[[Found], T]) -> Flow[T]:
        if self._controls.read:
            try:
                found = yield self._find()
            except BaseException as error:  # the caller's own cancellation; the cache itself raises nothing
                self._recorder.aborted(error)
                raise
            if found is not None:
                self._keeps = False
                return use(found)
        return (yield from fresh)

    def _find(self) -> Consult:
        key, max_age_s = self._key, self._controls.max_age_s
        return Consult(lambda: self._cache.find(key, max_age_s), lambda: self._cache.afind(key, max_age_s))

    def _recalled(self, found: Found) -> Result:
        answer = found.answer
        answer.__dict__.update(_shown(found.entry.hidden))
        self._recorder.recalled(found)
        self._recorder.succeeded(answer, Meter(), len(bytes(found.entry.answer)))
        self._recorder.sign(answer, {})
        return answer

    def _replayed(self, found: Found) -> StreamCore:
        target, native = self._recorder.recalled(found), found.entry.hidden.get(WHOLE)
        if native is not None:
            return StreamCore(replay_native.opened(native), openai_responses.CODEC, target, self._recorder)
        assert isinstance(found.answer, Completion)
        return StreamCore(replay.opened(found.answer), replay.CODEC, target, self._recorder)


def _request(target: Target) -> dict[str, Any]:
    """All that the answer depends on, by name: what is asked, and of whom."""
    call, where, mock = target.call, target.deployment, target.mock
    mocked = None if mock is None else [str(mock.response), mock.tool_calls]
    whom = [call.operation, where.provider, where.api_base, where.region, where.variables, _headers(call), mocked]
    return {**call.params, **call.extra, "model": where.model, "messages": list(call.messages), WHOM: whom}


def _asked_of_a_group(call: Call, given: Mapping[str, Any], group: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The same where a router chooses: any deployment of the group answers for all, and those of another do not."""
    models = [{name: value for name, value in each.items() if name not in SAME_ANSWER} for each in group]
    whom = [call.operation, models, _headers(call), str(given.get("mock_response"))]
    return {**call.params, **call.extra, "model": call.model, "messages": list(call.messages), WHOM: whom}


def _headers(call: Call) -> dict[str, str]:
    return {name.lower(): value for name, value in call.headers.items() if name.lower() not in NOT_THE_REQUEST}


def _is_whole(answer: Result) -> bool:
    """Whether this is all of the answer: one that goes on in the background, or stopped on its way, is not.

    What ended because it was long enough (`length`, `incomplete`) is the whole answer to its request.
    """
    native = answer.__dict__.get(WHOLE)
    if native is not None:
        return native.get("status") in ("completed", "incomplete")
    return not isinstance(answer, Completion) or all(choice.finish_reason for choice in answer.choices)


def _hidden(answer: Result) -> dict[str, Any]:
    native = answer.__dict__.get(WHOLE)
    return {} if native is None else {WHOLE: dict(native)}


def _shown(hidden: Mapping[str, Any]) -> dict[str, Any]:
    return {WHOLE: ResponsesAnswer(hidden[WHOLE])} if WHOLE in hidden else {}
