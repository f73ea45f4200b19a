"""Whether bookings can be taken, and what is amiss: one shared look a second at the most.

PostgreSQL away is a degraded day and not an outage (rule 8); Redis away, no key to verify tokens
with, or no partition that takes holds means that no booking could be taken.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from api.shapes import Backlog, FencedPart, FrozenSale, PartRead, Readiness, SheddingPart
from engine.errors import HoldfastError
from engine.journal_status import JournalStatus
from engine.limits import READINESS_AGE_MS, READINESS_TIMEOUT_MS
from engine.pressure import Marks
from engine.types import Floor

if TYPE_CHECKING:
    from api.parts import Parts


class Looks:
    """Looks at the parts, for everybody who asks at the same time."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._last: Readiness | None = None
        self._looked_at = -float("inf")
        self._looking: asyncio.Task[Readiness] | None = None

    async def get(self) -> Readiness:
        """How things stand, at most `READINESS_AGE_MS` ago."""
        if self._last and time.monotonic() - self._looked_at <= READINESS_AGE_MS / 1000:
            return self._last
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        return await asyncio.shield(self._looking)

    async def _look(self) -> Readiness:
        try:
            redis, postgres = await asyncio.gather(_redis(self._parts), _postgres(self._parts))
            parts = self._parts
            self._last = judge(
                redis,
                postgres,
                identity_known=parts.verifier.keys.known,
                partitions=parts.settings.partitions,
                marks=parts.opened.marks if parts.opened else Marks(),
            )
            self._looked_at = time.monotonic()
            return self._last
        finally:
            self._looking = None


@dataclass(frozen=True, slots=True)
class Seen:
    """A partition as Redis has it, and what this process had seen of it just before."""

    status: JournalStatus
    floor: Floor


async def _redis(parts: Parts) -> Sequence[Seen] | None:
    """Every partition whose server answers; None where Redis is away."""
    try:
        engine = parts.engine
        floors = [engine.partitions.floor(number) for number in range(len(engine.partitions))]
        async with asyncio.timeout(READINESS_TIMEOUT_MS / 1000):
            statuses = await engine.journal.statuses(lenient=True)
    except (HoldfastError, TimeoutError):
        return None
    return [Seen(status, floors[status.partition]) for status in statuses]


async def _postgres(parts: Parts) -> bool:
    """Whether PostgreSQL answers."""
    try:
        async with asyncio.timeout(READINESS_TIMEOUT_MS / 1000):
            await parts.reads.ready()
    except (HoldfastError, TimeoutError):
        return False
    return True


def judge(
    redis: Sequence[Seen] | None,
    postgres: bool,
    *,
    identity_known: bool,
    partitions: int,
    marks: Marks,
) -> Readiness:
    """What the state of the parts means.

    Anybody may read it: it names what is away, and not the errors, which may name hosts.
    """
    seen = redis or ()
    fenced: list[FencedPart] = [
        {"partition": one.status.partition, "reason": reason}
        for one in seen
        if (reason := fence_of(one))
    ]
    frozen: list[FrozenSale] = [
        {"partition": one.status.partition, "sale_id": one.status.frozen}
        for one in seen
        if one.status.frozen
    ]
    shedding: list[SheddingPart] = [
        {"partition": one.status.partition, "reason": reason}
        for one in seen
        if (reason := marks.why_shed(one.status))
    ]
    backlog: Backlog = {
        "entries": sum(one.status.lacking_entries for one in seen),
        "bytes": sum(one.status.lacking_bytes for one in seen),
        "oldest_age_s": max((one.status.oldest_age_ms for one in seen), default=0) / 1000,
        "full_partitions": [one.status.partition for one in seen if marks.passed_by(one.status)],
    }
    # Shedding is degraded, wherever it is: whoever holds something still has to pay or cancel here.
    away = partitions - len(seen)
    taking = redis is not None and identity_known and len(fenced) + away < partitions
    well = taking and not (away or fenced or frozen or shedding) and postgres
    return {
        "status": "ready" if well else "degraded" if taking else "not_ready",
        "redis": _part(not away, _away(away, partitions)),
        "postgres": _part(postgres, "does not answer"),
        "identity": _part(identity_known, "its keys have not been read"),
        "partitions": partitions,
        "fenced": fenced,
        "frozen": frozen,
        "shedding": shedding,
        "backlog": None if redis is None else backlog,
    }


def _away(away: int, partitions: int) -> str:
    """What is said of a Redis that does not answer for some partitions, or for any."""
    of_some = f" for {away} of {partitions} partitions" if away < partitions else ""
    return f"does not answer{of_some}"


def _part(well: bool, otherwise: str) -> PartRead:
    return {"status": "ok", "detail": None} if well else {"status": "away", "detail": otherwise}


def fence_of(seen: Seen) -> str | None:
    """Why a partition takes nothing from this process, by the words of `lua/lib/partition.lua`."""
    status, floor = seen.status, seen.floor
    if status.fenced:
        return status.fenced
    if status.generation is None or not floor.generation:
        return "meta_missing"
    if floor.generation != status.generation:
        return "generation"
    return "sequence" if status.sequence < floor.sequence else None
