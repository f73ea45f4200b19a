"""How far PostgreSQL is behind Redis, partition by partition: for the command and the API."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final, Protocol

from engine.engine import Engine
from engine.journal_status import JournalStatus
from engine.pressure import Marks
from engine.types import Floor

MEASURED_S: Final = 1.0
"""Between the two looks from which the rate is told."""


class Cursors(Protocol):
    """What PostgreSQL says (`persistence.reads.Reads`)."""

    async def cursors(self) -> Mapping[int, Floor]:
        """Where each partition stands."""
        ...

    async def quarantined(self) -> Mapping[int, int]:
        """How many entries are in quarantine, by partition."""
        ...


@dataclass(frozen=True, slots=True)
class PartitionBacklog:
    """A partition's journal and how much of it PostgreSQL lacks."""

    partition: int
    entries: int
    """Journal entries that PostgreSQL lacks."""
    bytes: int
    """Their length, by what Redis was last told of PostgreSQL's cursor."""
    oldest_age_s: float
    """Of the oldest entry that PostgreSQL lacks; 0 where it lacks none."""
    cursor: int
    tip: int
    quarantined: int
    drain_per_s: float
    eta_s: float | None
    """Until PostgreSQL lacks none at this rate; None where nothing moves."""
    fenced: str | None
    """Why the partition waits for its operator."""
    shedding: str | None
    """Why it takes no new holds: `entries`, `bytes`, `age`, or what a worker says."""
    frozen: str | None
    """The sale that is being rebuilt alone, or was left so by a rebuild that was interrupted."""


@dataclass(frozen=True, slots=True)
class Look:
    """What both servers said at one time."""

    at_s: float
    cursors: Mapping[int, Floor]
    statuses: Sequence[JournalStatus]


async def measure(engine: Engine, reads: Cursors) -> list[PartitionBacklog]:
    """Look twice, some time apart, and tell the difference.

    Raises `Unavailable` where Redis or PostgreSQL does not answer: between them is the backlog.
    """
    before = await _look(engine, reads)
    await asyncio.sleep(MEASURED_S)
    after = await _look(engine, reads)
    quarantined = await reads.quarantined()
    lacking = {
        found.partition: floor.sequence + 1
        for found in after.statuses
        if (floor := after.cursors.get(found.partition)) and found.sequence > floor.sequence
    }
    written_ms = await engine.audit.written_ms(lacking)
    now_ms = time.time() * 1000
    return [
        backlog_of(
            found,
            before,
            after,
            quarantined.get(found.partition, 0),
            max(0.0, now_ms - written_ms[found.partition]) / 1000
            if found.partition in written_ms
            else 0.0,
            engine.marks,
        )
        for found in after.statuses
    ]


async def _look(engine: Engine, reads: Cursors) -> Look:
    # The cursors first: an entry that is written in between is one that PostgreSQL lacks.
    cursors = await reads.cursors()
    return Look(time.monotonic(), cursors, await engine.journal.statuses())


def backlog_of(
    found: JournalStatus,
    before: Look,
    after: Look,
    quarantined: int,
    oldest_age_s: float,
    marks: Marks,
) -> PartitionBacklog:
    """What two looks tell of one partition."""
    partition = found.partition
    floor = after.cursors.get(partition)
    cursor = floor.sequence if floor else 0
    begun = before.cursors.get(partition)
    moved = cursor - begun.sequence if begun else 0
    rate = max(0.0, moved / (after.at_s - before.at_s))
    reason = fence_of(found, floor)
    entries = max(0, found.sequence - cursor)
    eta_s: float | None = 0.0
    if entries:
        eta_s = round(entries / rate, 3) if rate and not reason else None
    return PartitionBacklog(
        partition=partition,
        entries=entries,
        bytes=found.lacking_bytes if entries else 0,
        oldest_age_s=round(oldest_age_s, 3) if entries else 0.0,
        cursor=cursor,
        tip=found.sequence,
        quarantined=quarantined,
        drain_per_s=round(rate, 1),
        eta_s=eta_s,
        fenced=reason,
        shedding=marks.why_shed(found),
        frozen=found.frozen,
    )


def fence_of(found: JournalStatus, floor: Floor | None) -> str | None:
    """Why a partition is closed, by the words that the scripts use; None where it is open."""
    if found.fenced:
        return found.fenced
    if found.generation is None:
        return "meta_missing"
    if floor is None:
        return "uninitialised"
    if floor.generation != found.generation:
        return "generation"
    if found.sequence < floor.sequence:
        return "sequence"
    return None


def summary(partitions: Sequence[PartitionBacklog]) -> dict[str, object]:
    """The object that `backlog status --json` prints and `GET /v1/ops/backlog` answers."""
    return {
        "partitions": [asdict(part) for part in partitions],
        "total_entries": sum(part.entries for part in partitions),
        "lag_s": max((part.oldest_age_s for part in partitions), default=0.0),
    }
