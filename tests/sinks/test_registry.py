"""A sink is found by its name; every way to get the name or its settings wrong has one clear message."""

import sys
from pathlib import Path

import pytest

from callmeter.errors import ConfigError
from callmeter.settings import Settings
from callmeter.sinks.registry import make, names
from callmeter.sinks.webhook import Webhook

URL = {"CALLMETER_WEBHOOK_URL": "https://hooks.example.com/canary"}


def test_webhook_is_made_from_its_variables() -> None:
    more = {"CALLMETER_WEBHOOK_SECRET": "s", "CALLMETER_WEBHOOK_HEADERS": "X-Team=a, Authorization=Bearer b=c"}
    sink = make("webhook", Settings(capture_content=True), URL | more)
    expected = Webhook(
        URL["CALLMETER_WEBHOOK_URL"], "s", headers={"X-Team": "a", "Authorization": "Bearer b=c"}, capture_content=True
    )
    assert sink.identity() == expected.identity()


def test_a_missing_variable_is_named_with_what_it_holds() -> None:
    with pytest.raises(
        ConfigError, match="'webhook' needs CALLMETER_WEBHOOK_URL, which is not set; set it to the https"
    ):
        make("webhook", Settings(), {"CALLMETER_WEBHOOK_URL": " "})


def test_malformed_headers_are_refused_without_being_shown() -> None:
    with pytest.raises(ConfigError, match="Name=value,Other=value") as caught:
        make("webhook", Settings(), URL | {"CALLMETER_WEBHOOK_HEADERS": "canary"})
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(("name", "meant"), [("webhok", "webhook"), ("duckdbb", "duckdb")])
def test_an_unknown_name_gets_the_nearest_and_the_list(name: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=f"no sink called '{name}'; did you mean '{meant}'") as caught:
        make(name, Settings(), {})
    assert f"there are {', '.join(names())}, and" in str(caught.value)
    assert {"duckdb", "jsonl", "langfuse", "mlflow", "otlp", "webhook"} <= set(names())


def test_a_name_near_nothing_gets_the_list_alone() -> None:
    with pytest.raises(ConfigError, match=f"no sink called 'zzz'; there are {', '.join(names())}"):
        make("zzz", Settings(), {})


def test_a_name_of_existing_code_is_the_same_sink() -> None:
    keys = {"LANGFUSE_PUBLIC_KEY": "pk", "LANGFUSE_SECRET_KEY": "sk"}
    assert make("langfuse_otel", Settings(), keys).identity() == make("langfuse", Settings(), keys).identity()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package that adds sinks by entry points."""
    metadata = tmp_path / "acme_sinks-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-sinks\nVersion: 1.0\n")
    names = "acme = acme_sinks:make\nbroken = acme_sinks:missing\nwrong = acme_sinks:wrong\n"
    (metadata / "entry_points.txt").write_text(f"[callmeter.sinks]\n{names}")
    (tmp_path / "acme_sinks.py").write_text(
        "from callmeter.sinks.base import Sink\n"
        "class Acme(Sink):\n    name = 'acme'\n"
        "def make(settings, environ):\n    sink = Acme()\n    sink.endpoint = environ['ACME']\n    return sink\n"
        "def wrong(settings, environ):\n    return 42\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "acme_sinks", raising=False)
    return tmp_path


def test_an_installed_package_adds_a_sink(package: Path) -> None:
    sink = make("acme", Settings(), {"ACME": "acme://here"})
    assert (sink.name, sink.endpoint) == ("acme", "acme://here")


def test_an_entry_point_that_cannot_be_loaded_is_named(package: Path) -> None:
    with pytest.raises(ConfigError, match="'broken' of acme_sinks:missing cannot be loaded: AttributeError"):
        make("broken", Settings(), {})


def test_an_entry_point_that_makes_something_else_is_named(package: Path) -> None:
    with pytest.raises(ConfigError, match="'wrong' made a int"):
        make("wrong", Settings(), {})
