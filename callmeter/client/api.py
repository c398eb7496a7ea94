"""`completion()` and `acompletion()`: from the caller's arguments to a plan, and from the plan to an answer."""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal, NamedTuple, overload

import msgspec

from callmeter.client import codecs, flow
from callmeter.client.drive import adrive, drive
from callmeter.client.mock import AsyncMockTransport, Mock, MockTransport
from callmeter.client.params import admit, split
from callmeter.client.plan import Plan, Target
from callmeter.client.prices import base_model_of, price_given
from callmeter.client.providers import KEYWORDS, Provider
from callmeter.client.recorder import Recorder
from callmeter.client.resolve import deployment, provider_of
from callmeter.client.streaming import AsyncStream, Stream
from callmeter.context import current_tags, made_by
from callmeter.errors import APIError, MissingExtraError, as_openai
from callmeter.events.model import CallFacts
from callmeter.pricing.own import ARGUMENTS as PRICES
from callmeter.runtime import Runtime, default_runtime
from callmeter.shapes import Completion
from callmeter.types import Call, Deployment, Timeouts

Check = Callable[[Completion], None]
"""Raises where an answer is not what was asked for."""

OURS = frozenset(
    """api_base api_key api_version base_model base_url additional_drop_params allowed_openai_params caching cache
    callbacks client context_window_fallback_dict custom_llm_provider deployment_id drop_params
    enable_json_schema_validation extra_headers failure_callback fallbacks headers id litellm_call_id
    litellm_logging_obj litellm_session_id litellm_trace_id logger_fn max_retries metadata mock_response mock_timeout
    mock_tool_calls model_info model_list no-log num_retries region shared_session stream_timeout success_callback
    tags timeout total_timeout turn_off_message_logging verbose""".split()
).union(KEYWORDS, PRICES)
"""Arguments that are about the call and never part of a request body."""

OF_ONE_MODEL = PRICES | {"api_base", "base_url", "api_key", "base_model", "model_info"}
"""Arguments that say nothing about a fallback to another model."""

COLUMNS = ("project", "user", "team", "customer", "feature", "session_id", "environment", "key_id")
"""Labels with a column of their own, in metadata and in `tags(…)`."""


@overload
def completion(model: str, messages: Sequence[Any] = (), *, stream: Literal[True], **params: Any) -> Stream: ...
@overload
def completion(
    model: str, messages: Sequence[Any] = (), *, stream: Literal[False] = ..., **params: Any
) -> Completion: ...
@overload
def completion(model: str, messages: Sequence[Any] = (), **params: Any) -> Any: ...
def completion(model: str, messages: Sequence[Any] = (), **params: Any) -> Any:
    """Ask a model, in OpenAI's format whoever serves it.

    `model` is `"provider/model"`; a bare name is looked up among the known models. Every parameter of OpenAI's chat
    API is taken; one the provider lacks raises `UnsupportedParamsError`, or is left out with `drop_params=True`.
    Parameters nobody knows go into the request body as they are.

    With `stream=True` the result is a `Stream` of `Chunk`s, else a `Completion`.

    About the call itself: `api_key`, `api_base`, `custom_llm_provider`, `headers`; `timeout` (seconds for one attempt,
    or an object with `connect` and `read`), `stream_timeout` (to the first chunk and between chunks), `total_timeout`
    (the whole call); `num_retries` (default 2, on 408, 409, 429, 5xx and lost connections), `fallbacks` (models to try
    next); `metadata` and `tags` (labels); `mock_response` (no provider at all); `input_cost_per_token` and other prices
    of your own, `base_model` (whose price holds); `enable_json_schema_validation` (a plain answer that breaks the
    schema of `response_format` raises `JSONSchemaValidationError`; it is accounted for like any other).

    Raises the errors of `callmeter.errors`; each is also the `openai` package's error of that name if it is loaded.
    """
    made = _made(model, messages, params, "completion")
    transport = made.runtime.transport if made.mock is None else MockTransport(made.mock)
    if made.streamed:
        return Stream(drive(flow.stream(made.plan, made.recorder), transport, made.runtime.sleep))
    answer = drive(flow.complete(made.plan, made.recorder), transport, made.runtime.sleep)
    if made.check is not None:
        made.check(answer)
    return answer


