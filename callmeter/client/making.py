"""From a caller's arguments to a call that is ready to run: the same for every operation."""

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from callmeter.client import codecs
from callmeter.client.completing import as_chat
from callmeter.client.facts import facts_of
from callmeter.client.mock import COMPLETION, Mock, Mocked
from callmeter.client.operations import CHAT, TEXT_COMPLETION, Operation
from callmeter.client.params import admit, split
from callmeter.client.plan import Listed, Plan, Target, Way
from callmeter.client.prices import base_model_of, price_given
from callmeter.client.providers import KEYWORDS, OPENAI_CHAT, OPENAI_TEXT, Provider, codec_of
from callmeter.client.recorder import Recorder
from callmeter.client.resolve import deployment, provider_of
from callmeter.errors import APIError, BadRequestError, ConfigError, MissingExtraError, as_openai
from callmeter.events.model import CallFacts
from callmeter.events.trace import traceparent
from callmeter.pricing.own import ARGUMENTS as PRICES
from callmeter.runtime import Runtime, default_runtime
from callmeter.tap import offline_key
from callmeter.types import Call, Deployment, Timeouts

if TYPE_CHECKING:
    from callmeter.client.remembering import Memory

Check = Callable[[Any], None]
"""Raises where an answer is not what was asked for."""

OURS = frozenset(
    """_router api_base api_key api_type api_version base_model base_url additional_drop_params allowed_openai_params
    caching cache callbacks client context_window_fallback_dict custom_llm_provider deployment_id drop_params
    enable_json_schema_validation extra_headers failure_callback fallbacks headers id litellm_call_id
    litellm_logging_obj litellm_session_id litellm_trace_id logger_fn max_retries metadata mock_response
    mock_timeout mock_tool_calls model_info model_list no-log num_retries region shared_session stream_timeout
    success_callback tags timeout total_timeout turn_off_message_logging verbose""".split()
).union(KEYWORDS, PRICES)
"""Arguments that are about the call and never part of a request body."""

SHAPING = frozenset(
    """additional_drop_params allowed_openai_params drop_params extra_headers headers max_retries num_retries
    stream_timeout timeout total_timeout""".split()
)
"""Arguments of ours that a `Call` is made of."""

ROUTING = frozenset(
    """allowed_model_region content_policy_fallbacks context_window_fallbacks disable_fallbacks max_fallbacks
    mock_testing_content_policy_fallbacks mock_testing_context_window_fallbacks mock_testing_fallbacks
    mock_testing_rate_limit_error priority""".split()
)
"""Arguments that are about the way of a call through a router."""

OF_ONE_MODEL = PRICES | {"api_base", "base_url", "api_key", "base_model", "model_info"}
"""Arguments that say nothing about a fallback to another model."""


class Made(NamedTuple):
    """A call ready to run."""

    runtime: Runtime
    way: Way
    recorder: Recorder
    streamed: bool
    check: Check | None = None
    """What the answer still has to pass once it is accounted for."""
    memory: "Memory | None" = None
    """The call's part in the response cache, if it takes one."""


def make(
    operation: Operation,
    call_type: str,
    model: str,
    messages: Sequence[Any],
    given: Mapping[str, Any],
    mocked: Mocked = COMPLETION,
) -> Made:
    """Make a call out of its arguments, its start and failure accounted for.

    `call_type` is the name of the public function, which callbacks are told; `mocked` makes mocked answers. Raises the
    errors of `callmeter.errors` for arguments that no call can be made of.
    """
    rt = default_runtime()
    rt.listen(given)
    ours, params, extra = _sorted(given, operation)
    router = _router(ours)
    if router is not None:
        ours |= {name: extra.pop(name) for name in ROUTING.intersection(extra)}
    streamed = bool(params.pop("stream", False))
    unstreamable = bool(extra and extra.pop("stream", False))
    facts = facts_of(rt, operation.name, model, ours, params, streamed)
    order = Order(rt, facts, operation, mocked)
    call = order.call(model, messages, ours, params, extra)
    optional = {**params, **extra}
    for name in operation.prompt:
        optional.pop(name, None)
    recorder = Recorder(call, facts, rt, _for_callbacks(call_type, ours, optional))
    try:
        if unstreamable:
            raise BadRequestError(f"{operation.name} does not stream; leave stream out")
        if operation is CHAT and not messages and "prompt" not in extra:
            raise _no_messages(extra)
        way = router.way(order, call, ours) if router is not None else _listed(order, call, ours)
        check = _check(rt, ours, params) if operation is CHAT and not streamed else None
        memory = None if rt.front("cache") is None else _memory(rt, call_type, ours, recorder, way)
    except (APIError, ConfigError, MissingExtraError) as error:
        recorder.failed(error)
        raise (as_openai(error) if isinstance(error, APIError) else error) from None
    return Made(rt, way, recorder, streamed, check, memory)


