"""Settings: file under environment under keyword, and errors that say what to do."""

from pathlib import Path

import pytest

from callmeter import settings
from callmeter.errors import ConfigError


def test_defaults_need_nothing(tmp_path: Path) -> None:
    assert settings.load({}, {"CALLMETER_HOME": str(tmp_path)}).max_retries == 2


def test_a_keyword_wins_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('max_retries = 5\nproject = "file"\nenvironment = "file"\n')
    environ = {"CALLMETER_HOME": str(tmp_path), "CALLMETER_PROJECT": "environment", "CALLMETER_MAX_RETRIES": "7"}
    loaded = settings.load({"max_retries": 9}, environ)
    assert (loaded.max_retries, loaded.project, loaded.environment) == (9, "environment", "file")


@pytest.mark.parametrize(
    ("environ", "overrides", "words"),
    [
        ({"CALLMETER_DURABILITY": "forever"}, {}, ["CALLMETER_DURABILITY", "'forever'", "'process'"]),
        ({"CALLMETER_MAX_RETRIES": "many"}, {}, ["CALLMETER_MAX_RETRIES", "'many'", "a whole number"]),
        ({"CALLMETER_MAX_RETRIES": "-1"}, {}, ["CALLMETER_MAX_RETRIES", "'-1'", ">= 0"]),
        ({}, {"max_retires": 1}, ["configure()", "'max_retires'", "did you mean 'max_retries'"]),
        ({}, {"capture_content": "yes please"}, ["capture_content", "'yes please'", "true or false"]),
        ({"CALLMETER_CONFIG": "/nowhere/config.toml"}, {}, ["/nowhere/config.toml", "create it or unset it"]),
    ],
)
def test_a_wrong_value_is_named_with_its_cure(
    tmp_path: Path, environ: dict[str, str], overrides: dict[str, object], words: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        settings.load(overrides, {"CALLMETER_HOME": str(tmp_path), **environ})
    assert [word for word in words if word not in str(caught.value)] == []


def test_a_broken_config_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("max_retries = = 5")
    with pytest.raises(ConfigError, match=r"config\.toml is not valid TOML"):
        settings.load({}, {"CALLMETER_HOME": str(tmp_path)})


def test_under_pytest_the_home_is_a_temporary_one() -> None:
    import tempfile

    assert str(settings.home_of(settings.Settings())).startswith(tempfile.gettempdir())