@overload
async def acompletion(
    model: str, messages: Sequence[Any] = (), *, stream: Literal[True], **params: Any
) -> AsyncStream: ...
@overload
async def acompletion(
    model: str, messages: Sequence[Any] = (), *, stream: Literal[False] = ..., **params: Any
) -> Completion: ...
@overload
async def acompletion(model: str, messages: Sequence[Any] = (), **params: Any) -> Any: ...
async def acompletion(model: str, messages: Sequence[Any] = (), **params: Any) -> Any:
    """`completion()` for event loops: the same arguments, results and errors; a stream is read with `async for`."""
    made = _made(model, messages, params, "acompletion")
    transport = made.runtime.async_transport if made.mock is None else AsyncMockTransport(made.mock)
    if made.streamed:
        return AsyncStream(await adrive(flow.stream(made.plan, made.recorder), transport, made.runtime.asleep))
    answer = await adrive(flow.complete(made.plan, made.recorder), transport, made.runtime.asleep)
    if made.check is not None:
        made.check(answer)
    return answer


class Made(NamedTuple):
    """A call ready to run."""

    runtime: Runtime
    plan: Plan
    recorder: Recorder
    mock: Mock | None
    streamed: bool
    check: Check | None = None
    """What the answer still has to pass once it is accounted for."""


def _made(model: str, messages: Sequence[Any], given: Mapping[str, Any], call_type: str) -> Made:
    rt = default_runtime()
    rt.listen(given)
    ours, params, extra = _sorted(given)
    streamed = bool(params.pop("stream", False))
    facts = _facts(rt, model, ours, params, streamed)
    call = _call(rt, facts, messages, ours, params, extra)
    recorder = Recorder(call, facts, rt, _for_callbacks(call_type, ours, {**params, **extra}))
    mock = _mock(ours, params, facts)
    try:
        plan = _plan(rt, call, ours, mock)
        check = None if streamed else _check(rt, ours, params)
    except APIError as error:
        recorder.failed(error)
        raise as_openai(error) from None
    except MissingExtraError as error:
        recorder.failed(error)
        raise
    return Made(rt, plan, recorder, mock, streamed, check)


def _check(rt: Runtime, ours: Mapping[str, Any], params: Mapping[str, Any]) -> Check | None:
    """The check of an answer against its schema, where that is switched on."""
    name = "enable_json_schema_validation"
    if params.get("response_format") is None or not _first(ours.get(name), rt.front(name)):
        return None
    from callmeter.client.validation import checker

    return checker(params["response_format"])


