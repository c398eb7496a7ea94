"""`callmeter prices …`, as a user types it: show, search, diff, missing, export, update, rollback, override."""

import csv
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from callmeter.pricing.document import encoded
from tests.cli.conftest import Run, environment
from tests.pricing.tables import Publisher, changed, newer, packaged, times, without

Rows = list[dict[str, Any]]


def document_of(run: Run, *arguments: object, code: int = 0, **environ: str) -> dict[str, Any]:
    done = run("prices", *arguments, "--json", **environ)
    assert done.returncode == code, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def rows(run: Run, *arguments: object, **environ: str) -> Rows:
    found: Rows = document_of(run, *arguments, **environ)["rows"]
    return found


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A home that is not there yet."""
    return tmp_path / "home"


def refused(run: Run, code: int, *arguments: object, **environ: str) -> str:
    """The one sentence of a command that is refused."""
    done = run("prices", *arguments, **environ)
    assert (done.returncode, done.stdout) == (code, ""), done.stdout
    assert done.stderr.startswith("callmeter: ")
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


# --- show and search


def test_alone_it_shows_what_it_can_do(run: Run) -> None:
    done = run("prices")
    assert done.returncode == 0
    assert done.stdout == run("prices", "--help").stdout
    for name in ("diff", "export", "missing", "override", "rollback", "search", "show", "update"):
        assert f"  {name}" in done.stdout
    assert "callmeter prices --help" in refused(run, 2, "shw")


def test_a_models_rates_stand_with_their_source_and_day(run: Run, place: Path) -> None:
    found = document_of(run, "show", "gpt-4o", "--home", place)
    plain = {row["line"]: row for row in found["rows"] if row["condition"] == "standard"}
    assert (plain["input"]["price"], plain["input"]["per"]) == ("2.5", "1M tokens")
    assert plain["output"]["price"] == "10"
    assert plain["input"]["from"].startswith("2024-10-02")
    assert plain["input"]["until"] is None
    assert (plain["input"]["source"], plain["input"]["checked"]) == ("genai-prices", "2026-11-25")
    assert {row["per"] for row in found["rows"]} == {"1M tokens", "session", "search"}
    assert f"table {packaged().version} (packaged)" in found["title"]
    notes = " ".join(found["notes"])
    assert "--history" in notes
    assert "https://github.com/pydantic/genai-prices" in notes


def test_a_models_maker_stands_before_its_hosts(run: Run, place: Path) -> None:
    providers = [row["provider"] for row in document_of(run, "show", "gpt-4o", "--home", place)["rows"]]
    assert providers[0] == "openai"
    assert min(providers) < "openai"


def test_history_shows_past_rates_and_at_shows_those_of_a_day(run: Run, place: Path) -> None:
    asked = ("show", "gpt-4o", "--provider", "openai", "--home", place)
    every = rows(run, *asked, "--history")
    then = rows(run, *asked, "--at", "2024-06-01")
    assert len(every) > len(rows(run, *asked))
    assert {row["price"] for row in then if row["line"] == "input" and "batch" not in row["condition"]} == {"5"}
    assert all(row["until"] for row in then)
    assert any(row in every for row in then)
    before = document_of(run, "show", "gpt-4o", "--provider", "openai", "--at", "2020-01-01", "--home", place, code=1)
    assert "openai/gpt-4o has no price at that instant" in before["notes"]


def test_a_tier_shows_what_it_is_charged_with_what_stands_in(run: Run, place: Path) -> None:
    found = rows(run, "show", "anthropic/claude-sonnet-4-5", "--tier", "batches", "--home", place)
    price = {row["line"]: (row["price"], row["condition"]) for row in found}
    assert price["input"] == ("1.5", "batch")
    assert price["reasoning"] == ("7.5", "batch, as output")
    assert price["search.web"] == ("0.01", None) or price["search.web"] == ("0.01", "")


def test_a_longer_context_is_a_row_of_its_own(run: Run, place: Path) -> None:
    arguments = ("show", "claude-sonnet-4-5", "--at", "2026-01-01", "--region", "eu", "--home", place)
    output = {row["condition"]: row["price"] for row in rows(run, *arguments) if row["line"] == "output"}
    assert output == {"": "15", "input >=200001": "22.5"}


def test_other_names_of_a_model_are_said(run: Run, place: Path) -> None:
    done = run("prices", "show", "claude-sonnet-4.5", "--home", place)
    assert "also called claude-sonnet-4-5-20250929, claude-sonnet-4-5-latest" in done.stdout


def test_an_unknown_name_is_said_to_be_unpriced_with_names_near_to_it(run: Run, place: Path) -> None:
    found = document_of(run, "show", "gpt-4p", "--home", place, code=1)
    assert found["rows"] == []
    assert found["notes"][0] == "there is no price for 'gpt-4p': calls to it are unpriced, not free"
    assert "gpt-4o (" in found["notes"][1]
    other = document_of(run, "show", "gpt-4o", "--provider", "nobody", "--home", place, code=1)
    assert "no price table for the provider 'nobody'; there is one for " in other["notes"][0]
    assert all(name in other["notes"][0] for name in ("anthropic", "ollama", "openai"))


def test_where_all_is_free_an_unlisted_name_is_no_failure(run: Run, place: Path) -> None:
    for asked in (("llama3.2", "--provider", "ollama"), ("ollama/llama3.2",)):
        found = document_of(run, "show", *asked, "--home", place)
        assert found["notes"] == ["'llama3.2' is not listed; at ollama every model is free, whatever its name"]


def test_search_finds_by_all_words_and_sorts(run: Run, place: Path) -> None:
    found = rows(run, "search", "claude", "HAIKU", "--sort", "input", "--home", place)
    assert len(found) >= 4
    assert all("haiku" in row["model"].lower() for row in found)
    assert "anthropic" in {row["provider"] for row in found}
    prices = [float(row["input"]) for row in found]
    assert prices == sorted(prices)
    longest = rows(run, "search", "gpt", "--sort", "context", "--limit", "3", "--home", place)
    assert len(longest) == 3
    assert longest[0]["context"] >= longest[-1]["context"] > 0
    assert rows(run, "search", "--mode", "realtime", "--provider", "OpenAI", "--home", place)
    table = list(csv.DictReader(run("prices", "search", "4o", "--csv", "--home", place).stdout.splitlines()))
    assert {"provider", "model", "input", "output", "context"} <= table[0].keys()
    none = document_of(run, "search", "no-such-thing", "--home", place, code=1)
    assert none["notes"] == ["no model has 'no-such-thing' in its name"]


# --- diff, export


def test_a_table_is_written_once_and_compared(run: Run, place: Path, tmp_path: Path) -> None:
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    assert run("prices", "export", old, "--home", place).returncode == 0
    assert old.read_bytes() == encoded(packaged())
    assert "--force" in refused(run, 2, "export", old, "--home", place)
    assert run("prices", "export", old, "--force", "--version", "2027010100", "--home", place).returncode == 0
    assert json.loads(old.read_bytes())["made_at"] == "2027-01-01T00:00:00Z"
    for wrong in ("5", "20261399", "99999999999", "-1"):
        assert f"--version {wrong} is none" in refused(run, 2, "export", new, f"--version={wrong}", "--home", place)
    new.write_bytes(encoded(changed(packaged(), "openai", "gpt-4o", times("input", 11, 10))))
    for arguments in ((old, new), (new,)):
        found = rows(run, "diff", *arguments, "--home", place)
        plain = next(row for row in found if row["condition"] is None)
        assert (plain["model"], plain["line"], plain["old"], plain["new"], plain["percent"]) == (
            "gpt-4o", "input", "2.5", "2.75", "10",
        )  # fmt: skip
    assert rows(run, "diff", old, new, "--provider", "anthropic", "--home", place) == []
    assert "no price is different" in run("prices", "diff", old, old, "--home", place).stdout


def test_two_instants_of_one_table(run: Run, place: Path) -> None:
    found = rows(run, "diff", "--at", "2024-06-01", "--at", "2024-12-01", "--provider", "openai", "--home", place)
    plain = [r for r in found if (r["model"], r["line"]) == ("gpt-4o", "input") and r["condition"] is None]
    assert [(row["old"], row["new"], row["percent"], row["change"]) for row in plain] == [
        ("5", "2.5", "-50", "cheaper")
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no newer table is installed"),
        (["--at", "today"], "give it twice"),
        (["a", "b", "c"], "3 files"),
        (["--at", "today", "--at", "soon"], "'soon' is no instant"),
    ],
)
def test_a_comparison_of_nothing_is_refused(run: Run, place: Path, arguments: list[str], said: str) -> None:
    assert said in refused(run, 2, "diff", *arguments, "--home", place)


def test_a_file_that_is_no_table_is_named(run: Run, place: Path, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"format": 1}')
    assert "x.json is no price table" in refused(run, 1, "diff", tmp_path / "x.json", "--home", place)
    assert "none.json: No such file" in refused(run, 1, "diff", tmp_path / "none.json", "--home", place)


# --- missing


def test_what_calls_could_not_be_priced_for_is_listed(run: Run, spent: Path) -> None:
    found = document_of(run, "missing", "--home", spent)
    (row,) = found["rows"]
    assert (row["provider"], row["model"], row["cost_status"], row["calls"]) == (
        "openai",
        "acme-tuned-7b",
        "unpriced",
        1,
    )
    assert (row["input_tokens"], row["output_tokens"], row["percent_of_calls"]) == (1000, 100, "11.11")
    assert "unknown model 'acme-tuned-7b'" in row["cost_reason"]
    assert row["first_at"] == row["last_at"]
    assert found["notes"][0] == "1 calls, 1000 tokens in and 100 out: 11.11 % of all calls"
    assert "prices override" in found["notes"][1]


def test_where_all_is_priced_nothing_is_missing(run: Run, spent: Path) -> None:
    found = document_of(run, "missing", "--until", "2020-01-01", "--home", spent, code=1)
    assert (found["rows"], found["notes"]) == ([], ["every call has a complete price"])


# --- update


class Server:
    """Serves files over HTTP; a path may be told to answer otherwise."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.cut: set[str] = set()
        self.moved: dict[str, str] = {}

    @contextmanager
    def running(self) -> Iterator[str]:
        ours = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                ours.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            thread = Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            try:
                yield f"http://127.0.0.1:{server.server_port}"
            finally:
                server.shutdown()
                thread.join()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.asked.append(handler.path)
        if handler.path in self.moved:
            handler.send_response(302)
            handler.send_header("location", self.moved[handler.path])
            handler.send_header("content-length", "0")
            handler.end_headers()
            return
        body = self.files.get(handler.path)
        handler.send_response(404 if body is None else 200)
        handler.send_header("content-length", str(len(body or b"")))
        handler.end_headers()
        sent = body or b""
        handler.wfile.write(sent[: len(sent) // 2] if handler.path in self.cut else sent)


@pytest.fixture
def publisher() -> Publisher:
    return Publisher()


@pytest.fixture
def server() -> Iterator[tuple[Server, str]]:
    ours = Server()
    with ours.running() as url:
        yield ours, url


NEWER = newer(changed(packaged(), "openai", "gpt-4o", times("output", 11, 10)))


def output_price(run: Run, place: Path) -> str:
    found = rows(run, "show", "gpt-4o", "--provider", "openai", "--tier", "standard", "--home", place)
    return next(str(row["price"]) for row in found if row["line"] == "output")


def test_without_a_source_or_a_key_it_says_what_to_set(run: Run, place: Path, tmp_path: Path) -> None:
    assert "none is by default" in refused(run, 2, "update", "--home", place)
    assert "CALLMETER_PRICE_SOURCE" in refused(run, 2, "update", "--home", place)
    assert "no key is pinned" in refused(run, 2, "update", tmp_path / "x.json", "--home", place)
    said = refused(run, 2, "update", tmp_path / "x.json", "--home", place, CALLMETER_PRICE_KEY="abc")
    assert "price_key is 'abc', no Ed25519 public key" in said
    assert not place.exists()


def test_a_signed_table_of_a_file_is_installed_shown_and_taken_back(
    run: Run, place: Path, tmp_path: Path, publisher: Publisher
) -> None:
    source = publisher.publish(NEWER, tmp_path / "prices.json")
    trial = document_of(run, "update", source, "--key", publisher.key, "--dry-run", "--home", place)
    assert "would be installed" in trial["title"]
    assert not place.exists()
    found = document_of(run, "update", source, "--key", publisher.key, "--home", place)
    assert [row["percent"] for row in found["rows"]] == ["10", "10", "10"]
    assert found["notes"] == ["3 dearer"]
    assert (place.stat().st_mode & 0o777, output_price(run, place)) == (0o700, "11")
    assert rows(run, "diff", "--home", place)[0]["new"] == "11"
    again = document_of(run, "update", source, "--key", publisher.key, "--home", place)
    assert "nothing to do" in again["notes"][0]
    assert "of the package is in use again" in run("prices", "rollback", "--home", place).stdout
    assert output_price(run, place) == "10"
    assert f"table {NEWER.version} is in use again" in run("prices", "rollback", "--home", place).stdout
    assert output_price(run, place) == "11"
    assert str(NEWER.version) in run("doctor", "--home", place).stdout


def test_without_a_table_before_there_is_no_way_back(run: Run, place: Path) -> None:
    assert "no price table was ever installed" in refused(run, 1, "rollback", "--home", place)


def test_settings_name_the_source_and_the_key(
    run: Run, place: Path, publisher: Publisher, server: tuple[Server, str]
) -> None:
    ours, url = server
    body = encoded(NEWER)
    ours.files = {"/prices.json?v=1": body, "/prices.json.sig?v=1": publisher.signature(body)}
    ours.moved = {"/latest.json?v=1": "/prices.json?v=1"}
    environ = {"CALLMETER_PRICE_SOURCE": f"{url}/prices.json?v=1", "CALLMETER_PRICE_KEY": publisher.key}
    assert document_of(run, "update", "--home", place, **environ)["notes"] == ["3 dearer"]
    assert ours.asked == ["/prices.json?v=1", "/prices.json.sig?v=1"]
    assert output_price(run, place) == "11"


def test_calls_are_priced_by_the_installed_table(run: Run, place: Path, tmp_path: Path, publisher: Publisher) -> None:
    source = publisher.publish(NEWER, tmp_path / "prices.json")
    assert run("prices", "update", source, "--key", publisher.key, "--home", place).returncode == 0
    script = "from callmeter.pricing import *; print(price('gpt-4o', Usage(output_tokens=1000)).total)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment(CALLMETER_HOME=str(place))
    )
    assert done.stdout == "0.011\n"


def test_nothing_is_believed_that_is_not_signed_so(
    run: Run, place: Path, publisher: Publisher, server: tuple[Server, str]
) -> None:
    ours, url = server
    body = encoded(NEWER)
    signature = publisher.signature(body)

    def updating(code: int = 1) -> str:
        return refused(run, code, "update", f"{url}/p.json", "--key", publisher.key, "--home", place)

    ours.files = {"/p.json": body, "/p.json.sig": Publisher().signature(body)}
    assert "is not signed with the pinned key" in updating()
    ours.files = {"/p.json": body.replace(b"11000000000", b"11000000001"), "/p.json.sig": signature}
    assert ours.files["/p.json"] != body
    assert "was changed on the way" in updating()
    ours.files = {"/p.json": body[: len(body) // 2], "/p.json.sig": signature}
    assert "was changed on the way" in updating()
    ours.files = {"/p.json": body, "/p.json.sig": signature}
    ours.cut = {"/p.json"}
    assert "cannot fetch" in updating()
    ours.cut = {"/p.json.sig"}
    assert "cannot fetch" in updating()
    ours.cut, ours.files = set(), {"/p.json": body}
    assert "/p.json.sig answers 404" in updating()
    ours.files = {"/p.json": body, "/p.json.sig": b"<html>gone</html>"}
    assert "holds no Ed25519 signature" in updating()
    ours.files = {}
    assert "/p.json answers 404" in updating()
    assert len(ours.asked) >= 14
    assert not place.exists()


def test_a_signed_file_that_is_no_table_is_refused(run: Run, place: Path, tmp_path: Path, publisher: Publisher) -> None:
    (tmp_path / "p.json").write_bytes(b'{"format": 1, "version": 2026112600}')
    (tmp_path / "p.json.sig").write_bytes(publisher.signature(b'{"format": 1, "version": 2026112600}'))
    assert "is no price table" in refused(
        run, 1, "update", tmp_path / "p.json", "--key", publisher.key, "--home", place
    )


def test_a_source_that_cannot_be_reached_is_named(run: Run, place: Path, publisher: Publisher) -> None:
    with Server().running() as gone:
        pass
    for source, code, said in (
        (f"{gone}/p.json", 1, "cannot fetch"),
        ("ftp://example.org/p.json", 2, "neither a file nor an http or https URL"),
        ("none.json", 1, "cannot read none.json: No such file"),
    ):
        assert said in refused(run, code, "update", source, "--key", publisher.key, "--home", place)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (newer(packaged(), -1), "older than"),
        (changed(packaged(), "openai", "gpt-4o", times("output", 11, 10)), "needs a higher version"),
    ],
    ids=["older", "changed under its old version"],
)  # fmt: skip
def test_the_version_has_to_grow(
    run: Run, place: Path, tmp_path: Path, publisher: Publisher, document: Any, said: str
) -> None:
    source = publisher.publish(document, tmp_path / "p.json")
    assert said in refused(run, 1, "update", source, "--accept", "--key", publisher.key, "--home", place)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: changed(d, "openai", "gpt-4o", times("output", 3)), "openai/gpt-4o output changed by +200.0 %"),
        (lambda d: changed(d, "openai", "gpt-4o", times("output", 0)), "openai/gpt-4o output was priced and is now free"),
        (lambda d: without(d, 0.2), "models are gone"),
        (lambda d: newer(d, 500_000_00), "which is to come"),
    ],
    ids=["dearer", "free", "gone", "early"],
)  # fmt: skip
def test_big_changes_are_installed_once_they_are_accepted(
    run: Run, place: Path, tmp_path: Path, publisher: Publisher, change: Callable[[Any], Any], said: str
) -> None:
    source = publisher.publish(newer(change(packaged())), tmp_path / "p.json")
    asked = ("update", source, "--key", publisher.key, "--home", place)
    first = document_of(run, *asked, code=1)
    assert "not installed" in first["title"]
    assert any(said in note for note in first["notes"])
    assert "--accept" in first["notes"][-1]
    assert not place.exists()
    assert document_of(run, *asked, "--accept")["title"].endswith(", installed")
    assert list(place.glob("prices/*/index.json"))


