"""CSVs of token counts: columns found by their names, and every mistake named with its line."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from callmeter.errors import ConfigError
from callmeter.pricing.token_csv import TokenCsv, parse_columns
from callmeter.types import Usage

SECOND = int(datetime(2023, 11, 16, 18, 17, 3, tzinfo=UTC).timestamp())


def read(tmp_path: Path, text: str, columns: str = "") -> TokenCsv:
    file = tmp_path / "tokens.csv"
    file.write_text(text)
    return TokenCsv(file, parse_columns(columns) if columns else None)


def test_the_columns_of_the_azure_trace_are_found(tmp_path: Path) -> None:
    file = read(tmp_path, "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,4808,10\n")
    assert file.columns == {"at": "TIMESTAMP", "input": "ContextTokens", "output": "GeneratedTokens"}
    (request,) = file
    assert request.usage == Usage(input_tokens=4808, output_tokens=10)
    assert request.at_ns == SECOND * 10**9 + 979_960_000


@pytest.mark.parametrize(
    ("text", "at_ns"),
    [
        ("2023-11-16T18:17:03Z", SECOND * 10**9),
        ("2023-11-16T19:17:03+01:00", SECOND * 10**9),
        (f"{SECOND}", SECOND * 10**9),
        (f"{SECOND}.25", SECOND * 10**9 + 250_000_000),
        (f"{SECOND}000", SECOND * 10**9),
        (f"{SECOND}000000", SECOND * 10**9),
        (f"{SECOND}000000000", SECOND * 10**9),
        ("", None),
    ],
)
def test_an_instant_is_iso_8601_or_a_number_of_s_ms_us_or_ns(tmp_path: Path, text: str, at_ns: int | None) -> None:
    (request,) = read(tmp_path, f"prompt_tokens,completion_tokens,time\n1,2,{text}\n")
    assert request.at_ns == at_ns


def test_columns_may_be_named(tmp_path: Path) -> None:
    text = "a,b,input_tokens\n7,8,9\n"
    (request,) = read(tmp_path, text, "input=a, output=b")
    assert request.usage == Usage(input_tokens=7, output_tokens=8)


def test_an_export_of_ours_is_read_whole(tmp_path: Path) -> None:
    head = "input_tokens,output_tokens,cache_read_tokens,cache_write_1h_tokens,reasoning_tokens,units,service_tier,cost,finish_reason"
    file = read(
        tmp_path,
        f'{head}\n100,20,30,5,7,"{{search.web=2.000000000, audio_second=1.500000000}}",batch,0.000000000000001,tool_calls\n1,2,0,0,,{{}},,,\n',
    )
    full, plain = file
    assert full.usage == Usage(
        input_tokens=100,
        output_tokens=20,
        cache_read_tokens=30,
        cache_write_1h_tokens=5,
        reasoning_tokens=7,
        units={"search.web": 2, "audio_second": Decimal("1.5")},
    )
    assert (full.service_tier, full.cost, full.uses) == (
        "batch",
        Decimal("1e-15"),
        frozenset({"function_calling", "web_search"}),
    )
    assert plain.usage == Usage(input_tokens=1, output_tokens=2)
    assert plain.cost is None


def test_a_row_without_counts_is_left_out_and_counted(tmp_path: Path) -> None:
    file = read(tmp_path, "input,output\n1,2\n,\n3,\n\n4,5\n")
    assert [request.usage.input_tokens for request in file] == [1, 4]
    assert file.without_usage == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["tokens.csv", "empty"]),
        ("a,b\n1,2\n", ["input and output", "a, b", "--columns input=NAME"]),
        ("input,output\n1,-2\n", ["line 2", "output", "'-2'", "no count"]),
        ("input,output\n1,2\n1,nan\n", ["line 3", "'nan'"]),
        ("input,output\n1.5,2\n", ["line 2", "'1.5'"]),
        ("input,output\n1,1e99\n", ["'1e99'"]),
        ("input,output\n1\n", ["line 2", "output", "missing"]),
        ("input,output,at\n1,2,soon\n", ["at", "'soon'", "no instant"]),
        ("input,output,cost\n1,2,free\n", ["cost", "'free'", "USD"]),
        ("input,output,units\n1,2,{search}\n", ["units", "{search}"]),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as raised:
        list(read(tmp_path, text))
    assert [word for word in words if word not in str(raised.value)] == []


@pytest.mark.parametrize("columns", ["input", "tokens=a", "input="])
def test_a_mapping_that_means_nothing_is_named(columns: str) -> None:
    with pytest.raises(ConfigError, match="--columns"):
        parse_columns(columns)


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no column 'c' for input; it has a, b"):
        read(tmp_path, "a,b\n", "input=c,output=b")


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    file = tmp_path / "tokens.csv"
    file.write_bytes(b"input,output\n1,\xff\n")
    with pytest.raises(ConfigError, match="UTF-8"):
        list(TokenCsv(file))
    with pytest.raises(ConfigError, match="cannot be read"):
        TokenCsv(tmp_path / "nowhere.csv")
