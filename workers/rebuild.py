"""`holdfast rebuild`: Redis written anew from PostgreSQL, and from what is left of its journal.

Partitions that need it, or one that is named. Each is closed first and opened last; what lives
meanwhile is refused with `fenced`, and learns of the new generation by itself. Safe to interrupt at
any point and to run again, safe to run twice at once.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Final

import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from engine.engine import Engine
from engine.errors import Fenced, Overloaded, SettingsError
from engine.journal_status import JournalStatus
from engine.restoring import Restoring
from engine.settings import EngineOptions, Settings
from persistence.pool import Pool, create_pool
from persistence.reads import Reads
from persistence.rebuilding import AlreadyRebuilding, Locks, Rebuilding
from persistence.steps import JOURNAL_GAP, JOURNAL_MISMATCH
from workers.backlog import fence_of
from workers.rebuilder import Rebuilder, RebuildRefused, Rebuilt

REFUSED: Final = 1
QUERY_TIMEOUT_MS: Final = 10 * 60 * 1000

Show = Callable[[str, int, int], None]


@dataclass(slots=True)
class Result:
    """What became of the partitions: rebuilt, refused (with why), or sound and left alone."""

    dry_run: bool = False
    partitions: list[Rebuilt] = field(default_factory=list)
    refused: dict[int, str] = field(default_factory=dict)
    sound: list[int] = field(default_factory=list)


async def rebuild(
    settings: Settings,
    *,
    grace_ms: int,
    partition: int | None = None,
    dry_run: bool = False,
    as_json: bool = False,
) -> int:
    """Rebuild what needs it, or one partition; print what came of it; returns the exit code.

    Args:
        grace_ms: how much longer a hold lives while its payment is open.
        partition: the one to rebuild, whether it needs it or not.
        dry_run: only tell what would be done.

    Raises `Unavailable` where Redis or PostgreSQL does not answer; what was begun stays closed, and
    is rebuilt by the next run.
    """
    with _progress() as show:
        async with opened(settings) as (engine, pool):
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
    pool = await create_pool(
        settings.database_url,
        application_name="holdfast-rebuild",
        command_timeout_ms=QUERY_TIMEOUT_MS,
    )
    try:
        reads = Reads(pool)
        await reads.ready()
        engine = await Engine.open(EngineOptions.of(settings), archive=reads, floors=reads.cursors)
        async with engine:
            yield engine, pool
    finally:
        await pool.close()


def show_nothing(what: str, done: int, total: int) -> None:
    """Where there is nobody to show progress to."""


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
    wanted = []
    for rebuilt in await survey(engine, pool):
        if partition is None and rebuilt.reason is None:
            result.sound.append(rebuilt.partition)
        elif partition is None or rebuilt.partition == partition:
            wanted.append(rebuilt)
    if partition is not None and not wanted:
        result.refused[partition] = f"partition {partition} was never started"
    if dry_run:
        for rebuilt in wanted:
            await _look(engine, pool, rebuilt, result)
    else:
        await _Run(engine, pool, grace_ms, result, show).run(wanted)
    return result


async def survey(engine: Engine, pool: Pool) -> list[Rebuilt]:
    """Every partition, with why it needs a rebuild; one that was never started is left out."""
    books, found = Rebuilding(pool), []
    floors = await Reads(pool).cursors()
    for status in await engine.journal.statuses():
        floor = floors.get(status.partition)
        if floor is None:
            continue
        reason = fence_of(status, floor)
        if reason is None:
            reason = await _fault(engine, books, status)
        found.append(Rebuilt(status.partition, reason))
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
                rebuilder = Rebuilder(
                    self._engine, self._pool, rebuilt, self._grace_ms, self._count
                )
                with self._refusals(rebuilt.partition):
                    restoring = await self._prepare(locks, rebuilder)
                    under_way.append((rebuilder, restoring))
            await self._forget([restoring for _, restoring in under_way])
            for rebuilder, restoring in under_way:
                if restoring.partition in self._result.refused:
                    continue
                with self._refusals(restoring.partition):
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
                with self._refusals(partition):
                    await mine[partition].forget(names)

    def _count(self) -> None:
        self._restored += 1
        if self._restored % 1_000 == 0:
            self._show("restoring", self._restored, self._holds)

    def _tell(self, partition: int, what: str) -> None:
        self._show(f"partition {partition}: {what}", self._restored, self._holds)

    @contextmanager
    def _refusals(self, partition: int) -> Iterator[None]:
        try:
            yield
        except Fenced:
            self._result.refused[partition] = (
                f"partition {partition}: another rebuild has overtaken this one"
            )
        except (RebuildRefused, AlreadyRebuilding, Overloaded) as refused:
            self._result.refused[partition] = str(refused)


def summary(result: Result) -> dict[str, object]:
    """The object that `--json` prints."""
    return {
        "dry_run": result.dry_run,
        "partitions": [rebuilt.counts() for rebuilt in result.partitions],
        "refused": [
            {"partition": partition, "reason": reason}
            for partition, reason in sorted(result.refused.items())
        ],
        "sound": result.sound,
    }


def lines(result: Result) -> list[str]:
    """The same for people."""
    told = []
    for one in result.partitions:
        dropped = f" ({one.dropped_because})" if one.dropped_because and one.dropped else ""
        done = "would be rebuilt" if result.dry_run else f"rebuilt in {one.seconds:.1f} s"
        told.append(
            f"partition {one.partition} ({one.reason or 'sound'}): {done} at {one.sequence} under "
            f"generation {one.generation}: {one.salvaged:,} entries salvaged, {one.dropped:,} "
            f"dropped{dropped}; {one.sales:,} sales, {one.holds:,} holds, {one.payments:,} open "
            f"payments, {one.records:,} idempotency records"
        )
    told += [reason for _, reason in sorted(result.refused.items())]
    if result.sound:
        told.append(f"sound, and left alone: {', '.join(map(str, result.sound))}")
    return told or ["nothing to rebuild"]


@contextmanager
def _progress() -> Iterator[Show]:
    """A bar on the terminal, if there is one; stdout stays for the result."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("holds"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    ) as bar:
        task = bar.add_task("rebuild", total=None)
        yield lambda what, done, total: bar.update(
            task, description=what, completed=done, total=total or None
        )
