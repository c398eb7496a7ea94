"""A stored answer of the Responses API as the stream of events that the API sends for it.

Source: https://platform.openai.com/docs/api-reference/responses-streaming
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from callmeter.client.ready import ReadyStream
from callmeter.client.replay import pieces

JSON = dict[str, Any]


def opened(whole: Mapping[str, Any]) -> ReadyStream:
    """The answer as a stream that was opened, in the API's own format."""
    numbered = ({**event, "sequence_number": number} for number, event in enumerate(events(whole)))
    return ReadyStream(
        f"event: {event['type']}\ndata: ".encode() + msgspec.json.encode(event) + b"\n\n" for event in numbered
    )


def events(whole: Mapping[str, Any]) -> Iterator[JSON]:
    """What the API tells of the answer, in order: its beginning, each item from its beginning to its end, its end."""
    going = {**whole, "status": "in_progress", "output": [], "usage": None, "incomplete_details": None}
    yield {"type": "response.created", "response": going}
    yield {"type": "response.in_progress", "response": going}
    for at, item in enumerate(whole["output"]):
        yield {"type": "response.output_item.added", "output_index": at, "item": _begun(item)}
        yield from _told({"item_id": item.get("id"), "output_index": at}, item)
        yield {"type": "response.output_item.done", "output_index": at, "item": item}
    yield {"type": f"response.{whole['status']}", "response": dict(whole)}


_FILLED: Mapping[str, JSON] = {
    "message": {"content": []},
    "reasoning": {"summary": []},
    "function_call": {"arguments": ""},
    "custom_tool_call": {"input": ""},
}
"""What an item has not yet when it begins, by its type."""


def _begun(item: JSON) -> JSON:
    status = {"status": "in_progress"} if "status" in item else {}
    return {**item, **status, **_FILLED.get(str(item.get("type")), {})}


def _told(where: JSON, item: JSON) -> Iterator[JSON]:
    match item.get("type"):
        case "message":
            for at, part in enumerate(item.get("content") or ()):
                yield from _part({**where, "content_index": at}, part)
        case "reasoning":
            for at, part in enumerate(item.get("summary") or ()):
                yield from _summary({**where, "summary_index": at}, part)
        case "function_call":
            yield from _text("response.function_call_arguments", where, "arguments", item, {"name": item.get("name")})
        case "custom_tool_call":
            yield from _text("response.custom_tool_call_input", where, "input", item)


def _part(where: JSON, part: JSON) -> Iterator[JSON]:
    kind = str(part.get("type"))
    name = "refusal" if kind == "refusal" else "text"
    likely = {"logprobs": part.get("logprobs") or []} if kind == "output_text" else {}
    empty = {**part, name: "", **({"annotations": [], "logprobs": []} if kind == "output_text" else {})}
    yield {"type": "response.content_part.added", **where, "part": empty}
    yield from _text(f"response.{kind}", where, name, part, likely)
    for at, annotation in enumerate(part.get("annotations") or ()):
        yield {
            "type": "response.output_text.annotation.added",
            **where,
            "annotation_index": at,
            "annotation": annotation,
        }
    yield {"type": "response.content_part.done", **where, "part": part}


def _summary(where: JSON, part: JSON) -> Iterator[JSON]:
    yield {"type": "response.reasoning_summary_part.added", **where, "part": {**part, "text": ""}}
    yield from _text("response.reasoning_summary_text", where, "text", part)
    yield {"type": "response.reasoning_summary_part.done", **where, "part": part}


def _text(kind: str, where: JSON, name: str, said: JSON, more: JSON | None = None) -> Iterator[JSON]:
    """A text in pieces, then whole. What is known of its tokens comes with the last piece."""
    text, more = str(said.get(name) or ""), more or {}
    likely = more.get("logprobs")
    cut = list(pieces(text))
    for at, piece in enumerate(cut):
        with_piece = {} if likely is None else {"logprobs": likely if at == len(cut) - 1 else []}
        yield {"type": f"{kind}.delta", **where, "delta": piece, **with_piece}
    yield {"type": f"{kind}.done", **where, name: text, **more}
