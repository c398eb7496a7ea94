"""Which model a name stands for: the spellings that mean one model, and the names that only look like one."""

from datetime import UTC, datetime

import pytest

from callmeter.pricing import PriceBook, Usage
from callmeter.pricing.match import canonical, undated

AT = datetime(2026, 11, 1, tzinfo=UTC)
USAGE = Usage(input_tokens=1000, output_tokens=1000)


@pytest.fixture(scope="module")
def book() -> PriceBook:
    return PriceBook()


@pytest.mark.parametrize(
    "spelling",
    [
        "claude-sonnet-4-5",
        "Claude-Sonnet-4-5",
        " claude-sonnet-4.5 ",
        "claude-sonnet-4-5-20250929",
        "claude-sonnet-4-5@20250929",
        "claude-sonnet-4-5-2025-09-29",
        "anthropic/claude-sonnet-4-5",
        "anthropic:claude-sonnet-4.5-20250929",
        "claude-sonnet-4-5-latest",
    ],
)
def test_spellings_of_one_model_have_one_price(book, spelling) -> None:
    cost = book.price(spelling, USAGE, provider="anthropic", at=AT)
    assert cost == book.price("claude-sonnet-4-5", USAGE, provider="anthropic", at=AT)
    assert cost.status == "priced"


@pytest.mark.parametrize(
    "name", ["gpt-4o-2024-05-14", "gpt-4o-", "gpt-4", "gpt-4ox", "gpt-4o-2025", "xgpt-4o", "", "openai/", "gpt"]
)
def test_a_name_that_only_looks_like_a_known_one_is_another(book, name) -> None:
    assert book.price(name, USAGE, provider="openai", at=AT).total != book.price("gpt-4o", USAGE, at=AT).total


def test_a_dated_name_with_its_own_price_keeps_it(book) -> None:
    dated, alias = (book.price(name, USAGE, provider="openai", at=AT).total for name in ("gpt-4o-2024-05-13", "gpt-4o"))
    assert dated > alias


def test_an_unlisted_date_is_dropped_only_where_the_table_says_so(book) -> None:
    assert book.price("gpt-6-sol-2026-09-01", USAGE, at=AT, provider="openai") == book.price("gpt-6-sol", USAGE, at=AT)
    assert book.price("gpt-4o-2026-09-01", USAGE, at=AT, provider="openai").status == "unpriced"


def test_a_fine_tune_has_the_fine_tuned_price_of_its_base_and_never_the_bases_own(book) -> None:
    tuned = book.price("ft:gpt-4o-mini-2024-07-18:my-org:name:id", USAGE, provider="openai", at=AT)
    assert (tuned.total, tuned.status) == (book.price("ft:gpt-4o-mini-2024-07-18", USAGE, at=AT).total, "priced")
    assert book.price("ft:gpt-5:my-org::id", USAGE, provider="openai", at=AT).status == "unpriced"


def test_the_provider_is_inferred_from_a_prefix_or_from_the_one_owner_of_a_bare_name(book) -> None:
    assert book.price("openai/gpt-4o", USAGE, at=AT).status == "priced"
    assert book.price("gpt-4o", USAGE, at=AT).status == "priced"
    assert book.price("ollama/llama3", USAGE, at=AT).status == "free"
    assert book.price("ollama_chat/llama3", USAGE, at=AT).status == "free"


def test_the_outermost_host_bills_and_a_tail_is_never_guessed_at(book) -> None:
    for name in ("vllm/openai/gpt-4o", "somewhere/gpt-4o", "anthropic/gpt-4o"):
        assert book.price(name, USAGE, at=AT).status == "unpriced"
    for name, host in (("openrouter/openai/gpt-4o", "openrouter"), ("azure/gpt-4o", "azure")):
        assert book.price(name, USAGE, at=AT).table.startswith(f"{host}@")
    assert book.price("gpt-4o", USAGE, provider="vllm", at=AT).status == "unpriced"
    assert book.price("anthropic/claude-sonnet-4-5", USAGE, provider="openai", at=AT).status == "unpriced"


def test_a_bare_name_of_several_owners_is_ambiguous(book) -> None:
    own = PriceBook()
    own.register({"id": "gpt-4o", "rates": [{"input": "1", "output": "1"}]}, provider="elsewhere")
    cost = own.price("gpt-4o", USAGE, at=AT)
    assert (cost.total, cost.status) == (None, "unpriced")
    assert cost.reason.startswith("ambiguous: openai, elsewhere")
    assert own.price("gpt-4o", USAGE, provider="openai", at=AT) == book.price("gpt-4o", USAGE, provider="openai", at=AT)


def test_owner_is_the_one_provider_of_a_bare_name(book) -> None:
    assert (book.owner("gpt-4o"), book.owner("Claude-3-Opus-Latest"), book.owner("nobody's")) == (
        "openai",
        "anthropic",
        None,
    )


def test_a_host_has_the_prices_of_its_provider(book) -> None:
    assert (book.at_host("API.openai.com"), book.at_host("example.com")) == ("openai", None)


def test_an_unknown_name_says_what_was_tried(book) -> None:
    cost = book.price("gpt-99-2030-01-01", USAGE, provider="openai", at=AT)
    assert cost.reason == "unknown model 'gpt-99-2030-01-01' at openai; tried gpt-99-20300101, gpt-99"


@pytest.mark.parametrize("name", [None, 3, "x" * 100_000, ["gpt-4o"]])
def test_what_is_no_name_is_unpriced_and_not_remembered(book, name) -> None:
    before = book._find.cache_info().currsize
    assert book.price(name, USAGE, at=AT).status == "unpriced"
    assert book._find.cache_info().currsize == before


@pytest.mark.parametrize("junk", [{"a": 1}, ["flex"], 7, b"flex"])
def test_a_service_tier_that_is_no_text_is_unpriced_and_raises_nothing(book, junk) -> None:
    cost = book.price("gpt-4o", USAGE, provider="openai", at=AT, service_tier=junk)
    assert (cost.total, cost.status) == (None, "unpriced")


def test_unknown_names_are_remembered_within_a_bound() -> None:
    own = PriceBook()
    for number in range(5000):
        own.price(f"model-{number}", USAGE, provider="openai", at=AT)
    info = own._find.cache_info()
    assert info.currsize == info.maxsize == 4096


def test_canonical_forms() -> None:
    assert canonical(" GPT-4.1-2025-04-14 ") == "gpt-4-1-20250414"
    assert canonical("claude-3.5-sonnet@20240620") == "claude-3-5-sonnet-20240620"
    assert canonical("gpt-4-1106-preview") == "gpt-4-1106-preview"
    assert canonical("llama3.q4") == "llama3.q4"
    assert undated("gpt-4o-20240513") == "gpt-4o"
    assert undated("gpt-4-0613") is None
