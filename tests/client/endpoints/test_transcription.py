"""Transcription: files in every form, charged by tokens or by the second, and OpenAI's own client sends the same form."""

import asyncio
import io
import struct
import threading
import wave
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import callmeter
from callmeter.client.codecs.multipart import form
from callmeter.client.sounding import wav_seconds
from callmeter.client.uploads import Upload
from callmeter.testing import FakeProvider
from callmeter.testing.forms import fields

WHISPER, GPT = "openai/whisper-1", "openai/gpt-4o-transcribe"
MP3 = b"ID3\x04 all that was said\r\n--and more"


def wav(seconds: float = 1.5, rate: int = 8000) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(b"\0\0" * int(seconds * rate))
    return out.getvalue()


def sent(provider: FakeProvider, at: int = -1) -> dict[str, Any]:
    heard = provider.requests[at]
    return dict(fields(heard.headers["content-type"], heard.body))


def test_seconds_are_charged_where_the_answer_counts_them(provider: FakeProvider, events: list[Any]) -> None:
    answer = callmeter.transcription(WHISPER, ("speech.mp3", MP3))
    assert answer.text == "Hello from the fake provider."
    assert answer.usage is not None
    assert answer.usage.seconds == 9
    assert [(item.line, item.quantity) for item in events[-1].cost.items] == [("audio_second", 9)]
    assert events[-1].cost.total == Decimal("0.0009")


def test_tokens_are_charged_where_the_answer_counts_them(provider: FakeProvider, events: list[Any]) -> None:
    answer = callmeter.transcription(GPT, ("speech.mp3", MP3), prompt="Names: Ada")
    assert answer.usage is not None
    assert answer.usage.input_token_details.audio_tokens == 90
    assert {item.line: item.quantity for item in events[-1].cost.items} == {"audio_in": 90, "output": 5}
    assert events[-1].cost.status == "priced"


def test_a_file_comes_in_any_form(provider: FakeProvider, tmp_path: Path) -> None:
    path = tmp_path / 'Ärzte "2".mp3'
    path.write_bytes(MP3)
    with path.open("rb") as file:
        forms: list[Any] = [path, str(path), file, ('Ärzte "2".mp3', MP3), ('Ärzte "2".mp3', io.BytesIO(MP3))]
        for given in forms:
            callmeter.transcription(WHISPER, given)
    heard = {sent(provider, at)["file"] for at in range(len(forms))}
    assert {(name.replace("%22", '"'), content) for name, content in heard} == {('Ärzte "2".mp3', MP3)}
    callmeter.transcription(WHISPER, MP3)
    assert sent(provider)["file"] == ("file", MP3)
    assert b"Content-Type: audio/mpeg\r\n" in provider.requests[0].body


def test_a_file_is_read_off_the_callers_loop(provider: FakeProvider, tmp_path: Path) -> None:
    class Slow:
        name = "speech.mp3"

        def read(self) -> bytes:
            threads.append(threading.get_ident())
            return MP3

    threads: list[int] = []
    assert asyncio.run(callmeter.atranscription(WHISPER, Slow())).text
    assert threads[0] != threading.get_ident()
    assert sent(provider)["file"] == ("speech.mp3", MP3)


@pytest.mark.parametrize(
    ("given", "message"),
    [(io.StringIO("text"), "open it in binary mode"), (7, "file is a int: pass bytes"), (("one",), "file is a tuple")],
)
def test_what_is_no_file_says_what_to_pass(given: Any, message: str) -> None:
    with pytest.raises(callmeter.BadRequestError, match=message):
        callmeter.transcription(WHISPER, given)


def test_a_file_that_is_not_there_is_an_os_error() -> None:
    with pytest.raises(FileNotFoundError):
        callmeter.transcription(WHISPER, "/no/such/file.mp3")


@pytest.mark.parametrize("form", ["text", "srt", "vtt"])
def test_plain_formats_come_as_text_and_a_wav_is_timed_by_itself(
    form: str, provider: FakeProvider, events: list[Any]
) -> None:
    answer = callmeter.transcription(WHISPER, ("speech.wav", wav(2.5)), response_format=form)
    assert "Hello from the fake provider." in answer.text
    end = events[-1]
    assert (end.usage.units, end.usage_source) == ({"audio_second": Decimal("2.5")}, "counted")
    assert (end.cost.total, end.cost.estimated) == (Decimal("0.00025"), True)


