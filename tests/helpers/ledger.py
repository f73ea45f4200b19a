"""An engine with its PostgreSQL behind it, and journal entries made up to be drained."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import orjson
from cryptography.fernet import Fernet
from redis.asyncio import Redis

from engine.engine import Engine
from engine.limits import MAX_INTEGER
from engine.settings import EngineOptions
from engine.types import Booking, ItemDefinition, Levels, LineRequest, SaleDefinition
from persistence.audit import Audit
from persistence.bootstrap import bootstrap
from persistence.drain import Drain
from persistence.migrate import migrate
from persistence.pool import Pool, create_pool
from persistence.reads import Reads

DATA_KEY = Fernet.generate_key().decode()
PARTITIONS = 4
NOON_MS = 1_800_000_000_000
"""When made-up entries happen."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """Everything from the engine to PostgreSQL, on empty servers."""

    engine: Engine
    pool: Pool
    drain: Drain
    reads: Reads
    redis: Redis

    async def drain_all(self) -> int:
        """Drain every partition until nothing is left; how many entries that were."""
        total = 0
        for partition in range(PARTITIONS):
            while done := await self.drain.run_once(partition):
                total += done
        return total

    async def hold(self, *lines: tuple[str, int], **fields: Any) -> Booking:
        """Hold units of the concert for ann; two seats by default."""
        wanted = [LineRequest(*line) for line in lines or (("seat", 2),)]
        answer = await self.engine.bookings.reserve(
            "concert", "ann", wanted, str(uuid4()), **fields
        )
        assert answer.booking, answer
        return answer.booking

    async def chained(self, partition: int) -> tuple[int, bytes]:
        """How many entries PostgreSQL has of a partition, and their chain computed anew."""
        chain, count = bytes(32), 0
        for row in await Audit(self.pool).entries(partition, 0, MAX_INTEGER):
            count += 1
            assert row.sequence == count
            chain = hashlib.sha256(chain + row.entry).digest()
            assert row.chain == chain
        return count, chain

    async def levels(self) -> dict[str, tuple[Levels, ...]]:
        """The sums that PostgreSQL has, by sale, of the items that the sale has."""
        rows = await self.rows(
            "SELECT sale_id, item_id, available, held, sold FROM items"
            " WHERE position IS NOT NULL OR (available, held, sold) <> (0, 0, 0)"
            " ORDER BY sale_id, position"
        )
        return {
            sale_id: tuple(Levels(*row[1:]) for row in rows if row[0] == sale_id)
            for sale_id in {row[0] for row in rows}
        }

    async def rows(self, sql: str, *args: Any) -> list[tuple[Any, ...]]:
        """What a statement answers."""
        return [tuple(row) for row in await self.pool.fetch(sql, *args)]

    async def append(self, partition: int, *entries: bytes) -> None:
        """Put entries into a partition's journal as the scripts do, whatever they say."""
        journal = self.engine.keys.key("journal", partition)
        meta = self.engine.keys.meta(partition).decode()
        sequence = int(await self.redis.execute_command("HGET", meta, "sequence"))
        pipe = self.redis.pipeline()
        for entry in entries:
            sequence += 1
            pipe.xadd(journal, {"entry": entry}, id=f"{sequence}-0")
        await pipe.execute()
        await self.set_meta(partition, "sequence", str(sequence))

    async def set_meta(self, partition: int, name: str, value: str) -> None:
        """Write a field of a partition's meta, as no script would."""
        meta = self.engine.keys.meta(partition).decode()
        await self.redis.execute_command("HSET", meta, name, value)


@asynccontextmanager
async def open_engine(redis_url: str, reads: Reads | None = None) -> AsyncIterator[Engine]:
    """An engine with the tests' settings."""
    options = EngineOptions(redis_url=redis_url, data_keys=(DATA_KEY,), partitions=PARTITIONS)
    floors = reads.cursors if reads else None
    async with await Engine.open(options, archive=reads, floors=floors) as engine:
        yield engine


@asynccontextmanager
async def open_ledger(redis_url: str, database_url: str, **options: Any) -> AsyncIterator[Ledger]:
    """Migrate, start the partitions, and open everything. `options` are the drain's."""
    await migrate(database_url)
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(await create_pool(database_url))
        reads = Reads(pool)
        engine = await stack.enter_async_context(open_engine(redis_url, reads))
        await bootstrap(pool, engine)
        redis = await stack.enter_async_context(Redis.from_url(redis_url))
        yield Ledger(engine, pool, Drain(pool, engine, **options), reads, redis)


def concert(sale_id: str = "concert", *, capacity: int = 100, **fields: Any) -> SaleDefinition:
    """A sale of seats at 50.00 and stands for nothing."""
    items = (
        ItemDefinition("seat", "Seat", capacity, 5_000),
        ItemDefinition("stand", "Stand", capacity, 0),
    )
    return SaleDefinition(sale_id, "Concert", items, **fields)


def booking_id(number: int, partition: int = 0) -> str:
    """A well-formed id, the same for the same number."""
    return f"{partition:03x}01K{number:023d}"


def booking_entry(kind: str, number: int, version: int, **fields: Any) -> bytes:
    """An entry about a made-up booking of two seats."""
    return orjson.dumps(
        {
            "type": kind,
            "v": 1,
            "at_ms": NOON_MS + version,
            "booking_id": booking_id(number),
            "version": version,
            "sale_id": "concert",
            "customer_id": "ann",
            "status": "CANCELLED" if kind in {"cancelled", "expired"} else "PENDING",
            "cancel_reason": {"cancelled": "customer", "expired": "expired"}.get(kind),
            "lines": "seat:2:5000",
            "amount": 10_000,
            "currency": "USD",
            "hold_expires_ms": NOON_MS + 300_000,
            "created_ms": NOON_MS,
            "updated_ms": NOON_MS + version,
            "extended": 1 if kind == "extended" else 0,
            "deltas": "",
            "levels": "",
            "trace": "",
        }
        | fields
    )


def sale_entry(version: int = 1, **fields: Any) -> bytes:
    """An entry that defines the concert with 100 seats."""
    return orjson.dumps(
        {
            "type": "sale_put",
            "v": 1,
            "at_ms": NOON_MS,
            "sale_id": "concert",
            "version": version,
            "definition": {
                "sale_id": "concert",
                "name": "Concert",
                "opens_ms": 0,
                "closes_ms": 0,
                "hold_ms": 300_000,
                "max_units_per_customer": 0,
                "currency": "USD",
                "items": [
                    {"item_id": "seat", "name": "Seat", "unit_price": 5_000, "max_per_booking": 0}
                ],
            },
            "deltas": "seat:100:0:0",
            "levels": "seat:100:0:0",
            "trace": "",
        }
        | fields
    )
