"""What Langfuse's server makes of a request to its OTLP endpoint, by the rules of its version 4.

Written from the service's documented mapping; `test_langfuse_sdk.py` shows that the official SDK's own requests mean here
what they say. Source: https://langfuse.com/integrations/native/opentelemetry#property-mapping
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from callmeter.testing.faultserver import Act
from tests.sinks.otlp.wire import attributes, resource, spans

ENVIRONMENT = re.compile("[a-z0-9-_]{1,40}").fullmatch


def observations(body: bytes) -> list[dict[str, Any]]:
    """Rows of the traces table, as the worker behind the endpoint makes them."""
    around = resource(body)
    return [_observation(span, {**around, **attributes(span)}) for span in spans(body)]


def answer(keys: Sequence[str]) -> Act:
    """200 and nothing more: it is queued."""
    return Act(body=b"{}", headers={"content-type": "application/json"})


def _observation(span: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    usage, cost = _json(given.get("langfuse.observation.usage_details")), given.get("langfuse.observation.cost_details")
    return {
        "id": span.span_id.hex(),
        "trace_id": span.trace_id.hex(),
        "parent_id": span.parent_span_id.hex(),
        "name": span.name,
        "type": given["langfuse.observation.type"],
        "start_ns": span.start_time_unix_nano,
        "end_ns": span.end_time_unix_nano,
        "first_token_at": given.get("langfuse.observation.completion_start_time"),
        "model": given.get("langfuse.observation.model.name"),
        "parameters": _json(given.get("langfuse.observation.model.parameters")),
        "usage": usage,
        "total_tokens": usage.get("total", sum(usage.values())) if usage else None,
        "cost": _json(cost),
        "total_cost": _total_cost(_json(cost)),
        "priced_by": "us" if cost else "langfuse" if usage else None,
        "level": given.get("langfuse.observation.level") or ("ERROR" if span.status.code == 2 else "DEFAULT"),
        "status_message": given.get("langfuse.observation.status_message"),
        "input": given.get("langfuse.observation.input"),
        "output": given.get("langfuse.observation.output"),
        "user": given.get("langfuse.user.id") or given.get("user.id"),
        "session": given.get("langfuse.session.id") or given.get("session.id"),
        "tags": given.get("langfuse.trace.tags"),
        "trace_name": given.get("langfuse.trace.name"),
        "trace_metadata": _below("langfuse.trace.metadata.", given),
        "metadata": _below("langfuse.observation.metadata.", given),
        "environment": _environment(given.get("langfuse.environment", "")),
        "release": given.get("langfuse.release"),
        "version": given.get("langfuse.version"),
        "prompt": (given.get("langfuse.observation.prompt.name"), given.get("langfuse.observation.prompt.version")),
    }


def _total_cost(cost: Mapping[str, float]) -> float | None:
    """`total`; without it the sum of input and output, but only where there is nothing else."""
    if "total" in cost:
        return cost["total"]
    return sum(cost.values()) if cost and set(cost) <= {"input", "output"} else None


def _environment(text: str) -> str:
    return text if ENVIRONMENT(text) and not text.startswith("langfuse") else "default"


def _below(prefix: str, given: Mapping[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in given.items() if name.startswith(prefix)}


def _json(text: str | None) -> Any:
    return json.loads(text) if text else {}