def _sorted(given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The caller's keywords: about the call, OpenAI's own, and everything else; the latter two without Nones."""
    ours, asked = dict[str, Any](), dict[str, Any]()
    for name, value in given.items():
        (ours if name in OURS else asked)[name] = value
    return ours, *split(asked)


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
        model=facts.model_requested,
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


def _plan(rt: Runtime, call: Call, ours: Mapping[str, Any], mock: Mock | None) -> Plan:
    targets = [_target(rt, call, ours, mock)]
    for other in ours.get("fallbacks") or ():
        changes = {"model": other} if isinstance(other, str) else dict(other)
        targets.append(_fallback(rt, call, ours, mock, changes))
    longer = (ours.get("context_window_fallback_dict") or {}).get(call.model)
    if longer is not None:
        targets.append(_fallback(rt, call, ours, mock, {"model": longer}))
    return Plan(
        targets=tuple(targets),
        max_retries=call.max_retries,
        for_long_prompts=len(targets) - 1 if longer is not None else None,
    )


def _fallback(rt: Runtime, call: Call, ours: Mapping[str, Any], mock: Mock | None, changes: dict[str, Any]) -> Target:
    """The same call at another model; `changes` may bring an address, a key, messages and parameters of its own."""
    model = changes.pop("model", call.model)
    messages = changes.pop("messages", call.messages)
    theirs, params, extra = _sorted(changes)
    if model != call.model:
        ours = {name: value for name, value in ours.items() if name not in OF_ONE_MODEL}
    other = msgspec.structs.replace(
        call, model=model, messages=messages, params={**call.params, **params}, extra={**call.extra, **extra}
    )
    return _target(rt, other, {**ours, **theirs}, mock)


def _target(rt: Runtime, call: Call, ours: Mapping[str, Any], mock: Mock | None) -> Target:
    model = rt.front("model_alias_map").get(call.model, call.model)
    row, name = provider_of(model, ours.get("custom_llm_provider"), rt.prices.owner)
    price = price_given(row, name, ours)
    where = _mocked(row, name, ours, price) if mock is not None else _real(rt, row, name, ours, price)
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
    return Target(call if params == call.params else msgspec.structs.replace(call, params=params), where)


def _real(rt: Runtime, row: Provider, name: str, ours: Mapping[str, Any], price: Any) -> Deployment:
    where = deployment(
        row,
        name,
        api_base=_first(ours.get("api_base"), ours.get("base_url"), rt.front("api_base")),
        api_key=_first(ours.get("api_key"), rt.front("api_key")),
        base_model=base_model_of(ours),
        region=ours.get("region") or "",
        deployment_id=(ours.get("model_info") or {}).get("id") or "",
        bind_keys=rt.settings.bind_keys == "origin",
        given=ours,
    )
    return where if price is None else msgspec.structs.replace(where, own_price=price)


def _mocked(row: Provider, name: str, ours: Mapping[str, Any], price: Any) -> Deployment:
    return Deployment(
        provider=row.name,
        model=name,
        codec="openai_chat",
        api_base="mock:",
        base_model=base_model_of(ours),
        own_price=price,
    )


def _mock(ours: Mapping[str, Any], params: Mapping[str, Any], facts: CallFacts) -> Mock | None:
    if not any(ours.get(name) for name in ("mock_response", "mock_timeout", "mock_tool_calls")):
        return None
    return Mock(
        response=ours.get("mock_response"),
        tool_calls=ours.get("mock_tool_calls"),
        timeout=bool(ours.get("mock_timeout")),
        choices=params.get("n") or 1,
        created=facts.at_ns // 1_000_000_000,
    )


def _facts(rt: Runtime, model: str, ours: Mapping[str, Any], params: Mapping[str, Any], streamed: bool) -> CallFacts:
    """Who asks, for what, from where: arguments over metadata over `tags(…)` over settings."""
    call_id = rt.ids()
    labels, tags = _labels(ours, params)
    trace_id, parent_id = rt.caller_span()
    named_trace = ours.get("litellm_trace_id") or labels.pop("trace_id", None)
    columns: dict[str, Any] = {name: str(labels.pop(name)) for name in COLUMNS if name in labels}
    settings = rt.settings
    if settings.project:
        columns.setdefault("project", settings.project)
    if settings.environment:
        columns.setdefault("environment", settings.environment)
    return CallFacts(
        call_id=call_id,
        trace_id=str(named_trace) if named_trace else trace_id or call_id,
        span_id=call_id[:16],
        parent_id=parent_id,
        at_ns=rt.clock.wall_ns(),
        stream=streamed,
        model=model,
        model_requested=model,
        service_tier=str(params.get("service_tier") or ""),
        tags=tags,
        metadata={str(name): str(value) for name, value in labels.items()},
        made_by=made_by.get(),
        **columns,
    )


def _labels(ours: Mapping[str, Any], params: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Everything the call is labelled with by name, and the list of its tags."""
    around, metadata = current_tags(), ours.get("metadata")
    labels = {**around, **metadata} if metadata else dict(around)
    tags = labels.pop("tags", None) or ()
    if metadata or ours.get("tags"):
        tags = (*around.get("tags", ()), *((metadata or {}).get("tags") or ()), *(ours.get("tags") or ()))
    labels = {name: value for name, value in labels.items() if value is not None}
    if params.get("user") is not None:
        labels["user"] = params["user"]
    if ours.get("litellm_session_id") is not None:
        labels["session_id"] = ours["litellm_session_id"]
    return labels, tuple(dict.fromkeys(map(str, tags)))


def traceparent(facts: CallFacts) -> str:
    """The W3C trace context of a call; a trace id of the caller's own spelling is hashed into the form it needs."""
    trace = facts.trace_id
    if not _IS_TRACE_ID(trace):
        trace = hashlib.blake2b(trace.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return f"00-{trace}-{facts.span_id}-01"


_IS_TRACE_ID = re.compile("[0-9a-f]{32}").fullmatch


def _first(*values: Any) -> Any:
    """The first value that is not None."""
    for value in values:
        if value is not None:
            return value
    return None
