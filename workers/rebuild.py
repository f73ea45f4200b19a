"""`holdfast rebuild`: Redis written anew from PostgreSQL, and from what is left of its journal.

Partitions that need it, or one that is named. Each is closed first and opened last; what lives
meanwhile is refused with `fenced`, and learns of the new generation by itself. Safe to interrupt at
any point and to run again, safe to run twice at once.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Final

import orjson

from engine.backlog import fence_of
from engine.engine import Engine
from engine.errors import Fenced, Overloaded, SettingsError
from engine.journal_status import JournalStatus
from engine.restoring import Restoring
from engine.settings import EngineOptions, Settings
from persistence.drain import DrainStopped
from persistence.pool import Pool
from persistence.reads import Reads
from persistence.rebuilding import AlreadyRebuilding, Locks, Rebuilding
from persistence.steps import JOURNAL_GAP, JOURNAL_MISMATCH
from workers.operator_pool import operator_pool
from workers.rebuild_sale import SaleRebuilder
from workers.rebuild_told import Result, Show, lines, progress, show_nothing, summary
from workers.rebuilder import Rebuilder
from workers.restored import RebuildRefused, Rebuilt

REFUSED: Final = 1
QUERY_TIMEOUT_MS: Final = 10 * 60 * 1000


async def rebuild(
    settings: Settings,
    *,
    grace_ms: int,
    partition: int | None = None,
    sale_id: str | None = None,
    dry_run: bool = False,
    as_json: bool = False,
) -> int:
    """Rebuild what needs it, or one partition or sale; print what came of it; the exit code.

    Args:
        grace_ms: how much longer a hold lives while its payment is open.
        partition: the one to rebuild, whether it needs it or not.
        sale_id: the one to rebuild alone.
        dry_run: only tell what would be done.

    Raises `Unavailable` where Redis or PostgreSQL does not answer; what was begun stays closed, and
    is rebuilt by the next run.
    """
    with progress() as show:
        async with opened(settings) as (engine, pool):
            if sale_id is not None:
                result = await rebuild_sale(
                    engine, pool, sale_id, grace_ms=grace_ms, dry_run=dry_run, show=show
                )
            else:
                result = await rebuild_partitions(
                    engine, pool, grace_ms=grace_ms, partition=partition, dry_run=dry_run, show=show
                )
    if as_json:
        sys.stdout.write(orjson.dumps(summary(result)).decode() + "\n")
    else:
        sys.stdout.write("".join(f"{line}\n" for line in lines(result)))
    sys.stdout.flush()
    return REFUSED if result.refused else 0


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[tuple[Engine, Pool]]:
    """An engine and a pool for the operator's commands."""
    async with operator_pool(
        settings, "holdfast-rebuild", command_timeout_ms=QUERY_TIMEOUT_MS
    ) as pool:
        reads = Reads(pool)
        await reads.ready()
        engine = await Engine.open(EngineOptions.of(settings), archive=reads, floors=reads.cursors)
        async with engine:
            yield engine, pool


async def rebuild_partitions(
    engine: Engine,
    pool: Pool,
    *,
    grace_ms: int,
    partition: int | None = None,
    dry_run: bool = False,
    show: Show = show_nothing,
) -> Result:
    """Rebuild what needs it, or one partition. Raises `Unavailable`.

    Args:
        show: is told at what the rebuild is, and how many holds were restored, of how many.
    """
    if partition is not None and partition >= len(engine.partitions):
        raise SettingsError(f"--partition: there are {len(engine.partitions)}, from 0 on")
    result = Result(dry_run=dry_run)
    wanted, frozen = [], []
    for rebuilt in await survey(engine, pool):
        if partition is None and rebuilt.sale_id is not None:
            frozen.append(rebuilt.sale_id)
        elif partition is None and rebuilt.reason is None:
            result.sound.append(rebuilt.partition)
        elif partition is None or rebuilt.partition == partition:
            wanted.append(replace(rebuilt, sale_id=None))
    if partition is not None and not wanted:
        result.refused[partition] = f"partition {partition} was never started"
    if dry_run:
        for rebuilt in wanted:
            await _look(engine, pool, rebuilt, result)
    else:
        await _Run(engine, pool, grace_ms, result, show).run(wanted)
    for sale_id in frozen:
        one = await rebuild_sale(
            engine, pool, sale_id, grace_ms=grace_ms, dry_run=dry_run, show=show
        )
        result.sales += one.sales
        result.refused |= one.refused
    return result


