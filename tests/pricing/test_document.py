"""What is not to be believed about a table from elsewhere, and how it travels."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from callmeter.errors import ConfigError, PriceTableError
from callmeter.pricing import signing
from callmeter.pricing.document import decode, encoded, issued
from callmeter.pricing.shelf import load_index
from tests.pricing.tables import Publisher, packaged


def test_a_table_travels_unchanged() -> None:
    body = encoded(packaged())
    again = decode(body, "here")
    assert again == packaged()
    assert encoded(again) == body
    assert again.index() == load_index()


def test_fields_of_a_later_release_are_passed_over() -> None:
    document = json.loads(encoded(packaged()))
    document["later"] = {"x": 1}
    document["providers"]["openai"]["models"][0]["later"] = [1]
    assert decode(json.dumps(document).encode(), "here") == packaged()


def broken(change: Callable[[dict[str, Any]], object]) -> bytes:
    document = json.loads(encoded(packaged()))
    change(document)
    return json.dumps(document).encode()


def rate(document: dict[str, Any]) -> list[Any]:
    return next(m for m in document["providers"]["openai"]["models"] if m["id"] == "gpt-4o")["rates"][0]


MISTAKES: list[tuple[str, Callable[[dict[str, Any]], object], str]] = [
    ("format", lambda d: d.update(format=2), "format 2, this callmeter reads 1; upgrade"),
    ("no format", lambda d: d.pop("format"), "is no price table"),
    ("no version", lambda d: d.pop("version"), "is no price table"),
    ("version 0", lambda d: d.update(version=0), "version is 0"),
    ("version too long", lambda d: d.update(version=10**12), "version is 1000000000000"),
    ("version as text", lambda d: d.update(version="1"), "Expected `int`"),
    ("made_at", lambda d: d.update(made_at="yesterday"), "made_at is 'yesterday'"),
    ("made_at without zone", lambda d: d.update(made_at="2026-01-01"), "no time with its offset"),
    ("no providers", lambda d: d.update(providers={}, names={}, hosts={}), "it has no providers"),
    ("a name to nowhere", lambda d: d["names"].update(x="nobody"), "names sends 'x' to 'nobody'"),
    ("a host to nowhere", lambda d: d["hosts"].update(x="nobody"), "hosts sends 'x' to 'nobody'"),
    ("a provider that is a path", lambda d: d["providers"].update({"../x": d["providers"]["ollama"]}), "no provider's"),
    ("a provider that is a file of ours", lambda d: d["providers"].update(index=d["providers"]["ollama"]), "'index'"),
    ("a table of another", lambda d: d["providers"]["openai"].update(provider="azure"), "says it is of 'azure'"),
    ("a provider without its name", lambda d: d["names"].pop("openai"), "not among the names"),
    ("a position", lambda d: d["providers"]["openai"]["names"].update(x=10**6), "'x' at 1000000 leads nowhere"),
    ("a negative position", lambda d: d["providers"]["openai"]["names"].update(x=-1), "'x' at -1 leads nowhere"),
    ("a name nobody looks up", lambda d: d["providers"]["openai"]["names"].update({"X.1": 0}), "'X.1' at 0"),
    ("a hash", lambda d: d["providers"]["openai"].update(hash="x@y"), "its hash is 'x@y'"),
    ("no rates", lambda d: d["providers"]["openai"]["models"][0].update(rates=[]), "has no rates and is not free"),
    ("a line", lambda d: rate(d).__setitem__(0, "tokens"), "'tokens': is no line"),
    ("a negative price", lambda d: rate(d).__setitem__(1, -1), "-1 is no price"),
    ("a price beyond all", lambda d: rate(d).__setitem__(1, 2**63), "is no price"),
    ("a price with a point", lambda d: rate(d).__setitem__(1, 1.5), "Expected `int`"),
    ("an end before the beginning", lambda d: rate(d).__setitem__(3, 5), "ends before it begins"),
    ("a length of context", lambda d: rate(d).__setitem__(6, ">x"), "over is '>x'"),
    ("a source", lambda d: rate(d).__setitem__(7, "hearsay"), "its source 'hearsay' is not listed"),
    ("two rates at once", lambda d: next(m for m in d["providers"]["openai"]["models"] if m["id"] == "gpt-4o")["rates"]
        .append(rate(d)), "two equally specific rates"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "said"), [case[1:] for case in MISTAKES], ids=[case[0] for case in MISTAKES])
def test_a_table_that_cannot_be_right_is_refused_with_the_reason(change: Callable[[Any], object], said: str) -> None:
    with pytest.raises(PriceTableError) as caught:
        decode(broken(change), "from.json")
    assert str(caught.value).startswith("from.json")
    assert said in str(caught.value)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9999])
def test_a_table_that_was_cut_off_is_refused(share: float) -> None:
    body = encoded(packaged())
    with pytest.raises(PriceTableError, match="is no price table"):
        decode(body[: int(len(body) * share)], "from.json")


def test_text_that_is_no_text_is_refused() -> None:
    with pytest.raises(PriceTableError, match="is no price table"):
        decode(b"\xff\xfe{}", "from.json")


def test_a_version_holds_its_day() -> None:
    assert f"{issued(2026112507):%Y-%m-%d %H}" == "2026-11-25 00"
    with pytest.raises(PriceTableError, match="7 is no version"):
        issued(7)


# --- signatures


def test_a_signature_is_of_these_bytes_and_this_key() -> None:
    publisher, body = Publisher(), encoded(packaged())
    signed = signing.signature(publisher.signature(body), "x.sig")
    signing.verify(body, signed, signing.public_key(publisher.key), "x")
    for other in (body[:-1], body.replace(b"1", b"2", 1), b""):
        with pytest.raises(PriceTableError, match="x is not signed with the pinned key"):
            signing.verify(other, signed, signing.public_key(publisher.key), "x")
    with pytest.raises(PriceTableError, match="not signed"):
        signing.verify(body, signed, signing.public_key(Publisher().key), "x")


def test_a_raw_signature_is_taken_as_openssl_writes_it() -> None:
    assert signing.signature(b"s" * 64, "x.sig") == b"s" * 64


@pytest.mark.parametrize("body", [b"", b"c2hvcnQ=", b"<html>not found</html>", b"s" * 63])
def test_what_is_no_signature_is_named(body: bytes) -> None:
    with pytest.raises(PriceTableError, match=r"x\.sig holds no Ed25519 signature"):
        signing.signature(body, "x.sig")


@pytest.mark.parametrize("text", ["", "abc", "!" * 44, "c2hvcnQ="])
def test_what_is_no_key_is_named(text: str) -> None:
    with pytest.raises(ConfigError, match="price_key is"):
        signing.public_key(text)


def test_the_tool_signs_what_is_a_table_and_nothing_else(tmp_path: Path) -> None:
    def tool(*arguments: object) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "tools/sign_prices.py", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, env={"PYTHONPATH": "."})

    made = tool("keygen", tmp_path / "key")
    assert (tmp_path / "key").stat().st_mode & 0o077 == 0
    assert tool("keygen", tmp_path / "key").returncode == 1
    table = tmp_path / "prices.json"
    table.write_bytes(encoded(packaged()))
    assert tool("sign", table, tmp_path / "key").stdout.strip() == f"{table}.sig"
    signed = signing.signature(Path(f"{table}.sig").read_bytes(), "x")
    signing.verify(table.read_bytes(), signed, signing.public_key(made.stdout), "x")
    table.write_text("{}")
    refused = tool("sign", table, tmp_path / "key")
    assert (refused.returncode, "is no price table" in refused.stderr) == (1, True)
    assert tool().returncode == 2
