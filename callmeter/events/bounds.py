"""How the journal stays within its bounds: content goes first, then the oldest events, and every loss is counted."""

from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import TypeVar

import msgspec

from callmeter.events.hot import Hot
from callmeter.events.journal_schema import DROPPED, LEDGER, Loss, Row, event_crc
from callmeter.events.store import commit_points

T = TypeVar("T")

AsRow = Callable[[Loss], Row]
"""Makes the event that reports a loss."""

Candidate = tuple[int, str, int, int, int]
"""A row that may be dropped: sink, its identity, seq, bytes, kind of event."""

STEP_ROWS = 500
STEP_BYTES = 8 << 20
"""Rows shed in one transaction, so that nobody waits long for it."""

_shed = commit_points("shed", "content taken out of the oldest events")
_drop = commit_points("drop", "the oldest events dropped")

_LARGE = "SELECT seq, length(body) FROM events WHERE seq > ? AND length(body) > 512 ORDER BY seq LIMIT ?"
_EVENT = "SELECT id, call_id, kind, at_ns, ledger, body FROM events WHERE seq = ?"
_OLDEST_QUEUED = """
SELECT o.sink, s.identity, o.seq, ifnull(length(e.body), 0), ifnull(e.kind, 0)
FROM outbox AS o JOIN sinks AS s ON s.n = o.sink LEFT JOIN events AS e ON e.seq = o.seq
ORDER BY o.seq LIMIT ?
"""
_OLDEST_OF = """
SELECT o.sink, s.identity, o.seq, ifnull(length(e.body), 0), ifnull(e.kind, 0)
FROM outbox AS o JOIN sinks AS s ON s.n = o.sink LEFT JOIN events AS e ON e.seq = o.seq
WHERE o.sink = ? ORDER BY o.seq LIMIT ?
"""


