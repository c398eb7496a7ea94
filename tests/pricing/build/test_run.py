"""The build as a whole: the same files for the same facts, and nothing that was ever said is lost."""

import os
import subprocess
import sys
import tomllib
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from callmeter.pricing import Usage
from callmeter.pricing.build.__main__ import main
from callmeter.pricing.build.run import DATA, Inputs, build
from callmeter.pricing.build.write import MARK
from callmeter.pricing.compile import compiled, table
from callmeter.pricing.match import find
from callmeter.pricing.plan import build as plan
from tests.pricing.build.collections_of_prices import (
    AS_OF,
    cost,
    genai,
    litellm,
    model,
    models_dev,
    prices,
    provider,
    write,
)

ROOT = Path(__file__).parents[3]
SOURCES = {name: os.environ.get(name) for name in ("CALLMETER_MODELS_DEV", "CALLMETER_PRICE_VENV")}


LOCAL = {"atomic_chat.toml", "lemonade.toml", "lm_studio.toml"}
LOCAL_JSON = {name.replace(".toml", ".json") for name in LOCAL}


def groq(read: float = 1e-6, written: float = 2e-6, **fields):
    return {"litellm_provider": "groq", "input_cost_per_token": read, "output_cost_per_token": written, **fields}


def run(inputs: Inputs, data: Path) -> dict[str, str]:
    """Builds into a directory, as the command does."""
    result = build(inputs, data)
    assert result.open == []
    data.mkdir(exist_ok=True)
    for name, text in result.files.items():
        (data / name).write_text(text)
    return dict(result.files)


def everything(folder: Path) -> Inputs:
    """Something of each kind: tiers, regions, long contexts, hours, pieces, names, dates, disagreement, free models."""
    off_peak = {"input_cost_per_token": 5e-7, "windows": [{"hours_utc": "10:00-00:00", "weekdays": [1, 2, 3, 4, 5]}]}
    dated = (
        f"[ConditionalPrice(prices={prices(input_mtok='3', output_mtok='6')}), "
        "ConditionalPrice(constraint=StartDateConstraint(start_date=datetime.date(2026, 3, 1)), "
        f"prices={prices(input_mtok='1', output_mtok='2', web_searches_kcount='10')})]"
    )
    names = "ClauseOr(or_=[ClauseEquals(equals='m'), ClauseEquals(equals='m-latest')])"
    return write(
        folder,
        price_map=litellm(
            groq__m=groq(
                input_cost_per_token_above_200k_tokens=2e-6, input_cost_per_token_batches=5e-7,
                cache_read_input_token_cost=1e-7, max_input_tokens=200_000, supports_vision=True,
            ),
            groq__peak=groq(off_peak_pricing=off_peak),
            azure__w={**groq(), "litellm_provider": "azure", "input_cost_per_token_flex": 5e-7},
            azure__eu__w={**groq(1.1e-6, 2.2e-6), "litellm_provider": "azure"},
            groq__whisper={"litellm_provider": "groq", "mode": "audio_transcription", "input_cost_per_second": 3.083e-5},
            groq__painter={"litellm_provider": "groq", "mode": "image_generation", "output_cost_per_image": 0.04},
        ),
        module=genai(provider("groq", model("m", dated, match=names))),
        catalogue=models_dev(
            ("groq", "m", {**cost(input="1.5", output="2"), "release_date": "2025-01-01", "limit": {"context": 200_000}}),
            ("openrouter", "maker/m:free", cost(input=0, output=0)),
            ("openrouter", "maker/nothing", cost(input=0, output=0)),
            ("lmstudio", "local", cost(input=0, output=0)),
        ),
    )  # fmt: skip


def test_the_same_facts_give_the_same_bytes_also_upon_what_was_written(tmp_path) -> None:
    first = run(everything(tmp_path / "in"), tmp_path / "data")
    assert run(everything(tmp_path / "in"), tmp_path / "data") == first
    assert run(everything(tmp_path / "again"), tmp_path / "other") == first


def test_what_is_written_compiles_and_prices(tmp_path) -> None:
    run(everything(tmp_path / "in"), tmp_path / "data")
    assert set(compiled(tmp_path / "data")) == LOCAL_JSON | {"azure.json", "groq.json", "index.json", "openrouter.json"}
    made = table(tomllib.loads((tmp_path / "data" / "groq.toml").read_text()), "groq.toml")
    position, _ = find("m-latest", made)
    assert position is not None
    entry = made.models[position]
    assert (entry.id, entry.limits.context, entry.features) == ("m", 200_000, ("vision",))
    now, then = (
        plan(entry, "standard", "").in_force(int(datetime(*day, tzinfo=UTC).timestamp()) * 10**9)
        for day in ((2026, 11, 1), (2025, 6, 1))
    )
    assert [sheet.floor for sheet in now] == [200_001, 0]
    assert {line: now[1].charges[line].femtos for line in ("input", "cache_read", "image_in")} == {
        "input": 10**9, "cache_read": 10**8, "image_in": 10**9,
    }  # fmt: skip
    assert now[0].charges["cache_read"].femtos == 2 * 10**8
    assert (then[0].charges["input"].femtos, now[1].charges["search.web"].femtos) == (3 * 10**9, 10**13)


