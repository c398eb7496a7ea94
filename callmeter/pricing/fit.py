"""Whether a request would fit a model: its context window, its longest answer, and what the request makes use of. Pure.

What the table does not say is not known, which is neither a yes nor a no.
"""

from collections.abc import Iterable, Mapping

from callmeter.pricing.table import Limits, Model
from callmeter.types import Usage

_CHATTING = frozenset(("chat", "responses", "completion"))
"""Modes of models that answer a chat."""

_CHATS = frozenset(("chat", "responses", "text_completion"))
"""Operations that they serve."""

_MODES = {"transcription": "audio_transcription", "speech": "audio_speech"}
"""What the table calls models of these operations; of the others by the operation's own name."""

_NO_LIMITS = Limits()


def features_used(usage: Usage, finish_reason: str = "") -> frozenset[str]:
    """What a model has to be capable of to have served this, by the names that stand in a model's `features`.

    Reasoning and caching are not among them: a model without them can serve the request all the same.
    """
    used: Mapping[str, object] = {
        "vision": usage.input_image_tokens or usage.input_video_tokens,
        "audio_input": usage.input_audio_tokens,
        "audio_output": usage.output_audio_tokens,
        "web_search": usage.units.get("search.web"),
        "function_calling": finish_reason in ("tool_calls", "function_call"),
    }
    return frozenset(name for name, does in used.items() if does)


def misfit(model: Model | None, usage: Usage, uses: Iterable[str] = (), operation: str = "") -> str:
    """Why a model cannot serve a request; empty if nothing is known that speaks against it."""
    if model is None:
        return ""
    if operation and not _serves(model.mode, operation):
        return f"it is for {model.mode}, not {operation}"
    limits = model.limits or _NO_LIMITS
    if limits.context is not None and usage.total_tokens > limits.context:
        return f"longer than its context of {limits.context:,} tokens"
    if limits.input is not None and usage.input_tokens > limits.input:
        return f"longer than its longest input of {limits.input:,} tokens"
    if limits.output is not None and usage.output_tokens > limits.output:
        return f"longer than its longest answer of {limits.output:,} tokens"
    features = features_of(model)
    missing = sorted(set(uses) - features) if features else ()
    return f"it lacks {', '.join(missing)}" if missing else ""


def unknowns(model: Model | None, uses: Iterable[str] = ()) -> str:
    """What the table does not say about a model and would have to for a sure answer; empty if nothing."""
    limits = (model.limits if model is not None else None) or _NO_LIMITS
    window = "" if limits.context or limits.input else "its context window"
    asked = (
        "" if model is not None and features_of(model) else ", ".join(f"whether it has {use}" for use in sorted(uses))
    )
    return " and ".join(part for part in (window, asked) if part)


def features_of(model: Model) -> frozenset[str]:
    """What the table says a model is capable of; empty where it says nothing."""
    return frozenset(getattr(model, "features", None) or ())


def _serves(mode: str, operation: str) -> bool:
    if operation in _CHATS:
        return mode in _CHATTING
    return mode == _MODES.get(operation, operation)