def _memory(rt: Runtime, call_type: str, ours: Mapping[str, Any], recorder: Recorder, way: Way) -> "Memory | None":
    from callmeter.client.remembering import memory_of

    try:
        first = way.first()
    except APIError:
        return None  # the call's turn will say so, or pass it over
    return memory_of(rt.front("cache"), call_type, ours, recorder, first)


class Order(NamedTuple):
    """What a caller ordered, but for the place where it is to be made."""

    runtime: Runtime
    facts: CallFacts
    operation: Operation
    mocked: Mocked

    def target(
        self, call: Call, ours: Mapping[str, Any], model: str, messages: Sequence[Any], changes: Mapping[str, Any]
    ) -> Target:
        """The call at another model, with other messages and arguments. Raises `APIError` for what cannot be made."""
        theirs, params, extra = _sorted(changes, self.operation)
        ours = {**ours, **theirs}
        if params or extra or messages is not call.messages or not SHAPING.isdisjoint(theirs):
            params.pop("stream", None)
            call = self.call(model, messages, ours, {**call.params, **params}, {**call.extra, **extra})
        else:
            call = msgspec.structs.replace(call, model=model)
        return self.made(call, ours)

    def call(
        self,
        model: str,
        messages: Sequence[Any],
        ours: Mapping[str, Any],
        params: dict[str, Any],
        extra: Mapping[str, Any],
    ) -> Call:
        """The call, before any provider is involved."""
        return _call(self.runtime, self.facts, model, messages, ours, params, extra)

    def made(self, call: Call, ours: Mapping[str, Any]) -> Target:
        """The call and where it goes."""
        return _target(self.runtime, call, ours, _mock(ours, call.params, self.facts, self.mocked))


def _no_messages(extra: Mapping[str, Any]) -> BadRequestError:
    """The error for a chat that asks nothing; a keyword nobody knows may be the name misspelt."""
    meant = get_close_matches("messages", extra, 1)
    instead = f"{meant[0]!r} is no parameter; did you mean it?" if meant else "it is a list of at least one message"
    return BadRequestError(f"messages is empty: {instead}, as in messages=[{{'role': 'user', 'content': 'Hello'}}]")


def _check(rt: Runtime, ours: Mapping[str, Any], params: Mapping[str, Any]) -> Check | None:
    """The check of an answer against its schema, where that is switched on."""
    name = "enable_json_schema_validation"
    if params.get("response_format") is None or not _first(ours.get(name), rt.front(name)):
        return None
    from callmeter.client.validation import checker

    return checker(params["response_format"])


def _sorted(given: Mapping[str, Any], operation: Operation) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The caller's keywords: about the call, OpenAI's own, and everything else; the latter two without Nones."""
    ours, asked = dict[str, Any](), dict[str, Any]()
    for name, value in given.items():
        (ours if name in OURS else asked)[name] = value
    return ours, *split(asked, operation.params)


def _for_callbacks(call_type: str, ours: Mapping[str, Any], optional: dict[str, Any]) -> dict[str, Any]:
    """What callbacks see of the arguments, and the callbacks that belong to this call alone."""
    kwargs = {"call_type": call_type, "metadata": ours.get("metadata"), "optional_params": optional}
    lists = [ours.get(name) or () for name in ("callbacks", "success_callback", "failure_callback")]
    if any(lists) or ours.get("turn_off_message_logging"):
        both, successes, failures = lists
        kwargs["own_callbacks"] = (both, (*both, *successes), (*both, *failures))
        kwargs["redact"] = bool(ours.get("turn_off_message_logging"))
    return kwargs


def _call(
    rt: Runtime,
    facts: CallFacts,
    model: str,
    messages: Sequence[Any],
    ours: Mapping[str, Any],
    params: dict[str, Any],
    extra: Mapping[str, Any],
) -> Call:
    front = rt.front
    retries = _first(ours.get("num_retries"), ours.get("max_retries"), front("num_retries"), rt.settings.max_retries)
    whole_s = ours.get("total_timeout")
    return Call(
        id=facts.call_id,
        operation=facts.operation,
        model=model,
        messages=messages,
        params=params,
        extra=extra,
        stream=facts.stream,
        include_usage=facts.stream and bool((params.get("stream_options") or {}).get("include_usage")),
        drop_params=bool(_first(ours.get("drop_params"), front("drop_params"))),
        additional_drop_params=_first(ours.get("additional_drop_params"), front("additional_drop_params"), ()),
        allowed_openai_params=ours.get("allowed_openai_params") or (),
        headers={
            "traceparent": traceparent(facts),
            **(ours.get("headers") or {}),
            **(ours.get("extra_headers") or {}),
        },
        timeouts=timeouts_of(rt, ours, facts.stream),
        max_retries=int(retries),
        total_timeout_s=None if whole_s is None else float(whole_s),
    )


def timeouts_of(rt: Runtime, ours: Mapping[str, Any], streamed: bool) -> Timeouts:
    """Deadlines of each attempt. `timeout` is seconds, or an object with `connect` and `read`, as HTTP clients have."""
    asked = _first(ours.get("timeout"), rt.front("request_timeout"), rt.settings.timeout_s)
    connect_s = rt.settings.connect_timeout_s
    if hasattr(asked, "connect") and hasattr(asked, "read"):
        return Timeouts(connect_s=asked.connect, first_byte_s=asked.read, between_chunks_s=asked.read)
    whole_s = float(asked)
    first_s = float(_first(ours.get("stream_timeout") if streamed else None, whole_s))
    return _timeouts(min(connect_s, whole_s), first_s, whole_s)


@lru_cache(64)
def _timeouts(connect_s: float, first_s: float, whole_s: float) -> Timeouts:
    return Timeouts(connect_s=connect_s, first_byte_s=first_s, between_chunks_s=first_s, total_s=whole_s)


def _router(ours: Mapping[str, Any]) -> Any:
    """The router that the call is made through, or that its own `model_list` makes; None: it goes straight."""
    if ours.get("_router") is None and ours.get("model_list"):
        from callmeter.client.router.router import Router

        return Router(ours["model_list"])
    return ours.get("_router")


def _listed(order: Order, call: Call, ours: Mapping[str, Any]) -> Way:
    """The call's own model, then its fallbacks; last the one for long prompts."""
    others = list(ours.get("fallbacks") or ())
    longer = (ours.get("context_window_fallback_dict") or {}).get(call.model)
    if longer is not None:
        others.append(longer)

    def make(at: int) -> Target:
        return order.made(call, ours) if at == 0 else _fallback(order, call, ours, others[at - 1])

    targets = 1 + len(others)
    return Listed(Plan(targets, call.max_retries, targets - 1 if longer is not None else None), make)


