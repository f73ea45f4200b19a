"""`holdfast backlog replay`: the journal in Redis, applied to PostgreSQL again.

What PostgreSQL lacks goes through the drain's own commit; what it has is compared, byte for byte
and link by link, and not applied: so nothing is projected or announced twice, however often it is
run, on a live system too. It may be interrupted anywhere.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Final

import orjson

from engine.backlog import fence_of
from engine.engine import Engine
from engine.errors import Fenced, SettingsError
from engine.journal import RawEntry
from engine.limits import VERIFY_STALL_MS
from engine.settings import EngineOptions, Settings
from persistence.audit import Audit
from persistence.drain import Drain, DrainStopped
from persistence.reads import Reads
from persistence.steps import chain_of
from workers.bar import bar_of
from workers.operator_pool import operator_pool

DIFFERENT: Final = 1
ENTRIES_PER_SLICE: Final = 2_000
POLL_S: Final = 0.05
MAX_DIFFERENCES: Final = 100


class NotRetained(SettingsError):
    """The position lies below what Redis keeps; what to do instead is in the message."""

    def __init__(self, partition: int, sequence: int, first: int) -> None:
        super().__init__(
            f"--from {partition}:{sequence}: Redis keeps this partition's entries from {first} on. "
            "What lies below is in PostgreSQL alone: `holdfast verify` proves it by its chain, and "
            "where it is damaged PostgreSQL's own backup is what brings it back"
        )


@dataclass(slots=True)
class Replayed:
    """What came of one partition."""

    partition: int
    first: int
    """The first entry that was looked at."""
    tip: int
    """The last that the journal had when it began."""
    applied: int = 0
    """By this command; a worker may have applied others."""
    lacking: int = 0
    """Entries that PostgreSQL lacked at the end: of a dry run those that would be applied."""
    compared: int = 0
    differences: list[str] = field(default_factory=list)

    def differ(self, text: str) -> None:
        """Note a difference, up to a number of them."""
        if len(self.differences) < MAX_DIFFERENCES:
            self.differences.append(f"partition {self.partition}: {text}")


Show = Callable[[int], None]


async def replay(
    settings: Settings,
    partition: int | None,
    from_sequence: int | None,
    *,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Apply and compare, and print what came of it; returns the exit code.

    Raises:
        Unavailable: Redis or PostgreSQL does not answer; run it again.
        NotRetained: `from_sequence` lies below what Redis keeps.
        SettingsError: there is no such partition, or the installation was set up with others.
    """
    async with operator_pool(settings, "holdfast-replay") as pool:
        reads = Reads(pool)
        await reads.ready()
        engine = await Engine.open(EngineOptions.of(settings), floors=reads.cursors)
        async with engine:
            if partition is not None and partition >= len(engine.partitions):
                raise SettingsError(
                    f"--partition {partition}: there are {len(engine.partitions)} of them"
                )
            chosen = range(len(engine.partitions)) if partition is None else (partition,)
            work = _Replay(engine, reads, Audit(pool), Drain(pool, engine))
            parts = [await work.begin(at, from_sequence) for at in chosen]
            with _progress(sum(part.tip - part.first + 1 for part in parts)) as show:
                for part in parts:
                    await work.run(part, show, dry_run=dry_run)
    _print(parts, dry_run=dry_run, as_json=as_json)
    return DIFFERENT if any(part.differences for part in parts) else 0


