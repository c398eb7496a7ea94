"""Every wire but OpenAI's chat (see `test_openai_chat`) against its golden bytes: whole, cut, broken off, damaged."""

import random
from collections.abc import Sequence
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callmeter.client.codecs.base import Codec
from callmeter.errors import (
    APIConnectionError,
    APIError,
    ContextWindowExceededError,
    InternalServerError,
    RateLimitError,
    ServiceUnavailableError,
)
from tests.golden_cases import Case, check, codec_named, decode, decode_stream, load_cases, sent_body, shown


class Wire(NamedTuple):
    """A codec, and how its streams are tried."""

    name: str
    hidden: tuple[type[APIError], ...]
    """Errors that its golden streams themselves tell of, beside being broken off."""
    furthest_cut: int = 1000
    stride: int = 1
    """Every how many bytes a stream is cut, and broken off."""

    def __repr__(self) -> str:
        return self.name

    @property
    def codec(self) -> Codec:
        """What reads and writes it."""
        return codec_named(self.name)

    @property
    def streams(self) -> Sequence[Case]:
        """Its golden streams."""
        return STREAMS[self.name]


WIRES = [
    Wire("anthropic", (ServiceUnavailableError,), furthest_cut=4000),
    Wire("azure", (InternalServerError,)),
    Wire("bedrock", (RateLimitError, InternalServerError, ContextWindowExceededError), furthest_cut=4000, stride=3),
    Wire("cohere", (InternalServerError, ContextWindowExceededError)),
    Wire("gemini", (ServiceUnavailableError,), furthest_cut=4000),
    Wire("gigachat", ()),
    Wire("langgraph", (InternalServerError,), furthest_cut=4000, stride=7),
    Wire("nlp_cloud", ()),
    Wire("ollama", (InternalServerError,)),
    Wire("openai_responses", (InternalServerError, RateLimitError), furthest_cut=4000, stride=3),
    Wire("openai_text", (RateLimitError,)),
    Wire("replicate", (InternalServerError,)),
    Wire("sap", (RateLimitError,)),
    Wire("triton", (InternalServerError,)),
    Wire("watsonx", (InternalServerError,)),
]

STREAMS = {wire.name: load_cases(wire.name, stream=True) for wire in WIRES}

cases = pytest.mark.parametrize(
    ("wire", "case"),
    [pytest.param(wire, case, id=f"{wire}-{case}") for wire in WIRES for case in load_cases(wire.name)],
)
streams = pytest.mark.parametrize(
    ("wire", "case"),
    [pytest.param(wire, case, id=f"{wire}-{case}") for wire in WIRES for case in wire.streams],
)
wires = pytest.mark.parametrize("wire", WIRES, ids=repr)


@cases
def test_a_golden_answer_decodes_to_what_its_files_say(wire: Wire, case: Case) -> None:
    check(case, wire.codec)


@cases
def test_a_golden_call_is_sent_as_its_file_says(wire: Wire, case: Case) -> None:
    assert sent_body(case, wire.codec) == case.request


@streams
def test_a_stream_decodes_alike_wherever_it_is_cut_once(wire: Wire, case: Case) -> None:
    whole = shown(decode(case, wire.codec))
    for cut in range(1, len(case.body), wire.stride):
        assert shown(decode(case, wire.codec, [cut])) == whole, cut


@wires
@given(data=st.data())
def test_a_stream_decodes_alike_however_often_it_is_cut(wire: Wire, data: st.DataObject) -> None:
    case = data.draw(st.sampled_from(wire.streams))
    cuts = data.draw(st.lists(st.integers(min_value=1, max_value=wire.furthest_cut), max_size=40))
    check(case, wire.codec, cuts)


@streams
def test_a_stream_that_breaks_off_says_so_and_keeps_its_text(wire: Wire, case: Case) -> None:
    before, outcomes = "", set()
    for end in range(0, len(case.body), wire.stride):
        part = decode_stream(wire.codec, case.call, case.deployment, case.body[:end])
        assert part.text.startswith(before)
        before = part.text
        outcomes.add(type(part.error))
    assert outcomes <= {APIConnectionError, type(None), *wire.hidden}
    assert APIConnectionError in outcomes


@wires
def test_a_stream_damaged_in_any_byte_raises_nothing_but_api_errors(wire: Wire) -> None:
    dice, failed = random.Random(20251125), 0
    for _ in range(3000):
        case = dice.choice(wire.streams)
        body = bytearray(case.body)
        for _ in range(dice.randint(1, 4)):
            at = dice.randrange(len(body))
            body[at : at + dice.randint(0, 3)] = dice.randbytes(dice.randint(0, 3))
        failed += decode_stream(wire.codec, case.call, case.deployment, bytes(body)).error is not None
    assert failed > 1000
