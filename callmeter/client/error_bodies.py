"""What an error body says, whichever server wrote it: one reader for all shapes; echoed keys are masked. Pure."""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from msgspec import Struct

MAX_MESSAGE_CHARS = 500

MAX_PARSED_BYTES = 1 << 20
"""A longer error body is not looked into, only quoted."""


class Told(Struct, frozen=True):
    """What an error body says, in whichever form."""

    message: str = ""
    code: str | None = None
    type: str | None = None
    param: str | None = None
    wait_s: float | None = None
    """How long to wait, where the body says: Hugging Face's `estimated_time`, Replicate's `retry_after`."""
    details: Mapping[str, Any] = {}
    """Azure's `innererror` or OpenRouter's `metadata`, under its name."""

    @property
    def names(self) -> set[str]:
        """Every word that classifies the error."""
        inner, metadata = self.details.get("innererror"), self.details.get("metadata")
        found = [self.code, self.type]
        found.append(inner.get("code") if isinstance(inner, Mapping) else None)
        found.append(metadata.get("error_type") if isinstance(metadata, Mapping) else None)
        return {name for name in found if isinstance(name, str)}


def told_by(status: int, body: bytes, host: str = "") -> tuple[Told, Any]:
    """What an error answer of a host says, and its decoded JSON, or the text cut short.

    Keys that a server echoes are masked.
    """
    text = masked(body[:MAX_PARSED_BYTES].decode("utf-8", "replace"))
    payload = parsed(text)
    told = read(payload) if isinstance(payload, Mapping) else Told()
    if not told.message:
        told = msgspec.structs.replace(told, message=page_text(status, text, host))
    return told, payload if payload is not None else text[:MAX_MESSAGE_CHARS]


def hides_error(payload: Any) -> bool:
    """Whether an object that came with a 200 is an error all the same."""
    if not isinstance(payload, Mapping):
        return False
    if payload.get("error"):
        return True
    base = payload.get("base_resp")
    if isinstance(base, Mapping) and base.get("status_code"):
        return True
    return not payload.get("choices") and any(
        payload.get(key) for key in ("detail", "errors", "error_code", "message", "reason")
    )


def read(payload: Mapping[str, Any]) -> Told:
    """Message, code, type and param out of every shape of error body we know."""
    error, base = payload.get("error"), payload.get("base_resp")
    inner: Mapping[str, Any] = error if isinstance(error, Mapping) else {}
    listed = payload.get("errors")
    first = listed[0] if isinstance(listed, list) and listed else None
    first = first if isinstance(first, Mapping) else {}
    base = base if isinstance(base, Mapping) else {}
    boxes = [inner, payload, first]
    messages = (
        inner.get("message"), payload.get("error_description"), error, payload.get("message"), payload.get("detail"),
        inner.get("detail"), first.get("message"), base.get("status_msg"), payload.get("errorMessage"),
        payload.get("title"),
    )  # fmt: skip
    codes = (
        *(box.get("code") for box in boxes),
        base.get("status_code"),
        payload.get("error_code"),
    )
    types = (inner.get("type"), payload.get("error_type"), payload.get("type"), payload.get("reason"))
    return Told(
        message=next((text for text in map(_text, messages) if text), ""),
        code=next((str(code) for code in codes if isinstance(code, str | int) and not isinstance(code, bool)), None),
        type=next((kind for kind in types if isinstance(kind, str)), None),
        param=next((box["param"] for box in boxes if isinstance(box.get("param"), str)), None),
        wait_s=next(filter(None, (_seconds(box.get(name)) for box in boxes for name in _WAITS)), None),
        details={name: inner[name] for name in ("innererror", "metadata") if isinstance(inner.get(name), Mapping)},
    )


_WAITS = ("estimated_time", "retry_after")


def _seconds(value: Any) -> float | None:
    return float(value) if type(value) in (int, float) and 0 < value < 1e6 else None


def _text(value: Any) -> str:
    """A message in any of its forms: text, or FastAPI's list of `{loc, msg}`."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, Mapping):
        inner = value.get("msg") or value.get("detail")
        return _text(inner) if isinstance(inner, str | list) else ""
    if isinstance(value, list):
        return "; ".join(filter(None, map(_located, value)))
    return ""


def _located(item: Any) -> str:
    if not isinstance(item, Mapping):
        return _text(item)
    where = item.get("loc")
    prefix = ".".join(map(str, where)) + ": " if isinstance(where, list) and where else ""
    text = _text(item)
    return prefix + text if text else ""


def page_text(status: int, text: str, host: str = "") -> str:
    """A message out of a page that is not JSON: the status's phrase, whose page it is, the first words to be seen."""
    phrase = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else ""
    head = f"HTTP {status} {phrase}".rstrip() + (f" from {host}" if host else "")
    words = " ".join(_TAGS.sub(" ", text[:4096]).split())
    return f"{head}: {words}"[:MAX_MESSAGE_CHARS] if words else head


_TAGS = re.compile(r"<(script|style)\b[^>]*>.*?</\1\s*>|<[^>]*>", re.IGNORECASE | re.DOTALL)


def parsed(text: str) -> Any:
    """The JSON value of a text; None where it is none."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def masked(text: str) -> str:
    """The text with anything that looks like a credential cut to its first characters."""
    return _KEYS.sub(lambda found: f"{found.group(1) or found.group(2)}****", text)


_KEYS = re.compile(
    r"\b(sk-|(?:pk|rk|gsk|xai|hf|r8|nvapi|fw|csk|pplx)[-_](?=[\w*.-]{16})|AIza(?=[\w-]{20}))[\w*.-]{4,}"
    r"|\b(bearer\s+|api[-_]?key[\"']?\s*[:=]\s*[\"']?)[^\s\"',}]{6,}",
    re.IGNORECASE,
)
