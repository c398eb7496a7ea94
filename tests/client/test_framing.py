"""Bytes into frames: the rules of server-sent events, lines of JSON, and any cut of either."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from callmeter.client.codecs.base import Frame
from callmeter.client.framing import NDJSON, SSE
from callmeter.errors import APIResponseValidationError
from tests.golden_cases import split


def framed(framing: SSE | NDJSON, body: bytes, cuts: tuple[int, ...] | list[int] = ()) -> list[Frame]:
    frames = [frame for piece in split(body, cuts) for frame in framing.feed(piece)]
    return frames + framing.close()


def events(body: bytes) -> list[bytes]:
    return [frame.data for frame in framed(SSE(), body)]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"]),
        (b"data: a\r\rdata: b\r\r", [b"a", b"b"]),
        (b"data:a\n\ndata:  b\n\n", [b"a", b" b"]),
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b"data: a", [b"a"]),
        (b"data: a\n", [b"a"]),
        (b": comment\n\ndata: a\n: more\n\n", [b"a"]),
        (b"id: 1\nretry: 5\nfoo\ndata: a\n\n", [b"a"]),
        (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
        (b"\n\ndata: a\n\n\n\ndata: b\n\n", [b"a", b"b"]),
        (b"data:\n\ndata: a\n\n", [b"a"]),
        (b"event: ping\n\ndata: a\n\n", [b"a"]),
        ("data: a\u2028\u2029\u0085\x0c\x0bb\n\n".encode(), ["a\u2028\u2029\u0085\x0c\x0bb".encode()]),
        (b'\n{"error":\n\n "no"}\n', [b'{"error":\n "no"}']),
        (b"", []),
        (b"\xef\xbb\xbf", []),
    ],
)
def test_an_event_stream_is_read_as_the_standard_says(body: bytes, expected: list[bytes]) -> None:
    assert events(body) == expected


def test_an_event_has_its_own_name_and_none_of_the_one_before() -> None:
    assert framed(SSE(), b"event: error\ndata: a\n\ndata: b\n\n") == [Frame(b"a", "error"), Frame(b"b")]


def test_a_frame_comes_as_soon_as_its_end_has_come() -> None:
    sse, ndjson = SSE(), NDJSON()
    assert sse.feed(b"data: a\n") == []
    assert sse.feed(b"\nda") == [Frame(b"a")]
    assert ndjson.feed(b'{"a"') == []
    assert ndjson.feed(b":1}\n{") == [Frame(b'{"a":1}')]


def test_a_crlf_cut_in_two_ends_one_line_and_not_two() -> None:
    sse = SSE()
    assert sse.feed(b"data: a\r") == []
    assert sse.feed(b"\ndata: b\r") == []
    assert sse.feed(b"\n\r") == [Frame(b"a\nb")]
    assert sse.feed(b"\ndata: c\r\n\r\n") == [Frame(b"c")]


PIECES = st.sampled_from(
    [
        b"data: ",
        b"data:",
        b"a",
        b"\n",
        b"\r",
        b"\r\n",
        b"\n\n",
        b": x",
        b"event: e",
        b"{",
        b"\xef\xbb\xbf",
        "é".encode(),
    ]
)


@given(pieces=st.lists(PIECES, max_size=30), cuts=st.lists(st.integers(1, 100)))
@example(pieces=[b"\n", b"\xef\xbb\xbf", b"data: ", b"a"], cuts=[1])
@example(pieces=[b"data: ", b"a", b"\r\n", b"\r\n", b"data: ", b"b"], cuts=[8, 9, 10])
def test_any_cut_of_an_event_stream_gives_the_same_frames(pieces: list[bytes], cuts: list[int]) -> None:
    body = b"".join(pieces)
    whole = framed(SSE(), body)
    assert framed(SSE(), body, cuts) == whole
    assert framed(SSE(), body, list(range(len(body)))) == whole


@given(
    values=st.lists(st.dictionaries(st.text(), st.text() | st.integers()), max_size=5),
    end=st.sampled_from(["\n", "\r\n", "\n\n"]),
    cuts=st.lists(st.integers(1, 300)),
)
def test_lines_of_json_come_out_as_they_went_in(values: list[dict[str, object]], end: str, cuts: list[int]) -> None:
    body = end.join(json.dumps(value, ensure_ascii=False) for value in values).encode("utf-8", "replace")
    lines = [json.loads(frame.data) for frame in framed(NDJSON(), body, cuts)]
    assert lines == [json.loads(line) for line in body.split(end.encode()) if line]


def test_a_line_of_five_megabytes_in_small_pieces_is_joined_once() -> None:
    sse, piece = SSE(), b"x" * 97
    assert sse.feed(b"data: ") == []
    for _ in range(50_000):
        assert not sse.feed(piece)
    (frame,) = sse.feed(b"\n\n")
    assert frame.data == piece * 50_000


@pytest.mark.parametrize("body", [b"data: " + b"x" * 2000, b"data: xxx\n" * 500, b'{"a":\n' * 500])
def test_an_event_longer_than_the_limit_is_refused(body: bytes) -> None:
    with pytest.raises(APIResponseValidationError, match="longer than 1000 bytes"):
        framed(SSE(max_frame_bytes=1000), body, list(range(0, len(body), 7)))


def test_a_line_longer_than_the_limit_is_refused_and_many_short_ones_are_not() -> None:
    with pytest.raises(APIResponseValidationError, match="longer than 1000 bytes"):
        framed(NDJSON(max_frame_bytes=1000), b"x" * 2000, [500, 1000])
    assert len(framed(NDJSON(max_frame_bytes=10), b"12345\n" * 1000, [3, 7, 10])) == 1000
    assert len(framed(SSE(max_frame_bytes=20), b"data: 12345\n\n: c\n\n" * 1000, [3, 7, 10])) == 1000
