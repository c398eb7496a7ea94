"""Events as existing callbacks expect them: `(kwargs, completion_response, start_time, end_time)`.

Each callback gets copies of its own, without any key: what one changes no other sees.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct

from callmeter import errors
from callmeter.errors import APIError, RouterRateLimitError
from callmeter.events.bus import Subscription
from callmeter.events.model import (
    AnyEvent,
    CallEnded,
    CallFailed,
    CallStarted,
    Content,
    CostAdjusted,
    EventsDropped,
)
from callmeter.events.payload import as_float, standard_logging_object
from callmeter.integrations.custom_logger import CustomLogger

REDACTED = "redacted-by-litellm"
"""What stands for a text when message logging is off. Existing code compares with it."""

Invocation = Callable[[], Awaitable[object] | object]


class Registered(Struct, frozen=True):
    """The callbacks in force when an event was published."""

    inputs: tuple[Any, ...] = ()
    successes: tuple[Any, ...] = ()
    failures: tuple[Any, ...] = ()
    subscriptions: tuple[Subscription, ...] = ()
    redact: bool = False
    excluded_fields: tuple[str, ...] = ()
    within: tuple[Any, ...] = ()
    """The callbacks that led to this call, outermost first."""

    def __bool__(self) -> bool:
        return bool(self.inputs or self.successes or self.failures or self.subscriptions)


def invocations(event: AnyEvent, registered: Registered) -> Iterator[tuple[Any, Invocation]]:
    """Whom to call for an event, and how."""
    for subscription in registered.subscriptions:
        if subscription.wants(event):
            yield subscription.call, _bind(subscription.call, event)
    if isinstance(event, EventsDropped | CostAdjusted):
        return
    if isinstance(event, CallStarted):
        for target in registered.inputs:
            yield target, _started(target, event, registered)
    elif isinstance(event, CallEnded):
        for target in registered.failures if isinstance(event, CallFailed) else registered.successes:
            yield target, _ended(target, event, registered)
            if (hook := _fallback_hook(target, event)) is not None:
                yield target, _fell_back(hook, target, event, registered)


def _bind(call: Callable[[AnyEvent], object], event: AnyEvent) -> Invocation:
    return lambda: call(event)


def _started(target: Any, event: CallStarted, registered: Registered) -> Invocation:
    def invoke() -> object:
        kwargs = start_kwargs(event, _redacts(target, registered))
        if callable(target):
            return target(kwargs)
        hook = getattr(target, "log_pre_api_call", None)
        return hook(model=event.call.model, messages=kwargs["messages"], kwargs=kwargs) if hook else None

    return invoke


def _ended(target: Any, event: CallEnded, registered: Registered) -> Invocation:
    def invoke() -> Any:
        kwargs, response = end_kwargs(event, _redacts(target, registered), registered.excluded_fields)
        start, end = kwargs["start_time"], kwargs["end_time"]
        if callable(target):
            return target(kwargs, response, start, end)
        post = _own(target, "log_post_api_call")
        if post is not None:
            post(kwargs=kwargs, response_obj=response, start_time=start, end_time=end)
        hook = _hook(target, "failure" if isinstance(event, CallFailed) else "success", is_async(kwargs["call_type"]))
        return hook(kwargs=kwargs, response_obj=response, start_time=start, end_time=end) if hook else None

    return invoke


def is_async(call_type: str | None) -> bool:
    """Whether a public function is the awaited one of its pair: `acompletion`, `aembedding`, …"""
    return call_type is not None and call_type.startswith("a")


def _fallback_hook(target: Any, event: CallEnded) -> Callable[..., Any] | None:
    """What wants to hear that the call was put to a fallback, if it was."""
    if not any(attempt.reason == "fallback" for attempt in event.attempts):
        return None
    return _own(target, f"log_{'failure' if isinstance(event, CallFailed) else 'success'}_fallback_event")


def _fell_back(hook: Callable[..., Any], target: Any, event: CallEnded, registered: Registered) -> Invocation:
    def invoke() -> Any:
        kwargs, _ = end_kwargs(event, _redacts(target, registered), registered.excluded_fields)
        first = event.attempts[0]
        told = first.error
        if told is None or first.reason == "fallback":
            error: APIError = RouterRateLimitError(first.because)
        else:
            kind = getattr(errors, told.error_class, APIError)
            error = kind(told.message.partition(": ")[2] or told.message, status_code=told.http_status)
        return hook(original_model_group=event.call.model_requested, kwargs=kwargs, original_exception=error)

    return invoke


def _hook(target: Any, outcome: str, is_async: bool) -> Callable[..., Any] | None:
    """The one hook for this end: of the call's own kind, else of the other kind."""
    names = [f"async_log_{outcome}_event", f"log_{outcome}_event"]
    for name in names if is_async else reversed(names):
        hook = _own(target, name)
        if hook is not None:
            return hook
    return None


