"""The simulator's memory: one SQLite file, written before anything is answered.

Objects are JSON documents with the few columns that are looked up by. A transaction is committed
to the write-ahead log before its answer leaves, and that log is the operating system's when this
process is killed: nothing that was answered is lost with it. (`synchronous = NORMAL`: a power cut
may lose the last of it, which no test of a simulator needs to survive.)

Calls block for some ten microseconds; all are made from the event loop, one after the other, so
that what happens between BEGIN and COMMIT needs no lock.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, TypeVar

import orjson

from engine.errors import HoldfastError
from holdfast.simulator.records import PaymentIntent, Record

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS objects (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    parent TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    document BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS objects_by_kind ON objects (kind, created_ms, number);
CREATE INDEX IF NOT EXISTS objects_by_parent ON objects (parent, kind);
CREATE TABLE IF NOT EXISTS metadata (
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    payment_intent TEXT NOT NULL,
    PRIMARY KEY (name, value, payment_intent)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS answers (
    idempotency_key TEXT PRIMARY KEY,
    endpoint TEXT NOT NULL,
    parameters BLOB NOT NULL,
    kept_ms INTEGER NOT NULL,
    request_id TEXT NOT NULL,
    status INTEGER NOT NULL,
    body BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS answers_by_age ON answers (kept_ms);
CREATE TABLE IF NOT EXISTS events (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    payment_intent TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    body BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS deliveries (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    event INTEGER NOT NULL REFERENCES events (number),
    endpoint TEXT NOT NULL,
    payment_intent TEXT NOT NULL,
    due_ms INTEGER NOT NULL,
    held INTEGER NOT NULL,
    failures INTEGER NOT NULL DEFAULT 0,
    state TEXT NOT NULL DEFAULT 'open'
);
CREATE INDEX IF NOT EXISTS deliveries_due ON deliveries (due_ms, number) WHERE state = 'open';
"""

R = TypeVar("R", bound=Record)


class Busy(HoldfastError):
    """Another process has the file."""


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """The first answer given under an idempotency key, and to what."""

    endpoint: str
    parameters: bytes
    request_id: str
    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Window:
    """Which objects of a kind a list is of: [since_ms, until_ms), newest first, after an id."""

    since_ms: int = 0
    until_ms: int = 1 << 62
    after: str | None = None
    limit: int = 10


class Store:
    """Objects, and the answers kept under idempotency keys."""

    def __init__(self, path: Path) -> None:
        """Open or make the file. Raises Busy where another simulator has it."""
        self.sql = sqlite3.connect(path, isolation_level=None, timeout=0)
        try:
            # One process at a time: two would each have their own requests in flight.
            self.sql.execute("PRAGMA locking_mode = EXCLUSIVE")
            self.sql.execute("PRAGMA journal_mode = WAL")
            self.sql.execute("PRAGMA synchronous = NORMAL")
            self.sql.executescript(_SCHEMA)
        except sqlite3.OperationalError as error:
            self.sql.close()
            raise Busy(f"another simulator runs on {path} ({error})") from None

    def close(self) -> None:
        """Close the file."""
        self.sql.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; committed when the block ends without an exception."""
        self.sql.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.sql.execute("ROLLBACK")
            raise
        self.sql.execute("COMMIT")

    def put(self, record: Record) -> None:
        """Write an object, new or changed. An intent's metadata never changes."""
        self.sql.execute(
            "INSERT INTO objects (id, kind, parent, created_ms, document) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET document = excluded.document",
            (
                record.id,
                record.kind,
                record.parent,
                record.created_ms,
                orjson.dumps(asdict(record)),
            ),
        )
        if isinstance(record, PaymentIntent):
            self.sql.executemany(
                "INSERT OR IGNORE INTO metadata VALUES (?, ?, ?)",
                [(name, value, record.id) for name, value in record.metadata.items()],
            )

    def get(self, kind: type[R], object_id: str) -> R | None:
        """Read an object, or None."""
        row = self.sql.execute(
            "SELECT document FROM objects WHERE id = ? AND kind = ?", (object_id, kind.kind)
        ).fetchone()
        return _record(kind, row[0]) if row else None

    def remove(self, object_id: str) -> None:
        """Forget an object."""
        self.sql.execute("DELETE FROM objects WHERE id = ?", (object_id,))

    def children(self, kind: type[R], parent: str) -> list[R]:
        """The objects of a payment intent, oldest first."""
        rows = self.sql.execute(
            "SELECT document FROM objects WHERE parent = ? AND kind = ? ORDER BY number",
            (parent, kind.kind),
        )
        return [_record(kind, row[0]) for row in rows]

    def newest(self, kind: type[R], window: Window) -> list[R]:
        """A page, newest first, and one more where there is more."""
        rows = self.sql.execute(
            "SELECT document FROM objects WHERE kind = ? AND created_ms >= ? AND created_ms < ?"
            " AND number < ifnull((SELECT number FROM objects WHERE id = ?), 1 << 62)"
            " ORDER BY number DESC LIMIT ?",
            (kind.kind, window.since_ms, window.until_ms, window.after, window.limit + 1),
        )
        return [_record(kind, row[0]) for row in rows]

    def search(self, metadata: dict[str, str], window: Window) -> list[PaymentIntent]:
        """The intents that carry all of the metadata; at least one pair. As `newest` otherwise."""
        having = " AND ".join(
            "id IN (SELECT payment_intent FROM metadata WHERE name = ? AND value = ?)"
            for _ in metadata
        )
        rows = self.sql.execute(
            f"SELECT document FROM objects WHERE {having} AND created_ms < ?"  # noqa: S608
            " AND number < ifnull((SELECT number FROM objects WHERE id = ?), 1 << 62)"
            " ORDER BY number DESC LIMIT ?",
            (
                *(text for pair in metadata.items() for text in pair),
                window.until_ms,
                window.after,
                window.limit + 1,
            ),
        )
        return [_record(PaymentIntent, row[0]) for row in rows]

    def kept_answer(self, key: str, since_ms: int) -> KeptAnswer | None:
        """The answer kept under a key, unless it is older than that."""
        row = self.sql.execute(
            "SELECT endpoint, parameters, request_id, status, body FROM answers"
            " WHERE idempotency_key = ? AND kept_ms >= ?",
            (key, since_ms),
        ).fetchone()
        return KeptAnswer(*row) if row else None

    def keep_answer(self, key: str, answer: KeptAnswer, now_ms: int, since_ms: int) -> None:
        """Keep an answer, and forget some that are too old."""
        self.sql.execute(
            "DELETE FROM answers WHERE idempotency_key IN"
            " (SELECT idempotency_key FROM answers WHERE kept_ms < ? LIMIT 100)",
            (since_ms,),
        )
        self.sql.execute(
            "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                key,
                answer.endpoint,
                answer.parameters,
                now_ms,
                answer.request_id,
                answer.status,
                answer.body,
            ),
        )


def _record(kind: type[R], document: bytes) -> R:
    return kind(**orjson.loads(document))
