"""What the models on Bedrock take and do not, as far as their names tell; a deployment's quirks tell it better.

Sources: https://docs.aws.amazon.com/bedrock/latest/userguide/conversation-inference-supported-models-features.html,
https://docs.aws.amazon.com/bedrock/latest/userguide/structured-output.html
"""

import re

from callmeter.types import Deployment

SCHEMAS = re.compile(
    r"claude-(?:haiku|sonnet|opus)-4-5|claude-(?:sonnet|opus)-4-6|magistral-small|ministral-3|mistral-large-3|voxtral"
    r"|qwen3|gemma-3-(?:12|27)b|minimax-m2|nemotron-nano|kimi-k2|zai\.glm"
)
"""Models that can be held to a schema, by `outputConfig` and by `strict` tools."""

FORCED = re.compile(r"claude|nova|mistral-large|kimi|zai\.glm")
"""Models that can be told to call a tool; the others refuse the member that says so."""


def model_of(deployment: Deployment) -> str:
    """The name that tells what the model is: that of the model whose price holds, where the own one is an ARN."""
    return (deployment.base_model or deployment.model).lower()


def is_claude(deployment: Deployment) -> bool:
    """Whether it is one of Anthropic's models, which take more than Converse has words for."""
    return "claude" in model_of(deployment)


def is_nova(deployment: Deployment) -> bool:
    """Whether it is one of Amazon's Nova models."""
    return "nova" in model_of(deployment)


def takes_schemas(deployment: Deployment) -> bool:
    """Whether the model's answer can be held to a schema: by the quirk `json_schema`, else by its name."""
    return _told(deployment, "json_schema", SCHEMAS)


def can_be_forced(deployment: Deployment) -> bool:
    """Whether the model can be told to call a tool: by the quirk `tool_choice`, else by its name."""
    return _told(deployment, "tool_choice", FORCED)


def _told(deployment: Deployment, quirk: str, names: re.Pattern[str]) -> bool:
    told = deployment.quirks.get(quirk)
    return bool(told) if told is not None else names.search(model_of(deployment)) is not None
