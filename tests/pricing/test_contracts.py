"""Contract prices and discounts: which rate is in force at any instant, and that it is exact."""

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import astuple, replace

from callmeter.errors import ConfigError
from callmeter.pricing import PriceBook, Usage
from callmeter.pricing.contracts import Discount, agreed, discounted
from callmeter.pricing.overrides import load
from callmeter.pricing.rates import Rate
from callmeter.pricing.shelf import Place, Shelf, check_overrides, load_table
from callmeter.pricing.table import Model

LINES = ("input", "output", "search.web")
instants = st.integers(0, 100)


def spans() -> st.SearchStrategy[tuple[int, int | None]]:
    return st.tuples(instants, st.none() | st.integers(1, 50)).map(
        lambda pair: (pair[0], None if pair[1] is None else pair[0] + pair[1])
    )


def rates(source: str) -> st.SearchStrategy[Rate]:
    return st.builds(
        lambda line, femtos, span, tier: Rate(line, femtos, *span, tier, "", "", source),
        st.sampled_from(LINES), st.integers(0, 10**16), spans(), st.sampled_from(["", "batch"]),
    )  # fmt: skip


discounts = st.builds(
    lambda percent, span, lines: Discount(
        provider="p", pattern="m", percent=percent, start_s=span[0], until_s=span[1], lines=frozenset(lines)
    ),
    st.decimals("0.000001", "100", places=6), spans(), st.sets(st.sampled_from(LINES), max_size=2),
)  # fmt: skip


def at(rates: Iterable[Rate], instant: int) -> list[Rate]:
    return [r for r in rates if r.start_s <= instant and (r.until_s is None or instant < r.until_s)]


@given(rate=rates("list"), found=st.lists(discounts, max_size=4), instant=instants)
def test_at_every_instant_a_rate_is_less_by_the_first_discount_that_holds_then(
    rate: Rate, found: list[Discount], instant: int
) -> None:
    now = at(discounted(Model(id="m", rates=(rate,)), found).rates, instant)
    if not at([rate], instant):
        assert now == []
        return
    (one,) = now
    holds = [d for d in found if d.covers(instant) and (not d.lines or rate.line in d.lines)]
    if not holds:
        assert (one.femtos, one.source) == (rate.femtos, "list")
        return
    exact = Fraction(rate.femtos) * (100 - Fraction(holds[0].percent)) / 100
    assert abs(one.femtos - exact) <= Fraction(1, 2) or (one.femtos == 1 and exact > 0)
    assert one.source == f"list, {holds[0].label}"


@given(femtos=st.integers(0, 10**18), percent=st.decimals("0.000001", "100", places=6))
def test_a_discounted_rate_is_rounded_once_half_to_even(femtos: int, percent: Decimal) -> None:
    rate = Rate("input", femtos, 0, None, "", "", "", "list")
    (one,) = discounted(Model(id="m", rates=(rate,)), [Discount(provider="p", pattern="m", percent=percent)]).rates
    # The scale of the product is at most 1e-8, so this is an exact reference in integers.
    scaled = femtos * (10**8 - int(percent.scaleb(6)))
    whole, rest = divmod(scaled, 10**8)
    expected = whole + (rest * 2 > 10**8 or (rest * 2 == 10**8 and whole % 2 == 1))
    assert one.femtos == (expected or (1 if scaled else 0))
    assert Decimal(whole) + Decimal(rest).scaleb(-8) >= 0
    if rest * 2 == 10**8:
        assert one.femtos in (1, int((Decimal(whole) + Decimal("0.5")).quantize(Decimal(1), ROUND_HALF_EVEN)))


@given(listed=rates("list"), contract=st.lists(rates("user"), min_size=1, max_size=3), instant=instants)
def test_a_contracts_rate_takes_the_place_of_those_it_stands_for_and_only_while_it_is_in_force(
    listed: Rate, contract: list[Rate], instant: int
) -> None:
    merged = agreed(Model(id="m", rates=(listed,)), Model(id="m", rates=tuple(contract)))
    mine = at(contract, instant)
    displaced = any(
        r.tier in ("", listed.tier) and (r.line == listed.line or "search.web" not in (r.line, listed.line))
        for r in mine
    )
    kept = [r for r in at(merged.rates, instant) if r.source == "list"]
    assert len(kept) == (1 if at([listed], instant) and not displaced else 0)
    assert sorted(r.femtos for r in at(merged.rates, instant) if r.source == "user") == sorted(r.femtos for r in mine)


# --- as a user writes them


