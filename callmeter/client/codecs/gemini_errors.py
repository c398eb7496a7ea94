"""Google's error bodies: `{"error": {code, message, status, details}}`, at times in a list of one.

Source: https://cloud.google.com/apis/design/errors
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from callmeter.client.error_bodies import MAX_PARSED_BYTES, parsed
from callmeter.client.failures import failure_at, failure_from_payload
from callmeter.errors import APIError
from callmeter.types import Deployment


def google_failure(status: int, headers: Mapping[str, str], body: bytes, deployment: Deployment) -> APIError:
    """The error that a non-2xx answer stands for."""
    payload = _unwrapped(parsed(body[:MAX_PARSED_BYTES].decode("utf-8", "replace")))
    if isinstance(payload, Mapping):
        body = msgspec.json.encode(payload)
    if status == 400 and any(detail.get("reason") == "API_KEY_INVALID" for detail in _details(payload)):
        status = 401  # a wrong key is answered as a bad request
    error = failure_at(status, _with_delay(headers, payload), body, deployment)
    return _named(error, payload)


def error_within(payload: Any, deployment: Deployment) -> APIError:
    """The error that an object within a stream, or within an answer of 200, stands for."""
    payload = _unwrapped(payload)
    return _named(
        failure_from_payload(
            payload, provider=deployment.provider, model=deployment.model, headers=_with_delay({}, payload)
        ),
        payload,
    )


def _unwrapped(payload: Any) -> Any:
    return payload[0] if isinstance(payload, list) and payload else payload


def _error(payload: Any) -> Mapping[str, Any]:
    error = payload.get("error") if isinstance(payload, Mapping) else None
    return error if isinstance(error, Mapping) else {}


def _details(payload: Any) -> Iterator[Mapping[str, Any]]:
    details = _error(payload).get("details")
    return (detail for detail in (details if isinstance(details, list) else ()) if isinstance(detail, Mapping))


def _with_delay(headers: Mapping[str, str], payload: Any) -> Mapping[str, str]:
    """The headers with the wait that a RetryInfo asks for, which is this API's Retry-After."""
    delay = next((d["retryDelay"] for d in _details(payload) if isinstance(d.get("retryDelay"), str)), None)
    return headers if delay is None or "retry-after" in headers else {**headers, "retry-after": delay}


def _named(error: APIError, payload: Any) -> APIError:
    """The error with Google's word for it, `RESOURCE_EXHAUSTED` and the like, as its type."""
    status = _error(payload).get("status")
    if isinstance(status, str) and error.type is None:
        error.type = status
    return error
