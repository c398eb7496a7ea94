"""The stored form of an event: no content unless asked, cut to size without being read, and always encodable."""

import hashlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callmeter.events.model import AnyEvent, CallSucceeded, Content
from callmeter.events.stored import KINDS, stored_form
from callmeter.shapes import Choice, Completion, Message
from tests.events.made import facts, succeeded

KEY = b"k" * 16
_event = msgspec.json.Decoder(AnyEvent)


def stored(event: AnyEvent, max_content_bytes: int | None = None) -> Any:
    return _event.decode(stored_form(event, hash_key=KEY, max_content_bytes=max_content_bytes))


def test_every_event_type_has_a_kind() -> None:
    assert set(KINDS) == set(AnyEvent.__args__)


def test_content_is_not_stored_unless_asked_and_leaves_a_keyed_hash() -> None:
    event = succeeded(1, Content(messages=["canary"], request_body=b"canary body", kwargs={"api_key": "canary"}))
    body = stored_form(event, hash_key=KEY, max_content_bytes=None)
    assert b"canary" not in body
    again = _event.decode(body)
    assert again.content is None
    assert again.prompt_hash == hashlib.blake2b(b"canary body", key=KEY, digest_size=8).hexdigest()
    assert again.cost == event.cost


def test_captured_content_keeps_messages_and_answer_and_never_the_arguments() -> None:
    answer = Completion(id="x", choices=[Choice(message=Message(content="hello"))])
    event = succeeded(1, Content(messages=[{"role": "user", "content": "hi"}], completion=answer, kwargs="canary"))
    content = stored(event, 10_000).content
    assert content.messages == [{"role": "user", "content": "hi"}]
    assert content.completion["choices"][0]["message"]["content"] == "hello"
    assert content.kwargs is None


@pytest.mark.parametrize("text", ["x" * 100_000_000, "é" * 10_000_000, "👩‍👩‍👧‍👦" * 1_000_000])
def test_large_content_is_cut_to_its_head_and_tail_with_its_length(text: str) -> None:
    event = succeeded(1, Content(messages=[{"role": "user", "content": f"head{text}tail"}]))
    body = stored_form(event, hash_key=KEY, max_content_bytes=262_144)
    assert len(body) < 262_144 * 1.1
    kept = _event.decode(body).content.messages[0]["content"]
    assert kept.startswith("head")
    assert kept.endswith("tail")
    assert f"<{len(text) + 8} characters>" in kept


def test_ten_thousand_messages_are_cut_and_the_rest_counted() -> None:
    messages = [{"role": "user", "content": f"number {n}"} for n in range(10_000)]
    kept = stored(succeeded(1, Content(messages=messages)), 10_000).content.messages
    assert kept[0] == messages[0]
    assert kept[-1] == f"<{10_000 - (len(kept) - 1)} more>"


def test_content_five_thousand_levels_deep_is_cut_off() -> None:
    deep: Any = "end"
    for _ in range(5000):
        deep = [deep]
    kept = stored(succeeded(1, Content(messages=deep)), 100_000).content.messages
    assert "nested deeper than" in str(kept)


def test_content_that_changes_while_it_is_read_is_left_out() -> None:
    class Changing(dict[str, Any]):
        def items(self) -> Any:
            for key in list(self):
                yield key, self[key]
                raise RuntimeError("dictionary changed size during iteration")

    assert stored(succeeded(1, Content(messages=[Changing(a=1)])), 1000).content is None


UNICODE = [
    "\ud800",
    "a\udfffb",
    "\x00",
    "‮RTL",
    "👩‍👩‍👧",
    "\uffff",
    "e" + "́" * 100_000,
    "\r\n\t\x1b[31m",
    "\\u0000",
    '"}',
]


@pytest.mark.parametrize("text", UNICODE)
def test_any_text_anywhere_is_stored_and_read_back(text: str) -> None:
    call = msgspec.structs.replace(facts(1), project=text, tags=(text,), metadata={text: text})
    event = CallSucceeded(id="1", at_ns=1, call=call, content=Content(messages=[text]), raw_usage={text: text})
    again = stored(event, 1 << 20)
    valid = text.encode("utf-8", "replace").decode()
    assert again.call.project == valid
    assert again.call.metadata == {valid: valid}
    assert again.content.messages == [valid]


@given(text=st.text(st.characters(codec=None, exclude_categories=())), number=st.integers())
def test_what_a_provider_may_send_never_keeps_an_event_from_being_stored(text: str, number: int) -> None:
    raw = {text: [number, float("nan"), float("inf"), b"\xff", object(), {1, 2}, 1j, Ellipsis, {3: text}]}
    event = msgspec.structs.replace(succeeded(1), raw_usage=raw, finish_reason=text)
    again = stored(event)
    assert again.cost == event.cost
    assert again.usage == event.usage


def test_deep_raw_usage_is_cut_off_and_the_event_kept() -> None:
    deep: Any = 1
    for _ in range(5000):
        deep = {"a": deep}
    again = stored(msgspec.structs.replace(succeeded(1), raw_usage=deep))
    assert again.cost == succeeded(1).cost
