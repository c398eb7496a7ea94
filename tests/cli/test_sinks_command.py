"""`callmeter sinks`, `dead-letters` and `drain`, on a backlog that a process left behind."""

import json
from pathlib import Path

import msgspec
import pytest

from callmeter.client.api import completion
from callmeter.events.journal import Journal, Row
from callmeter.runtime import Runtime, using
from callmeter.settings import Settings
from callmeter.sinks.webhook import Webhook
from callmeter.testing import FakeProvider
from callmeter.testing.faultserver import FaultServer
from tests.cli.conftest import QUESTION, Run
from tests.events.made import start, started, succeeded

REFUSED = "refused:0123456789ab"


@pytest.fixture
def dead(tmp_path: Path) -> Path:
    """A home with two dead letters of one sink."""
    home = tmp_path / "home"
    journal = Journal.open(home)
    journal.append([Row(f"event-{n}", f"call-{n}", 2, n, b"{}", False, (REFUSED,)) for n in (1, 2)])
    assert journal.lease(REFUSED, "me", 60)
    seqs = [queued.seq for queued in journal.due(REFUSED, 10, 1000)]
    assert journal.settle(REFUSED, "me", dead=dict.fromkeys(seqs, "400 Bad Request"))
    journal.close()
    return home


def rows(run: Run, *arguments: object) -> list[dict]:  # type: ignore[type-arg]
    return json.loads(run(*arguments, "--json").stdout)["rows"]  # type: ignore[no-any-return]


def test_the_ledgers_account_adds_up_and_says_so(run: Run, spent: Path) -> None:
    done = run("sinks", "--home", spent)
    assert done.returncode == 0
    assert "every account adds up" in done.stdout
    (ledger,) = rows(run, "sinks", "--home", spent)
    assert ledger["sink"] == "duckdb"
    assert ledger["accepted"] == ledger["delivered"] + ledger["waiting"] == 9


def test_an_account_that_does_not_add_up_is_named() -> None:
    from callmeter.cli.sinks import report
    from callmeter.events.journal import Accounts

    odd = Accounts("webhook:a", "webhook", accepted=5, delivered=2, waiting=1, dead=0, dropped=0)
    assert report([odd], []).notes == ["webhook:a: the account does not add up, 2 of 5 accepted events are unexplained"]


def test_dead_letters_are_listed_with_their_reasons(run: Run, dead: Path) -> None:
    found = rows(run, "dead-letters", "list", "--home", dead)
    assert {row["id"] for row in found} == {"event-1", "event-2"}
    assert {(row["sink"], row["reason"]) for row in found} == {(REFUSED, "400 Bad Request")}


def test_one_dead_letter_is_replayed_and_the_other_stays(run: Run, dead: Path) -> None:
    done = run("dead-letters", "replay", "--sink", "refused", "--id", "event-2", "--home", dead)
    assert (done.returncode, done.stdout) == (0, f"1 events queued again for {REFUSED}\n")
    assert [row["id"] for row in rows(run, "dead-letters", "--home", dead)] == ["event-1"]
    (account,) = rows(run, "sinks", "--home", dead)
    assert (account["waiting"], account["dead"]) == (1, 1)


def test_no_dead_letters_is_exit_code_1(run: Run, spent: Path) -> None:
    done = run("dead-letters", "--home", spent)
    assert done.returncode == 1
    assert "no dead letters" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["replay"], ["--sink"]), (["replay", "--sink", "slack"], ["slack", REFUSED]), (["eat"], ["eat"])],
)
def test_what_cannot_be_replayed_is_one_sentence(run: Run, dead: Path, arguments: list[str], words: list[str]) -> None:
    done = run("dead-letters", *arguments, "--home", dead)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert [word for word in words if word not in done.stderr] == []


# --- drain


@pytest.fixture
def backlog(tmp_path: Path) -> Path:
    """A home whose process ended while the webhook's address did not answer."""
    home = tmp_path / "home"
    with FaultServer() as away:
        url = away.url
    made = Runtime(Settings(home=str(home), ledger=True), sinks=[Webhook(url)])
    with FakeProvider() as provider, using(made):
        for _ in range(3):
            completion("gpt-4o", QUESTION, api_base=provider.openai_base, api_key="k")
    made.close(0)
    return home


def test_a_backlog_is_named_where_its_sink_is_not_configured(run: Run, backlog: Path) -> None:
    done = run("drain", "--home", backlog)
    assert done.returncode == 1
    assert "3 events wait for webhook:" in done.stdout
    assert "CALLMETER_WEBHOOK_URL" in done.stdout


def test_a_backlog_is_named_where_the_sink_is_configured_otherwise(run: Run, backlog: Path) -> None:
    done = run("drain", "--home", backlog, CALLMETER_WEBHOOK_URL="http://127.0.0.1:9/other")
    assert done.returncode == 1
    assert "but the environment configures webhook:" in done.stdout


def test_a_backlog_goes_out_once_the_sink_answers(run: Run, tmp_path: Path) -> None:
    home = tmp_path / "home"
    with FaultServer() as receiver:
        sink = Webhook(receiver.url)
        journal = Journal.open(home)
        events = [succeeded(n) for n in range(1, 4)]
        journal.append(
            [Row(e.id, e.call.call_id, 2, e.at_ns, msgspec.json.encode(e), True, (sink.identity(),)) for e in events]
        )
        journal.close()
        done = run("drain", "--home", home, CALLMETER_WEBHOOK_URL=receiver.url)
        assert done.returncode == 0
        sent = [item["id"] for request in receiver.received for item in json.loads(request.body)]
    assert sorted(sent) == sorted(event.id for event in events)
    accounts = {row["name"]: row for row in rows(run, "sinks", "--home", home)}
    assert (accounts["webhook"]["delivered"], accounts["webhook"]["waiting"]) == (3, 0)
    assert (accounts["duckdb"]["delivered"], accounts["duckdb"]["waiting"]) == (3, 0)


def test_calls_of_a_dead_process_are_ended(run: Run, tmp_path: Path) -> None:
    home = tmp_path / "home"
    journal = Journal.open(home)
    opened = started(7)
    journal.append([msgspec.structs.replace(start(7, owner="0" * 32, ledger=True), body=msgspec.json.encode(opened))])
    journal.close()
    assert "1 calls of dead processes were ended" in run("drain", "--home", home).stdout
    (row,) = rows(run, "calls", "--home", home)
    assert (row["call_id"], row["ended"]) == (opened.call.call_id, "process_died")
