"""Who still has to get which event: leases, due rows, acknowledgements, dead letters, accounts."""

from collections.abc import Iterable, Mapping, Sequence

from callmeter.events.journal_schema import (
    CORRUPT,
    END,
    LEDGER,
    START,
    Accounts,
    DeadLetter,
    Queued,
    Row,
    event_crc,
    outbox_crc,
)
from callmeter.events.opening import Damaged
from callmeter.events.store import ATTEMPTS, Store, commit_points

MAX_WAIT_NS = 24 * 3600 * 10**9
"""No event waits longer between two attempts: a later `due` is damage, or a clock that was set back."""

MAX_LEASE_NS = 3600 * 10**9
"""A lease that claims to last longer is a clock that was set back, or damage."""

_lease = commit_points("lease", "a lease taken or renewed")
_release = commit_points("release", "a lease given back")
_settle = commit_points("settle", "what a sink answered")
_register = commit_points("register", "a sink made known")
_revive = commit_points("revive", "dead letters queued again")
_enqueue = commit_points("enqueue", "history queued for a sink")
_set_aside = commit_points("set_aside", "damaged rows set aside")

_DUE = """
SELECT o.seq, o.attempts, o.crc, e.id, e.call_id, e.kind, e.at_ns, e.ledger, e.crc, e.body
FROM outbox AS o LEFT JOIN events AS e ON e.seq = o.seq
WHERE o.sink = ?1 AND (o.due > ?2 AND o.due <= ?3) IS NOT TRUE ORDER BY o.seq LIMIT ?4
"""
BURY = """
INSERT OR REPLACE INTO dead (sink, seq, id, call_id, kind, event_ns, at_ns, reason, body)
SELECT ?, ?, CAST(ifnull(e.id, '') AS TEXT), CAST(ifnull(e.call_id, '') AS TEXT), CAST(ifnull(e.kind, 0) AS INTEGER),
  CAST(ifnull(e.at_ns, 0) AS INTEGER), ?, ?, CAST(ifnull(e.body, x'') AS BLOB)
FROM (SELECT 1) LEFT JOIN events AS e ON e.seq = ?
"""
_FORGET = """
DELETE FROM events WHERE seq = ? AND (ledger = 0 OR seq <= ?)
AND NOT EXISTS (SELECT 1 FROM outbox WHERE sink IN (SELECT n FROM sinks) AND outbox.seq = events.seq)
"""
_ACCOUNTS = """
SELECT s.n, s.identity, s.name, s.accepted, s.delivered, s.dropped, s.state, s.error, s.endpoint,
  (SELECT count(*) FROM outbox WHERE sink = s.n),
  (SELECT count(*) FROM dead WHERE sink = s.n),
  (SELECT at_ns FROM events WHERE seq = (SELECT min(seq) FROM outbox WHERE sink = s.n)),
  ifnull((SELECT owner FROM leases WHERE name = s.identity), '')
FROM sinks AS s ORDER BY s.n
"""


