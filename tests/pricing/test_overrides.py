"""Mistakes in a file of overrides: each is one sentence that names the file, the line, the entry and the field."""

from pathlib import Path

import pytest

from callmeter.errors import ConfigError
from callmeter.pricing.overrides import load

RATES = '[[model.rates]]\nper = "1M"\ninput = "1"\n'
MODEL = '[[model]]\nprovider = "p"\nid = "m"\n'
DISCOUNT = '[[discount]]\nprovider = "p"\n'


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "o.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[model]\n", ["is not valid TOML", "line 1"]),
        ("[prices]\na = 1\n", ["'prices' is no key here", "[[model]]", "[[discount]]"]),
        ("model = 3\n", ["model is 3", "[[model]]"]),
        ('[[model]]\nid = "m"\n' + RATES, ["line 1: [[model]] 1", "provider is missing"]),
        ('[[model]]\nprovider = 7\nid = "m"\n' + RATES, ["provider is 7"]),
        (MODEL, ["[[model]] 1: m: it has no rates"]),
        (MODEL + RATES + "\n" + MODEL.replace('"m"', '"n"') + "bogus = 1\n" + RATES, ["line 8: [[model]] 2", "'bogus'"]),
        (MODEL + '[[model.rates]]\ninput = 1.5\n', ["line 1: [[model]] 1", "input", "1.5", "as text"]),
        (MODEL + '[[model.rates]]\ninput = "-1"\n', ["input", "'-1' is no price"]),
        (MODEL + '[[model.rates]]\ntokens = "1"\n', ["'tokens' is no line"]),
        (MODEL + "aliases = [3]\n" + RATES, ["aliases is [3]"]),
        (MODEL + RATES + 'from = 2026-02-01\nuntil = 2026-01-01\n', ["until = 2026-01-01 is not after from"]),
        (MODEL + RATES + MODEL + RATES, ["[[model]] 1 and 2 are both for 'm' at p"]),
        (DISCOUNT, ["line 1: [[discount]] 1", "percent is missing", '"12.5"']),
        (DISCOUNT + "percent = 12.5\n", ["percent is 12.5", "as text"]),
        (DISCOUNT + "percent = true\n", ["percent is True"]),
        (DISCOUNT + 'percent = "x"\n', ["percent is 'x'"]),
        (DISCOUNT + 'percent = "0"\n', ["percent is '0'", "above 0"]),
        (DISCOUNT + 'percent = "100.1"\n', ["percent is '100.1'", "up to 100"]),
        (DISCOUNT + 'percent = "-5"\n', ["percent is '-5'"]),
        (DISCOUNT + 'percent = "NaN"\n', ["percent is 'NaN'"]),
        (DISCOUNT + 'percent = "0.0000001"\n', ["6 decimals at most"]),
        (DISCOUNT + 'percent = "5"\nfrom = "today"\n', ["from = 'today' is no instant"]),
        (DISCOUNT + 'percent = "5"\nfrom = 2026-01-01T00:00:00\n', ["is no instant", "offset from UTC"]),
        (DISCOUNT + 'percent = "5"\nlines = "input"\n', ["lines is 'input'"]),
        (DISCOUNT + 'percent = "5"\nlines = ["inputs"]\n', ["'inputs'", "no line of a price"]),
        (DISCOUNT + 'percent = "5"\nmodels = "x"\n', ["'models' is no key here"]),
        (DISCOUNT + 'percent = "5"\n' + DISCOUNT + 'percent = "6"\n', ["[[discount]] 1 and 2 are both for '*' at p"]),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence_with_its_place(tmp_path: Path, text: str, said: list[str]) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load(path)
    message = str(caught.value)
    assert message.startswith((f"{path}:", f"{path}, line", f"{path} is"))
    assert "\n" not in message
    assert [part for part in said if part not in message] == [], message


def test_a_file_that_is_not_there_or_not_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: No such file"):
        load(tmp_path / "none.toml")
    (tmp_path / "o.toml").write_bytes(b'[[model]]\nid = "\xff"\n')
    with pytest.raises(ConfigError, match=r"o\.toml is not UTF-8 at byte 16"):
        load(tmp_path / "o.toml")


@pytest.mark.parametrize(
    "second",
    [
        'percent = "6"\nfrom = 2026-02-01\n',
        'percent = "6"\nuntil = 2026-01-01\n',
        'percent = "6"\nlines = ["output"]\n',
        'percent = "6"\nmodel = "m-*"\n',
    ],
)
def test_discounts_that_do_not_meet_may_stand_side_by_side(tmp_path: Path, second: str) -> None:
    first = 'percent = "5"\nfrom = 2026-01-01\nuntil = 2026-02-01\nlines = ["input"]\n'
    found = load(written(tmp_path, DISCOUNT + first + DISCOUNT + second))
    assert len(found.discounts) == 2


def test_an_empty_file_overrides_nothing(tmp_path: Path) -> None:
    found = load(written(tmp_path, "# none yet\n"))
    assert (found.models, found.discounts) == ((), ())


def test_entries_written_inline_are_counted_without_lines(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"o\.toml: \[\[discount\]\] 2: percent is missing"):
        load(written(tmp_path, 'discount = [{ provider = "p", percent = "5" }, { provider = "q" }]\n'))
