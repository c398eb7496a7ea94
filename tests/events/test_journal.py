"""The journal: one end a call, accounts that add up, leases, bounds, and homes it refuses."""

import errno
import fcntl
import os
import shutil
import stat
import tempfile
from contextlib import closing
from pathlib import Path

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from callmeter.errors import JournalError
from callmeter.events import hot
from callmeter.events.journal import END, Journal, LedgerFile, Row
from callmeter.events.journal_schema import VERSION
from callmeter.testing.clocks import FixedClock
from tests.events.made import call_id, end, loss_row, start

A, B = "webhook:a", "webhook:b"


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
def journal(tmp_path: Path, clock: FixedClock) -> Journal:
    return Journal.open(tmp_path / "home", clock=clock)


def seqs(journal: Journal, identity: str) -> list[int]:
    return [queued.seq for queued in journal.due(identity, 1000, 1 << 20)]


def test_an_event_is_taken_once_and_a_call_has_one_end(journal: Journal) -> None:
    assert journal.append([end(1, A), end(1, A)]) == 1
    assert journal.append([end(1, A)]) == 0
    assert journal.append([Row("another id", call_id(1), END, 9, b"{}", False, (A,))]) == 0
    assert [account.accepted for account in journal.accounts()] == [1]


def test_an_event_is_not_taken_again_after_everybody_has_it(journal: Journal) -> None:
    journal.append([end(1, A)])
    journal.lease(A, "me", 15)
    assert journal.settle(A, "me", accepted=seqs(journal, A))
    journal.sweep()
    assert journal.append([end(1, A)]) == 0


def test_a_call_is_open_from_its_start_to_its_end_in_whatever_order_they_come(journal: Journal) -> None:
    journal.append([start(1, owner="x"), end(2), start(2, owner="x"), start(3, owner="y")])
    assert sorted(journal.owners()) == ["x", "y"]
    assert [call.call_id for call in journal.open_calls(["x"])] == [call_id(1)]
    journal.append([end(1)])
    assert journal.owners() == ["y"]


def test_a_sink_gets_its_events_in_order_and_at_least_one_however_large(journal: Journal) -> None:
    journal.append([end(1, A, body=b"x" * 500), end(2, A, body=b"x" * 500), end(3, B), end(4, A)])
    assert seqs(journal, A) == [1, 2, 4]
    assert [queued.seq for queued in journal.due(A, 10, 100)] == [1]
    assert [queued.seq for queued in journal.due(A, 2, 10_000)] == [1, 2]


def test_what_is_retried_waits_and_what_is_refused_becomes_a_dead_letter(journal: Journal, clock: FixedClock) -> None:
    journal.append([end(n, A) for n in (1, 2, 3)])
    journal.lease(A, "me", 3600)
    assert journal.settle(A, "me", accepted=[1], retry={2: 30.0}, dead={3: "400 bad"}, error="400 bad")
    assert seqs(journal, A) == []
    assert journal.next_due_ns(A) == clock.wall_ns() + 30 * 10**9
    clock.advance(31)
    assert [(queued.seq, queued.attempts) for queued in journal.due(A, 10, 1000)] == [(2, 1)]
    (account,) = journal.accounts()
    assert (account.accepted, account.delivered, account.waiting, account.dead) == (3, 1, 1, 1)
    assert account.last_error == "400 bad"
    assert [(letter.id, letter.reason) for letter in journal.dead_letters(A)] == [(end(3).id, "400 bad")]


def test_a_dead_letter_is_queued_again_as_it_was(journal: Journal) -> None:
    journal.append([end(1, A, body=b'{"n":1}')])
    journal.lease(A, "me", 15)
    journal.settle(A, "me", dead={1: "bad"})
    assert journal.revive(A, ["no such id"]) == 0
    assert journal.revive(A) == 1
    assert [queued.body for queued in journal.due(A, 10, 1000)] == [b'{"n":1}']
    assert journal.accounts()[0].dead == 0


def test_settling_without_the_lease_changes_nothing(journal: Journal, clock: FixedClock) -> None:
    journal.append([end(1, A)])
    assert journal.lease(A, "me", 15)
    assert not journal.lease(A, "you", 15)
    clock.advance(16)
    assert journal.lease(A, "you", 15)
    assert not journal.settle(A, "me", accepted=[1])
    assert seqs(journal, A) == [1]
    journal.release(A, "you")
    assert journal.lease(A, "me", 15)


