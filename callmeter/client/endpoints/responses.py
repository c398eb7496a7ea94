"""`responses()` and `aresponses()`: OpenAI's Responses API as it is."""

from collections.abc import Iterator
from typing import Any, Literal, overload

import msgspec

from callmeter.client.codecs.responses_stream import native_event
from callmeter.client.making import Made, make
from callmeter.client.mock import USAGE, Mock, Mocked
from callmeter.client.operations import RESPONSES, shown
from callmeter.client.running import arun, run
from callmeter.client.streaming import AsyncStream, Stream
from callmeter.client.views import AsyncStreamView, StreamView
from callmeter.records import ResponsesAnswer, ResponsesEvent


@overload
def responses(input: Any, model: str, *, stream: Literal[True], **params: Any) -> StreamView[ResponsesEvent]: ...
@overload
def responses(input: Any, model: str, *, stream: Literal[False] = ..., **params: Any) -> ResponsesAnswer: ...
@overload
def responses(input: Any, model: str, **params: Any) -> Any: ...
def responses(input: Any, model: str, **params: Any) -> Any:
    """Ask a model over OpenAI's Responses API, wherever it is offered; the answer is the API's own.

    `input` is a text or a list of items, and every other parameter of the API is taken by its name: `instructions`,
    `tools`, `reasoning`, `previous_response_id`, …; `text_format` may be a pydantic class. The answer's members are
    attributes and items alike; `output_text` is all its text.

    With `stream=True` the result is a stream of the API's events, told by `type`. Everything about the call itself is
    as in `completion()`, and so are the errors. `mock_response` is the text of the answer.
    """
    answer = run(_made("responses", input, model, params))
    if isinstance(answer, Stream):
        return StreamView(answer, native_event)
    return shown(RESPONSES.name, answer)


@overload
async def aresponses(
    input: Any, model: str, *, stream: Literal[True], **params: Any
) -> AsyncStreamView[ResponsesEvent]: ...
@overload
async def aresponses(input: Any, model: str, *, stream: Literal[False] = ..., **params: Any) -> ResponsesAnswer: ...
@overload
async def aresponses(input: Any, model: str, **params: Any) -> Any: ...
async def aresponses(input: Any, model: str, **params: Any) -> Any:
    """`responses()` for event loops: the same arguments, results and errors; streams are read by `async for`."""
    answer = await arun(_made("aresponses", input, model, params))
    if isinstance(answer, AsyncStream):
        return AsyncStreamView(answer, native_event)
    return shown(RESPONSES.name, answer)


def _made(call_type: str, input: Any, model: str, params: dict[str, Any]) -> Made:
    return make(RESPONSES, call_type, model, (), {"input": input, **params}, Mocked(_body, _events))


def _response(mock: Mock, asked: dict[str, Any], status: str) -> dict[str, Any]:
    whole = {
        "id": f"resp_{mock.call_id}",
        "object": "response",
        "created_at": mock.created,
        "model": asked["model"],
        "status": status,
        "output": [],
    }
    if status != "completed":
        return whole
    content = [{"type": "output_text", "text": mock.text(), "annotations": []}]
    message = {"type": "message", "id": f"msg_{mock.call_id}", "role": "assistant", "status": status}
    usage = {
        "input_tokens": USAGE["prompt_tokens"],
        "output_tokens": USAGE["completion_tokens"],
        "total_tokens": USAGE["total_tokens"],
    }
    return {**whole, "output": [{**message, "content": content}], "usage": usage}


def _body(mock: Mock, asked: dict[str, Any]) -> bytes:
    return msgspec.json.encode(_response(mock, asked, "completed"))


def _events(mock: Mock, asked: dict[str, Any]) -> Iterator[bytes]:
    begun, done = (_response(mock, asked, status) for status in ("in_progress", "completed"))
    where = {"item_id": f"msg_{mock.call_id}", "output_index": 0, "content_index": 0}
    events: list[dict[str, Any]] = [{"type": "response.created", "response": begun}]
    events += [{"type": "response.output_text.delta", **where, "delta": piece} for piece in mock.pieces()]
    events.append({"type": "response.completed", "response": done})
    for number, event in enumerate(events):
        yield b"data: " + msgspec.json.encode({**event, "sequence_number": number}) + b"\n\n"
