"""AWS event streams into frames: whole, cut anywhere, damaged, and read alike by botocore."""

import random
import struct

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from callmeter.client.codecs.base import Frame
from callmeter.client.eventstream import EventStream
from callmeter.errors import APIConnectionError, APIError, APIResponseValidationError
from callmeter.testing.eventstream import event, exception, message, sealed
from tests.golden_cases import split

RECORDED = bytes.fromhex(
    "0000008f00000052d3f1c8f20b3a6576656e742d7479706507000c6d65737361676553746172740d3a636f6e74656e742d747970650700106170"
    "706c69636174696f6e2f6a736f6e0d3a6d6573736167652d747970650700056576656e747b2270223a226162636465666768696a6b6c6d6e6f70"
    "7172222c22726f6c65223a22617373697374616e74227dc16b710b"
)
"""The first message of a stream, as Bedrock sent it."""

STARTED = Frame(b'{"p":"abcdefghijklmnopqr","role":"assistant"}', "messageStart")


def framed(body: bytes, cuts: tuple[int, ...] | list[int] = (), limit: int = 1 << 20) -> list[Frame]:
    framing = EventStream(max_frame_bytes=limit)
    frames = [frame for piece in split(body, cuts) for frame in framing.feed(piece)]
    return frames + framing.close()


def test_a_message_that_bedrock_sent_is_read_and_written_to_the_byte() -> None:
    assert framed(RECORDED) == [STARTED]
    assert event("messageStart", STARTED.data) == RECORDED


def test_a_frame_comes_with_its_last_byte() -> None:
    framing = EventStream()
    assert framing.feed(RECORDED[:-1]) == []
    assert framing.feed(RECORDED[-1:] + RECORDED[:5]) == [STARTED]
    assert framing.feed(RECORDED[5:]) == [STARTED]
    assert framing.close() == []


MESSAGES = st.one_of(
    st.builds(event, st.text(max_size=9), st.binary(max_size=60)),
    st.builds(exception, st.text(max_size=9), st.binary(max_size=60)),
    st.builds(
        message, st.dictionaries(st.text(min_size=1, max_size=20), st.text(max_size=20), max_size=4), st.binary()
    ),
)


@given(messages=st.lists(MESSAGES, max_size=5), cuts=st.lists(st.integers(1, 500)))
def test_any_cut_gives_the_frames_that_botocore_reads(messages: list[bytes], cuts: list[int]) -> None:
    body = b"".join(messages)
    judge = EventStreamBuffer()
    judge.add_data(body)
    theirs = [(m.payload, m.headers) for m in judge]
    frames = framed(body, cuts)
    assert framed(body, list(range(len(body)))) == frames
    told = [headers.get(":message-type") for _, headers in theirs]
    assert [frame.failed for frame in frames] == [kind in ("exception", "error") for kind in told]
    plain = [(payload, headers.get(":event-type", "")) for (payload, headers), kind in zip(theirs, told, strict=True) if kind not in ("exception", "error")]  # fmt: skip
    assert [(frame.data, frame.event) for frame in frames if not frame.failed] == plain


def test_an_exception_and_an_error_say_what_they_are() -> None:
    thrown = exception("throttlingException", b'{"message":"Too many requests"}')
    unmodelled = message({":message-type": "error", ":error-code": "InternalError", ":error-message": "it \u2717ed"})
    assert framed(thrown + unmodelled) == [
        Frame(b'{"message":"Too many requests"}', "throttlingException", failed=True),
        Frame('{"message":"it \u2717ed"}'.encode(), "InternalError", failed=True),
    ]


def test_headers_of_every_type_are_stepped_over() -> None:
    values = {
        0: b"",
        1: b"",
        2: b"\xff",
        3: b"ab",
        4: b"abcd",
        5: b"8 bytes.",
        6: b"\0\3abc",
        8: b"a moment",
        9: b"u" * 16,
    }
    headers = b"".join(b"\1" + b"abcdefghij"[kind : kind + 1] + bytes([kind]) + value for kind, value in values.items())
    named = b"\x0b:event-type" + struct.pack(">BH", 7, 5) + b"named"
    body = sealed(headers + named, b"p")
    assert framed(body) == [Frame(b"p", "named")]
    judge = EventStreamBuffer()
    judge.add_data(body)
    assert [m.headers[":event-type"] for m in judge] == ["named"]


@pytest.mark.parametrize("end", range(1, len(RECORDED)))
def test_a_body_that_ends_within_a_message_was_cut(end: int) -> None:
    with pytest.raises(APIConnectionError, match="in the middle of a message"):
        framed(RECORDED + RECORDED[:end])


def test_damage_is_found_in_whichever_byte_it_is() -> None:
    for at in range(len(RECORDED)):
        body = bytearray(RECORDED)
        body[at] ^= 1 << random.Random(at).randrange(8)
        with pytest.raises(APIError, match="no event stream, or it was damaged"):
            framed(bytes(body))


@pytest.mark.parametrize(
    ("headers", "what"),
    [(b"\xffabc", "headers"), (b"\1x\x0c", "headers"), (b"\1x\7\0", "headers"), (b"\1\xff\0", "headers")],
    ids=["longer than they are", "of an unknown type", "without their length", "not in UTF-8"],
)
def test_headers_that_make_no_sense_are_no_message(headers: bytes, what: str) -> None:
    with pytest.raises(APIResponseValidationError, match=what):
        framed(sealed(headers, b""))


def test_a_page_of_a_proxy_is_quoted_and_its_json_is_read() -> None:
    with pytest.raises(APIResponseValidationError, match="<html>"):
        framed(b"<html><body>Bad gateway</body></html>")
    assert framed(b'{"message":"denied"}', [1, 5]) == [Frame(b'{"message":"denied"}')]
    assert framed(b"") == []


def test_more_than_the_limit_is_not_kept() -> None:
    with pytest.raises(APIResponseValidationError, match="longer than the 100"):
        framed(RECORDED, limit=100)
    with pytest.raises(APIResponseValidationError, match="longer than the 100"):
        framed(b'{"message":"' + b"x" * 200, list(range(0, 200, 20)), limit=100)


def test_a_message_of_five_megabytes_in_small_pieces_is_joined_once() -> None:
    body = event("chunk", b"x" * 5_000_000)
    (frame,) = framed(body, list(range(0, len(body), 97)), limit=6_000_000)
    assert len(frame.data) == 5_000_000