def test_what_nobody_can_count_has_no_cost_and_says_so(provider: FakeProvider, events: list[Any]) -> None:
    callmeter.transcription(WHISPER, ("speech.mp3", MP3), response_format="srt")
    assert (events[-1].usage, events[-1].cost.total, events[-1].cost.status) == (None, None, "no_usage")
    assert "nothing that could be counted" in events[-1].cost.reason


def test_groq_is_asked_for_the_duration(provider: FakeProvider, events: list[Any]) -> None:
    callmeter.transcription(
        "groq/whisper-large-v3", ("a.mp3", MP3), api_base=provider.openai_base, api_key="k", headers={"x-fake": '{"usage": false}'}
    )  # fmt: skip
    assert sent(provider)["response_format"] == "verbose_json"
    assert events[-1].usage.units == {"audio_second": Decimal("8.47")}
    callmeter.transcription(
        "groq/m", ("a.mp3", MP3), api_base=provider.openai_base, api_key="k", response_format="text"
    )
    assert sent(provider)["response_format"] == "text"


@pytest.mark.parametrize("model", ["whisper-1", "gpt-4o-transcribe"])
def test_openais_own_client_sends_and_reads_the_same(model: str, provider: FakeProvider) -> None:
    openai = pytest.importorskip("openai")
    given: dict[str, Any] = {
        "language": "en",
        "prompt": "Names: Ada",
        "temperature": 0.5,
        "include": ["logprobs"],
        "chunking_strategy": {"type": "server_vad", "threshold": 0.5},
        "timestamp_granularities": ["word", "segment"],
        "response_format": "verbose_json" if model == "whisper-1" else "json",
    }
    theirs = openai.OpenAI().audio.transcriptions.create(model=model, file=("speech.mp3", MP3), **given)
    ours = callmeter.transcription(f"openai/{model}", ("speech.mp3", MP3), **given)
    their_request, our_request = (sorted(fields(r.headers["content-type"], r.body)) for r in provider.requests)
    assert our_request == their_request
    assert [heard.path for heard in provider.requests] == ["/v1/audio/transcriptions"] * 2
    assert ours.model_dump(exclude_none=True) == theirs.model_dump(exclude_unset=True)


@given(content=st.binary(max_size=200), text=st.text(alphabet=st.characters(codec="utf-8"), max_size=50))
def test_whatever_is_in_a_form_comes_out_again(content: bytes, text: str) -> None:
    text = text.replace("\r", "").replace("\n", "")
    body, kind = form({"text": text, "many": ["a", "b"], "file": Upload("a.bin", content), "none": None}, "edge")
    whole = body.split(b"\r\n\r\n", 4)
    assert whole[1].decode().split("\r\n")[0] == text
    assert body.endswith(content + b"\r\n--" + kind.partition("boundary=")[2].encode() + b"--\r\n")
    assert body.count(b'name="many[]"') == 2


def test_a_file_that_holds_the_boundary_gets_another() -> None:
    content = b"--edge--\r\nedgex"
    body, kind = form({"file": Upload("a.bin", content)}, "edge")
    assert kind == "multipart/form-data; boundary=edgexx"
    assert body.count(b"edgexx") == 2


def test_the_length_of_a_wav_is_read_off_its_head() -> None:
    assert wav_seconds(wav(1.5)) == Decimal("1.5")
    head = wav(1.0)
    streamed = head[:40] + struct.pack("<I", 0xFFFFFFFF) + head[44:]
    assert wav_seconds(streamed) == Decimal(1)
    assert wav_seconds(b"RIFF" + bytes(4) + b"WAVE" + b"LIST" + struct.pack("<I", 3) + b"abc\0" + head[12:]) == Decimal(
        1
    )
    assert wav_seconds(b"ID3\x04") is None
    assert wav_seconds(head[:20]) is None


@given(content=st.binary(max_size=100))
def test_no_bytes_break_the_reading_of_a_length(content: bytes) -> None:
    wav_seconds(b"RIFF\0\0\0\0WAVE" + content)
    wav_seconds(content)
