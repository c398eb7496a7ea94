"""What is read of Gemini's answers, whole or in pieces, and what its words mean in OpenAI's.

Source: https://ai.google.dev/api/generate-content#v1beta.GenerateContentResponse
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from msgspec import Struct

from callmeter.client.codecs.messages import JSON

FINISH = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    **dict.fromkeys(
        "SAFETY RECITATION BLOCKLIST PROHIBITED_CONTENT SPII LANGUAGE MODEL_ARMOR "
        "IMAGE_SAFETY IMAGE_PROHIBITED_CONTENT IMAGE_RECITATION".split(),
        "content_filter",
    ),
}
"""Gemini's reasons as OpenAI's; any other is `stop`, and `finish_message` explains."""


class WireCall(Struct, rename="camel", gc=False):
    """A function call, whole or (Vertex AI alone) with its arguments in pieces."""

    id: str | None = None
    name: str | None = None
    args: JSON | None = None
    partial_args: list[JSON] | None = None
    will_continue: bool = False


class WireBlob(Struct, rename="camel", gc=False):
    """Media in an answer."""

    mime_type: str = ""
    data: str = ""


class WirePart(Struct, rename="camel", gc=False):
    """What is read of a part; other members are of kinds that are not looked into."""

    text: str | None = None
    thought: bool = False
    thought_signature: str | None = None
    function_call: WireCall | None = None
    inline_data: WireBlob | None = None
    executable_code: JSON | None = None
    code_execution_result: JSON | None = None


class WireContent(Struct, gc=False):
    """A candidate's parts; none where thoughts took all the room, or where it was blocked."""

    parts: list[WirePart] | None = None


class WireCandidate(Struct, rename="camel", gc=False):
    """One of `n` answers, or the next piece of it."""

    content: WireContent | None = None
    finish_reason: str | None = None
    finish_message: str | None = None
    index: int = 0
    safety_ratings: Any = None
    citation_metadata: Any = None
    grounding_metadata: JSON | None = None
    url_context_metadata: Any = None
    avg_logprobs: float | None = None
    logprobs_result: JSON | None = None

    def notes(self) -> JSON | None:
        """What is shown to the caller as it came, beside the native finish reason."""
        if (
            self.finish_reason is None
            and self.safety_ratings is None
            and self.citation_metadata is None
            and self.grounding_metadata is None
            and self.url_context_metadata is None
        ):
            return None  # nearly every event of a stream
        told = {
            "finish_message": self.finish_message,
            "safety_ratings": self.safety_ratings,
            "grounding_metadata": self.grounding_metadata,
            "citation_metadata": self.citation_metadata,
            "url_context_metadata": self.url_context_metadata,
            "avg_logprobs": self.avg_logprobs,
        }
        return {name: value for name, value in told.items() if value is not None}


class WireAnswer(Struct, rename="camel", gc=False):
    """A GenerateContentResponse, whole or an event of a stream. Also an error, told by `error`."""

    candidates: list[WireCandidate] | None = None
    prompt_feedback: JSON | None = None
    usage_metadata: Any = None
    model_version: str | None = None
    response_id: str | None = None
    create_time: str | None = None
    error: Any = None


def finish_reason(native: str, *, tools_called: bool) -> str:
    """OpenAI's word for a finish reason: a model that calls functions stops like any other here."""
    return "tool_calls" if tools_called and native == "STOP" else FINISH.get(native, "stop")


def epoch_s(create_time: str | None) -> int | None:
    """Seconds since the epoch of an RFC 3339 instant; None where there is none."""
    try:
        return int(datetime.fromisoformat(create_time).timestamp()) if create_time else None
    except ValueError:
        return None


def logprobs(result: JSON) -> JSON | None:
    """`logprobsResult` in OpenAI's form."""
    chosen, tops = result.get("chosenCandidates"), result.get("topCandidates")
    if not isinstance(chosen, list):
        return None
    tops = tops if isinstance(tops, list) else []
    content = []
    for n, item in enumerate(chosen):
        beside = tops[n].get("candidates") if n < len(tops) and isinstance(tops[n], dict) else None
        content.append(_token(item) | {"top_logprobs": [_token(other) for other in beside or ()]})
    return {"content": content}


def _token(item: Any) -> JSON:
    told = item if isinstance(item, dict) else {}
    token = str(told.get("token") or "")
    return {
        "token": token,
        "logprob": told.get("logProbability", 0.0),
        "bytes": list(token.encode("utf-8", "replace")),
    }


def citations(grounding: JSON, text: str) -> Iterator[JSON]:
    """Grounding as OpenAI's annotations: each stretch of the text with each source that supports it.

    Offsets are bytes of UTF-8 there and characters here; where the bytes lead elsewhere than the quoted text, as they
    do past a first part, the quote is looked for.
    """
    sources = [_source(chunk) for chunk in _objects(grounding.get("groundingChunks"))]
    encoded = text.encode("utf-8", "surrogatepass")
    for support in _objects(grounding.get("groundingSupports")):
        segment = support.get("segment")
        span = _span(segment if isinstance(segment, dict) else {}, text, encoded)
        for n in support.get("groundingChunkIndices") or ():
            if isinstance(n, int) and 0 <= n < len(sources) and sources[n]["url"]:
                yield {"type": "url_citation", "url_citation": span | sources[n]}


def _objects(value: Any) -> list[JSON]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _source(chunk: JSON) -> JSON:
    kinds = (chunk.get(kind) for kind in ("web", "retrievedContext", "maps"))
    told: JSON = next((source for source in kinds if isinstance(source, dict)), {})
    return {"title": str(told.get("title") or ""), "url": str(told.get("uri") or "")}


def _span(segment: JSON, text: str, encoded: bytes) -> JSON:
    start, end = (_characters(segment.get(name), encoded) for name in ("startIndex", "endIndex"))
    quote = segment.get("text")
    if isinstance(quote, str) and quote and text[start:end] != quote:
        found = text.find(quote)
        if found >= 0:
            start, end = found, found + len(quote)
    return {"start_index": start, "end_index": end}


def _characters(offset: Any, encoded: bytes) -> int:
    """How many characters lie before a byte."""
    at = offset if isinstance(offset, int) and offset > 0 else 0
    return len(encoded[:at].decode("utf-8", "ignore"))
