from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callmeter.cli._figures import NO_MONEY, Unknown, is_money, money, plain, printable, shown

amounts = st.integers(min_value=0, max_value=10**30).map(lambda n: Decimal(n).scaleb(-15))


@given(amount=amounts)
def test_money_is_printed_to_its_last_digit_with_two_decimals_or_more(amount: Decimal) -> None:
    text = money(amount)
    assert Decimal(text) == amount
    decimals = text.partition(".")[2]
    assert len(decimals) >= 2
    assert len(decimals) == 2 or not decimals.endswith("0")
    assert "E" not in text


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("0E-15", "0.00"),
        ("12.300000000000000", "12.30"),
        ("0.000002500000000", "0.0000025"),
        ("1E-15", "0." + "0" * 14 + "1"),
    ],
)
def test_money_looks_like_money(amount: str, text: str) -> None:
    assert money(Decimal(amount)) == text


def test_no_money_is_money() -> None:
    assert is_money(NO_MONEY)
    assert not is_money(Decimal("8.000000000"))


def test_a_machine_gets_money_as_text_and_what_is_unknown_as_null() -> None:
    values = {"cost": Decimal("0.100000000000000"), "quantity": Decimal("8.000000000"), "name": Unknown("unpriced")}
    assert plain(values, UTC) == {"cost": "0.10", "quantity": "8", "name": None}


def test_an_instant_is_shown_in_the_readers_zone() -> None:
    at = datetime(2026, 7, 1, 12, tzinfo=UTC)
    berlin = ZoneInfo("Europe/Berlin")
    assert shown(at, berlin) == "2026-07-01 14:00:00"
    assert plain(at, berlin) == "2026-07-01T14:00:00+02:00"


@given(text=st.text())
def test_no_text_can_drive_a_terminal(text: str) -> None:
    assert printable(text).isprintable()


def test_an_escape_sequence_is_written_out() -> None:
    assert printable("gpt\x1b[2J") == "gpt\\x1b[2J"


def test_thousands_are_grouped_only_where_asked() -> None:
    assert shown(1234567, UTC) == "1234567"
    assert shown(1234567, UTC, grouped=True) == "1,234,567"
