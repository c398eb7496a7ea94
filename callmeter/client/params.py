"""OpenAI's parameters by name: which of a caller's keywords they are, and what a wire that lacks some does about it."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from callmeter.errors import UnsupportedParamsError

OPENAI_CHAT_PARAMS = frozenset(
    {
        "audio",
        "frequency_penalty",
        "function_call",
        "functions",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "metadata",
        "modalities",
        "moderation",
        "n",
        "parallel_tool_calls",
        "prediction",
        "presence_penalty",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "reasoning_effort",
        "response_format",
        "safety_identifier",
        "seed",
        "service_tier",
        "stop",
        "store",
        "stream",
        "stream_options",
        "temperature",
        "thinking",
        "tool_choice",
        "tools",
        "top_logprobs",
        "top_p",
        "user",
        "verbosity",
        "web_search_options",
    }
)
"""What `completion()` knows as its own; `thinking` is Anthropic's, and checked too since it stands in the signature.

Source: https://platform.openai.com/docs/api-reference/chat/create
"""


def split(
    kwargs: Mapping[str, Any], known: frozenset[str] = OPENAI_CHAT_PARAMS
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Keywords as `(params, extra)`: OpenAI's own and everything else, without those left at None."""
    params, extra = dict[str, Any](), dict[str, Any]()
    for name, value in kwargs.items():
        if value is not None:
            (params if name in known else extra)[name] = value
    return params, extra


def admit(
    params: Mapping[str, Any],
    supported: frozenset[str],
    *,
    provider: str,
    model: str,
    drop_params: bool = False,
    additional_drop_params: Sequence[str] = (),
    allowed_openai_params: Sequence[str] = (),
) -> dict[str, Any]:
    """The parameters to send: those the wire carries, and those the caller allows all the same.

    `additional_drop_params` are removed first, supported or not; they may be paths (see `without`). Raises
    `UnsupportedParamsError` naming what is left over, unless `drop_params` drops it.
    """
    if not additional_drop_params and supported.issuperset(params):
        return dict(params)
    kept = without(params, additional_drop_params)
    lacking = sorted(name for name in kept if name not in supported and name not in allowed_openai_params)
    if lacking and not drop_params:
        raise UnsupportedParamsError(
            f"{provider} does not support {', '.join(lacking)} for model {model!r}. To drop "
            f"{'them' if len(lacking) > 1 else 'it'}, set drop_params=True on the call or callmeter.drop_params=True; "
            f"to send {'them' if len(lacking) > 1 else 'it'} anyway, pass allowed_openai_params={lacking}",
            provider,
            model,
            param=lacking[0],
        )
    return {name: value for name, value in kept.items() if name not in lacking}


def without(params: Mapping[str, Any], paths: Iterable[str]) -> dict[str, Any]:
    """A copy without what the paths name; the caller's own values are never changed.

    A path is `a`, `a.b`, `a[0]`, `a[*]` or any chain of these, as in `tools[*].function.strict`. One that leads
    nowhere removes nothing.
    """
    kept: Any = dict(params)
    for path in paths:
        steps: list[str | int | None] = [
            None if star else int(index) if index else name for name, index, star in _STEP.findall(path)
        ]
        if steps:
            kept = _without(kept, steps)
    result: dict[str, Any] = kept
    return result


_STEP = re.compile(r"([^.\[\]]+)(?![^\[]*\])|\[(\d+)\]|\[(\*)\]")
"""One step of a path: a name, an index, or every item."""


def _without(value: Any, steps: Sequence[str | int | None]) -> Any:
    step, rest = steps[0], steps[1:]
    if isinstance(step, str):
        if not isinstance(value, Mapping) or step not in value:
            return value
        if rest:
            return {**value, step: _without(value[step], rest)}
        return {key: item for key, item in value.items() if key != step}
    if not isinstance(value, list | tuple):
        return value
    if rest:
        return [_without(item, rest) if step is None or step == at else item for at, item in enumerate(value)]
    return [] if step is None else [item for at, item in enumerate(value) if at != step]