class Bounds(Hot):
    """The part of the journal that forgets on purpose."""

    def shed_content(self, as_row: AsRow, after_seq: int = 0) -> int | None:
        """Take the content out of some of the oldest events; where to go on, or None where there is no more."""

        def work() -> int | None:
            found = self._db.execute(_LARGE, (after_seq, STEP_ROWS)).fetchall()
            large = _first(found, [size for _, size in found], STEP_BYTES)
            freed = [size for seq, _ in large if (size := self._thin(seq))]
            if freed:
                self._report([Loss("", "content_shed", len(freed), sum(freed))], as_row)
            return large[-1][0] if large else None

        return self._write(work, _shed)

    def _thin(self, seq: int) -> int:
        """Take the content out of an event; how many bytes that freed."""
        id, call_id, kind, at_ns, ledger, body = self._db.execute(_EVENT, (seq,)).fetchone()
        thin = without_content(body)
        if thin is None:
            return 0
        crc = event_crc(seq, id, call_id, kind, at_ns, ledger, thin)
        self._db.execute("UPDATE events SET body = ?, crc = ? WHERE seq = ?", (thin, crc, seq))
        return len(body) - len(thin)

    def drop_oldest(
        self, as_row: AsRow, identity: str | None = None, reason: str = "journal_full", enough_bytes: int = 1 << 62
    ) -> int:
        """Drop some of the oldest events that wait, for one sink or for all; how many rows went.

        No more than it takes to make up `enough_bytes`.

        The ledger's own rows go last: only once no sink has anything waiting.
        """

        def work() -> int:
            if identity is None:
                rows = self._db.execute(_OLDEST_QUEUED, (STEP_ROWS,)).fetchall()
            else:
                rows = self._db.execute(_OLDEST_OF, (self._find_sink(identity), STEP_ROWS)).fetchall()
            # Reports of losses are events too: dropping them one by one, with a report each, would free nothing.
            events = [row for row in rows if row[4] != DROPPED]
            chosen = rows if len(rows) - len(events) >= STEP_ROWS // 5 else events
            chosen = _first(chosen, [row[3] for row in chosen], enough_bytes)
            losses = self._drop_queued(chosen, reason) if chosen or identity else self._drop_hot(reason)
            self._report(losses, as_row)
            return sum(loss.count for loss in losses)

        return self._write(work, _drop)

    def drop_dead(self, as_row: AsRow, identity: str, max_bytes: int) -> int:
        """Drop the oldest dead letters of a sink beyond so many bytes; how many went."""

        def work() -> int:
            sink = self._find_sink(identity)
            sql = "SELECT seq, length(body) FROM dead WHERE sink = ? ORDER BY at_ns DESC, seq DESC"
            kept, gone, freed = 0, [], 0
            for seq, size in self._db.execute(sql, (sink,)).fetchall():
                kept += size
                if kept > max_bytes:
                    gone.append((sink, seq))
                    freed += size
            self._db.executemany("DELETE FROM dead WHERE sink = ? AND seq = ?", gone)
            if gone:
                self._count_dropped([Loss(identity, "dead_letters_full", len(gone), freed)])
                self._report([Loss(identity, "dead_letters_full", len(gone), freed)], as_row)
            return len(gone)

        return self._write(work, _drop)

    def queued_bytes(self) -> dict[str, tuple[int, int]]:
        """Bytes of waiting events and of dead letters, by sink."""
        sql = """SELECT identity,
                   (SELECT ifnull(sum(length(body)), 0) FROM outbox JOIN events USING (seq) WHERE sink = n),
                   (SELECT ifnull(sum(length(body)), 0) FROM dead WHERE sink = n) FROM sinks"""
        return self._read(lambda: {row[0]: (row[1], row[2]) for row in self._db.execute(sql)})

    def losses(self) -> list[Loss]:
        """Every loss so far, by sink and reason."""
        sql = "SELECT sink, reason, count, bytes FROM losses ORDER BY sink, reason"
        return self._read(lambda: [Loss(*row) for row in self._db.execute(sql)])

    def _drop_queued(self, rows: Sequence[Candidate], reason: str) -> list[Loss]:
        self._db.executemany("DELETE FROM outbox WHERE sink = ? AND seq = ?", [(row[0], row[2]) for row in rows])
        losses = summed(Loss(identity, reason, 1, size) for _sink, identity, _seq, size, _kind in rows)
        self._count_dropped(losses)
        self._forget({row[2] for row in rows})
        return losses

    def _drop_hot(self, reason: str) -> list[Loss]:
        sql = "SELECT seq, length(body) FROM events WHERE ledger = 1 AND seq > ? ORDER BY seq LIMIT ?"
        rows = self._db.execute(sql, (self._number("compacted_seq"), STEP_ROWS)).fetchall()
        if not rows:
            return []
        self._db.executemany("DELETE FROM events WHERE seq = ?", [(row[0],) for row in rows])
        losses = [Loss(LEDGER, reason, len(rows), sum(row[1] for row in rows))]
        self._count_dropped(losses)
        return losses

    def _count_dropped(self, losses: Iterable[Loss]) -> None:
        sql = "UPDATE sinks SET dropped = dropped + ? WHERE identity = ?"
        self._db.executemany(sql, [(loss.count, loss.sink) for loss in losses])

    def _report(self, losses: Sequence[Loss], as_row: AsRow) -> None:
        """Add losses to the totals by reason and publish them as events."""
        for loss in losses:
            self._count_loss(loss)
        rows = [as_row(loss) for loss in losses]
        self._insert([row for row in rows if row.ledger or row.sinks])

    def _count_loss(self, loss: Loss) -> None:
        sql = """INSERT INTO losses VALUES (?, ?, ?, ?) ON CONFLICT (sink, reason)
                 DO UPDATE SET count = count + excluded.count, bytes = bytes + excluded.bytes"""
        self._db.execute(sql, (loss.sink, loss.reason, loss.count, loss.bytes))

    def report(self, losses: Sequence[Loss], as_row: AsRow) -> None:
        """Publish losses that happened before the journal was reached.

        Where a loss names a sink, whole events were lost: the sink's accounts take them as accepted and dropped.
        """

        def work() -> None:
            for loss in losses:
                if loss.sink:
                    sql = "UPDATE sinks SET accepted = accepted + ?1, dropped = dropped + ?1 WHERE n = ?2"
                    self._db.execute(sql, (loss.count, self._sink(loss.sink)))
            self._report(losses, as_row)

        self._write(work, _drop)

    def _used_bytes(self) -> int:
        pages = self._db.execute("PRAGMA page_count").fetchone()[0]
        free = self._db.execute("PRAGMA freelist_count").fetchone()[0]
        return int(pages - free) * int(self._db.execute("PRAGMA page_size").fetchone()[0])


def _first(rows: Sequence[T], sizes: Iterable[int], enough_bytes: int) -> Sequence[T]:
    """As many of the first rows as it takes to make up so many bytes."""
    for count, total in enumerate(accumulate(sizes), 1):
        if total >= enough_bytes:
            return rows[:count]
    return rows


def without_content(body: bytes) -> bytes | None:
    """A stored event without its content; None where it has none or is not to be read."""
    try:
        event = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(event, dict) or event.pop("content", None) is None:
        return None
    return msgspec.json.encode(event)


def summed(losses: Iterable[Loss]) -> list[Loss]:
    """One loss for each sink and reason."""
    totals: dict[tuple[str, str], Loss] = {}
    for loss in losses:
        key = (loss.sink, loss.reason)
        known = totals.get(key, Loss(*key, 0))
        totals[key] = Loss(*key, known.count + loss.count, known.bytes + loss.bytes)
    return list(totals.values())
