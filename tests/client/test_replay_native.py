"""A stored answer of the Responses API as a stream: the events that the API sends for such an answer."""

from typing import Any

import msgspec
import pytest

import callmeter
from callmeter.caching import Cache
from callmeter.client.replay import PIECE
from callmeter.client.replay_native import events, opened
from callmeter.events.model import StreamCompleted
from callmeter.testing import FakeProvider

WISHES = [
    {},
    {"text": "x" * (2 * PIECE + 1)},
    {"tool_calls": [{"name": "f", "arguments": '{"a": 1}'}]},
    {"finish": "length"},
]


def kinds(told: Any) -> list[str]:
    """The events' types, with pieces of one text taken as one: how it is cut is nobody's business."""
    found: list[str] = []
    for event in told:
        if event["type"] != (found or [""])[-1]:
            found.append(event["type"])
    return found


@pytest.mark.parametrize("wish", WISHES)
def test_a_stream_is_told_again_in_the_apis_own_events(
    wish: dict[str, Any], provider: FakeProvider, switched_on: Any, events: list[Any]
) -> None:
    switched_on(Cache())

    def told() -> list[Any]:
        return list(callmeter.responses("Say something nice.", "openai/gpt-5", stream=True, x_fake=wish))

    first, again = told(), told()
    assert len(provider.requests) == 1
    assert kinds(again) == kinds(first)
    assert again[-1]["response"] == first[-1]["response"]
    assert again[-1].response.output_text == "".join(
        event["delta"] for event in again if event["type"] == "response.output_text.delta"
    )
    items = [[e["item"] for e in stream if e["type"] == "response.output_item.done"] for stream in (first, again)]
    assert items[0] == items[1]
    assert [event["sequence_number"] for event in again] == list(range(len(again)))
    miss, hit = (event for event in events if isinstance(event, StreamCompleted))
    assert (hit.cost.total, hit.cost.saved, hit.cache_hit) == (0, miss.cost.total, True)
    whole = callmeter.responses("Say something nice.", "openai/gpt-5", x_fake=wish)
    assert whole == again[-1].response
    assert whole._hidden_params["cache_hit"] is True


def test_an_answer_that_goes_on_in_the_background_is_not_kept(provider: FakeProvider, switched_on: Any) -> None:
    switched_on(Cache())
    body = {"id": "resp_1", "object": "response", "status": "queued", "output": [], "model": "gpt-5"}
    provider.answer(200, body=msgspec.json.encode(body), times=None)
    for _ in range(2):
        answer = callmeter.responses("Think.", "openai/gpt-5", background=True)
        assert answer._hidden_params["cache_hit"] is False


def test_every_kind_of_item_is_told_from_its_beginning_to_its_end() -> None:
    likely = [{"token": "Hi", "logprob": -0.1}]
    note = {"type": "url_citation", "url": "https://a.test"}
    text = {"type": "output_text", "text": "Hi", "annotations": [note], "logprobs": likely}
    whole = {
        "id": "resp_1",
        "status": "incomplete",
        "output": [
            {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm"}]},
            {"type": "web_search_call", "id": "ws_1", "status": "completed"},
            {"type": "custom_tool_call", "id": "ct_1", "name": "f", "input": "raw"},
            {"type": "message", "id": "m_1", "content": [text, {"type": "refusal", "refusal": "No"}]},
        ],
    }
    told = list(events(whole))
    assert kinds(told) == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.reasoning_summary_part.added",
        "response.reasoning_summary_text.delta",
        "response.reasoning_summary_text.done",
        "response.reasoning_summary_part.done",
        "response.output_item.done",
        "response.output_item.added",
        "response.output_item.done",
        "response.output_item.added",
        "response.custom_tool_call_input.delta",
        "response.custom_tool_call_input.done",
        "response.output_item.done",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.output_text.annotation.added",
        "response.content_part.done",
        "response.content_part.added",
        "response.refusal.delta",
        "response.refusal.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.incomplete",
    ]
    said = next(event for event in told if event["type"] == "response.output_text.delta")
    assert (said["delta"], said["logprobs"]) == ("Hi", likely)
    assert told[-1]["response"] == whole


def test_the_official_sdk_knows_every_event() -> None:
    models = pytest.importorskip("openai.types.responses.response_stream_event")
    pydantic = pytest.importorskip("pydantic")
    adapter = pydantic.TypeAdapter(models.ResponseStreamEvent)
    whole = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "model": "gpt-5",
        "status": "completed",
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "output": [
            {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm"}]},
            {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": "{}"},
            {
                "type": "message",
                "id": "m_1",
                "role": "assistant",
                "status": "completed",
                "content": [{"type": "output_text", "text": "Hi", "annotations": []}],
            },
        ],
    }
    for piece in opened(whole):
        event = msgspec.json.decode(piece.partition(b"data: ")[2])
        assert adapter.validate_python(event).type == event["type"]