def _own(target: Any, name: str) -> Callable[..., Any] | None:
    """A hook the object defines itself; the base class's empty ones are not worth a call."""
    found = getattr(target, name, None)
    if found is None or getattr(type(target), name, None) is getattr(CustomLogger, name):
        return None
    return found  # type: ignore[no-any-return]


def start_kwargs(event: CallStarted, redact: bool = False) -> dict[str, Any]:
    """`kwargs` of an input callback: the call as it is about to be made."""
    content = event.content or Content()
    given = content.kwargs or {}
    messages = _redacted(content.messages) if redact else _plain(content.messages)
    return {
        **_common(event.call, given),
        "messages": messages,
        "input": messages,
        "log_event_type": "pre_api_call",
        "additional_args": {"complete_input_dict": {"model": event.call.model, "messages": messages}},
    }


def end_kwargs(event: CallEnded, redact: bool = False, excluded: Sequence[str] = ()) -> tuple[dict[str, Any], Any]:
    """`kwargs` and the whole answer (None for a failure) of a success or failure callback."""
    call = event.call
    content = event.content or Content()
    given = content.kwargs or {}
    failed = isinstance(event, CallFailed)
    messages = _redacted(content.messages) if redact else _plain(content.messages)
    response = content.completion.copy() if content.completion is not None else None
    if redact and response is not None:
        response.redact(REDACTED)
    start = datetime.fromtimestamp(call.at_ns / 1e9)  # noqa: DTZ006 - existing callbacks expect naive local time
    end = datetime.fromtimestamp(call.at_ns / 1e9 + event.latency_s)  # noqa: DTZ006
    first = event.time_to_first_chunk_s
    payload = standard_logging_object(event, given, messages, response)
    for name in excluded:
        payload.pop(name, None)
    whole = response if call.stream and not failed else None
    error = given.get("exception")
    kwargs = {
        **_common(call, given),
        "messages": messages,
        "input": messages,
        "start_time": start,
        "end_time": end,
        "api_call_start_time": start,
        "first_api_call_start_time": start,
        "completion_start_time": end if first is None else datetime.fromtimestamp(call.at_ns / 1e9 + first),  # noqa: DTZ006
        "log_event_type": "failed_api_call" if failed else "successful_api_call",
        "cache_hit": event.cache_hit,
        "original_response": None,
        "response_cost": as_float(event.cost.total),
        "cost": event.cost,
        "usage": event.usage,
        "finish_reason": event.finish_reason,
        "standard_logging_object": payload,
        "complete_streaming_response": whole,
        "async_complete_streaming_response": whole if is_async(given.get("call_type")) else None,
        "exception": error,
        "traceback_exception": None if error is None else f"{type(error).__name__}: {error}",
        "response_cost_failure_debug_information": payload.get("response_cost_failure_debug_info"),
    }
    return kwargs, None if failed else response


def _common(call: Any, given: dict[str, Any]) -> dict[str, Any]:
    metadata = _plain(given.get("metadata")) or {}
    return {
        "model": call.model,
        "optional_params": _plain(given.get("optional_params")) or {},
        "litellm_params": {
            "metadata": metadata,
            "api_base": call.api_base,
            "custom_llm_provider": call.provider,
            "litellm_call_id": call.call_id,
            "litellm_trace_id": call.trace_id,
            "litellm_session_id": call.session_id or None,
            "stream_response": call.stream,
            "model_info": {"id": call.deployment or None},
            "proxy_server_request": None,
        },
        "custom_llm_provider": call.provider,
        "call_type": given.get("call_type"),
        "litellm_call_id": call.call_id,
        "litellm_trace_id": call.trace_id,
        "acompletion": given.get("call_type") == "acompletion",
        "stream": call.stream,
        "user": call.user or None,
        "cache_hit": None,
        "model_id": call.deployment or None,
        "additional_args": {},
    }


def _redacts(target: Any, registered: Registered) -> bool:
    return registered.redact or bool(getattr(target, "turn_off_message_logging", False))


def _redacted(prompt: Any) -> Any:
    """Messages keep their roles; of any other prompt nothing stays but how many there were."""
    if isinstance(prompt, str | bytes):
        return REDACTED
    if isinstance(prompt, dict):
        return {name: _redacted(value) for name, value in prompt.items()}
    return [
        REDACTED if isinstance(item, str | int | list) else {"role": _role(item), "content": REDACTED}
        for item in prompt or ()
    ]


def _role(message: Any) -> Any:
    return message.get("role") if hasattr(message, "get") else getattr(message, "role", None)


def _plain(value: Any) -> Any:
    """A copy of the containers; what they hold is shared, for it cannot be changed or is the caller's own object."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def name_of(target: Any) -> str:
    """What to blame a callback by."""
    return getattr(target, "__qualname__", None) or type(target).__qualname__
