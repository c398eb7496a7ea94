"""What was asked, as a key: the same for all spellings of one request and in all processes, and never for two requests.

A request is made plain, written as JSON with its members in order, and hashed with SHA-256. So a key tells nothing of
what was asked, unless somebody guesses the whole of it.
"""

import hashlib
from collections.abc import Mapping, Sequence, Set
from math import isfinite
from typing import Any

import msgspec

FORMAT = 1
"""Part of every key: what another format stored is never read."""

ABOUT_THE_CALLER = frozenset({"user", "safety_identifier"})
"""Who asks; part of a key only where every user is to have answers of their own."""

SAME_ANSWER = frozenset(
    """api_key caching cache callbacks client extra_headers failure_callback fallbacks headers litellm_call_id
    litellm_session_id litellm_trace_id max_retries metadata num_retries prompt_cache_key prompt_cache_options
    prompt_cache_retention stream stream_options stream_timeout success_callback tags timeout total_timeout""".split()
)
"""Arguments that leave the answer as it is. A streamed answer is the whole one in pieces."""


TAG = "\0"
"""Names the form of a value that JSON has none for; a caller's own names that begin so get another one in front."""


class NoKey(TypeError):
    """A request holds something that no stable key can be made of."""


def digest(request: Mapping[str, Any], *, by_user: bool = False) -> str:
    """The request's key, 64 hex digits. Raises `NoKey` for values that have no JSON form."""
    left_out = SAME_ANSWER if by_user else SAME_ANSWER | ABOUT_THE_CALLER
    asked = {name: _plain(value) for name, value in request.items() if value is not None and name not in left_out}
    if "messages" in asked:
        asked["messages"] = [_message(message) for message in asked["messages"]]
    body = msgspec.json.encode([FORMAT, asked], order="deterministic")
    return hashlib.sha256(body).hexdigest()


def _message(message: Any) -> Any:
    """A message without the members that are null, which in OpenAI's format are the same as absent ones."""
    if not isinstance(message, dict):
        return message
    return {name: value for name, value in message.items() if value is not None}


def _plain(value: Any) -> Any:
    """JSON's own types only, each value in one spelling."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        # Text that is no Unicode has no JSON form; what is asked may hold it all the same.
        return value if value.isascii() or _encodes(value) else {TAG: value.encode("utf-8", "surrogatepass").hex()}
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else {TAG: str(value)}
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return {TAG: "bytes", "value": hashlib.sha256(value).hexdigest()}
    if isinstance(value, Mapping):
        return {_name(name): _plain(item) for name, item in value.items()}
    if isinstance(value, Set):
        return sorted((_plain(item) for item in value), key=repr)
    if isinstance(value, Sequence):
        return [_plain(item) for item in value]
    return _object(value)


def _number(value: float) -> Any:
    if value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value if isfinite(value) else {TAG: repr(value)}


def _name(name: Any) -> str:
    if not isinstance(name, str):
        raise NoKey(f"{name!r:.80}, a {type(name).__name__}, is the name of a member")
    return TAG + name if name.startswith(TAG) else name


def _object(value: Any) -> Any:
    if isinstance(value, type) and hasattr(value, "model_json_schema"):
        return {TAG: "schema", "value": _plain(value.model_json_schema()), "name": value.__name__}
    dump = getattr(value, "model_dump", None)
    if dump is None and isinstance(value, msgspec.Struct):
        return _plain(msgspec.structs.asdict(value))
    if dump is None or isinstance(value, type):
        raise NoKey(f"{value!r:.80}, a {type(value).__name__}, has no JSON form")
    return _plain(dump(exclude_none=True))


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