def test_a_source_alone_says_so_and_the_day_it_was_read_is_there(tmp_path) -> None:
    document = tomllib.loads(run(everything(tmp_path / "in"), tmp_path / "data")["groq.toml"])
    by_id = {entry["id"]: entry for entry in document["model"]}
    assert by_id["painter"]["rates"] == [{"per": "1", "image": "0.04", "src": "litellm", "confidence": "single"}]
    # 0.111 an hour, which the source cut to 0.00003083 a second.
    assert (by_id["whisper"]["rates"][0]["per"], by_id["whisper"]["rates"][0]["audio_second"]) == ("1min", "0.00185")
    read = {source["id"]: source.get("checked") for source in document["source"]}
    assert read == {"litellm": AS_OF, "genai-prices": AS_OF, "inferred": None}


def test_free_is_said_and_zero_is_not_a_price(tmp_path) -> None:
    document = tomllib.loads(run(everything(tmp_path / "in"), tmp_path / "data")["openrouter.toml"])
    assert [(entry["id"], entry["free"]) for entry in document["model"]] == [("maker/m:free", True)]


def test_disagreements_are_told_with_values_and_rule(tmp_path) -> None:
    page = run(everything(tmp_path / "in"), tmp_path / "data")["CONFLICTS.md"]
    assert "| m | input | litellm 1, genai-prices 1, models.dev 1.5 | 1 | two sources agree |" in page


def test_a_rate_that_we_set_is_told_with_our_reason_and_the_rest_with_the_rule(tmp_path) -> None:
    catalogue = models_dev(("groq", "m", cost(input="3", output="4")))
    decisions = '[[decision]]\nkind = "price"\nmodel = "m"\nset = { input = "5" }\nreason = "the page says so"\n'
    inputs = write(tmp_path / "in", price_map=litellm(groq__m=groq()), catalogue=catalogue, decisions=decisions)
    page = run(inputs, tmp_path / "data")["CONFLICTS.md"]
    assert "| m | input | litellm 1, models.dev 3 | 5 | the page says so |" in page
    assert "| m | output | litellm 2, models.dev 4 | 2 | the newer source; none names the provider's page |" in page


def test_a_price_that_changed_ends_and_stays(tmp_path) -> None:
    data = tmp_path / "data"
    for read, day in (
        (1e-6, date(2026, 11, 25)),
        (3e-6, date(2026, 12, 1)),
        (3e-6, date(2026, 12, 2)),
        (4e-6, date(2027, 1, 1)),
    ):
        files = run(write(tmp_path / "in", price_map=litellm(groq__m=groq(read)), as_of=day), data)
    (entry,) = tomllib.loads(files["groq.toml"])["model"]
    assert [(block.get("from"), block.get("until"), block["input"]) for block in entry["rates"]] == [
        (None, date(2026, 12, 1), "1"),
        (date(2026, 12, 1), date(2027, 1, 1), "3"),
        (date(2027, 1, 1), None, "4"),
    ]


def test_a_figure_that_follows_from_others_is_corrected_in_place(tmp_path) -> None:
    inputs = write(
        tmp_path, price_map=litellm(groq__m=groq(cache_read_input_token_cost=1e-7, input_cost_per_token_batches=5e-7))
    )
    first = run(inputs, tmp_path / "data")["groq.toml"]
    mistaken = first.replace('cache_read = "0.5"', 'cache_read = "0.1"')
    assert mistaken != first
    (tmp_path / "data" / "groq.toml").write_text(mistaken)
    assert run(inputs, tmp_path / "data")["groq.toml"] == first


def test_another_name_is_folded_into_its_model_whatever_follows_from_the_less_it_states(tmp_path) -> None:
    both = "ClauseOr(or_=[ClauseEquals(equals='m'), ClauseEquals(equals='m-latest')])"
    batch = f"[PriceVariant(when={{'processing': 'batch'}}, prices={prices(input_mtok='0.5', output_mtok='1')})]"
    listed = model("m", prices(input_mtok="1", output_mtok="2", cache_read_mtok="0.1"), both, batch)
    price_map = litellm(groq__m=groq(cache_read_input_token_cost=1e-7, cache_read_input_token_cost_batches=1e-7))
    written = run(write(tmp_path, price_map=price_map, module=genai(provider("groq", listed))), tmp_path / "data")
    assert tomllib.loads(written["groq.toml"])["model"][0]["aliases"] == ["m-latest"]


