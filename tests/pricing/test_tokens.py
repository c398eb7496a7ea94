"""Counting tokens: by the model's tokenizer where its files are here, else about right; and never over the network."""

import hashlib
import os
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import callmeter
from callmeter.errors import BadRequestError, MissingExtraError
from callmeter.pricing import PriceBook, count_tokens, tokenizers
from callmeter.pricing.compat import completion_cost
from callmeter.pricing.tokens import tokens_in

M = [{"role": "user", "content": "Hi"}]
CACHE = "TIKTOKEN_CACHE_DIR"


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Whatever looks up a host is a failure, not a download."""
    asked: list[Any] = []

    def refuse(*args: Any, **_: Any) -> Any:
        asked.append(args)
        raise AssertionError(f"looked up {args}")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return asked


@pytest.fixture
def nothing_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE, str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def cached_as(encoding: str) -> str:
    """The name of an encoding's file in tiktoken's cache."""
    return hashlib.sha1(tokenizers._ADDRESS.format(encoding).encode()).hexdigest()


@pytest.fixture
def cl100k(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tiktoken", reason="tiktoken is not installed: pip install 'callmeter[tokens]'")
    if tokenizers._tiktoken("cl100k_base") is None:
        pytest.skip(f"the file of cl100k_base is not in {tokenizers._tiktoken_cache()}, and tests download nothing")


@pytest.fixture
def tiny(nothing_here: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A real tiktoken encoding of 257 tokens, each byte one and "th" another, whose file is in the cache."""
    tiktoken = pytest.importorskip("tiktoken", reason="tiktoken is not installed: pip install 'callmeter[tokens]'")
    body = b"the file of a tiny encoding"
    (nothing_here / cached_as("tiny_base")).write_bytes(body)
    monkeypatch.setitem(tokenizers.ENCODINGS, "tiny_base", hashlib.sha256(body).hexdigest())
    ranks = {bytes([byte]): byte for byte in range(256)} | {b"th": 256}
    made = tiktoken.Encoding("tiny_base", pat_str=r".+|\s+", mergeable_ranks=ranks, special_tokens={"<|end|>": 257})
    known = tiktoken.registry.ENCODINGS
    monkeypatch.setitem(known, "tiny_base", made)
    return "tiny_base"


def book_with(tokenizer: str) -> PriceBook:
    return PriceBook([{"id": "mine", "tokenizer": tokenizer, "rates": [{"per": "1M", "input": "1", "output": "2"}]}])


# --- with the model's tokenizer


def test_the_figures_people_know(cl100k: None) -> None:
    assert callmeter.token_counter("gpt-3.5-turbo", text="Hi") == 1
    assert callmeter.token_counter(model="gpt-3.5-turbo", messages=M) == 8
    assert callmeter.encode("gpt-3.5-turbo", "Hello world") == [9906, 1917]
    assert callmeter.decode("gpt-3.5-turbo", [9906, 1917]) == "Hello world"
    text = {"prompt": "Hey!", "completion": "How's it going?"}
    assert completion_cost(model="gpt-3.5-turbo", **text) == 8.5e-06


def test_an_encoding_the_table_names_is_used_where_its_file_is_here(tiny: str) -> None:
    book = book_with(tiny)
    assert count_tokens("mine", "the", book=book) == callmeter.pricing.TokenCount(2, "tiktoken")
    found = tokenizers.needed("mine", book)
    assert (found.encode("the"), found.decode([256, 101])) == ([256, 101], "the")


def test_text_that_looks_like_a_special_token_is_text(tiny: str) -> None:
    assert count_tokens("mine", "<|end|>", book=book_with(tiny)).tokens == 7


def test_half_a_character_pair_is_counted_and_long_text_too(tiny: str) -> None:
    book = book_with(tiny)
    assert count_tokens("mine", "a\ud800", book=book).tokens == 2
    assert count_tokens("mine", "a" * 120_001, book=book).tokens == 120_001


def test_a_damaged_file_is_left_alone_and_not_fetched_again(tiny: str, nothing_here: Path, no_network: list) -> None:
    path = nothing_here / cached_as(tiny)
    path.write_bytes(b"damaged")
    tokenizers._load_tiktoken.cache_clear()
    assert count_tokens("mine", "the", book=book_with(tiny)).estimated
    assert (path.read_bytes(), no_network) == (b"damaged", [])