def _fallback(order: Order, call: Call, ours: Mapping[str, Any], other: str | Mapping[str, Any]) -> Target:
    """The same call at another model; `other` may bring an address, a key, messages and parameters of its own."""
    changes = {"model": other} if isinstance(other, str) else dict(other)
    model, messages = changes.pop("model", call.model), changes.pop("messages", call.messages)
    if model != call.model:
        ours = {name: value for name, value in ours.items() if name not in OF_ONE_MODEL}
    return order.target(call, ours, model, messages, changes)


def _target(rt: Runtime, call: Call, ours: Mapping[str, Any], mock: Mock | None) -> Target:
    model = rt.front("model_alias_map").get(call.model, call.model)
    row, name = provider_of(model, ours.get("custom_llm_provider"), rt.prices.owner)
    price = price_given(row, name, ours)
    if mock is not None:
        where = _mocked(call.operation, row, name, ours, price)
    else:
        where = _real(rt, call.operation, row, name, ours, price)
    if call.operation == TEXT_COMPLETION.name and where.codec != OPENAI_TEXT:
        call = as_chat(call)
    supported = codecs.load(where.codec).supported
    if lacks := where.quirks.get("lacks"):
        supported = supported.difference(lacks)
    params = admit(
        call.params,
        supported,
        provider=row.name,
        model=name,
        drop_params=call.drop_params,
        additional_drop_params=call.additional_drop_params,
        allowed_openai_params=call.allowed_openai_params,
    )
    return Target(call if params == call.params else msgspec.structs.replace(call, params=params), where, mock)


def _real(rt: Runtime, operation: str, row: Provider, name: str, ours: Mapping[str, Any], price: Any) -> Deployment:
    where = deployment(
        row,
        name,
        operation=operation,
        api_base=_first(ours.get("api_base"), ours.get("base_url"), rt.front("api_base")),
        api_key=_first(ours.get("api_key"), rt.front("api_key"), offline_key()),
        base_model=base_model_of(ours),
        region=ours.get("region") or "",
        deployment_id=_id_of(ours),
        bind_keys=rt.settings.bind_keys == "origin",
        given=ours,
    )
    return where if price is None else msgspec.structs.replace(where, own_price=price)


def _mocked(operation: str, row: Provider, name: str, ours: Mapping[str, Any], price: Any) -> Deployment:
    return Deployment(
        provider=row.name,
        model=name,
        codec=codec_of(OPENAI_CHAT, operation),
        api_base="mock:",
        id=_id_of(ours),
        base_model=base_model_of(ours),
        own_price=price,
    )


def _id_of(ours: Mapping[str, Any]) -> str:
    return (ours.get("model_info") or {}).get("id") or ""


def _mock(ours: Mapping[str, Any], params: Mapping[str, Any], facts: CallFacts, mocked: Mocked) -> Mock | None:
    if not any(ours.get(name) for name in ("mock_response", "mock_timeout", "mock_tool_calls")):
        return None
    return Mock(
        response=ours.get("mock_response"),
        tool_calls=ours.get("mock_tool_calls"),
        timeout=bool(ours.get("mock_timeout")),
        choices=params.get("n") or 1,
        created=facts.at_ns // 1_000_000_000,
        call_id=facts.call_id,
        how=mocked,
    )


def _first(*values: Any) -> Any:
    """The first value that is not None."""
    for value in values:
        if value is not None:
            return value
    return None