def test_a_lapsed_lease_that_nobody_took_still_settles(journal: Journal, clock: FixedClock) -> None:
    journal.append([end(1, A)])
    journal.lease(A, "me", 15)
    clock.advance(60)
    assert journal.settle(A, "me", accepted=[1])


def test_a_lease_from_a_clock_that_was_set_back_does_not_bind_for_ever(journal: Journal, clock: FixedClock) -> None:
    journal.lease(A, "me", 15)
    clock.advance(-86_400)
    assert journal.lease(A, "you", 15)


def test_compacted_rows_leave_once_every_sink_has_them(journal: Journal) -> None:
    journal.append([end(1, A, ledger=True), end(2, ledger=True), end(3, ledger=True)])
    assert journal.lease("ledger", "me", 15)
    file = LedgerFile("ledger/day=2026-01-01/1-2-calls.parquet", "2026-01-01", 2, 1, 2, 900, "calls")
    assert not journal.register_files("you", [file], 2)
    assert journal.register_files("me", [file], 2)
    snapshot = journal.snapshot()
    assert (snapshot.files, snapshot.compacted_seq) == ((file,), 2)
    assert [seq for seq, _ in snapshot.hot] == [3]
    assert seqs(journal, A) == [1]
    ledger = journal.accounts()[0]
    assert (ledger.sink, ledger.accepted, ledger.delivered, ledger.waiting) == ("duckdb", 3, 2, 1)
    assert journal.hot_size() == (1, 3)
    merged = LedgerFile("ledger/day=2026-01-01/1-2-merged.parquet", "2026-01-01", 2, 1, 2, 800, "calls")
    assert journal.register_files("me", [merged], 2, replaces=[file.path])
    assert journal.snapshot().files == (merged,)
    assert journal.drop_files("me", [merged.path])
    assert journal.snapshot().files == ()