def test_a_model_that_no_source_has_any_more_stays(tmp_path) -> None:
    data = tmp_path / "data"
    run(write(tmp_path / "in", price_map=litellm(groq__m=groq(), groq__n=groq())), data)
    files = run(write(tmp_path / "in", price_map=litellm(groq__n=groq())), data)
    assert [entry["id"] for entry in tomllib.loads(files["groq.toml"])["model"]] == ["m", "n"]
    assert "litellm" in {source["id"] for source in tomllib.loads(files["groq.toml"])["source"]}


def test_what_is_written_by_hand_ranks_highest_and_is_kept(tmp_path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    by_hand = (
        '# A remark.\n[provider]\nid = "groq"\n[[source]]\nid = "litellm"\n'
        '[[model]]\nid = "m"\naliases = ["m-latest"]\n[[model.rates]]\nper = "1M"\ninput = "7"\nsrc = "litellm"\n'
    )
    (data / "groq.toml").write_text(by_hand)
    inputs = write(
        tmp_path / "in", price_map=litellm(**{"groq__m": groq(), "groq__m-latest": groq(), "groq__n": groq()})
    )
    for _ in range(2):
        text = run(inputs, data)["groq.toml"]
        above, _, generated = text.partition(MARK)
        assert above.strip() == by_hand.strip()
        assert [entry["id"] for entry in tomllib.loads(generated)["model"]] == ["n"]


def test_subscriptions_have_no_price_by_call_and_local_servers_none_at_all(tmp_path) -> None:
    catalogue = models_dev(
        ("zai-coding-plan", "glm", cost(input="1", output="2")), ("lmstudio", "m", cost(input="1", output="2"))
    )
    files = run(write(tmp_path / "in", catalogue=catalogue), tmp_path / "data")
    assert set(files) == LOCAL | {"CONFLICTS.md"}
    assert tomllib.loads(files["lm_studio.toml"])["provider"]["free"] is True


def arguments(inputs: Inputs, data: Path, *more: str) -> list[str]:
    return [
        "--models-dev", str(inputs.models_dev), "--litellm", str(inputs.litellm), "--as-of", str(inputs.as_of),
        "--genai-prices", str(inputs.genai_prices), "--data", str(data), *more,
    ]  # fmt: skip


def test_the_command_writes_checks_and_tells(tmp_path, capsys) -> None:
    data = tmp_path / "data"
    data.mkdir()
    inputs = write(tmp_path / "in", price_map=litellm(groq__m=groq()))
    assert main(arguments(inputs, data, "--check")) == 1
    assert "groq.toml is out of date" in capsys.readouterr().out
    assert main(arguments(inputs, data)) == 0
    assert "1 providers, 1 models" in capsys.readouterr().out
    assert main(arguments(inputs, data, "--check")) == 0


def test_the_command_writes_nothing_while_something_is_undecided(tmp_path, capsys) -> None:
    (tmp_path / "data").mkdir()
    inputs = write(tmp_path / "in", price_map=litellm(groq__m=groq(0.005)))
    assert main(arguments(inputs, tmp_path / "data")) == 1
    assert "undecided: unit: groq/m: input at 5000 a million tokens" in capsys.readouterr().err
    assert list((tmp_path / "data").iterdir()) == []


def test_the_command_says_what_it_cannot_find(tmp_path) -> None:
    command = [sys.executable, "-m", "callmeter.pricing.build", "--models-dev", str(tmp_path / "none.json")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "--venv" in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(
    not all(SOURCES.values()), reason=f"set {' and '.join(SOURCES)} to the collections to check against"
)
def test_the_shipped_tables_are_what_the_collections_say(capsys) -> None:
    checked = tomllib.loads((DATA / "groq.toml").read_text())["source"][0]["checked"]
    told = ["--models-dev", str(SOURCES["CALLMETER_MODELS_DEV"]), "--venv", str(SOURCES["CALLMETER_PRICE_VENV"])]
    assert main([*told, "--as-of", str(checked), "--check"]) == 0, capsys.readouterr()


def test_a_usage_is_priced_by_the_hour_of_its_week() -> None:
    from callmeter.pricing import price

    usage = Usage(input_tokens=1_000_000)
    for hour, usd in ((0, "0.15"), (1, "0.3"), (4, "0.15"), (9, "0.3"), (10, "0.15")):
        at = datetime(2026, 11, 25, hour, 30, tzinfo=UTC)
        assert str(price("deepseek-flash", usage, provider="deepseek", at=at).total) == usd
    sunday = datetime(2026, 11, 29, 1, 30, tzinfo=UTC)
    assert str(price("deepseek-flash", usage, provider="deepseek", at=sunday).total) == "0.15"