def test_without_its_package_the_extra_is_named(place: Path, tmp_path: Path, publisher: Publisher) -> None:
    source = publisher.publish(NEWER, tmp_path / "p.json")
    hidden = (
        "import sys; sys.modules['cryptography'] = None; from callmeter.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", hidden, "prices", "update", source, "--key", publisher.key, "--home", place]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=environment(), timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert "pip install 'callmeter[prices]'" in done.stderr
    assert not place.exists()


def test_a_damaged_table_is_named_by_every_command_and_mended_by_the_next_update(
    run: Run, place: Path, tmp_path: Path, publisher: Publisher
) -> None:
    source = publisher.publish(NEWER, tmp_path / "p.json")
    asked = ("update", source, "--key", publisher.key, "--home", place)
    assert run("prices", *asked).returncode == 0
    (file,) = place.glob("prices/*/openai.json")
    file.write_bytes(file.read_bytes()[:-40])
    done = run("prices", "show", "gpt-4o", "--home", place)
    assert done.returncode == 0
    assert done.stderr.count("is not what was installed") == 1
    checked = run("doctor", "--home", place)
    assert checked.returncode == 1
    assert "is not what was installed" in checked.stdout
    assert run("prices", *asked).returncode == 0
    assert output_price(run, place) == "11"
    assert run("doctor", "--home", place).returncode == 0


