"""What is known of a call beyond OpenAI's format, as existing code reads it off an answer."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from callmeter.events.model import CacheFacts
from callmeter.types import Cost


class Known(NamedTuple):
    """What an answer keeps of its call: no key, no signer, and nothing of what was asked."""

    provider: str | None
    api_base: str | None
    deployment: str | None
    call_id: str
    model_requested: str
    response_model: str | None
    cost: Cost | None
    headers: Mapping[str, str]
    """The provider's."""
    latency_ms: float | None
    retries: int
    fallbacks: int
    routed: bool
    """Whether a router chose the deployment."""
    cache: CacheFacts | None = None

    def hidden_params(self) -> dict[str, Any]:
        """The `_hidden_params` of existing code. The cost is a float or None there, exact under `cost`."""
        cost = self.cost
        return {
            "custom_llm_provider": self.provider,
            "litellm_call_id": self.call_id,
            "api_base": self.api_base,
            "model_id": self.deployment,
            "litellm_model_name": self.model_requested,
            "provider_response_model": self.response_model,
            "response_cost": float(cost.total) if cost is not None and cost.total is not None else None,
            "cost": cost,
            "additional_headers": {**_additional(self.headers), **self._way()},
            "cache_hit": None if self.cache is None else self.cache.hit,
            "cache_key": None if self.cache is None else self.cache.key,
            "_response_ms": self.latency_ms,
        }

    def _way(self) -> dict[str, Any]:
        """How the answer came about, under the names that existing code reads."""
        way: dict[str, Any] = {
            "x-litellm-attempted-retries": self.retries,
            "x-litellm-attempted-fallbacks": self.fallbacks,
        }
        return {"x-litellm-model-group": self.model_requested, **way} if self.routed else way


def _additional(headers: Mapping[str, str]) -> dict[str, str]:
    """The provider's headers, prefixed, and its rate-limit headers under their own names too."""
    shown = {f"llm_provider-{name}": value for name, value in headers.items()}
    shown.update((name, value) for name, value in headers.items() if name.startswith("x-ratelimit-"))
    return shown
