import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from callmeter.cli import _checks
from tests.cli.conftest import Run

KEY = "sk-canary-0123456789"


def findings(run: Run, home: Path, code: int, **environ: str) -> dict[str, dict]:  # type: ignore[type-arg]
    done = run("doctor", "--json", "--home", home, **environ)
    assert done.returncode == code
    return {row["what"]: row for row in json.loads(done.stdout)["rows"]}


def test_a_sound_home_is_found_sound(run: Run, spent: Path) -> None:
    found = findings(run, spent, 0)
    assert {row["state"] for row in found.values()} <= {"ok", "note"}
    assert found["ledger"]["finding"] == "9 calls"
    assert found["home"]["finding"] == f"{spent}, mode 700"
    assert "without the WAL-reset race" in found["sqlite"]["finding"]
    assert {"python", "transport", "disk", "journal", "accounts", "clock"} <= found.keys()


def test_the_price_tables_date_and_hash_are_said(run: Run, spent: Path) -> None:
    from callmeter.pricing.table import load_index

    said = findings(run, spent, 0)["prices"]["finding"]
    assert load_index().hash in said
    assert "checked 20" in said
    assert said.endswith(f"{len(set(load_index().providers.values()))} providers")


def test_settings_are_shown_with_where_they_were_set_and_keys_are_not(run: Run, spent: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text("retention_days = 30\n")
    environ = {"CALLMETER_CONFIG": str(config), "CALLMETER_CAPTURE_CONTENT": "1", "OPENAI_API_KEY": KEY}
    found = findings(run, spent, 0, **environ)
    assert found["retention_days is set"]["finding"] == "30 by the config file"
    assert found["capture_content is set"]["finding"] == "true by CALLMETER_CAPTURE_CONTENT"
    assert found["key for openai"]["finding"] == "**** in OPENAI_API_KEY"
    assert KEY not in json.dumps(found)


def test_a_home_that_is_not_there_yet_is_no_fault(run: Run, tmp_path: Path) -> None:
    found = findings(run, tmp_path / "none", 0)
    assert found["home"]["state"] == "note"
    assert not (tmp_path / "none").exists()


def test_a_file_instead_of_a_home_is_wrong(run: Run, tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    found = findings(run, tmp_path / "home", 1)
    assert found["journal"]["state"] == "wrong"


def test_a_home_that_is_open_to_others_is_noted(run: Run, spent: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(spent, home)
    home.chmod(0o755)
    assert findings(run, home, 0)["home"]["state"] == "note"
    assert f"chmod 700 {home}" in run("doctor", "--home", home).stdout


def test_a_damaged_ledger_file_is_named(run: Run, spent: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(spent, home)
    assert run("drain", "--home", home).returncode == 0
    (file,) = home.glob("ledger/*/*.parquet")
    file.write_bytes(file.read_bytes()[:-20])
    assert findings(run, home, 1)["ledger"]["state"] == "wrong"
    assert file.name in run("doctor", "--home", home).stdout


def test_a_setting_that_cannot_be_is_named(run: Run, spent: Path) -> None:
    assert findings(run, spent, 1, CALLMETER_DURABILITY="fast")["settings"]["state"] == "wrong"
    text = run("doctor", "--home", spent, CALLMETER_DURABILITY="fast").stdout
    assert "CALLMETER_DURABILITY" in text
    assert "'process'" in text


def test_a_clock_that_was_never_set_is_wrong() -> None:
    assert _checks._clock(datetime(1970, 1, 1, tzinfo=UTC)).state == "wrong"
    assert _checks._clock(datetime(2026, 11, 25, tzinfo=UTC)).state == "ok"


def test_a_full_disk_is_wrong(tmp_path: Path) -> None:
    from callmeter.settings import Settings

    assert _checks._disk(tmp_path, Settings(min_free_disk=0.0)).state == "ok"
    assert _checks._disk(tmp_path, Settings(min_free_disk=0.9999999)).state == "wrong"


def test_a_sqlite_that_can_lose_rows_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    import apsw

    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: "3.51.2")
    assert _checks._sqlite().state == "wrong"
