"""One partition rebuilt, step by step; each step may be the last one before a crash.

Until `take_generation` nothing of what PostgreSQL says has changed but what a drain would have
changed as well; from then on Redis is closed until a rebuild has ended, this one or the next.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Final

from engine.engine import Engine
from engine.errors import Fenced, Unavailable
from engine.journal import RawEntry
from engine.limits import DATABASE_LEASE_MS, MAX_DRAIN_ENTRIES
from engine.restoring import Restoring
from persistence.audit import SLICE_ROWS, Audit
from persistence.commit import commit
from persistence.pool import Pool
from persistence.rebuilding import Rebuilding
from persistence.salvage import Salvage
from persistence.steps import Position, Step, contacts_to_read, understand
from workers.restored import (
    RebuildRefused,
    Rebuilt,
    check_quarantine,
    compare,
    require,
    started_by,
    write_state,
)

TAKEN_POLL_S: Final = 0.1


class Rebuilder:
    """Rebuilds one partition. Its caller holds the partition's lock.

    Raises:
        RebuildRefused: PostgreSQL's books disagree, or something waits for a decision.
        Fenced: another rebuild has overtaken this one.
        Unavailable, Overloaded: a server is away or full. It can be run again.
    """

    def __init__(
        self,
        engine: Engine,
        pool: Pool,
        rebuilt: Rebuilt,
        grace_ms: int,
        restored: Callable[[], None],
    ) -> None:
        self.rebuilt = rebuilt
        self._partition = rebuilt.partition
        self._engine = engine
        self._pool = pool
        self._books = Rebuilding(pool)
        self._grace_ms = grace_ms
        self._restored = restored
        self._number: int | None = None
        self._begun_s = time.monotonic()

    async def position(self) -> Position:
        """Where PostgreSQL is. Raises `RebuildRefused` where it cannot be built on."""
        position = await self._books.position(self._partition)
        if position is None:
            raise RebuildRefused(f"partition {self._partition} was never started")
        if position.sequence and position.entry is None:
            # Redis's journal begins with it, and the drain compares it.
            raise RebuildRefused(
                f"partition {self._partition}: PostgreSQL has not kept the entry at its cursor"
            )
        return position

    async def prepare(self) -> Restoring:
        """Close the partition, take over what is left of its journal, give it a generation."""
        await check_quarantine(self._pool, self._partition)
        # What this code cannot read must not end the selling of a partition that is well.
        await self.salvage(changes=False)
        self.rebuilt.salvaged = 0
        status = await self._engine.journal.status(self._partition)
        restoring = await self._engine.restore.begin(self._partition, status.generation)
        position = await self.salvage(changes=True)
        await check_quarantine(self._pool, self._partition)
        generation = max(position.generation, status.generation or 0) + 1
        self._number = await self._books.take_generation(
            self._partition, position, generation, started_by()
        )
        if self._number is None:
            raise Fenced(self._partition, "overtaken")
        self.rebuilt.generation, self.rebuilt.sequence = generation, position.sequence
        async for page in self.dropped(position):
            await self._books.keep_dropped(self._partition, generation, page)
        last_ms = await self._books.last_ms(self._partition)
        await restoring.reset(generation, position.sequence, position.bytes, last_ms)
        return restoring

    async def look(self) -> None:
        """Tell what a rebuild would do, and change nothing."""
        await check_quarantine(self._pool, self._partition)
        status = await self._engine.journal.status(self._partition)
        position = await self.salvage(changes=False)
        rebuilt, generation = self.rebuilt, max(position.generation, status.generation or 0) + 1
        rebuilt.generation, rebuilt.sequence = generation, position.sequence
        async for _ in self.dropped(position):
            pass
        async with self._books.state(self._partition) as state:
            expected = await state.expected()
            now_ms = await self._engine.restore.now_ms(self._partition)
            rebuilt.tombstones = len([one async for one in state.tombstones(now_ms)])
            rebuilt.records = len([name async for name, _ in state.records(now_ms)])
            rebuilt.customers = len([one async for one in state.customers()])
        rebuilt.sales, rebuilt.payments = len(expected.levels), len(expected.payments)
        rebuilt.holds = sum(expected.holds.values())

    async def holds(self) -> int:
        """How many holds there are to restore."""
        async with self._books.state(self._partition) as state:
            return sum((await state.expected()).holds.values())

    async def salvage(self, *, changes: bool) -> Position:
        """Take over what follows from PostgreSQL in Redis's journal; answers where it ends.

        Args:
            changes: whether to; without, only counts.
        """
        give_up_s = time.monotonic() + 2 * DATABASE_LEASE_MS / 1000
        while (reached := await self._salvage(changes=changes)) is None:
            # A drain that was at it before the fence has the row, or has moved it meanwhile.
            if time.monotonic() > give_up_s:
                raise Unavailable(f"partition {self._partition}: its cursor stays locked")
            await asyncio.sleep(TAKEN_POLL_S)
        return reached

    async def _salvage(self, *, changes: bool) -> Position | None:
        position = await self.position()
        at, last_ms = position.sequence, await self._books.last_ms(self._partition)
        self.rebuilt.dropped_because = None
        if at and not await self._has_cursor(position):
            self.rebuilt.dropped_because = f"the entry at PostgreSQL's cursor, {at}, is not there"
            return position
        fold = Salvage(self._pool, self._partition, at, last_ms)
        while steps := await self._next_steps(at):
            follow, why = await fold.take(steps)
            if follow and changes:
                reached = await self._commit(position, steps[:follow])
                if reached is None:
                    return None
                position = reached
                fold.forget()
            at += follow
            self.rebuilt.salvaged += follow
            if why:
                self.rebuilt.dropped_because = why
                break
        return replace(position, sequence=at)

    async def _has_cursor(self, position: Position) -> bool:
        found = await self._engine.restore.entries(self._partition, position.sequence, 1)
        return bool(found) and found[0] == RawEntry(position.sequence, position.entry or b"")

    async def _next_steps(self, at: int) -> list[Step]:
        """The entries after a sequence, so far as they are dense, understood; none at the end."""
        raws = await self._engine.restore.entries(self._partition, at + 1, MAX_DRAIN_ENTRIES)
        dense = [raw for number, raw in enumerate(raws, at + 1) if raw.sequence == number]
        if raws and not dense:
            self.rebuilt.dropped_because = f"entry {at + 1} is not there"
        steps, unknown = understand(dense)
        if unknown and not steps:
            raise RebuildRefused(
                f"partition {self._partition}: {unknown}; rebuild it with the newer version"
            )
        return steps

    async def _commit(self, position: Position, steps: list[Step]) -> Position | None:
        contacts = await self._engine.journal.contacts(self._partition, contacts_to_read(steps))
        return await commit(self._pool, self._partition, position, steps, contacts)

    async def dropped(self, position: Position) -> AsyncIterator[list[RawEntry]]:
        """What of Redis's journal PostgreSQL does not have, page by page; counted on the way."""
        audit, after = Audit(self._pool), 0
        self.rebuilt.dropped = 0
        while raws := await self._engine.restore.entries(self._partition, after + 1, SLICE_ROWS):
            after = raws[-1].sequence
            texts = await audit.texts(
                self._partition, [raw.sequence for raw in raws if raw.sequence <= position.sequence]
            )
            page = [
                raw
                for raw in raws
                # PostgreSQL may have dropped what is old; that it was the same cannot be told.
                if raw.sequence > position.sequence or texts.get(raw.sequence, raw.text) != raw.text
            ]
            self.rebuilt.dropped += len(page)
            if page:
                yield page

    async def restore(self, restoring: Restoring) -> None:
        """Write into Redis what PostgreSQL has, and compare."""
        async with self._books.state(self._partition) as state:
            await write_state(
                self._engine, restoring, state, self.rebuilt, self._grace_ms, self._restored
            )
            expected = await state.expected()
        await compare(self._engine, self.rebuilt, expected)
        listed = await self._engine.restore.sales(self._partition)
        require(self._partition, "sales", listed, len(expected.levels))

    async def finish(self, restoring: Restoring) -> None:
        """Open the partition under its new generation, and note it."""
        position = await self.position()
        if (position.generation, position.sequence) != (
            self.rebuilt.generation,
            self.rebuilt.sequence,
        ):
            raise Fenced(self._partition, "overtaken")
        await restoring.finish(position.entry)
        self.rebuilt.seconds = round(time.monotonic() - self._begun_s, 3)
        assert self._number is not None, "prepared before"
        await self._books.finish(self._number, self.rebuilt.counts())
