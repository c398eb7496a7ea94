"""What the journal stores: its tables as SQL, and the values that go in and come out.

`events` holds each event once; `outbox` one row for each sink that has not acknowledged it; `open` the starts of calls
that have not ended; `seen` what was taken lately, so that nothing is taken twice. Every row of these carries a CRC-32
over all its columns, because SQLite checks its log but not its pages.
"""

from typing import Any
from zlib import crc32

from msgspec import Struct

VERSION = 1
"""Kept in `PRAGMA user_version`. A journal with a higher one is left untouched."""

APPLICATION_ID = 0x63616C6D
"""`calm`, in `PRAGMA application_id`: tells our database from anybody else's."""

LEDGER = "duckdb"
"""The name under which the local ledger appears among the sinks."""

LEDGER_LEASE = "ledger"
"""The lease of whoever compacts."""

CORRUPT = "corrupt"
"""The reason of rows set aside because their checksum does not fit."""

START, ATTEMPT, END, DROPPED, ADJUSTED = range(5)
"""`Row.kind`."""

TABLES = {
    "meta": "CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL, crc INTEGER NOT NULL) STRICT, WITHOUT ROWID",
    "events": (
        "CREATE TABLE events (seq INTEGER PRIMARY KEY, id TEXT NOT NULL, call_id TEXT NOT NULL, kind INTEGER NOT NULL,"
        " at_ns INTEGER NOT NULL, ledger INTEGER NOT NULL, crc INTEGER NOT NULL, body BLOB NOT NULL) STRICT"
    ),
    "events_ledger": "CREATE INDEX events_ledger ON events (seq) WHERE ledger = 1",
    "outbox": (
        "CREATE TABLE outbox (sink INTEGER NOT NULL, seq INTEGER NOT NULL, crc INTEGER NOT NULL, due INTEGER NOT NULL,"
        " attempts INTEGER NOT NULL, PRIMARY KEY (sink, seq)) STRICT, WITHOUT ROWID"
    ),
    "outbox_retries": "CREATE INDEX outbox_retries ON outbox (sink, due) WHERE due > 0",
    "dead": (
        "CREATE TABLE dead (sink INTEGER NOT NULL, seq INTEGER NOT NULL, id TEXT NOT NULL, call_id TEXT NOT NULL,"
        " kind INTEGER NOT NULL, event_ns INTEGER NOT NULL, at_ns INTEGER NOT NULL, reason TEXT NOT NULL,"
        " body BLOB NOT NULL, PRIMARY KEY (sink, seq)) STRICT"
    ),
    "open": (
        "CREATE TABLE open (call_id TEXT PRIMARY KEY, owner TEXT NOT NULL, ledger INTEGER NOT NULL,"
        " sinks TEXT NOT NULL, crc INTEGER NOT NULL, body BLOB NOT NULL) STRICT, WITHOUT ROWID"
    ),
    "seen": "CREATE TABLE seen (key TEXT PRIMARY KEY, at_ns INTEGER NOT NULL) STRICT, WITHOUT ROWID",
    "sinks": (
        "CREATE TABLE sinks (n INTEGER PRIMARY KEY, identity TEXT NOT NULL, name TEXT NOT NULL,"
        " endpoint TEXT NOT NULL, accepted INTEGER NOT NULL DEFAULT 0, delivered INTEGER NOT NULL DEFAULT 0,"
        " dropped INTEGER NOT NULL DEFAULT 0, state TEXT NOT NULL DEFAULT 'ok', error TEXT NOT NULL DEFAULT '') STRICT"
    ),
    "losses": (
        "CREATE TABLE losses (sink TEXT NOT NULL, reason TEXT NOT NULL, count INTEGER NOT NULL, bytes INTEGER NOT NULL,"
        " PRIMARY KEY (sink, reason)) STRICT, WITHOUT ROWID"
    ),
    "leases": (
        "CREATE TABLE leases (name TEXT PRIMARY KEY, owner TEXT NOT NULL, until_ns INTEGER NOT NULL)"
        " STRICT, WITHOUT ROWID"
    ),
    "files": (
        "CREATE TABLE files (path TEXT PRIMARY KEY, day TEXT NOT NULL, rows INTEGER NOT NULL,"
        " first_seq INTEGER NOT NULL, last_seq INTEGER NOT NULL, bytes INTEGER NOT NULL, kind TEXT NOT NULL,"
        " crc INTEGER NOT NULL) STRICT, WITHOUT ROWID"
    ),
}
"""The whole schema by name. A database that says otherwise is damaged, or not ours."""


