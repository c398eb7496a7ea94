from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from callmeter.cli._instants import instant_called, own_zone, zone_called
from callmeter.errors import ConfigError

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 25, 23, 30, tzinfo=UTC)  # 00:30 on the 26th in Berlin


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("30m", "2026-11-25T23:00+00:00"),
        ("24h", "2026-11-24T23:30+00:00"),
        ("7d", "2026-11-18T23:30+00:00"),
        ("2w", "2026-11-11T23:30+00:00"),
        ("today", "2026-11-26T00:00+01:00"),
        ("yesterday", "2026-11-25T00:00+01:00"),
        ("2026-11-01", "2026-11-01T00:00+01:00"),
        ("2026-07-01", "2026-07-01T00:00+02:00"),
        ("2026-11-01T09:30", "2026-11-01T09:30+01:00"),
        ("2026-11-01T09:30:00Z", "2026-11-01T09:30+00:00"),
    ],
)
def test_what_people_write_is_an_instant_in_their_zone(text: str, instant: str) -> None:
    assert instant_called(text, "--since", BERLIN, NOW) == datetime.fromisoformat(instant)


@pytest.mark.parametrize("text", ["soon", "7", "7y", "-7d", "2026-13-01", "99999w", "0001-01-01", "9999-12-31"])
def test_anything_else_is_refused_by_option_and_value(text: str) -> None:
    with pytest.raises(ConfigError, match=rf"--until '{text}'.*7d"):
        instant_called(text, "--until", BERLIN, NOW)


def test_the_readers_zone_is_what_the_environment_names() -> None:
    assert own_zone({"TZ": ":Europe/Berlin"}) == "Europe/Berlin"


def test_the_readers_zone_is_what_the_machine_links_to(tmp_path: Path) -> None:
    link = tmp_path / "localtime"
    link.symlink_to("/usr/share/zoneinfo/America/New_York")
    assert own_zone({}, link) == "America/New_York"


def test_a_machine_without_a_zone_is_in_utc(tmp_path: Path) -> None:
    assert own_zone({}, tmp_path / "localtime") == "UTC"


def test_utc_needs_no_zone_files() -> None:
    assert zone_called("utc") == ("UTC", UTC)


@pytest.mark.parametrize("name", ["Mars/Olympus", "../etc/passwd", ""])
def test_a_zone_that_does_not_exist_is_refused_by_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Nowhere")
    with pytest.raises(ConfigError, match=name or "Nowhere"):
        zone_called(name)
