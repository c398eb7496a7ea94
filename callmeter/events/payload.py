"""An end event as the logging payload that existing callbacks read at `kwargs["standard_logging_object"]`.

Field names are those of the system we replace; every value comes from the event, so it agrees with every sink. Money
is a float at this surface, or None where no price is known.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from callmeter.events.model import CallEnded, CallFailed
from callmeter.types import Cost

_BREAKDOWN = {
    "cache_read": "cache_read_cost",
    "cache_read_audio": "cache_read_cost",
    "cache_write_5m": "cache_creation_cost",
    "cache_write_1h": "cache_creation_cost",
    "output": "output_cost",
    "audio_out": "output_cost",
    "image_out": "output_cost",
    "reasoning": "reasoning_cost",
    "input": "input_cost",
    "audio_in": "input_cost",
    "image_in": "input_cost",
    "video_in": "input_cost",
}
"""The part of the breakdown each line belongs to; everything else is `tool_usage_cost`."""

_NO_METADATA = dict.fromkeys(
    """user_api_key_hash user_api_key_alias user_api_key_spend user_api_key_max_budget user_api_key_budget_reset_at
    user_api_key_org_id user_api_key_org_alias user_api_key_team_id user_api_key_team_alias user_api_key_project_id
    user_api_key_project_alias user_api_key_user_id user_api_key_user_email user_api_key_end_user_id
    user_api_key_request_route spend_logs_metadata requester_ip_address user_agent requester_metadata
    requester_custom_headers prompt_management_metadata applied_guardrails usage_object""".split()
)


def standard_logging_object(
    event: CallEnded, kwargs: Mapping[str, Any], messages: Any, response: Any
) -> dict[str, Any]:
    """The payload of one ended call. `messages` and `response` are given apart: they may have been redacted."""
    call, usage, failed = event.call, event.usage, isinstance(event, CallFailed)
    start_s = call.at_ns / 1e9
    first = event.time_to_first_chunk_s
    cost = as_float(event.cost.total)
    return {
        "id": event.response_id or call.call_id,
        "trace_id": call.trace_id,
        "session_id": call.session_id or None,
        "litellm_call_id": call.call_id,
        "call_type": kwargs.get("call_type"),
        "stream": call.stream,
        "status": "failure" if failed else "success",
        "status_fields": {"llm_api_status": "failure" if failed else "success", "guardrail_status": "not_run"},
        "response_cost": cost,
        "cost_breakdown": cost_breakdown(event.cost),
        "response_cost_failure_debug_info": _why_no_cost(event),
        "zero_cost_diagnostic": None,
        "saved_cache_cost": as_float(event.cost.saved),
        "total_tokens": usage.total_tokens if usage else 0,
        "prompt_tokens": usage.input_tokens if usage else 0,
        "completion_tokens": usage.output_tokens if usage else 0,
        "startTime": start_s,
        "endTime": start_s + event.latency_s,
        "completionStartTime": start_s + (event.latency_s if first is None else first),
        "response_time": event.latency_s if first is None else first,
        "model": call.model,
        "model_id": call.deployment or None,
        "model_group": (event.attempts[-1].model_group or None) if event.attempts else None,
        "api_base": call.api_base,
        "custom_llm_provider": call.provider,
        "model_map_information": {"model_map_key": call.model, "model_map_value": None},
        "model_parameters": dict(kwargs.get("optional_params") or {}),
        "messages": messages,
        "response": response.model_dump() if hasattr(response, "model_dump") else response,
        "error_str": event.error.message if event.error else None,
        "error_information": _error_information(event),
        "guardrail_information": None,
        "standard_built_in_tools_params": None,
        "cache_hit": event.cache_hit,
        "cache_key": event.cache.key if event.cache else None,
        "request_tags": list(call.tags),
        "end_user": call.user,
        "requester_ip_address": None,
        "user_agent": None,
        "metadata": {
            **_NO_METADATA,
            **call.metadata,
            "user_api_key_team_id": call.team or None,
            "user_api_key_project_id": call.project or None,
            "user_api_key_end_user_id": call.user or None,
        },
        "hidden_params": {
            "model_id": call.deployment or None,
            "cache_key": event.cache.key if event.cache else None,
            "api_base": call.api_base,
            "response_cost": cost,
            "litellm_overhead_time_ms": event.overhead_s * 1e3,
            "additional_headers": None,
            "litellm_model_name": call.model_requested,
            "usage_object": event.raw_usage,
        },
    }


def cost_breakdown(cost: Cost) -> dict[str, Any] | None:
    """The cost by kind, floats that sum to the total; None where nothing is known."""
    if cost.total is None:
        return None
    parts: dict[str, Decimal] = {}
    for item in cost.items:
        name = _BREAKDOWN.get(item.line, "tool_usage_cost")
        parts[name] = parts.get(name, Decimal(0)) + item.amount
    shown = {name: float(amount) for name, amount in parts.items()}
    total = float(cost.total)
    defaults = {"input_cost": 0.0, "output_cost": 0.0, "tool_usage_cost": 0.0}
    return {**defaults, **shown, "total_cost": total, "original_cost": total}


def as_float(amount: Decimal | None) -> float | None:
    """An exact amount as existing code expects it."""
    return None if amount is None else float(amount)


def _why_no_cost(event: CallEnded) -> dict[str, Any] | None:
    if event.cost.total is not None:
        return None
    return {
        "error_str": event.cost.reason or event.cost.status,
        "model": event.call.model,
        "custom_llm_provider": event.call.provider,
        "call_type": event.call.operation,
    }


def _error_information(event: CallEnded) -> dict[str, Any] | None:
    error = event.error
    if error is None:
        return None
    return {
        "error_code": "" if error.http_status is None else str(error.http_status),
        "error_class": error.error_class,
        "llm_provider": event.call.provider,
        "traceback": "",
        "error_message": error.message,
        "error_provider_request_id": error.request_id or None,
    }