class _Replay:
    def __init__(self, engine: Engine, reads: Reads, audit: Audit, drain: Drain) -> None:
        self._engine = engine
        self._reads = reads
        self._audit = audit
        self._drain = drain

    async def begin(self, partition: int, from_sequence: int | None) -> Replayed:
        """Where a partition's replay begins and ends. Raises `NotRetained`."""
        status = await self._engine.journal.status(partition)
        floor = (await self._reads.cursors()).get(partition)
        if reason := fence_of(status, floor):
            fenced = Replayed(partition, 1, 0)
            fenced.differ(f"is fenced: {reason}")
            return fenced
        found = await self._engine.journal.read(partition, 1, 1)
        first = found.entries[0].sequence if found.entries else found.sequence + 1
        if from_sequence is not None and from_sequence < first:
            raise NotRetained(partition, from_sequence, first)
        # What PostgreSQL has dropped is compared with nothing.
        kept = (await self._audit.base(partition)).sequence + 1
        return Replayed(partition, max(from_sequence or first, kept), found.sequence)

    async def run(self, part: Replayed, show: Show, *, dry_run: bool) -> None:
        """Apply what PostgreSQL lacks, and compare the rest."""
        try:
            cursor = await self._cursor(part.partition)
            if not dry_run:
                cursor = await self._apply(part, cursor)
            part.lacking = max(0, part.tip - max(cursor, part.first - 1))
            await self._compare(part, min(cursor, part.tip), show)
        except Fenced as fenced:
            part.differ(f"is fenced: {fenced.reason}")
        except DrainStopped as stopped:
            part.differ(str(stopped))

    async def _cursor(self, partition: int) -> int:
        floor = (await self._reads.cursors()).get(partition)
        return floor.sequence if floor else 0

    async def _apply(self, part: Replayed, cursor: int) -> int:
        """Drain up to where the journal ended; answers the cursor then."""
        moved_s = time.monotonic()
        while cursor < part.tip:
            applied = await self._drain.run_once(part.partition)
            part.applied += applied
            reached = await self._cursor(part.partition)
            if reached > cursor:
                cursor, moved_s = reached, time.monotonic()
            elif time.monotonic() - moved_s > VERIFY_STALL_MS / 1000:
                part.differ(f"entries after {cursor} could not be applied")
                return cursor
            elif not applied:
                # Another drain is at it.
                await asyncio.sleep(POLL_S)
        return cursor

    async def _compare(self, part: Replayed, to: int, show: Show) -> None:
        """Compare what both have, from where the replay begins."""
        at = part.first
        base = await self._audit.base(part.partition)
        chain = base.chain if at == base.sequence + 1 else None
        if chain is None and (before := await self._audit.entries(part.partition, at - 2, at - 1)):
            chain = before[0].chain
        while at <= to:
            found = await self._engine.journal.read(part.partition, at, ENTRIES_PER_SLICE)
            entries = [entry for entry in found.entries if entry.sequence <= to]
            if not entries:
                return
            chain = await self._compare_slice(part, entries, chain)
            show(entries[-1].sequence - at + 1)
            at = entries[-1].sequence + 1

    async def _compare_slice(
        self, part: Replayed, entries: list[RawEntry], chain: bytes | None
    ) -> bytes | None:
        """Compare some entries with their rows; answers the chain after them."""
        first, last = entries[0].sequence, entries[-1].sequence
        rows = {
            row.sequence: row for row in await self._audit.entries(part.partition, first - 1, last)
        }
        for entry in entries:
            part.compared += 1
            row = rows.get(entry.sequence)
            if row is None:
                part.differ(f"PostgreSQL lacks entry {entry.sequence}, which its cursor covers")
                chain = None
                continue
            if row.entry != entry.text:
                part.differ(f"entry {entry.sequence} is not the same in Redis and PostgreSQL")
            elif chain is not None and chain_of(chain, entry.text) != row.chain:
                part.differ(f"entry {entry.sequence} does not follow by its chain")
            chain = row.chain
        return chain


def _print(parts: list[Replayed], *, dry_run: bool, as_json: bool) -> None:
    differences = [text for part in parts for text in part.differences]
    totals = {
        name: sum(getattr(part, name) for part in parts)
        for name in ("applied", "lacking", "compared")
    }
    if as_json:
        told = {
            "dry_run": dry_run,
            **totals,
            "differences": differences,
            "partitions": [asdict(part) for part in parts],
        }
        sys.stdout.write(orjson.dumps(told).decode() + "\n")
    else:
        last = "would be applied" if dry_run else "left"
        lines = [
            *differences,
            f"{totals['applied']:,} entries applied, {totals['compared']:,} compared, "
            f"{totals['lacking']:,} {last}, {len(differences):,} differences",
        ]
        sys.stdout.write("\n".join((*lines, "")))
    sys.stdout.flush()


@contextmanager
def _progress(total: int) -> Iterator[Show]:
    """A bar on the terminal, if there is one; stdout stays for the result."""
    with bar_of("entries") as bar:
        task = bar.add_task("replay", total=total)
        yield lambda count: bar.advance(task, count)
