"""Ids and times that follow from the call's own id."""

import pytest

from callmeter.client.codecs.minted import completion_id, created_s, tool_call_id
from callmeter.clock import IdSource
from callmeter.types import Call


class Noon:
    def wall_ns(self) -> int:
        return 1_764_072_000 * 10**9 + 999

    mono_ns = wall_ns


def call(call_id: str) -> Call:
    return Call(id=call_id, operation="chat", model="m")


def test_the_time_of_a_call_is_read_from_its_id() -> None:
    assert created_s(call(IdSource(Noon())())) == 1_764_072_000


@pytest.mark.parametrize("call_id", ["", "abc", "z" * 32])
def test_an_id_of_another_s_making_tells_no_time(call_id: str) -> None:
    assert created_s(call(call_id)) == 0


def test_ids_differ_by_call_and_position_and_never_by_chance() -> None:
    ids = {tool_call_id(call(c), n) for c in ("a", "b") for n in (0, 1)}
    assert len(ids) == 4
    assert tool_call_id(call("a"), 0) in ids
    assert completion_id(call("a")) == "chatcmpl-a"
