"""Redis's side of a rebuild: a partition is closed, emptied, written anew and opened.

What is written comes from PostgreSQL (`workers.rebuild`), by `engine.restoring`. What is only read
is read past the fence, since nobody else writes to a partition that is closed.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from redis.asyncio import Redis

from engine.calls import Caller
from engine.journal import RawEntry
from engine.journal_status import read_statuses
from engine.keys import Keys
from engine.nodes import Nodes
from engine.restoring import Restoring
from engine.types import Levels

SCAN_CUSTOMERS: Final = 5_000


@dataclass(frozen=True, slots=True)
class SaleTotals:
    """What lies in Redis of a sale: its levels, its customers with their units, its holds."""

    levels: Mapping[str, Levels]
    customers: int
    units: int
    holds: int


class Restore:
    """Begins rebuilds, and reads what Redis has of partitions that nobody else writes to."""

    def __init__(self, caller: Caller, keys: Keys, nodes: Nodes) -> None:
        self._caller = caller
        self._keys = keys
        self._nodes = nodes

    async def begin(self, partition: int, generation: int | None) -> Restoring:
        """Close a partition for a rebuild, whatever its state.

        Args:
            generation: the one that Redis was found at; None where it has no meta.

        Raises:
            Fenced: it is at another generation by now; another rebuild was here.
            Unavailable: Redis is away.
        """
        token = secrets.token_hex(16)
        await self._caller.run_as("begin_rebuild", partition, generation or 0, token)
        return Restoring(self._caller, self._keys, partition, generation or 0, token)

    async def freeze(self, partition: int, sale_id: str) -> tuple[Restoring, int]:
        """Close one sale for a rebuild of it alone; answers the sequence at which it stands.

        Raises:
            Fenced: the partition is closed, or another sale of it is frozen.
            Unavailable: Redis is away.
        """
        token = secrets.token_hex(16)
        reply = await self._caller.run("freeze_sale", partition, sale_id, token)
        status = (await read_statuses(self._nodes, self._keys, [partition]))[0]
        generation = status.generation or 0
        return Restoring(self._caller, self._keys, partition, generation, token), reply.sequence

    async def entries(self, partition: int, from_sequence: int, limit: int) -> list[RawEntry]:
        """Entries of a journal from a sequence (inclusive), at most `limit`, past the fence."""
        found = await self._nodes.ask(
            partition,
            lambda redis: redis.xrange(
                self._keys.key("journal", partition), f"{from_sequence}-0", "+", count=limit
            ),
        )
        return [
            RawEntry(int(entry_id.partition(b"-")[0]), fields.get(b"entry", b""))
            for entry_id, fields in found
        ]

    async def now_ms(self, partition: int) -> int:
        """The time of the server that has the partition."""
        seconds, microseconds = await self._nodes.ask(partition, lambda redis: redis.time())
        return int(seconds) * 1000 + int(microseconds) // 1000

    async def names(self, partitions: Collection[int]) -> AsyncIterator[dict[int, list[str]]]:
        """All keys of some partitions but their metas, page by page, without their prefixes."""
        async for page in self._nodes.scan(self._keys, partitions):
            names: dict[int, list[str]] = {}
            for partition, name in page.names:
                if name != "meta":
                    names.setdefault(partition, []).append(name)
            yield names

    async def sale(self, partition: int, sale_id: str) -> SaleTotals:
        """What lies there of a sale."""
        key = self._keys.key

        async def read(redis: Redis) -> tuple[dict[bytes, bytes], int, list[int]]:
            # redis-py's stubs give some commands the types of its synchronous twin as well.
            found: Any = redis.hgetall(key("stock", partition, sale_id))
            stock: dict[bytes, bytes] = await found
            holds = await redis.zcard(key("deadlines", partition, sale_id))
            customers = redis.hscan_iter(key("customers", partition, sale_id), count=SCAN_CUSTOMERS)
            return stock, holds, [int(units) async for _, units in customers]

        stock, holds, units = await self._nodes.ask(partition, read)
        levels: dict[str, dict[str, int]] = {}
        for field, value in stock.items():
            item_id, _, side = field.decode().rpartition(":")
            levels.setdefault(item_id, {})[side] = int(value)
        return SaleTotals(
            levels={
                item_id: Levels(item_id, at["available"], at["held"], at["sold"])
                for item_id, at in levels.items()
            },
            customers=len(units),
            units=sum(units),
            holds=holds,
        )

    async def sales(self, partition: int) -> int:
        """How many sales a partition lists."""
        key = self._keys.key("sales", partition)
        count: int = await self._nodes.ask(partition, lambda redis: redis.zcard(key))
        return count

    async def payments(self, partition: int) -> frozenset[str]:
        """The bookings of a partition whose payments a worker shall look at."""
        key = self._keys.key("payments", partition)
        found = await self._nodes.ask(partition, lambda redis: redis.zrange(key, 0, -1))
        return frozenset(name.decode() for name in found)
