"""Chunks folded into one answer."""

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from callmeter.client.fold import Fold, stream_chunk_builder
from callmeter.shapes import Chunk, CompletionUsage, Delta, Function, StreamChoice, ToolCall


def chunk(finish_reason: str | None = None, index: int = 0, logprobs: Any = None, **delta: Any) -> Chunk:
    choice = StreamChoice(index=index, finish_reason=finish_reason, logprobs=logprobs, delta=Delta(**delta))
    return Chunk(id="chatcmpl-1", created=7, model="m", choices=[choice])


def fragment(index: int, arguments: str = "", **fields: Any) -> ToolCall:
    return ToolCall(index=index, id=fields.get("id"), function=Function(name=fields.get("name"), arguments=arguments))


def folded(*chunks: Chunk) -> Any:
    return stream_chunk_builder(chunks)


@given(st.lists(st.tuples(st.integers(0, 2), st.text(max_size=8)), min_size=1))
def test_each_choice_is_its_own_deltas_joined_and_all_text_is_counted(pieces: list[tuple[int, str]]) -> None:
    fold = Fold()
    for index, text in pieces:
        fold.add(chunk(index=index, content=text))
    for choice in fold.completion().choices:
        assert choice.message.content == "".join(text for index, text in pieces if index == choice.index)
    everything = "".join(text for _, text in pieces)
    assert fold.output_chars == len(everything)
    assert fold.output_bytes == len(everything.encode("utf-8", "surrogatepass"))


@given(st.lists(st.tuples(st.integers(0, 3), st.text("ab{}", max_size=3))))
def test_tool_calls_are_joined_by_index_however_they_interleave(pieces: list[tuple[int, str]]) -> None:
    chunks = [chunk(tool_calls=[fragment(at, id=f"call_{at}", name=f"f{at}")]) for at in range(4)]
    chunks += [chunk(tool_calls=[fragment(at, text)]) for at, text in pieces]
    calls = folded(*chunks).choices[0].message.tool_calls
    assert [(call.id, call.function.name) for call in calls] == [(f"call_{at}", f"f{at}") for at in range(4)]
    assert [call.function.arguments for call in calls] == [
        "".join(text for at, text in pieces if at == n) for n in range(4)
    ]
    assert "index" not in calls[0]


def test_an_answer_of_tool_calls_alone_has_null_content_and_one_that_said_nothing_an_empty_one() -> None:
    assert folded(chunk(tool_calls=[fragment(0, "{}", name="f")])).choices[0].message.content is None
    assert folded(chunk(role="assistant", content="")).choices[0].message.content == ""


def test_reasoning_refusals_and_thinking_are_kept_apart_and_counted_once() -> None:
    fold = Fold()
    for piece in ("Th", "ink"):
        block = {"type": "thinking", "thinking": piece, "signature": None}
        fold.add(chunk(reasoning_content=piece, reasoning=piece, thinking_blocks=[block]))
    fold.add(chunk(thinking_blocks=[{"type": "thinking", "thinking": "", "signature": "sig"}]))
    fold.add(chunk(thinking_blocks=[{"type": "redacted_thinking", "data": "x"}]))
    fold.add(chunk(thinking_blocks=[{"type": "thinking", "thinking": "More", "signature": "sig2"}]))
    fold.add(chunk(refusal="No"))
    fold.add(chunk(refusal="."))
    message = fold.completion().choices[0].message
    assert (message.reasoning_content, message.reasoning, message.refusal) == ("Think", "Think", "No.")
    assert message.thinking_blocks == [
        {"type": "thinking", "thinking": "Think", "signature": "sig"},
        {"type": "redacted_thinking", "data": "x"},
        {"type": "thinking", "thinking": "More", "signature": "sig2"},
    ]
    assert fold.output_chars == len("Think" + "No.")


def test_logprobs_audio_annotations_and_custom_tools_are_joined() -> None:
    custom = ToolCall(index=0, id="c", type="custom", custom={"name": "sql", "input": "SEL"})
    more = ToolCall(index=0, type=None, custom={"input": "ECT"})
    whole = folded(
        chunk(content="a", logprobs={"content": [1], "refusal": None}, annotations=[{"type": "x"}]),
        chunk(content="b", logprobs={"content": [2], "refusal": None}, annotations=[{"type": "y"}]),
        chunk(audio={"id": "au", "data": "AA", "transcript": "H"}),
        chunk(audio={"data": "BB", "transcript": "i", "expires_at": 9}),
        chunk(tool_calls=[custom]),
        chunk(tool_calls=[more]),
        chunk("tool_calls", function_call=Function(name="old", arguments="{}")),
    ).choices[0]
    assert whole.logprobs == {"content": [1, 2], "refusal": None}
    assert whole.message.annotations == [{"type": "x"}, {"type": "y"}]
    assert whole.message.audio == {"id": "au", "data": "AABB", "transcript": "Hi", "expires_at": 9}
    assert whole.message.tool_calls[0].custom == {"name": "sql", "input": "SELECT"}
    assert whole.message.function_call == Function(name="old", arguments="{}")
    assert whole.finish_reason == "tool_calls"


def test_a_finish_reason_is_not_undone_by_a_later_chunk_and_usage_is_the_last_word() -> None:
    late = chunk(content="")
    late.usage = CompletionUsage(prompt_tokens=1, completion_tokens=1, total_tokens=2)
    last = Chunk(usage=CompletionUsage(prompt_tokens=1, completion_tokens=3, total_tokens=4), service_tier="flex")
    whole = folded(chunk(content="a"), chunk("length"), late, last)
    assert (whole.choices[0].finish_reason, whole.usage.total_tokens, whole.service_tier) == ("length", 4, "flex")
    assert (whole.id, whole.created, whole.model, whole.object) == ("chatcmpl-1", 7, "m", "chat.completion")


def test_what_the_reader_does_to_a_chunk_does_not_reach_the_answer() -> None:
    fold = Fold()
    given_out = chunk(content="a", thinking_blocks=[{"type": "thinking", "thinking": "t"}])
    fold.add(given_out)
    given_out.choices[0].delta.content = "changed"
    given_out.choices[0].delta.thinking_blocks[0]["thinking"] = "changed"  # type: ignore[index]
    first = fold.completion()
    first.choices[0].message.thinking_blocks.clear()  # type: ignore[union-attr]
    message = fold.completion().choices[0].message
    assert (message.content, message.thinking_blocks) == ("a", [{"type": "thinking", "thinking": "t"}])


def test_the_builder_takes_chunks_or_their_dumps_and_knows_how_long_they_took() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    chunks = [chunk(content="a"), chunk("stop", content="b")]
    whole = stream_chunk_builder([c.model_dump() for c in chunks], None, start, start + timedelta(seconds=1.5))
    assert whole is not None
    assert whole.choices[0].message.content == "ab"
    assert whole.response_ms == 1500
    assert stream_chunk_builder([]) is None
