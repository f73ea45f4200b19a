"""One sale rebuilt alone, while the others of its partition go on selling.

It is frozen, PostgreSQL takes over everything up to there, and its keys are written anew from it.
The partition keeps its generation: nothing of its journal is doubted. `rebuilt` tells the levels,
so that PostgreSQL's drain compares them once more.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from engine.engine import Engine
from engine.errors import SALE_FROZEN, Fenced
from engine.restoring import Restoring
from persistence.drain import Drain
from persistence.pool import Pool
from persistence.rebuilding import Rebuilding
from persistence.steps import Position
from workers.restored import (
    RebuildRefused,
    Rebuilt,
    check_quarantine,
    compare,
    started_by,
    write_state,
)


class SaleRebuilder:
    """Rebuilds one sale. Its caller holds the lock of its partition.

    Raises:
        RebuildRefused: its partition has to be rebuilt, something waits for a decision, or totals
            disagree.
        DrainStopped: an entry of a newer version stops the drain.
        Fenced: another rebuild has overtaken this one.
        Unavailable, Overloaded: a server is away or full. What was frozen stays so until it is run
            again.
    """

    def __init__(
        self,
        engine: Engine,
        pool: Pool,
        rebuilt: Rebuilt,
        grace_ms: int,
        restored: Callable[[], None],
    ) -> None:
        assert rebuilt.sale_id is not None
        self.rebuilt = rebuilt
        self._sale_id = rebuilt.sale_id
        self._partition = rebuilt.partition
        self._engine = engine
        self._pool = pool
        self._books = Rebuilding(pool)
        self._grace_ms = grace_ms
        self._restored = restored

    async def look(self) -> None:
        """Tell what a rebuild would do, and change nothing."""
        position = await self._check()
        rebuilt = self.rebuilt
        rebuilt.generation, rebuilt.sequence = position.generation, position.sequence
        async with self._books.state(self._partition, self._sale_id) as state:
            expected = await state.expected()
            now_ms = await self._engine.restore.now_ms(self._partition)
            rebuilt.tombstones = len([one async for one in state.tombstones(now_ms)])
            rebuilt.records = len([name async for name, _ in state.records(now_ms)])
            rebuilt.customers = len([one async for one in state.customers()])
        rebuilt.sales, rebuilt.payments = len(expected.levels), len(expected.payments)
        rebuilt.holds = sum(expected.holds.values())

    async def run(self) -> None:
        """Freeze the sale, write it anew, open it."""
        begun_s = time.monotonic()
        # First without the freeze: what is then left to drain is what came meanwhile.
        await self._drain((await self._engine.journal.status(self._partition)).sequence)
        await self._check()
        restoring, sequence = await self._freeze()
        position = await self._drain(sequence)
        await check_quarantine(self._pool, self._partition, self._sale_id)
        rebuilt = self.rebuilt
        rebuilt.generation, rebuilt.sequence = position.generation, position.sequence
        number = await self._books.begin_sale(
            self._partition, position, self._sale_id, started_by()
        )
        await self._forget(restoring)
        async with self._books.state(self._partition, self._sale_id) as state:
            await write_state(
                self._engine, restoring, state, rebuilt, self._grace_ms, self._restored
            )
            expected = await state.expected()
        await compare(self._engine, rebuilt, expected)
        await restoring.finish_sale(self._sale_id)
        rebuilt.seconds = round(time.monotonic() - begun_s, 3)
        await self._books.finish(number, rebuilt.counts())

    async def _check(self) -> Position:
        """Refuse what cannot be rebuilt from PostgreSQL; answers where it is."""
        await check_quarantine(self._pool, self._partition, self._sale_id)
        position = await self._books.position(self._partition)
        async with self._books.state(self._partition, self._sale_id) as state:
            if position is None or not await state.sales():
                raise RebuildRefused(f"sale {self._sale_id}: PostgreSQL has no such sale")
        return position

    async def _freeze(self) -> tuple[Restoring, int]:
        try:
            return await self._engine.restore.freeze(self._partition, self._sale_id)
        except Fenced as fenced:
            if fenced.reason == SALE_FROZEN:
                raise RebuildRefused(
                    f"sale {self._sale_id}: another sale of its partition is being rebuilt, or was "
                    f"left frozen; `holdfast rebuild` ends that first"
                ) from fenced
            raise self._of_partition(fenced) from fenced

    def _of_partition(self, fenced: Fenced) -> RebuildRefused:
        return RebuildRefused(
            f"sale {self._sale_id}: its partition is fenced: {fenced.reason}; "
            f"`holdfast rebuild --partition {self._partition}` is what it needs"
        )

    async def _drain(self, sequence: int) -> Position:
        """Have PostgreSQL take over everything up to the freeze; a drain beside others."""
        drain = Drain(self._pool, self._engine)
        while True:
            position = await self._books.position(self._partition)
            if position is None:
                raise RebuildRefused(f"partition {self._partition} was never started")
            if position.sequence >= sequence:
                return position
            try:
                await drain.run_once(self._partition)
            except Fenced as fenced:
                raise self._of_partition(fenced) from fenced

    async def _forget(self, restoring: Restoring) -> None:
        """Remove the sale's keys and those of its bookings."""
        families = ("sale", "stock", "customers", "deadlines")
        async with restoring.writer("forget_keys") as writer:
            for family in families:
                await writer.put(f"{family}:{self._sale_id}")
            async for booking_id in self._books.booking_ids(self._sale_id):
                for family in ("booking", "contact", "lease"):
                    await writer.put(f"{family}:{booking_id}")