async def rebuild_sale(
    engine: Engine,
    pool: Pool,
    sale_id: str,
    *,
    grace_ms: int,
    dry_run: bool = False,
    show: Show = show_nothing,
) -> Result:
    """Rebuild one sale while the others of its partition go on. Raises `Unavailable`."""
    rebuilt = Rebuilt(engine.keys.partition_of_sale(sale_id), None, sale_id=sale_id)
    result = Result(dry_run=dry_run)
    run = _Run(engine, pool, grace_ms, result, show)
    rebuilder = SaleRebuilder(engine, pool, rebuilt, grace_ms, run.count)
    with run.refusals(rebuilt.partition):
        if dry_run:
            await rebuilder.look()
        else:
            async with Rebuilding(pool).locks() as locks:
                await locks.take(rebuilt.partition)
                show(f"sale {sale_id}", 0, 0)
                await rebuilder.run()
        result.sales.append(rebuilt)
    return result


async def survey(engine: Engine, pool: Pool) -> list[Rebuilt]:
    """Every partition, with why it needs a rebuild, or the sale of it that was left frozen.

    One that was never started is left out.
    """
    books, found = Rebuilding(pool), []
    floors = await Reads(pool).cursors()
    for status in await engine.journal.statuses():
        floor = floors.get(status.partition)
        if floor is None:
            continue
        reason = fence_of(status, floor)
        if reason is None:
            reason = await _fault(engine, books, status)
        frozen = None if reason else status.frozen
        found.append(Rebuilt(status.partition, reason, frozen))
    return found


async def _fault(engine: Engine, books: Rebuilding, status: JournalStatus) -> str | None:
    """Why a journal does not follow from PostgreSQL's, as a drain would say; None where it does."""
    position = await books.position(status.partition)
    if position is None:
        return None
    for sequence, text in ((position.sequence, position.entry), (status.sequence, None)):
        entries = await engine.restore.entries(status.partition, sequence, 1)
        if sequence and (not entries or entries[0].sequence != sequence):
            return JOURNAL_GAP
        if text is not None and entries[0].text != text:
            return JOURNAL_MISMATCH
    return None


async def _look(engine: Engine, pool: Pool, rebuilt: Rebuilt, result: Result) -> None:
    """What a rebuild would do."""
    rebuilder = Rebuilder(engine, pool, rebuilt, 0, lambda: None)
    try:
        await rebuilder.look()
    except RebuildRefused as refused:
        result.refused[rebuilt.partition] = str(refused)
    else:
        result.partitions.append(rebuilt)


class _Run:
    """One run over some partitions; what is refused to one does not stop the others."""

    def __init__(
        self, engine: Engine, pool: Pool, grace_ms: int, result: Result, show: Show
    ) -> None:
        self._engine = engine
        self._pool = pool
        self._grace_ms = grace_ms
        self._result = result
        self._show = show
        self._restored = 0
        self._holds = 0

    async def run(self, wanted: Sequence[Rebuilt]) -> None:
        async with Rebuilding(self._pool).locks() as locks:
            under_way = []
            for rebuilt in wanted:
                self._tell(rebuilt.partition, "closing")
                rebuilder = Rebuilder(self._engine, self._pool, rebuilt, self._grace_ms, self.count)
                with self.refusals(rebuilt.partition):
                    restoring = await self._prepare(locks, rebuilder)
                    under_way.append((rebuilder, restoring))
            await self._forget([restoring for _, restoring in under_way])
            for rebuilder, restoring in under_way:
                if restoring.partition in self._result.refused:
                    continue
                with self.refusals(restoring.partition):
                    self._tell(restoring.partition, "restoring")
                    await rebuilder.restore(restoring)
                    await rebuilder.finish(restoring)
                    self._result.partitions.append(rebuilder.rebuilt)

    async def _prepare(self, locks: Locks, rebuilder: Rebuilder) -> Restoring:
        await locks.take(rebuilder.rebuilt.partition)
        restoring = await rebuilder.prepare()
        self._holds += await rebuilder.holds()
        return restoring

    async def _forget(self, restorings: Sequence[Restoring]) -> None:
        """Remove the old keys, of all partitions in one pass over the server's."""
        mine = {restoring.partition: restoring for restoring in restorings}
        if not mine:
            return
        async for page in self._engine.restore.names(mine):
            for partition, names in page.items():
                self._tell(partition, "emptying")
                with self.refusals(partition):
                    await mine[partition].forget(names)

    def count(self) -> None:
        self._restored += 1
        if self._restored % 1_000 == 0:
            self._show("restoring", self._restored, self._holds)

    def _tell(self, partition: int, what: str) -> None:
        self._show(f"partition {partition}: {what}", self._restored, self._holds)

    @contextmanager
    def refusals(self, partition: int) -> Iterator[None]:
        try:
            yield
        except Fenced:
            self._result.refused[partition] = (
                f"partition {partition}: another rebuild has overtaken this one"
            )
        except (RebuildRefused, AlreadyRebuilding, DrainStopped, Overloaded) as refused:
            self._result.refused[partition] = str(refused)
