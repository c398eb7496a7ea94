"""Arguments of a function call that come in pieces, each at its JSON path (`streamFunctionCallArguments`).

Source: https://cloud.google.com/vertex-ai/generative-ai/docs/multimodal/function-calling
"""

import re
from itertools import pairwise
from typing import Any

from callmeter.client.codecs.messages import JSON

STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]|\[[\"']([^\"']*)[\"']\]")
"""A name, an index, or a quoted name, as RFC 9535 writes the paths that name one place."""

MAX_INDEX = 100_000
"""No call has longer lists; a wild index must not eat the memory of the caller."""


def put(arguments: JSON, piece: JSON) -> None:
    """Put a piece in its place: text goes behind the text that is there already."""
    steps = [_step(found) for found in STEP.finditer(str(piece.get("jsonPath") or ""))]
    value = _value(piece)
    if not steps or value is _NOTHING or not isinstance(steps[0], str):
        return
    at: Any = arguments
    for step, following in pairwise(steps):
        at = _down(at, step, [] if isinstance(following, int) else {})
        if at is None:
            return
    _set(at, steps[-1], value)


_NOTHING = object()


def _step(found: re.Match[str]) -> str | int:
    name, index, quoted = found.groups()
    return int(index) if index is not None else str(name if name is not None else quoted)


def _value(piece: JSON) -> Any:
    if "nullValue" in piece:
        return None
    return next((piece[k] for k in ("stringValue", "numberValue", "boolValue") if k in piece), _NOTHING)


def _down(at: Any, step: str | int, empty: Any) -> Any:
    """The container at a step, made where there is none yet; None where something else is in its place."""
    if isinstance(at, dict) and isinstance(step, str):
        return at.setdefault(step, empty)
    if isinstance(at, list) and isinstance(step, int) and step <= MAX_INDEX:
        at.extend([None] * (step + 1 - len(at)))
        if at[step] is None:
            at[step] = empty
        return at[step]
    return None


def _set(at: Any, step: str | int, value: Any) -> None:
    if isinstance(at, dict) and isinstance(step, str):
        before = at.get(step)
    elif isinstance(at, list) and isinstance(step, int) and step <= MAX_INDEX:
        at.extend([None] * (step + 1 - len(at)))
        before = at[step]
    else:
        return
    at[step] = before + value if isinstance(before, str) and isinstance(value, str) else value