def test_a_hugging_face_model_that_is_cached_is_counted_by_its_own_tokenizer(nothing_here: Path) -> None:
    library = pytest.importorskip("tokenizers", reason="tokenizers is not installed")
    made = library.Tokenizer(library.models.WordLevel({"hello": 0, "world": 1, "?": 2}, unk_token="?"))
    made.pre_tokenizer = library.pre_tokenizers.Whitespace()
    kept = nothing_here / "models--org--model"
    (kept / "snapshots" / "abc").mkdir(parents=True)
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text("abc")
    made.save(str(kept / "snapshots" / "abc" / "tokenizer.json"))
    assert count_tokens("huggingface/org/model", "hello world").method == "huggingface"
    assert callmeter.token_counter("org/model", text="hello hello world") == 3
    assert callmeter.encode("org/model", "hello world") == [0, 1]
    own = callmeter.create_tokenizer(made.to_str())
    assert callmeter.token_counter("whatever", own, text="hello world") == 2
    assert callmeter.decode("whatever", [0, 1], own) == "hello world"
    shutil.rmtree(kept)


# --- without


@pytest.mark.parametrize("model", ["gpt-4o", "claude-sonnet-4-5", "meta-llama/Llama-3-8B", "of-nobody", ""])
def test_without_files_it_is_estimated_at_once(model: str, nothing_here: Path, no_network: list) -> None:
    found = count_tokens(model, "How's it going?")
    assert (found.tokens, found.estimated, no_network) == (4, True, [])
    assert callmeter.token_counter(model, text="How's it going?") == 4


def test_tiktokens_cache_turned_off_is_no_reason_to_download(monkeypatch: pytest.MonkeyPatch, no_network: list) -> None:
    monkeypatch.setenv(CACHE, "")
    assert (count_tokens("gpt-4o", "Hi").method, no_network) == ("estimate", [])


def test_tokens_themselves_cannot_be_estimated(nothing_here: Path) -> None:
    with pytest.raises((BadRequestError, MissingExtraError), match=r"o200k_base|tiktoken"):
        callmeter.encode("gpt-4o", "Hi")
    with pytest.raises(BadRequestError, match="no tokenizer is known for 'of-nobody'"):
        callmeter.decode("of-nobody", [1])
    with pytest.raises(BadRequestError, match="custom_tokenizer is 'nonsense'"):
        callmeter.encode("gpt-4o", "Hi", custom_tokenizer="nonsense")


def test_text_costs_what_its_count_costs(nothing_here: Path) -> None:
    text = {"prompt": "Hey!", "completion": "How's it going?"}
    assert completion_cost(model="gpt-3.5-turbo", **text) == 6.5e-06
    asked = {"messages": M, "completion": "Hello!"}
    assert completion_cost(model="gpt-3.5-turbo", **asked) == pytest.approx(8 * 5e-7 + 2 * 1.5e-6)


# --- what is counted


def test_everything_the_model_reads_is_counted(nothing_here: Path) -> None:
    def tokens(message: dict[str, Any], **more: Any) -> int:
        return callmeter.token_counter("of-nobody", messages=[message], **more)

    plain = tokens({"role": "user", "content": "Hi"})
    image = {"type": "image_url", "image_url": {"url": "data:", "detail": "low"}}
    assert tokens({"role": "user", "content": "Hi", "name": "Ann"}) > plain
    assert tokens({"role": "user", "content": [{"type": "text", "text": "Hi"}, image]}) == plain + 85
    assert tokens({"role": "user", "content": ["Hi", image]}, use_default_image_token_count=True) == plain + 250
    called = {"role": "assistant", "tool_calls": [{"function": {"name": "look_up", "arguments": '{"city": "Bern"}'}}]}
    assert tokens(called) > tokens({"role": "assistant", "content": None})
    tool = {"type": "function", "function": {"name": "look_up"}}
    assert tokens({"role": "user", "content": "Hi"}, tools=[tool]) > plain
    assert tokens({"role": "user", "content": "Hi"}, count_response_tokens=True) == plain - 3
    answer = callmeter.completion("openai/gpt-4o", M, mock_response="Hi").choices[0].message
    assert callmeter.token_counter("of-nobody", messages=[answer]) >= plain


def test_nothing_to_count_is_an_error_unless_a_default_is_given() -> None:
    with pytest.raises(BadRequestError, match="text or messages"):
        callmeter.token_counter("gpt-4o")
    assert callmeter.token_counter("gpt-4o", default_token_count=7) == 7


@given(first=st.text(), more=st.text())
def test_an_estimate_never_falls_and_never_exceeds_the_bytes(first: str, more: str) -> None:
    def tokens(text: str) -> int:
        return tokens_in(len(text), len(text.encode("utf-8", "surrogatepass")))

    assert tokens(first) <= tokens(first + more) <= len((first + more).encode("utf-8", "surrogatepass"))


def test_the_hub_is_looked_for_where_its_own_library_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert tokenizers._hub_cache() == Path.home() / ".cache" / "huggingface" / "hub"
    monkeypatch.setenv("HF_HOME", "/models")
    assert str(tokenizers._hub_cache()) == os.path.join("/models", "hub")
