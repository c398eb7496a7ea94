"""Changing or leaving out events before they are stored: each transform is `Event → Event | None`.

They run on the writer's thread, in order, before any sink sees the event; `None` leaves it out, which is counted. The
process's own callbacks and subscribers are not affected: they are the caller's code.
"""

import re
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any

from msgspec.structs import replace

from callmeter.events.model import AnyEvent, CallFacts, CallFailed, Content, Event

Transform = Callable[[AnyEvent], AnyEvent | None]

MASK = "[redacted]"


def chain(transforms: Sequence[Transform]) -> Transform:
    """One transform that applies several in order, until one leaves the event out."""

    def apply(event: AnyEvent) -> AnyEvent | None:
        changed: AnyEvent | None = event
        for transform in transforms:
            if changed is None:
                return None
            changed = transform(changed)
        return changed

    return apply


def redact(*patterns: str, mask: str = MASK, metadata: Sequence[str] = ()) -> Transform:
    """Replace what matches any of the regular expressions, in captured content, error messages and metadata.

    `metadata` names keys whose values are replaced whole. Raises `re.error` for a pattern that is none.
    """
    search = re.compile("|".join(f"(?:{pattern})" for pattern in patterns)) if patterns else None

    def clean(value: Any) -> Any:
        if isinstance(value, str):
            return search.sub(mask, value) if search is not None else value
        if isinstance(value, dict):
            return {key: clean(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [clean(item) for item in value]
        if hasattr(value, "model_dump"):
            return clean(value.model_dump())
        return value

    def apply(event: AnyEvent) -> AnyEvent:
        if not isinstance(event, Event):
            return event
        changes: dict[str, Any] = {"call": _clean_facts(event.call, clean, metadata, mask)}
        if event.content is not None:
            changes["content"] = _clean_content(event.content, clean)
        error = getattr(event, "error", None)
        if error is not None:
            changes["error"] = replace(error, message=clean(error.message))
        return replace(event, **changes)

    return apply


def sample(rate: float, *, keep_failures: bool = True) -> Transform:
    """Keep about `rate` (0 to 1) of all calls, whole: a call's start and end are kept or left out together.

    What is left out is missing from every sink and from the ledger's sums. Raises `ValueError` for a rate outside 0..1.
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"sample({rate!r}): the rate is a share between 0 and 1")
    limit = int(rate * 2**64)

    def apply(event: AnyEvent) -> AnyEvent | None:
        if not isinstance(event, Event) or (keep_failures and isinstance(event, CallFailed)):
            return event
        drawn = int.from_bytes(blake2b(event.call.call_id.encode(), digest_size=8).digest(), "big")
        return event if drawn < limit else None

    return apply


def tag(*names: str, **values: str) -> Transform:
    """Add tags, and set columns (`project`, `team`, …) or metadata where the call itself has none."""

    def apply(event: AnyEvent) -> AnyEvent:
        if not isinstance(event, Event):
            return event
        call = event.call
        columns = {name: text for name, text in values.items() if getattr(call, name, None) == ""}
        rest = {name: text for name, text in values.items() if not hasattr(call, name)}
        changed = replace(
            call, tags=tuple(dict.fromkeys((*call.tags, *names))), metadata={**rest, **call.metadata}, **columns
        )
        return replace(event, call=changed)

    return apply


def _clean_facts(call: CallFacts, clean: Callable[[Any], Any], keys: Sequence[str], mask: str) -> CallFacts:
    return replace(
        call,
        metadata={name: mask if name in keys else clean(text) for name, text in call.metadata.items()},
        tags=tuple(clean(text) for text in call.tags),
    )


def _clean_content(content: Content, clean: Callable[[Any], Any]) -> Content:
    return replace(content, messages=clean(content.messages), completion=clean(content.completion))