PAGE_BYTES = 8192
"""An end event takes about 2 KB, of which a page of the usual 4096 bytes would hold one."""


def create_tables(db: Any) -> None:
    """Make the tables in an empty database. In this order, so that each has the same root page in every journal."""
    for statement in TABLES.values():
        db.execute(statement)
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute(f"PRAGMA user_version = {VERSION}")


class Row(Struct, frozen=True, gc=False):
    """An event on its way into the journal."""

    id: str
    call_id: str
    kind: int
    at_ns: int
    body: bytes
    """JSON of the event as stored: redacted, truncated."""
    ledger: bool = False
    """Whether the compactor wants it. Of a start: whether it will want the end."""
    sinks: tuple[str, ...] = ()
    """Identities: one outbox row each."""
    owner: str = ""
    """Of a start: the name of the lock that its process holds."""
    end_sinks: tuple[str, ...] = ()
    """Of a start: the sinks that want the end, should the process not live to write it."""


class OpenCall(Struct, frozen=True):
    """A call that has started and not ended, and where its end has to go."""

    call_id: str
    owner: str
    ledger: bool
    sinks: tuple[str, ...]
    body: bytes
    """The start event as stored; empty where it does not fit its checksum."""


class Queued(Struct, frozen=True):
    """An event that waits for a sink."""

    seq: int
    id: str
    attempts: int
    body: bytes
    at_ns: int


class DeadLetter(Struct, frozen=True):
    """An event that a sink refused for good. `at_ns` is when."""

    sink: str
    seq: int
    id: str
    reason: str
    at_ns: int
    body: bytes


class Accounts(Struct, frozen=True):
    """What became of the events a sink was given: accepted = delivered + waiting + dead + dropped, always."""

    sink: str
    name: str
    accepted: int
    delivered: int
    waiting: int
    dead: int
    dropped: int
    state: str = "ok"
    lag_s: float | None = None
    """Age of the oldest event that waits."""
    last_error: str = ""
    lease_owner: str = ""
    endpoint: str = ""

    @property
    def missing(self) -> int:
        """What the accounts cannot explain; 0 unless there is a bug or the journal was damaged."""
        return self.accepted - self.delivered - self.waiting - self.dead - self.dropped


class LedgerFile(Struct, frozen=True):
    """A registered Parquet file. `path` is relative to the home, `day` is `YYYY-MM-DD` in UTC."""

    path: str
    day: str
    rows: int
    first_seq: int
    last_seq: int
    bytes: int
    kind: str


class HotRows(Struct, frozen=True):
    """Rows that are in no file yet, in order."""

    rows: list[tuple[int, bytes]]
    """Number and body."""
    more: bool
    """Whether a limit left out rows: ask again for those after `read_seq`."""
    read_seq: int
    """No row up to this one was left out by a limit."""


class Snapshot(Struct, frozen=True):
    """The ledger at one instant: files, and the hot rows as (seq, body) in order of seq."""

    files: tuple[LedgerFile, ...]
    compacted_seq: int
    hot: list[tuple[int, bytes]]
    last_seq: int
    """The last number given to any row at that instant."""
    more: bool = False
    """As in `HotRows`."""
    read_seq: int = 0
    """As in `HotRows`."""


class Loss(Struct, frozen=True):
    """Events lost or thinned on purpose or by damage, for one sink and one reason."""

    sink: str
    reason: str
    count: int
    bytes: int = 0


def event_crc(seq: int, id: str, call_id: str, kind: int, at_ns: int, ledger: int, body: object) -> int:
    """The checksum of a row of `events`; -1 for what damage has given another type."""
    if not isinstance(body, bytes):
        return -1
    return crc32(body, crc32(f"{seq} {id} {call_id} {kind} {at_ns} {ledger}".encode("utf-8", "surrogatepass")))


def outbox_crc(sink: int, seq: int) -> int:
    """The checksum of a row of `outbox`: what it points to, not when it is due."""
    return (sink * 0x9E3779B1 ^ seq * 0x85EBCA6B) & 0xFFFFFFFF


def text_crc(*columns: object) -> int:
    """The checksum of a row of `open`, `files` or `meta`."""
    return crc32(repr(columns).encode("utf-8", "surrogatepass"))