def book(tmp_path: Path, text: str) -> PriceBook:
    path = tmp_path / "overrides.toml"
    path.write_text(text)
    load(path)
    return PriceBook(shelf=Shelf(lambda: Place(home=tmp_path / "home", overrides=path)))


USAGE = Usage(input_tokens=1000, cache_read_tokens=400, output_tokens=100)
CONTRACT = """
[[model]]
provider = "claude"
id = "claude-sonnet-4-5-20250929"
reason = "contract 2026-14"
[[model.rates]]
from = 2026-01-01
until = 2027-01-01
per = "1M"
input = "2"
output = "8"
"""


def on(year: int, month: int = 6) -> datetime:
    return datetime(year, month, 1, tzinfo=UTC)


def test_a_contract_holds_from_its_day_to_its_day_for_every_name_of_the_model(tmp_path: Path) -> None:
    own, listed = book(tmp_path, CONTRACT), PriceBook()
    for name in ("claude-sonnet-4-5", "claude-sonnet-4-5-latest", "anthropic/claude-sonnet-4-5@20250929"):
        cost = own.price(name, USAGE, at=on(2026))
        assert cost.total == Decimal("0.0028")
        assert {item.source for item in cost.items} == {"user: contract 2026-14"}
        assert [item.via for item in cost.items] == ["", "input", ""]
        assert "+user." in cost.table
    for instant in (on(2025, 12), on(2027)):
        of_list = listed.price("claude-sonnet-4-5", USAGE, at=instant)
        again = own.price("claude-sonnet-4-5", USAGE, at=instant)
        assert [item[:6] for item in map(astuple, again.items)] == [item[:6] for item in map(astuple, of_list.items)]


def test_what_a_contract_is_silent_about_besides_tokens_stays_at_the_list(tmp_path: Path) -> None:
    usage = replace(USAGE, units={"search.web": 2})
    cost = book(tmp_path, CONTRACT).price("claude-sonnet-4-5", usage, at=on(2026), service_tier="batch")
    assert {item.line: item.source for item in cost.items}["search.web"] != "user: contract 2026-14"
    assert cost.status == "priced"
    assert {item.line: item.rate for item in cost.items}["input"] == Decimal("0.000002")


def test_a_model_nobody_lists_gets_its_price_and_its_provider(tmp_path: Path) -> None:
    own = book(
        tmp_path,
        '[[model]]\nprovider = "acme"\nid = "acme-7b"\naliases = ["acme-small"]\n'
        '[[model.rates]]\nper = "1M"\ninput = "0.5"\noutput = "1"\n',
    )
    for name, provider in (("acme-7b", None), ("acme-small", None), ("acme/acme-7b", None), ("acme-7b", "ACME")):
        assert own.price(name, USAGE, provider=provider).total == Decimal("0.0006")
    assert own.owner("acme-small") == "acme"
    assert own.price("other", USAGE, provider="acme").status == "unpriced"


def test_the_narrower_discount_applies_alone(tmp_path: Path) -> None:
    own = book(
        tmp_path,
        '[[discount]]\nprovider = "claude"\npercent = "10"\n'
        '[[discount]]\nprovider = "anthropic"\nmodel = "claude-sonnet-*"\npercent = "20"\nreason = "sonnets"\n'
        '[[discount]]\nprovider = "anthropic"\nmodel = "claude-sonnet-4.5-latest"\npercent = "50"\n',
    )
    listed = PriceBook()
    for name, factor, label in (
        ("claude-haiku-4-5", "0.9", "user: 10% off"),
        ("claude-sonnet-4-20250514", "0.8", "user: sonnets, 20% off"),
        ("claude-sonnet-4-5", "0.5", "user: 50% off"),
    ):
        cost = own.price(name, USAGE)
        assert cost.total == listed.price(name, USAGE).total * Decimal(factor)
        assert all(item.source.endswith(f", {label}") for item in cost.items)
        assert cost.saved == listed.price(name, USAGE).saved * Decimal(factor)


def test_a_discount_of_some_lines_from_a_day_leaves_the_rest_alone(tmp_path: Path) -> None:
    text = (
        '[[discount]]\nprovider = "openai"\nmodel = "gpt-4o"\npercent = "25"\nfrom = 2026-07-01\nlines = ["output"]\n'
    )
    own, listed = book(tmp_path, text), PriceBook()
    before, after = (own.price("gpt-4o", USAGE, at=on(2026, month)) for month in (6, 7))
    assert before.items == listed.price("gpt-4o", USAGE, at=on(2026)).items
    rates = {item.line: (item.rate, item.since) for item in after.items}
    assert rates["output"] == (Decimal("0.0000075"), "2026-07-01T00:00:00Z")
    assert rates["input"] == (Decimal("0.0000025"), "2024-10-02T00:00:00Z")


