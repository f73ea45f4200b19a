"""PostgreSQL in memory: transactions, a row's lock, commits of which nobody knows, failovers.

It knows the queries of the drain by their names, and takes columns from the statement's own text.
Each partition's tables are a value of their own: a transaction works on a copy, and its commit puts
that in their place. So any earlier state can come back.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Final, Protocol

import asyncpg

from engine.limits import DATABASE_LEASE_MS
from persistence.queries import catalogue
from tests.simulation.clock import START_MS
from tests.simulation.rows import COLUMNS, INSERT, NEW, Row, Tables

LATENCIES_S: Final = (0.0003, 0.001, 0.005)
_NAMES: Final = {text: name for name, text in catalogue().items()}


class Gate(Protocol):
    """What a process waits at (`tests.simulation.process.Host`)."""

    async def gate(self) -> None: ...


Watcher = Callable[[int, Tables, Tables], None]
"""Told of each commit: partition, before, after."""


class Postgres:
    """The server."""

    def __init__(self, partitions: int, latency: Callable[[], float], watch: Watcher) -> None:
        self.tables = {number: Tables() for number in range(partitions)}
        self._watch = watch
        self.latency = latency
        self.history: list[tuple[float, int, Tables]] = []
        """When each commit was, and what its partition was before it."""
        self.locks: dict[int, Session] = {}
        self.connections = 0
        """How often all sessions were ended."""
        self.down_until_s = 0.0
        self.commit_fates: list[bool] = []
        """For commits whose answer is lost: whether they are done."""
        self.unknown_commits = 0
        self.checked_until_ms: int | None = None
        """How far the reconciler has come."""

    def crash(self, seconds: float) -> None:
        """Sessions end; what was committed is there when it comes back."""
        self.down_until_s = asyncio.get_running_loop().time() + seconds
        self.connections += 1
        self.locks.clear()

    def fail_over(self, commits: int, not_before_s: float) -> int:
        """The standby that takes over lacks the last commits; answers how many it did lack."""
        lost = 0
        while lost < commits and self.history and self.history[-1][0] >= not_before_s:
            _, partition, before = self.history.pop()
            self.tables[partition] = before
            lost += 1
        self.crash(1.0)
        return lost

    def heal(self) -> None:
        """Nothing goes wrong from now on."""
        self.down_until_s = 0.0
        self.commit_fates.clear()

    def committed(self, partition: int, tables: Tables) -> None:
        """Put a transaction's work in place."""
        before = self.tables[partition]
        self.history.append((asyncio.get_running_loop().time(), partition, before))
        self.tables[partition] = tables
        self._watch(partition, before, tables)

    def lock(self, partition: int, session: Session) -> bool:
        """Take the lock of a partition's row; a session that is silent for too long loses it."""
        holder = self.locks.get(partition)
        if holder is not None and holder is not session and holder.is_live():
            return False
        self.locks[partition] = session
        return True


