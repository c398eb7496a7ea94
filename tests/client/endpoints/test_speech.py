"""Speech: audio as bytes, charged by tokens or by the character, and OpenAI's own client hears the same."""

import asyncio
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import callmeter
from callmeter.testing import FakeProvider

TEXT = "Grüße aus Köln"
AUDIO = b"ID3\x04" + TEXT.encode()[::-1]


def test_characters_are_charged_where_nobody_counts_tokens(provider: FakeProvider, events: list[Any]) -> None:
    answer = callmeter.speech("openai/tts-1-hd", TEXT, "alloy", response_format="wav")
    assert (answer.content, answer.content_type) == (AUDIO, "audio/wav")
    assert [(item.line, item.quantity) for item in events[-1].cost.items] == [("character", len(TEXT))]
    assert events[-1].cost.total == len(TEXT) * Decimal("0.00003")
    assert b"stream_format" not in provider.requests[-1].body


def test_tokens_are_charged_where_they_are_counted_and_the_audio_is_the_same(
    provider: FakeProvider, events: list[Any]
) -> None:
    answer = callmeter.speech("openai/gpt-4o-mini-tts", TEXT, "alloy", x_fake={"prompt_tokens": 14})
    assert (answer.read(), answer.content_type) == (AUDIO, "audio/mpeg")
    assert {item.line: item.quantity for item in events[-1].cost.items} == {"input": 14, "audio_out": 140}
    assert events[-1].cost.status == "priced"


def test_a_model_of_unknown_tokens_has_no_cost_and_says_so(provider: FakeProvider, events: list[Any]) -> None:
    callmeter.speech("openai/gpt-4o-mini-tts", TEXT, "alloy", x_fake={"usage": False})
    assert (events[-1].cost.total, events[-1].cost.reason) == (None, "no rate for character")


def test_the_audio_is_reached_as_in_openais_package(provider: FakeProvider, tmp_path: Path) -> None:
    answer = callmeter.speech("openai/tts-1", TEXT, "alloy")
    answer.stream_to_file(tmp_path / "one.mp3")
    answer.write_to_file(str(tmp_path / "two.mp3"))
    assert b"".join(answer.iter_bytes(5)) == b"".join(answer.iter_bytes()) == answer.read() == AUDIO
    assert {len(piece) for piece in list(answer.iter_bytes(5))[:-1]} == {5}

    async def read() -> None:
        heard = await callmeter.aspeech("openai/tts-1", TEXT, "alloy")
        await heard.astream_to_file(tmp_path / "three.mp3")
        assert b"".join([piece async for piece in await heard.aiter_bytes(7)]) == await heard.aread() == AUDIO

    asyncio.run(read())
    assert {path.read_bytes() for path in tmp_path.iterdir()} == {AUDIO}
    assert list(callmeter.speech("openai/tts-1", "", "alloy", mock_response=b"x").copy().iter_bytes()) == [b"x"]


@pytest.mark.parametrize("model", ["tts-1", "gpt-4o-mini-tts"])
def test_openais_own_client_hears_the_same(model: str, provider: FakeProvider) -> None:
    openai = pytest.importorskip("openai")
    given: dict[str, Any] = {"input": TEXT, "voice": "alloy", "speed": 1.25, "response_format": "mp3"}
    theirs = openai.OpenAI().audio.speech.create(model=model, **given)
    ours = callmeter.speech(f"openai/{model}", **given)
    their_request, our_request = (json.loads(heard.body) for heard in provider.requests)
    # What we add makes the answer count its tokens.
    assert our_request == their_request | ({"stream_format": "sse"} if model.startswith("gpt") else {})
    assert [heard.path for heard in provider.requests] == ["/v1/audio/speech"] * 2
    assert ours.read() == theirs.read()
    assert list(ours.iter_bytes(4)) == list(theirs.iter_bytes(4))