class Outbox(Store):
    """The part of the journal that a sink's worker uses."""

    def register(self, identity: str, name: str, endpoint: str = "") -> None:
        """Make a sink known under its name, for reports. Appending does so too, without an endpoint."""

        def work() -> None:
            sink = self._sink(identity)
            self._db.execute("UPDATE sinks SET name = ?, endpoint = ? WHERE n = ?", (name, endpoint, sink))

        self._write(work, _register)

    def lease(self, identity: str, owner: str, ttl_s: float) -> bool:
        """Take or renew the right to deliver for a sink; whether `owner` holds it now."""
        holder = self._read(lambda: self._holder(identity))
        if holder is not None and holder != owner:
            return False

        def take() -> bool:
            if self._holder(identity) not in (None, owner):
                return False
            until = self.clock.wall_ns() + int(ttl_s * 1e9)
            self._db.execute("INSERT OR REPLACE INTO leases VALUES (?, ?, ?)", (identity, owner, until))
            return True

        return self._write(take, _lease)

    def release(self, identity: str, owner: str) -> None:
        """Give a lease back, so that another process need not wait for it to lapse."""
        sql = "DELETE FROM leases WHERE name = ? AND owner = ?"
        self._write(lambda: self._db.execute(sql, (identity, owner)) and None, _release)

    def _holder(self, identity: str) -> str | None:
        """Who holds an unlapsed lease."""
        found = self._db.execute("SELECT owner, until_ns FROM leases WHERE name = ?", (identity,)).fetchone()
        now = self.clock.wall_ns()
        return found[0] if found and now < found[1] <= now + MAX_LEASE_NS else None

    def _is_ours(self, identity: str, owner: str) -> bool:
        """Whether `owner` took the lease last. One that lapsed with no taker still counts: nobody else has acted."""
        found = self._db.execute("SELECT owner FROM leases WHERE name = ?", (identity,)).fetchone()
        return found is not None and found[0] == owner

    # --- delivering

    def due(self, identity: str, max_events: int, max_bytes: int) -> list[Queued]:
        """What may be sent now, in order of seq; at least one event if any is due, however large.

        Rows that do not fit their checksum become dead letters with the reason `corrupt`.
        """
        queued: list[Queued] = []
        damaged: list[int] = []

        def read() -> None:
            queued.clear()
            damaged.clear()
            sink = self._find_sink(identity)
            size = 0
            now = self.clock.wall_ns()
            for seq, attempts, pointer, *event in self._db.execute(_DUE, (sink, now, now + MAX_WAIT_NS, max_events)):
                id, call_id, kind, at_ns, ledger, crc, body = event
                if seq is None:
                    raise Damaged("a row of the outbox has no number")
                fits = pointer == outbox_crc(sink, seq) and id is not None
                if not fits or crc != event_crc(seq, id, call_id, kind, at_ns, ledger, body):
                    damaged.append(seq)
                elif queued and size + len(body) > max_bytes:
                    break
                else:
                    size += len(body)
                    queued.append(Queued(seq, id, attempts or 0, body, at_ns))

        def set_aside() -> int:
            return self._bury(identity, dict.fromkeys(damaged, CORRUPT))

        for attempt in range(ATTEMPTS):
            self._read(read)
            if not damaged or self._write(set_aside, _set_aside) == len(damaged):
                break
            self._suspect(attempt, Damaged("a row of the outbox is out of order"))
        return queued

    def mark(self) -> int:
        """The number that the next event will get: everything appended so far is below it."""
        return self._read(lambda: self._number("next_seq"))

    def waiting(self, below: int) -> dict[str, int]:
        """How many events below a mark wait, by sink; sinks for which none waits are left out."""
        sql = """SELECT s.identity, count(*) FROM outbox AS o JOIN sinks AS s ON s.n = o.sink
                 WHERE o.seq < ? GROUP BY s.n"""
        return self._read(lambda: dict(self._db.execute(sql, (below,)).fetchall()))

    def is_paused(self, identity: str) -> bool:
        """Whether somebody paused this sink."""
        sql = "SELECT 1 FROM sinks WHERE identity = ? AND state = 'paused'"
        return self._read(lambda: self._db.execute(sql, (identity,)).fetchone() is not None)

    def next_due_ns(self, identity: str) -> int | None:
        """When the next event may be sent, in wall-clock nanoseconds; 0 means at once, None that nothing waits."""

        def read() -> int | None:
            sink = self._find_sink(identity)
            fresh = self._db.execute("SELECT 1 FROM outbox WHERE sink = ? AND due = 0 LIMIT 1", (sink,)).fetchone()
            if fresh:
                return 0
            first = self._db.execute("SELECT min(due) FROM outbox WHERE sink = ? AND due > 0", (sink,)).fetchone()[0]
            return 0 if first is not None and first > self.clock.wall_ns() + MAX_WAIT_NS else first

        return self._read(read)

    def settle(
        self,
        identity: str,
        owner: str,
        *,
        accepted: Sequence[int] = (),
        retry: Mapping[int, float] = {},
        dead: Mapping[int, str] = {},
        error: str = "",
    ) -> bool:
        """Record what a sink answered: by seq, taken, to be tried again after so many seconds, or refused and why.

        False, with nothing changed, if `owner` does not hold the lease any more.
        """

        def work() -> bool:
            if not self._is_ours(identity, owner):
                return False
            sink = self._find_sink(identity)
            taken = self._unqueue(sink, accepted)
            self._forget(accepted)
            now = self.clock.wall_ns()
            self._db.executemany(
                "UPDATE outbox SET due = ?, attempts = attempts + 1 WHERE sink = ? AND seq = ?",
                [(now + min(max(1, int(wait_s * 1e9)), MAX_WAIT_NS), sink, seq) for seq, wait_s in retry.items()],
            )
            self._bury(identity, dead)
            self._db.execute(
                "UPDATE sinks SET delivered = delivered + ?, error = ? WHERE n = ?", (taken, error[:1000], sink)
            )
            return True

        return self._write(work, _settle)

    def _unqueue(self, sink: int, seqs: Iterable[int]) -> int:
        """Delete outbox rows; how many there were."""
        before = self._db.total_changes()
        self._db.executemany("DELETE FROM outbox WHERE sink = ? AND seq = ?", [(sink, seq) for seq in seqs])
        return int(self._db.total_changes() - before)

    def _forget(self, seqs: Iterable[int]) -> None:
        """Delete events that neither a sink nor the ledger needs any more."""
        compacted = self._number("compacted_seq")
        self._db.executemany(_FORGET, [(seq, compacted) for seq in seqs])

    def _bury(self, identity: str, reasons: Mapping[int, str]) -> int:
        """Move events from the outbox to the dead letters; how many. Those that are not in the outbox are left out."""
        buried = 0
        sink, now = self._find_sink(identity), self.clock.wall_ns()
        for seq, reason in reasons.items():
            if self._unqueue(sink, (seq,)):
                self._db.execute(BURY, (sink, seq, now, reason, seq))
                buried += 1
        self._forget(reasons)
        return buried

    # --- dead letters and replay

    def dead_letters(self, identity: str | None = None, limit: int = 100) -> list[DeadLetter]:
        """Events that were refused for good, newest first; of one sink or of all."""
        sql = """SELECT s.identity, d.seq, d.id, d.reason, d.at_ns, d.body
                 FROM dead AS d JOIN sinks AS s ON s.n = d.sink
                 WHERE ?1 IS NULL OR s.identity = ?1 ORDER BY d.at_ns DESC, d.seq DESC LIMIT ?2"""
        return self._read(lambda: [DeadLetter(*row) for row in self._db.execute(sql, (identity, limit))])

    def revive(self, identity: str, ids: Sequence[str] | None = None) -> int:
        """Queue dead letters of a sink again, all or those with these event ids; how many. Damaged ones stay dead."""

        def work() -> int:
            sink = self._find_sink(identity)
            sql = """SELECT seq, id, call_id, kind, event_ns, body FROM dead
                     WHERE sink = ? AND reason <> ? ORDER BY seq"""
            chosen = [r for r in self._db.execute(sql, (sink, CORRUPT)).fetchall() if ids is None or r[1] in ids]
            for seq, id, call_id, kind, at_ns, body in chosen:
                crc = event_crc(seq, id, call_id, kind, at_ns, 0, body)
                self._db.execute(
                    "INSERT OR IGNORE INTO events VALUES (?, ?, ?, ?, ?, 0, ?, ?)",
                    (seq, id, call_id, kind, at_ns, crc, body),
                )
                self._db.execute("INSERT INTO outbox VALUES (?, ?, ?, 0, 0)", (sink, seq, outbox_crc(sink, seq)))
                self._db.execute("DELETE FROM dead WHERE sink = ? AND seq = ?", (sink, seq))
            return len(chosen)

        return 0 if identity == LEDGER else self._write(work, _revive)

    def enqueue(self, identity: str, rows: Sequence[Row]) -> int:
        """Queue history from the ledger for one sink, whatever was delivered to it before; how many rows."""

        def work() -> int:
            return self._insert([row_for(row, identity) for row in rows])

        return self._write(work, _enqueue)

    def _insert(self, rows: Sequence[Row]) -> int:
        """Store rows that are known to be new, with their outbox rows, and move `accepted`."""
        seq = self._number("next_seq")
        events, outbox = [], []
        accepted: dict[int, int] = {}
        for row in rows:
            ledger = int(row.ledger and row.kind != START)
            crc = event_crc(seq, row.id, row.call_id, row.kind, row.at_ns, ledger, row.body)
            events.append((seq, row.id, row.call_id, row.kind, row.at_ns, ledger, crc, row.body))
            if ledger:
                accepted[1] = accepted.get(1, 0) + 1
            for identity in row.sinks:
                sink = self._sink(identity)
                accepted[sink] = accepted.get(sink, 0) + 1
                outbox.append((sink, seq, outbox_crc(sink, seq)))
            seq += 1
        self._db.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?)", events)
        self._db.executemany("INSERT INTO outbox VALUES (?, ?, ?, 0, 0)", outbox)
        self._db.executemany(
            "UPDATE sinks SET accepted = accepted + ? WHERE n = ?", [(count, sink) for sink, count in accepted.items()]
        )
        self._set_meta("next_seq", seq)
        return len(events)

    # --- sinks and their accounts

    def _find_sink(self, identity: str) -> int:
        """The number of a sink; -1 where it is not known."""
        found = self._db.execute("SELECT n FROM sinks WHERE identity = ?", (identity,)).fetchone()
        return found[0] if found else -1

    def _sink(self, identity: str) -> int:
        """The number of a sink, which is made known if need be. Only within a write."""
        number = self._numbers.get(identity)
        if number is None:
            number = self._find_sink(identity)
            if number < 0:
                sql = "INSERT INTO sinks (identity, name, endpoint) VALUES (?, ?, '') RETURNING n"
                number = self._db.execute(sql, (identity, identity.partition(":")[0])).fetchone()[0]
            self._numbers[identity] = number
        return int(number)

    def set_state(self, identity: str, state: str, error: str = "") -> None:
        """Note how a sink is doing: `ok`, `failing`, `parked` or `paused`, with the last error."""
        sql = "UPDATE sinks SET state = ?, error = ? WHERE identity = ?"
        self._write(lambda: self._db.execute(sql, (state, error[:1000], identity)) and None, _register)

    def accounts(self) -> list[Accounts]:
        """What became of every sink's events. The ledger is among them once it was given any."""

        def read() -> list[Accounts]:
            return [self._account(row) for row in self._db.execute(_ACCOUNTS).fetchall()]

        return [a for a in self._read(read) if a.sink != LEDGER or a.accepted]

    def _account(self, row: tuple[int, str, str, int, int, int, str, str, str, int, int, int | None, str]) -> Accounts:
        _n, identity, name, accepted, delivered, dropped, state, error, endpoint, waiting, dead, oldest, owner = row
        if None in (accepted, delivered, dropped):
            raise Damaged(f"a counter of {identity} is missing")
        if identity == LEDGER:
            waiting, oldest = self._hot_count()
            owner = self._holder("ledger") or ""
        lag_s = None if oldest is None else max(0, self.clock.wall_ns() - oldest) / 1e9
        return Accounts(
            identity, name, accepted, delivered, waiting, dead, dropped, state, lag_s, error, owner, endpoint
        )

    def _hot_count(self) -> tuple[int, int | None]:
        """How many rows wait for the compactor, and when the oldest happened."""
        sql = "SELECT count(*), min(seq) FROM events INDEXED BY events_ledger WHERE ledger = 1 AND seq > ?"
        count, first = self._db.execute(sql, (self._number("compacted_seq"),)).fetchone()
        return count, self._db.execute("SELECT max(at_ns) FROM events WHERE seq = ?", (first,)).fetchone()[0]


def row_for(row: Row, identity: str) -> Row:
    """The same row for one sink alone, and not for the ledger."""
    return Row(row.id, row.call_id, row.kind, row.at_ns, row.body, sinks=(identity,))


def seen_key(row: Row) -> str:
    """What a row is known by: an end by its call, because a call has one; anything else by its own id."""
    return row.call_id if row.kind == END else row.id
