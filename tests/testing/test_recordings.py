"""What a recording keeps of a request and its answer, and what it compares."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callmeter.errors import ConfigError
from callmeter.testing.recordings import Exchange, asked, credentials_of, first_difference, read, replied, write
from callmeter.wire import WireRequest

KEY = "sk-live-4f9a61"
URL = "https://api.acme.example/v1/chat?api-version=3&key=" + KEY


def request(body: object = None, url: str = URL, **headers: str) -> WireRequest:
    carried = body if isinstance(body, bytes) else json.dumps({"model": "m"} if body is None else body).encode()
    return WireRequest(url=url, body=carried, headers={"content-type": "application/json", **headers})


def kept(tmp_path: Path, sent: WireRequest, *pieces: bytes, **headers: str) -> str:
    """The file that a recording of this exchange is."""
    reply = replied(200, headers, pieces, credentials_of(sent))
    write(tmp_path / "a.json", [Exchange(asked(sent), reply)])
    return (tmp_path / "a.json").read_text()


@pytest.mark.parametrize("name", ["Authorization", "x-api-key", "api-key", "X-Goog-Api-Key", "X-Amz-Security-Token"])
def test_a_credential_is_nowhere_in_a_recording(tmp_path: Path, name: str) -> None:
    value = f"Bearer {KEY}" if name == "Authorization" else KEY
    sent = request(
        {"note": f"my key is {KEY}", "tools": [{"headers": {"authorization": "Basic dXNlcg=="}, "api_key": "abc"}]},
        f"https://user:hunter2@api.acme.example/{KEY}/chat?key={KEY}&sig=abcdef",
        **{name: value},
    )
    text = kept(tmp_path, sent, f"wrong key {KEY}".encode(), **{"set-cookie": "session=1", "openai-organization": "me"})
    for secret in (KEY, "hunter2", "dXNlcg", "abcdef", '"abc"', "session", "openai-organization"):
        assert secret not in text
    assert '"note": "my key is ****"' in text
    assert '"wrong key ****"' in text


def test_headers_of_an_answer_that_say_something_about_the_call_are_kept(tmp_path: Path) -> None:
    told = {"content-type": "a/b", "retry-after": "2", "x-request-id": "r", "x-ratelimit-remaining-tokens": "7"}
    kept(tmp_path, request(), b"", server="x", **told)
    assert read(tmp_path / "a.json")[0].reply.headers == told


def test_a_request_is_the_same_with_any_key_and_any_order_of_members() -> None:
    one = asked(request({"a": 1, "b": [2]}, authorization="Bearer first-key"))
    other = asked(request({"b": [2], "a": 1}, URL.replace(KEY, "another"), authorization="Bearer second-key"))
    assert one.fingerprint == other.fingerprint


@pytest.mark.parametrize(
    "other",
    [
        request({"model": "n"}),
        request(url=URL.replace("/chat", "/embeddings")),
        request(url=URL.replace("version=3", "version=4")),
        request(url=URL.replace("acme", "emca")),
        WireRequest(method="GET", url=URL, body=b'{"model": "m"}'),
    ],
)
def test_a_request_for_something_else_is_another(other: WireRequest) -> None:
    assert asked(request()).fingerprint != asked(other).fingerprint


def test_the_port_of_a_server_on_this_machine_does_not_matter() -> None:
    first, second = (asked(request(url=f"http://127.0.0.1:{port}/v1/chat")) for port in (1234, 5678))
    assert first.url == second.url == "http://localhost/v1/chat"


def test_the_boundary_of_a_form_does_not_matter() -> None:
    forms = [
        request(b"--%s\r\nhello" % boundary, **{"Content-Type": f'multipart/form-data; boundary="{boundary.decode()}"'})
        for boundary in (b"x7f3a", b"9c2d1")
    ]
    for form in forms:
        form.headers.pop("content-type")  # type: ignore[attr-defined]
    assert asked(forms[0]).fingerprint == asked(forms[1]).fingerprint


@given(st.lists(st.binary()))
def test_pieces_come_back_as_they_were(tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes]) -> None:
    path = tmp_path_factory.getbasetemp() / "pieces.json"
    write(path, [Exchange(asked(request()), replied(200, {}, pieces, []))])
    assert read(path)[0].reply.pieces == pieces


def test_where_there_is_no_file_nothing_is_recorded(tmp_path: Path) -> None:
    assert read(tmp_path / "none.json") == []


def test_a_file_that_is_no_recording_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"exchanges": 3}')
    with pytest.raises(ConfigError, match=r"a\.json is no recording .* record again"):
        read(tmp_path / "a.json")


ASKED = {"messages": [{"role": "user", "content": "hello"}], "temperature": 0}


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (ASKED, ""),
        ({**ASKED, "temperature": 1}, "temperature was 0 and is 1 now"),
        ({**ASKED, "n": 2}, "n was not sent and is now 2"),
        ({"messages": ASKED["messages"]}, "temperature was sent and is missing now"),
        ({**ASKED, "messages": []}, "messages had 1 entries and has 0 now"),
        (
            {**ASKED, "messages": [{"role": "user", "content": "hullo"}]},
            "messages[0].content was 'hello' and is 'hullo' now",
        ),
        (
            "text",
            "the body was {'messages': [{'role': 'user', 'content': 'hello'}], 'temperature': 0} and is 'text' now",
        ),
    ],
)
def test_where_two_requests_part_is_said(now: Any, said: str) -> None:
    assert first_difference(ASKED, now) == said