@given(
    wanted=st.lists(st.tuples(st.sets(st.sampled_from([A, B])), st.booleans()), min_size=1, max_size=12),
    upto=st.integers(1, 12),
    acknowledged=st.sets(st.integers(1, 12)),
)
@settings(max_examples=40)
def test_the_same_rows_stay_whether_the_others_are_deleted_or_those_put_back(
    wanted: list[tuple[set[str], bool]], upto: int, acknowledged: set[int],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:  # fmt: skip
    stayed = []
    for most in (0, 500):
        with closing(Journal.open(tmp_path_factory.mktemp("home"))) as journal, pytest.MonkeyPatch.context() as patched:
            patched.setattr(hot, "FEW_ROWS", most)
            journal.append([end(n, *sorted(sinks), ledger=ledger) for n, (sinks, ledger) in enumerate(wanted, 1)])
            for name in (A, B, "ledger"):
                assert journal.lease(name, "me", 15)
            journal.settle(A, "me", accepted=sorted(acknowledged))
            assert journal.register_files("me", [], upto)
            stayed.append(journal._db.execute("SELECT * FROM events ORDER BY seq").fetchall())
            assert all(account.missing == 0 for account in journal.accounts())
    assert stayed[0] == stayed[1]


def test_history_is_queued_for_a_new_sink_whatever_was_delivered_before(journal: Journal) -> None:
    journal.append([end(1, A)])
    assert journal.enqueue(B, [end(1), end(2)]) == 2
    assert seqs(journal, B) == [2, 3]


def test_an_id_is_forgotten_after_the_redelivery_window_and_not_before(journal: Journal, clock: FixedClock) -> None:
    now = clock.wall_ns()
    row = Row("e", "c", END, now, b"{}", False, (A,))
    journal.append([row])
    journal.lease(A, "me", 15)
    journal.settle(A, "me", accepted=[1])
    clock.advance(47 * 3600)
    journal.sweep()
    assert journal.append([row]) == 0
    clock.advance(2 * 3600)
    journal.sweep()
    assert journal.append([row]) == 1


def test_shedding_takes_the_content_and_leaves_the_account(journal: Journal) -> None:
    body = b'{"type":"call.succeeded","id":"1","content":{"messages":"' + b"x" * 2000 + b'"},"cost":{"total":"1"}}'
    journal.append([end(1, A, body=body, ledger=True), end(2, A, body=b"{}")])
    after = journal.shed_content(loss_row)
    assert after is not None
    assert journal.shed_content(loss_row, after) is None
    assert journal.due(A, 1, 9999)[0].body == b'{"type":"call.succeeded","id":"1","cost":{"total":"1"}}'
    (loss,) = journal.losses()
    assert (loss.sink, loss.reason, loss.count) == ("", "content_shed", 1)
    assert loss.bytes > 2000
    assert any(b"content_shed" in body for _, body in journal.snapshot().hot)


def test_dropping_counts_each_sinks_loss_and_spares_the_ledger_until_the_sinks_are_empty(journal: Journal) -> None:
    journal.append([end(n, A, B, ledger=True) for n in range(3)])
    assert journal.drop_oldest(loss_row) == 6
    reports = 2  # Losses are events themselves, and these are for the ledger.
    fates = {a.sink: (a.waiting, a.dropped) for a in journal.accounts()}
    assert fates == {"duckdb": (3 + reports, 0), A: (0, 3), B: (0, 3)}
    assert journal.drop_oldest(loss_row) == 3 + reports
    fates = {a.sink: (a.waiting, a.dropped) for a in journal.accounts()}
    assert fates == {"duckdb": (1, 3 + reports), A: (0, 3), B: (0, 3)}
    assert all(account.missing == 0 for account in journal.accounts())


def test_the_oldest_dead_letters_make_room_for_new_ones(journal: Journal, clock: FixedClock) -> None:
    journal.append([end(n, A, body=b"x" * 100) for n in range(5)])
    journal.lease(A, "me", 15)
    for seq in range(1, 6):
        clock.advance(1)
        journal.settle(A, "me", dead={seq: "bad"})
    assert journal.drop_dead(loss_row, A, 250) == 3
    assert [letter.seq for letter in journal.dead_letters(A)] == [5, 4]
    assert next(a for a in journal.accounts() if a.sink == A).dropped == 3


def test_two_connections_see_one_journal(journal: Journal) -> None:
    other = Journal.open(journal.home)
    journal.append([end(1, A)])
    assert other.append([end(1, A), end(2, A)]) == 1
    assert seqs(journal, A) == [1, 2]
    assert other.hash_key == journal.hash_key
    assert len(other.hash_key) == 16


# --- homes


def test_the_home_and_its_files_are_for_the_owner_alone(journal: Journal) -> None:
    journal.append([end(1, A)])
    assert stat.S_IMODE(os.stat(journal.home).st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in journal.home.iterdir() if path.is_file()}
    assert len(modes) >= 3
    assert set(modes.values()) == {0o600}


def test_a_home_that_is_a_link_or_a_file_or_open_to_others_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "file").touch()
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    for name, words in (("link", "link or a file"), ("file", "file"), ("open", "chmod 700")):
        with pytest.raises(JournalError, match=words):
            Journal.open(tmp_path / name)
    assert not list((tmp_path / "real").iterdir())


