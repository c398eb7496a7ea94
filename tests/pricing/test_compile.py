"""The tables that ship are what the TOML says, and a mistake in it stops the build."""

import subprocess
import sys
from datetime import date
from pathlib import Path

import msgspec
import pytest

from callmeter.errors import ConfigError
from callmeter.pricing.compile import HERE, compiled
from callmeter.pricing.sources import heading, listed
from callmeter.pricing.table import load_index, load_table

HEAD = '[provider]\nid = "acme"\naliases = ["ac"]\n[[source]]\nid = "s"\n'


def build(tmp_path: Path, body: str, head: str = HEAD) -> dict[str, bytes]:
    (tmp_path / "acme.toml").write_text(head + body)
    return compiled(tmp_path)


def model(name: str, aliases: str = "[]", source: str = "s") -> str:
    return f'[[model]]\nid = "{name}"\naliases = {aliases}\n[[model.rates]]\ninput = "1"\nsrc = "{source}"\n'


def test_the_compiled_tables_agree_with_their_sources() -> None:
    shipped = {path.name: path.read_bytes() for path in (HERE / "compiled").glob("*.json")}
    assert compiled() == shipped


def test_check_says_whether_they_do() -> None:
    command = [sys.executable, "-m", "callmeter.pricing.compile", "--check"]
    assert subprocess.run(command, cwd=HERE.parent.parent, timeout=60).returncode == 0


def test_the_index_knows_every_provider_and_every_name() -> None:
    index = load_index()
    assert {"openai", "anthropic", "ollama"} < set(index.providers.values())
    for provider in set(index.providers.values()):
        assert all(provider in index.owners[name] for name in load_table(provider).names)


def test_a_table_names_its_own_hash() -> None:
    table = load_table("openai")
    assert len(table.hash) == 16
    assert table.hash != load_table("anthropic").hash


def test_the_same_sources_compile_to_the_same_bytes(tmp_path) -> None:
    body = model("a") + model("b", '["c"]')
    first = build(tmp_path, body)
    assert first == build(tmp_path, body)
    assert msgspec.json.decode(first["acme.json"])["names"] == {"a": 0, "b": 1, "c": 1}


def test_models_that_share_a_name_stop_the_build(tmp_path) -> None:
    with pytest.raises(ConfigError, match=r"'x-4\.5' of b is a name of a too"):
        build(tmp_path, model("a", '["x-4-5"]') + model("b", '["x-4.5"]'))
    with pytest.raises(ConfigError, match="is a name of a too"):
        build(tmp_path, model("a", '["A"]'))


def test_a_rate_without_a_listed_source_stops_the_build(tmp_path) -> None:
    with pytest.raises(ConfigError, match="list it as a"):
        build(tmp_path, model("a", source="hearsay"))


def test_two_providers_of_one_name_stop_the_build(tmp_path) -> None:
    (tmp_path / "other.toml").write_text('[provider]\nid = "other"\naliases = ["AC"]\n')
    with pytest.raises(ConfigError, match="'AC' already belongs to acme"):
        build(tmp_path, model("a"))


def test_a_price_that_is_none_stops_the_build(tmp_path) -> None:
    with pytest.raises(ConfigError, match="a: input"):
        build(tmp_path, '[[model]]\nid = "a"\n[[model.rates]]\ninput = "-1"\nsrc = "s"\n')


def test_the_maker_of_a_name_that_several_list_is_in_the_index(tmp_path) -> None:
    about = {"acme": ["a-"], "host": [], "rival": ["b-", "a-2"]}
    for provider, makes in about.items():
        head = f'[provider]\nid = "{provider}"\nmakes = {makes}\n[[source]]\nid = "s"\n'
        (tmp_path / f"{provider}.toml").write_text(head + model("a-1") + model("a-2") + model("c-1"))
    (tmp_path / "alone.toml").write_text('[provider]\nid = "alone"\nmakes = [""]\n[[source]]\nid = "s"\n' + model("d"))
    # Two claim a-2, nobody c-1, and nobody else lists d.
    assert msgspec.json.decode(compiled(tmp_path)["index.json"])["makers"] == {"a-1": "acme"}


def test_a_table_says_where_its_rates_are_from_and_when_that_was_read() -> None:
    head = '[provider]\nid = "acme"\n[[source]]\nid = "s"\nkind = "collection"\nurl = "https://s.example"\nchecked = 2026-11-25\n'
    source = listed(heading(head + '[[model]]\nid = "a"\n'))["s"]
    assert (source.kind, source.url, source.checked) == ("collection", "https://s.example", date(2026, 11, 25))