# --- overrides

OVERRIDES = """
[[model]]
provider = "openai"
id = "gpt-4o"
reason = "contract 2026-14"
[[model.rates]]
from = 2026-01-01
per = "1M"
input = "2"
output = "8"

[[discount]]
provider = "claude"
model = "claude-*"
percent = "12.5"
reason = "committed use"

[[discount]]
provider = "openai"
model = "gpt-99"
percent = "1"
"""


@pytest.fixture
def overridden(place: Path) -> Path:
    """A home with overrides in it."""
    path = place / "prices" / "overrides.toml"
    path.parent.mkdir(parents=True)
    path.write_text(OVERRIDES)
    return place


def test_without_overrides_it_says_where_they_would_be(run: Run, place: Path) -> None:
    found = document_of(run, "override", "--home", place, code=1)
    assert str(place / "prices" / "overrides.toml") in found["notes"][0]


def test_overrides_are_listed_beside_the_tables_rates(run: Run, overridden: Path) -> None:
    found = document_of(run, "override", "list", "--home", overridden)
    contract, _, discount, unused = found["rows"]
    assert [contract[name] for name in ("provider", "model", "line", "list", "yours", "percent", "per")] == [
        "openai", "gpt-4o", "input", "2.5", "2", "-20", "1M tokens",
    ]  # fmt: skip
    assert contract["reason"] == "user: contract 2026-14"
    assert (discount["provider"], discount["percent"], unused["condition"]) == ("anthropic", "-12.5", "0 models")
    assert "the discount on openai/gpt-99 is for no model of the table" in found["notes"]