def test_a_journal_file_that_is_a_link_is_refused(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    apsw.Connection(str(tmp_path / "other.db")).close()
    (home / "journal.sqlite3").symlink_to(tmp_path / "other.db")
    with pytest.raises(JournalError, match="is a link"):
        Journal.open(home)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_somebody_elses_home_is_refused(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    os.chown(home, 12345, 12345)
    with pytest.raises(JournalError, match="belongs to user 12345"):
        Journal.open(home)


def test_somebody_elses_database_is_left_alone(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    with apsw.Connection(str(home / "journal.sqlite3")) as db:
        db.execute("CREATE TABLE theirs (x)")
    with pytest.raises(JournalError, match="'theirs', which is not ours"):
        Journal.open(home)


def test_a_trigger_of_somebody_elses_is_refused(journal: Journal) -> None:
    journal.close()
    db = apsw.Connection(str(journal.path))
    db.execute("CREATE TRIGGER evil AFTER INSERT ON events BEGIN DELETE FROM outbox; END")
    db.close()
    with pytest.raises(JournalError, match="'evil', which is not ours"):
        Journal.open(journal.home)


def test_a_newer_journal_is_left_untouched(journal: Journal) -> None:
    journal.append([end(1, A)])
    journal.close()
    db = apsw.Connection(str(journal.path))
    db.execute("CREATE TABLE later (x)")
    db.execute(f"PRAGMA user_version = {VERSION + 1}")
    db.close()
    before = journal.path.read_bytes()
    with pytest.raises(JournalError, match=f"journal version {VERSION + 1}"):
        Journal.open(journal.home)
    assert journal.path.read_bytes() == before


def test_reading_needs_a_journal_and_changes_nothing(tmp_path: Path, journal: Journal) -> None:
    with pytest.raises(JournalError, match="does not exist"):
        Journal.open(tmp_path / "nowhere", read_only=True)
    (tmp_path / "empty").mkdir(mode=0o700)
    with pytest.raises(JournalError, match="there is no journal in"):
        Journal.open(tmp_path / "empty", read_only=True)
    journal.append([end(1, A, ledger=True)])
    reader = Journal.open(journal.home, read_only=True)
    assert len(reader.snapshot().hot) == 1
    with pytest.raises(JournalError, match="for reading only"):
        reader.append([end(2, A)])
    journal.append([end(2, A, ledger=True)])
    assert len(reader.snapshot().hot) == 2
    reader.close()
    journal.close()
    assert len(Journal.open(journal.home, read_only=True).snapshot().hot) == 2


def test_a_reader_that_came_first_sees_what_is_written_later(journal: Journal) -> None:
    journal.append([end(1, A, ledger=True)])
    journal.close()
    reader = Journal.open(journal.home, read_only=True)
    assert len(reader.snapshot().hot) == 1
    writer = Journal.open(journal.home)
    for number in range(2, 200):
        writer.append([end(number, A, ledger=True, body=b"x" * 1000)])
    writer._db.wal_checkpoint()
    assert len(reader.snapshot().hot) == 199


def test_a_read_only_home_can_be_read_and_says_so_when_written_to() -> None:
    outer = Path(tempfile.mkdtemp())
    outer.chmod(0o777)
    pid = os.fork()
    if not pid:
        try:
            if os.geteuid() == 0:
                os.setuid(65534)  # Root may write anywhere.
            os._exit(_use_read_only_home(outer / "home"))
        finally:
            os._exit(99)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    shutil.rmtree(outer)


def _use_read_only_home(home: Path) -> int:
    journal = Journal.open(home)
    journal.append([end(1, A, ledger=True)])
    journal.close()
    home.chmod(0o500)
    hot = Journal.open(home, read_only=True).snapshot().hot
    (home / "journal.sqlite3").chmod(0o400)
    try:
        Journal.open(home)
    except JournalError as error:
        home.chmod(0o700)
        return 0 if len(hot) == 1 and str(home) in str(error) else 1
    return 2


def test_without_a_home_nothing_is_made_unless_asked(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="does not exist"):
        Journal.open(tmp_path / "nowhere", create=False)
    assert not (tmp_path / "nowhere").exists()


def test_a_file_system_without_locks_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def no_locks(fd: int, operation: int) -> None:
        asked.append(operation)
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(JournalError, match=r"no working locks.*local disk"):
        Journal.open(tmp_path / "home")
    assert asked
    assert not (tmp_path / "home" / "journal.sqlite3").exists()


def test_only_power_flushes_every_commit(tmp_path: Path) -> None:
    for power, mode in ((False, 1), (True, 2)):
        journal = Journal.open(tmp_path / str(power), power=power)
        assert journal._db.execute("PRAGMA synchronous").fetchone() == (mode,)


def test_a_journal_that_was_deleted_under_us_is_made_anew(journal: Journal) -> None:
    journal.append([end(1, A)])
    for path in journal.home.iterdir():
        path.unlink()
    assert journal.append([end(2, A)]) == 1
    assert [account.accepted for account in Journal.open(journal.home).accounts()] == [1]


# --- the accounts, whatever happens


class Accounting(RuleBasedStateMachine):
    """Any order of appending, settling, leasing, compacting, reviving and dropping, against sets of numbers."""

    home: Path

    def __init__(self) -> None:
        super().__init__()
        Accounting.runs += 1
        self.clock = FixedClock()
        self.journal = Journal.open(self.home / str(Accounting.runs), clock=self.clock)
        self.next = 1
        self.accepted: dict[str, set[str]] = {A: set(), B: set()}
        self.delivered: dict[str, set[str]] = {A: set(), B: set()}
        self.ledger = 0
        self.holder: dict[str, str] = {}

    runs = 0

    @rule(sinks=st.sets(st.sampled_from([A, B])), ledger=st.booleans(), count=st.integers(1, 5))
    def append(self, sinks: set[str], ledger: bool, count: int) -> None:
        rows = [end(self.next + n, *sorted(sinks), ledger=ledger) for n in range(count)]
        self.next += count
        assert self.journal.append(rows) == count
        for sink in sinks:
            self.accepted[sink] |= {row.id for row in rows}
        self.ledger += count * ledger

    @rule(number=st.integers(1, 30), sink=st.sampled_from([A, B]))
    def append_again(self, number: int, sink: str) -> None:
        if number < self.next:
            assert self.journal.append([end(number, sink, ledger=True)]) == 0

    @rule(sink=st.sampled_from([A, B, "ledger"]), owner=st.sampled_from(["p", "q"]))
    def lease(self, sink: str, owner: str) -> None:
        if self.journal.lease(sink, owner, 15):
            self.holder[sink] = owner

    @rule(seconds=st.sampled_from([1, 20]))
    def wait(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @rule(sink=st.sampled_from([A, B]), owner=st.sampled_from(["p", "q"]), fates=st.lists(st.integers(0, 3)))
    def settle(self, sink: str, owner: str, fates: list[int]) -> None:
        due = list(zip(self.journal.due(sink, 10, 9999), fates, strict=False))
        accepted = [queued for queued, fate in due if fate == 0]
        settled = self.journal.settle(
            sink,
            owner,
            accepted=[queued.seq for queued in accepted],
            retry={queued.seq: 5.0 for queued, fate in due if fate == 1},
            dead={queued.seq: "no" for queued, fate in due if fate == 2},
        )
        assert settled == (self.holder.get(sink) == owner)
        if settled:
            ids = {queued.id for queued in accepted}
            assert not ids & self.delivered[sink]
            self.delivered[sink] |= ids

    @rule(owner=st.sampled_from(["p", "q"]), part=st.integers(0, 10))
    def compact(self, owner: str, part: int) -> None:
        hot = self.journal.snapshot().hot
        if hot:
            upto = hot[min(part, len(hot) - 1)][0]
            rows = sum(seq <= upto for seq, _ in hot)
            file = LedgerFile(f"f{upto}", "2026-01-01", rows, hot[0][0], upto, 1, "calls")
            assert self.journal.register_files(owner, [file], upto) == (self.holder.get("ledger") == owner)

    @rule(sink=st.sampled_from([A, B]))
    def revive(self, sink: str) -> None:
        self.journal.revive(sink)

    @rule()
    def drop(self) -> None:
        self.journal.drop_oldest(lambda loss: Row("", "", 3, 0, b""))

    @rule()
    def sweep(self) -> None:
        self.journal.sweep()

    @rule()
    def reopen(self) -> None:
        self.journal.close()
        self.journal = Journal.open(self.journal.home, clock=self.clock)

    @invariant()
    def every_account_adds_up_and_agrees_with_the_model(self) -> None:
        accounts = {account.sink: account for account in self.journal.accounts()}
        for account in accounts.values():
            assert account.missing == 0, account
        for sink in (A, B):
            if sink in accounts:
                assert accounts[sink].accepted == len(self.accepted[sink])
                assert accounts[sink].delivered == len(self.delivered[sink])
        if self.ledger:
            ledger, snapshot = accounts["duckdb"], self.journal.snapshot()
            assert ledger.accepted == self.ledger
            assert ledger.waiting == len(snapshot.hot)
            assert ledger.delivered == sum(file.rows for file in snapshot.files)

    def teardown(self) -> None:
        self.journal.close()


def test_the_accounts_add_up_whatever_happens_in_whatever_order(tmp_path: Path) -> None:
    Accounting.home = tmp_path
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Accounting, settings=settings(max_examples=60, stateful_step_count=40, deadline=None)
    )