class Session:
    """A connection, with a transaction or without."""

    def __init__(self, server: Postgres, gate: Gate) -> None:
        self._server = server
        self._gate = gate
        self._connection = server.connections
        self._spoke_s = asyncio.get_running_loop().time()
        self._work: tuple[int, Tables] | None = None
        self._open = False

    def is_live(self) -> bool:
        """Whether the server has not ended it."""
        now_s = asyncio.get_running_loop().time()
        silent = self._open and now_s - self._spoke_s > DATABASE_LEASE_MS / 1000
        return self._connection == self._server.connections and not silent

    async def _ask(self, answer: Callable[[], Any]) -> Any:
        """Send a statement and wait for what it answers."""
        await self._gate.gate()
        await asyncio.sleep(self._server.latency())
        now_s = asyncio.get_running_loop().time()
        if self._connection != self._server.connections or now_s < self._server.down_until_s:
            raise asyncpg.ConnectionDoesNotExistError("connection was closed")
        if not self.is_live():
            raise asyncpg.IdleInTransactionSessionTimeoutError("terminating connection")
        self._spoke_s = now_s
        found = answer()
        await asyncio.sleep(self._server.latency())
        await self._gate.gate()
        return found

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """All of it, or nothing; after an error of the connection nobody knows which."""
        await self._ask(lambda: setattr(self, "_open", True))
        try:
            yield
        except BaseException:
            self._end()
            raise
        await self._ask(self._commit)

    def _commit(self) -> None:
        fates = self._server.commit_fates
        done = fates.pop(0) if fates and self._work else None
        if self._work and done is not False:
            self._server.committed(*self._work)
        self._end()
        if done is not None:
            self._server.unknown_commits += 1
            raise asyncpg.ConnectionDoesNotExistError("connection was lost in the middle")

    def _end(self) -> None:
        if self._work and self._server.locks.get(self._work[0]) is self:
            del self._server.locks[self._work[0]]
        self._open, self._work = False, None

    async def fetch(self, sql: str, *args: Any, timeout: float | None = None) -> list[Row]:
        """Run a query of the catalogue."""
        name = _NAMES[sql]
        run: Callable[..., list[Row]] | None = getattr(self, f"_{name}", None)
        if run is None and sql.startswith("INSERT INTO") and "RETURNING" not in sql:
            # Adds to what only reports read: each addition is kept, for the auditor to sum up.
            run = self._add_up
        assert run, f"tests/simulation/postgres.py does not know what the query {name} does"
        found: list[Row] = await self._ask(lambda: run(sql, *args))
        return found

    def _add_up(self, sql: str, *columns: Sequence[Any]) -> list[Row]:
        self._copied().insert_into(INSERT.match(sql), columns)
        return []

    async def fetchrow(self, sql: str, *args: Any) -> Row | None:
        """The first row."""
        rows = await self.fetch(sql, *args)
        return rows[0] if rows else None

    async def fetchval(self, sql: str, *args: Any) -> Any:
        """The first column of the first row."""
        row = await self.fetchrow(sql, *args)
        return next(iter(row)) if row else None

    async def execute(self, sql: str, *args: Any) -> None:
        """Run a query that answers nothing."""
        await self.fetch(sql, *args)

    async def copy_records_to_table(
        self, table: str, *, columns: Sequence[str], records: Iterable[Any], timeout: float
    ) -> None:
        """Add rows to a table."""
        rows = [Row(zip(columns, record, strict=True)) for record in records]
        await self._ask(lambda: self._copied().insert(table, rows))

    def _copied(self) -> Tables:
        assert self._work, "the cursor is moved first"
        return self._work[1]

    def _partitions(self, sql: str) -> list[Row]:
        return [
            Row(partition=number, generation=at.generation, sequence=at.sequence, initialised=True)
            for number, at in self._server.tables.items()
        ]

    def _position(self, sql: str, partition: int) -> list[Row]:
        at = self._server.tables[partition]
        entry = at.journal.get(at.sequence)
        return [
            Row(
                generation=at.generation,
                sequence=at.sequence,
                chain=at.chain,
                bytes=at.size,
                entry=entry and entry["entry"],
            )
        ]

    def _advance(
        self,
        sql: str,
        partition: int,
        generation: int,
        sequence: int,
        chain: bytes,
        to_sequence: int,
        to_chain: bytes,
        to_bytes: int,
    ) -> list[Row]:
        at = self._server.tables[partition]
        found = (at.generation, at.sequence, at.chain) == (generation, sequence, chain)
        if not found or not self._server.lock(partition, self):
            return []
        moved = replace(at.copy(), sequence=to_sequence, chain=to_chain, size=to_bytes)
        self._work = (partition, moved)
        return [Row(partition=partition)]

    def _booking_versions(self, sql: str, booking_ids: Sequence[str]) -> list[Row]:
        bookings = self._copied().bookings
        columns = ("booking_id", "version", "events")
        found = (bookings[name] for name in booking_ids if name in bookings)
        return [Row((name, row[name]) for name in columns) for row in found]

    def _change_bookings(self, sql: str, *columns: Sequence[Any]) -> list[Row]:
        self._copied().change("bookings", NEW.search(sql), columns)
        return []

    def _upsert_payments(self, sql: str, *columns: Sequence[Any]) -> list[Row]:
        self._copied().upsert("payments", COLUMNS.search(sql), columns)
        return []

    def _upsert_sales(self, sql: str, *columns: Sequence[Any]) -> list[Row]:
        self._copied().upsert("sales", COLUMNS.search(sql), columns)
        return []

    def _retire_items(self, sql: str, *columns: Sequence[Any]) -> list[Row]:
        return []

    def _define_items(self, sql: str, *columns: Sequence[Any]) -> list[Row]:
        return []

    def _add_deltas(self, sql: str, *columns: Sequence[Any]) -> list[Row]:
        return self._copied().add(zip(*columns, strict=True))

    def _sale_levels(self, sql: str, sales: Sequence[str]) -> list[Row]:
        return [
            Row(
                sale_id=sale_id,
                item_id=item_id,
                available=counts[0],
                held=counts[1],
                sold=counts[2],
            )
            for (sale_id, item_id), counts in self._copied().levels.items()
            if sale_id in sales
        ]

    def _reconciler_position(self, sql: str, gateway: str) -> list[Row]:
        return [Row(checked_until_ms=self._server.checked_until_ms, installed_ms=START_MS)]

    def _set_checked_until(self, sql: str, gateway: str, at_ms: int) -> list[Row]:
        self._server.checked_until_ms = max(at_ms, self._server.checked_until_ms or 0)
        return []

    def _captures(self, sql: str, since_ms: int, until_ms: int, *page: int) -> list[Row]:
        *after, limit = page
        found = [
            Row(at_ms=row["at_ms"], partition=number, sequence=at, entry=row["entry"])
            for number, tables in self._server.tables.items()
            for at, row in tables.journal.items()
            if row["type"] == "captured" and since_ms <= row["at_ms"] < until_ms
        ]
        found.sort(key=lambda row: (row["at_ms"], row["partition"], row["sequence"]))
        places = (((row["at_ms"], row["partition"], row["sequence"]), row) for row in found)
        return [row for place, row in places if place > tuple(after)][:limit]

    def _quarantined_deltas(self, sql: str, sales: Sequence[str]) -> list[Row]:
        return [
            row
            for row in self._copied().others.get("quarantine", [])
            if row["sale_id"] in sales and row["deltas"]
        ]