def test_show_and_search_have_the_overrides_in_them(run: Run, overridden: Path) -> None:
    found = rows(run, "show", "gpt-4o", "--provider", "openai", "--tier", "standard", "--home", overridden)
    assert {row["source"] for row in found if row["per"] == "1M tokens"} == {"user: contract 2026-14"}
    haiku = next(row for row in rows(run, "search", "haiku-4-5", "--provider", "anthropic", "--home", overridden))
    assert (haiku["input"], haiku["output"]) == ("0.875", "4.375")
    shown = rows(run, "show", "anthropic/claude-haiku-4-5", "--tier", "standard", "--home", overridden)
    plain = next(row for row in shown if row["line"] == "input")
    assert (plain["source"], plain["checked"]) == ("genai-prices, user: committed use, 12.5% off", "2026-11-25")


def test_a_file_is_checked_before_it_is_used(run: Run, place: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(OVERRIDES)
    assert len(rows(run, "override", "check", path, "--home", place)) == 4
    path.write_text(OVERRIDES.replace('percent = "12.5"', "percent = 12.5"))
    said = refused(run, 2, "override", "check", path, "--home", place)
    assert f"{path}, line 12: [[discount]] 1: percent is 12.5; write a percentage" in said
    assert "needs the file" in refused(run, 2, "override", "check", "--home", place)
    assert "takes no file" in refused(run, 2, "override", "list", path, "--home", place)


def test_a_mistake_in_the_overrides_in_use_stops_a_command_and_not_a_call(
    run: Run, overridden: Path, tmp_path: Path
) -> None:
    path = overridden / "prices" / "overrides.toml"
    path.write_text(OVERRIDES + "lines = 3\n")
    for command in (("show", "gpt-4o"), ("search", "gpt"), ("override",)):
        assert "line 18: [[discount]] 2: lines is 3" in refused(run, 2, *command, "--home", overridden)
    checked = run("doctor", "--home", overridden)
    assert checked.returncode == 1
    assert "lines is 3" in checked.stdout
    script = "from callmeter.pricing import *; print(price('gpt-4o', Usage(output_tokens=1000)).total)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment(CALLMETER_HOME=str(overridden))
    )
    assert done.stdout == "0.01\n"
    assert done.stderr.count("lines is 3") == 1


def test_a_setting_names_the_file(run: Run, place: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(OVERRIDES)
    environ = {"CALLMETER_PRICE_OVERRIDES": str(path)}
    assert len(rows(run, "override", "--home", place, **environ)) == 4
    assert "No such file" in refused(run, 2, "override", "--home", place, CALLMETER_PRICE_OVERRIDES="none.toml")
