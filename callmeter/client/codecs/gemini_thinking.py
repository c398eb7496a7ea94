"""How much a Gemini is to think: by level from the third generation on, by tokens before.

Source: https://ai.google.dev/gemini-api/docs/thinking
"""

from collections.abc import Mapping
from typing import Any

from callmeter.client.codecs.gemini_contents import THIRD_GENERATION
from callmeter.client.codecs.messages import JSON, as_dict
from callmeter.errors import BadRequestError
from callmeter.types import Deployment

LEVELS = {
    "none": "MINIMAL",
    "minimal": "MINIMAL",
    "low": "LOW",
    "medium": "MEDIUM",
    "high": "HIGH",
    "xhigh": "HIGH",
    "max": "HIGH",
}
"""The third generation cannot be kept from thinking; `none` is the least there is."""

PRO_LEVELS = {"none": "LOW", "minimal": "LOW"}
"""What Pro models lack becomes the level above it."""

BUDGETS = {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24_576, "xhigh": 24_576, "max": 24_576}
"""Thinking tokens that stand for an effort, as Google's own OpenAI format has them.

Source: https://ai.google.dev/gemini-api/docs/openai#thinking
"""

LEAST_OF_PRO = 128
"""Gemini 2.5 Pro cannot be kept from thinking either."""


def thinking(params: Mapping[str, Any], deployment: Deployment) -> JSON:
    """`thinkingConfig` for `thinking` (Anthropic's object, which wins) or `reasoning_effort`; none for neither."""
    if params.get("thinking") is not None:
        return {"thinkingConfig": _from_object(as_dict(params["thinking"], "thinking"), deployment)}
    effort = params.get("reasoning_effort")
    if effort in (None, "default"):
        return {}
    if effort not in LEVELS:
        raise BadRequestError(f"reasoning_effort {effort!r} is not known: use one of {', '.join(LEVELS)}.")
    amount = _amount(effort, deployment)
    return {"thinkingConfig": amount if effort == "none" else amount | {"includeThoughts": True}}


def _amount(effort: str, deployment: Deployment) -> JSON:
    pro = "-pro" in deployment.model
    if _by_level(deployment):
        return {"thinkingLevel": PRO_LEVELS.get(effort, LEVELS[effort]) if pro else LEVELS[effort]}
    return {"thinkingBudget": LEAST_OF_PRO if pro and effort == "none" else BUDGETS[effort]}


def _from_object(given: JSON, deployment: Deployment) -> JSON:
    """Anthropic's `thinking`, or Gemini's own members of `thinkingConfig`."""
    match given.get("type"):
        case "disabled":
            return _amount("none", deployment)
        case "enabled":
            budget = given.get("budget_tokens")
            return ({} if budget is None else {"thinkingBudget": budget}) | {"includeThoughts": True}
        case "adaptive":
            dynamic = {} if _by_level(deployment) else {"thinkingBudget": -1}
            return dynamic | {"includeThoughts": True}
        case None:
            return given
    raise BadRequestError(f"thinking {str(given)[:200]} is not known: its type is enabled, adaptive or disabled.")


def _by_level(deployment: Deployment) -> bool:
    """Whether the model takes a level: by the deployment's quirk `thinking_level`, else by its name."""
    told = deployment.quirks.get("thinking_level")
    return bool(told) if told is not None else THIRD_GENERATION.search(deployment.model) is not None