def test_all_of_it_off_is_nothing_and_still_priced(tmp_path: Path) -> None:
    cost = book(tmp_path, '[[discount]]\nprovider = "openai"\npercent = 100\n').price("gpt-4o", USAGE)
    assert (cost.total, cost.status) == (Decimal(0), "priced")


def test_a_discount_leaves_a_contract_and_registered_prices_alone(tmp_path: Path) -> None:
    own = book(tmp_path, CONTRACT + '\n[[discount]]\nprovider = "anthropic"\npercent = "50"\n')
    name, later = "claude-sonnet-4-5", on(2027)
    assert own.price(name, USAGE, at=on(2026)).total == Decimal("0.0028")
    assert own.price(name, USAGE, at=later).total == PriceBook().price(name, USAGE, at=later).total / 2
    own.register({"id": name, "rates": [{"per": "1M", "input": "1", "output": "1"}]}, provider="anthropic")
    assert own.price(name, USAGE, at=on(2026)).total == Decimal("0.0011")


def test_a_contract_for_a_dated_name_that_is_not_listed_is_for_that_name_alone(tmp_path: Path) -> None:
    own = book(tmp_path, CONTRACT.replace("claude-sonnet-4-5-20250929", "claude-sonnet-5-20261201"))
    dated, undated = "claude-sonnet-5-20261201", "claude-sonnet-5"
    listed = PriceBook().model(undated, "anthropic")
    assert listed is not None
    assert own.price(dated, USAGE, provider="anthropic", at=on(2026, 12)).total == Decimal("0.0028")
    assert own.price(undated, USAGE, at=on(2026, 12)).items == PriceBook().price(undated, USAGE, at=on(2026, 12)).items
    assert own.price(dated, USAGE, provider="anthropic", at=on(2027)).status == "priced"


def test_other_providers_tables_are_the_very_same(tmp_path: Path) -> None:
    own = book(tmp_path, CONTRACT)
    assert own.price("gpt-4o", USAGE).table == f"openai@{load_table('openai').hash}"


def test_a_contract_that_ties_with_the_table_is_refused_where_it_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "o.toml"
    path.write_text(
        '[[model]]\nprovider = "anthropic"\nid = "claude-opus-4-8"\n'
        '[[model.rates]]\nwhen = { region = "us" }\nper = "1M"\ninput = "1"\noutput = "1"\n'
    )
    with pytest.raises(
        ConfigError, match=r"o\.toml: \[\[model\]\] 'claude-opus-4-8' of anthropic meets the table's rates"
    ):
        check_overrides(Place(overrides=path))


def test_a_contract_with_another_host_leaves_the_bare_name_with_its_owner(tmp_path: Path) -> None:
    own = book(tmp_path, CONTRACT.replace('"claude"', '"my-host"'))
    name = "claude-sonnet-4-5-20250929"
    assert own.owner(name) == "anthropic"
    assert own.price(name, USAGE, at=on(2026)).items == PriceBook().price(name, USAGE, at=on(2026)).items
    assert own.price(name, USAGE, at=on(2026), provider="my-host").total == Decimal("0.0028")
    assert own.price(f"my-host/{name}", USAGE, at=on(2026)).total == Decimal("0.0028")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (CONTRACT + CONTRACT.replace('"claude"', '"anthropic"'), "[[model]] 1 and 2 are both for"),
        (CONTRACT + CONTRACT.replace("-20250929", ""), "are names of one model of anthropic"),
        (
            '[[discount]]\nprovider = "claude"\npercent = 5\n[[discount]]\nprovider = "anthropic"\npercent = 6\n',
            "[[discount]] 1 and 2 are both for '*' at anthropic",
        ),
    ],
    ids=["another name of the provider", "another name of the model", "discounts"],
)
def test_what_is_one_only_by_the_tables_names_is_refused_too(
    tmp_path: Path, text: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "o.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        check_overrides(Place(overrides=path))
    assert said in str(caught.value)
    assert str(caught.value).startswith(str(path))
    tied = PriceBook(shelf=Shelf(lambda: Place(overrides=path)))
    listed = PriceBook().price("claude-sonnet-4-5", USAGE, at=on(2026))
    assert tied.price("claude-sonnet-4-5", USAGE, at=on(2026)).items == listed.items
    assert [said in record.getMessage() for record in caplog.records] == [True]
