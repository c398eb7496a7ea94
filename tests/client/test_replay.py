"""A stored answer as a stream: whatever the answer is, its chunks add up to it."""

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from callmeter.client import replay
from callmeter.client.fold import Fold
from callmeter.client.framing import NDJSON
from callmeter.shapes import Choice, Completion, CompletionUsage, Function, Message, ToolCall

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
SOME = st.text(min_size=1, max_size=8)
CALLS = st.builds(ToolCall, id=SOME, function=st.builds(Function, name=SOME, arguments=TEXT))


@st.composite
def messages(draw: Any) -> Message:
    calls = draw(st.lists(CALLS, max_size=3)) or None
    return Message(
        content=draw(TEXT.filter(bool) | st.none()) if calls else draw(TEXT),
        tool_calls=calls,
        refusal=draw(st.none() | SOME),
        reasoning_content=draw(st.none() | SOME),
        thinking_blocks=draw(st.none() | st.just([{"type": "thinking", "thinking": "t", "signature": "s"}] * 2)),
        annotations=draw(st.none() | st.just([{"type": "url_citation"}])),
        audio=draw(st.none() | st.just({"id": "a", "data": "AAAA", "transcript": "Hi", "expires_at": 7})),
        images=draw(st.none() | st.just([{"image_url": {"url": "data:"}}])),
    )


@st.composite
def completions(draw: Any) -> Completion:
    choices = [
        Choice(
            index=at,
            message=message,
            finish_reason=draw(st.sampled_from(["stop", "tool_calls", "length"])),
            logprobs=draw(st.none() | st.just({"content": [{"token": "a"}], "refusal": None})),
            provider_specific_fields=draw(st.none() | st.just({"native_finish_reason": "end"})),
        )
        for at, message in enumerate(draw(st.lists(messages(), min_size=1, max_size=3)))
    ]
    return Completion(
        id="c1",
        created=7,
        model="m",
        choices=choices,
        usage=draw(st.none() | st.builds(CompletionUsage, prompt_tokens=st.integers(0, 9))),
        system_fingerprint=draw(st.none() | SOME),
        service_tier=draw(st.none() | SOME),
        citations=draw(st.none() | st.just(["https://a.test"])),
    )


def folded(completion: Completion) -> Completion:
    framing, decoder, fold = NDJSON(), replay.CODEC.decoder(None, None), Fold()
    body = b"".join(replay.opened(completion))
    for frame in [*framing.feed(body), *framing.close()]:
        for chunk in decoder.chunks(frame):
            fold.add(chunk)
    return fold.completion()


def comparable(completion: Completion) -> Any:
    """As a dump; a message that says nothing at all says it as an empty text or as none."""
    dump = msgspec.to_builtins(completion)
    for choice in dump["choices"]:
        choice["message"]["content"] = choice["message"]["content"] or None
    return dump


@given(completion=completions())
def test_the_chunks_add_up_to_the_answer(completion: Completion) -> None:
    assert comparable(folded(completion)) == comparable(completion)


def test_a_long_text_comes_in_pieces_and_usage_last() -> None:
    text = "x" * (2 * replay.PIECE + 1)
    answer = Completion(choices=[Choice(message=Message(content=text), finish_reason="stop")], usage=CompletionUsage())
    chunks = list(replay.chunks(answer))
    said = [choice.delta.content for chunk in chunks for choice in chunk.choices]
    assert [len(piece) for piece in said if piece] == [replay.PIECE, replay.PIECE, 1]
    assert [bool(chunk.usage) for chunk in chunks] == [False] * 5 + [True]
    assert [choice.finish_reason for chunk in chunks for choice in chunk.choices] == [None] * 4 + ["stop"]
