"""The drain: takes a partition's journal over into PostgreSQL, each entry exactly once.

One writer at a time, without a lock service: the cursor's row is moved first, by a statement that
finds it only where it was read and where nobody else is at it, and everything else commits with
it. Whoever comes second, or wakes up too late, changes nothing. Only after the commit is Redis
told, which then may drop what lies some minutes behind.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import structlog

from engine.errors import Fenced, HoldfastError
from engine.limits import (
    CURSOR_BELIEVED_MS,
    CURSOR_TOLD_AGAIN_MS,
    JOURNAL_KEPT_BEHIND_CURSOR_MS,
    MAX_DRAIN_BYTES,
    MAX_DRAIN_ENTRIES,
)
from persistence import metrics
from persistence.commit import commit
from persistence.pool import Pool, connection
from persistence.queries import query
from persistence.source import Source
from persistence.steps import (
    STALE_GENERATION,
    UNKNOWN_ENTRY,
    Position,
    contacts_to_read,
    fault_of,
    understand,
)

_log = structlog.stdlib.get_logger("holdfast.drain")

_KEPT_S: Final = JOURNAL_KEPT_BEHIND_CURSOR_MS / 1000
_BELIEVED_S: Final = CURSOR_BELIEVED_MS / 1000
_TOLD_AGAIN_S: Final = CURSOR_TOLD_AGAIN_MS / 1000


class DrainStopped(HoldfastError):
    """A newer writer is about: this code must not guess at what it wrote. Nothing is lost."""


@dataclass(slots=True)
class _Place:
    """What this process remembers of a partition. All of it may be lost at any time."""

    position: Position
    read_s: float
    """When PostgreSQL last said so; never, where it has to be asked again."""
    checkpoints: deque[tuple[float, int]] = field(default_factory=deque)
    """Cursors by when they were reached, the oldest first."""
    told: tuple[int, int] | None = None
    """The cursor that Redis was last told, and from where on it keeps entries."""
    told_s: float = 0.0

    def reach(self, now_s: float) -> None:
        """Note the present cursor, so that some minutes later it is the one to keep from."""
        if not self.checkpoints or now_s - self.checkpoints[-1][0] >= _BELIEVED_S:
            self.checkpoints.append((now_s, self.position.sequence))

    def keep_from(self, now_s: float) -> int:
        """The cursor that PostgreSQL had `JOURNAL_KEPT_BEHIND_CURSOR_MS` ago; 0 if not known.

        A PostgreSQL that fails over to an asynchronous standby loses its last commits, and then
        needs those entries again.
        """
        while len(self.checkpoints) > 1 and now_s - self.checkpoints[1][0] >= _KEPT_S:
            self.checkpoints.popleft()
        if self.checkpoints and now_s - self.checkpoints[0][0] >= _KEPT_S:
            return self.checkpoints[0][1]
        return 0


class Drain:
    """Drains partitions, each by itself; several may be drained side by side.

    Args:
        batch_entries: most entries in one transaction.
        batch_bytes: the entry that reaches this is the last of its transaction.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        pool: Pool,
        source: Source,
        *,
        batch_entries: int = MAX_DRAIN_ENTRIES,
        batch_bytes: int = MAX_DRAIN_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pool = pool
        self._source = source
        self._batch_entries = batch_entries
        self._batch_bytes = batch_bytes
        self._clock = clock
        self._places: dict[int, _Place] = {}
        self._busy: set[int] = set()
        self._alarms: dict[int, tuple[str, int]] = {}

    async def run_once(self, partition: int) -> int:
        """Take over one batch; answers how many entries were committed, 0 where there were none.

        Also 0 where another drain is at this partition, or was since this one last looked.

        Raises:
            Fenced: Redis and PostgreSQL do not follow from each other, and the partition is now
                closed to everybody until `rebuild`; or it was before.
            DrainStopped: the next entry is of a type or version that this code does not know.
            Unavailable: Redis or PostgreSQL is away. Nothing is lost; whether the batch was
                committed is found out by the next call.
        """
        if partition in self._busy:
            return 0
        self._busy.add(partition)
        try:
            return await self._run(partition)
        except BaseException:
            # Whatever happened, a commit included: PostgreSQL knows.
            if place := self._places.get(partition):
                place.read_s = -math.inf
            raise
        finally:
            self._busy.discard(partition)

    async def _run(self, partition: int) -> int:
        begun_s = self._clock()
        place = await self._place(partition)
        if place is None:
            return 0
        position = place.position
        # The entry at the cursor comes along, to be compared; before the first there is none.
        limit = self._batch_entries + min(position.sequence, 1)
        size = self._batch_bytes + len(position.entry or b"")
        found = await self._source.journal.read(partition, max(position.sequence, 1), limit, size)
        reason = fault_of(position, found, limit)
        if self._source.partitions.floor(partition).generation != position.generation:
            reason = STALE_GENERATION
        if reason:
            await self._fence(partition, position, reason)
            return 0
        steps, unknown = understand(
            raw for raw in found.entries if raw.sequence > position.sequence
        )
        if unknown and not steps:
            self._alarm(partition, UNKNOWN_ENTRY, position.sequence, str(unknown))
            raise DrainStopped(f"partition {partition}: {unknown}") from unknown
        if steps:
            contacts = await self._source.journal.contacts(partition, contacts_to_read(steps))
            reached = await commit(self._pool, partition, position, steps, contacts)
            if reached is None:
                place.read_s = -math.inf
                return 0
            place.position, place.read_s = reached, self._clock()
            metrics.BATCH_SECONDS.observe(place.read_s - begun_s)
        self._all_clear(partition)
        await self._tell_redis(partition, place)
        return len(steps)

    async def _place(self, partition: int) -> _Place | None:
        """Where a partition stands; None where it was never started (`persistence.bootstrap`)."""
        now_s = self._clock()
        place = self._places.get(partition)
        if place and now_s - place.read_s < _BELIEVED_S:
            return place
        position = await self._read_position(partition)
        if position is None:
            return None
        if (
            place is None
            or position.generation != place.position.generation
            or position.sequence < place.position.sequence
        ):
            # New here, or PostgreSQL came back without its last commits: what was remembered of
            # later cursors must not have anything trimmed.
            place = self._places[partition] = _Place(position, now_s)
        place.position, place.read_s = position, now_s
        self._source.partitions.observe(partition, position.generation, position.sequence)
        return place

    async def _read_position(self, partition: int) -> Position | None:
        async with connection(self._pool) as taken:
            row = await taken.fetchrow(query("position"), partition)
        return Position(**row) if row else None

    async def _fence(self, partition: int, position: Position, reason: str) -> None:
        """Close a partition, unless the cursor has moved meanwhile.

        Then another drain was at it, and may have had trimmed what was missing here.
        """
        self._places.pop(partition, None)
        if await self._read_position(partition) != position:
            return
        self._alarm(partition, reason, position.sequence, "Redis does not follow from PostgreSQL")
        await self._source.journal.fence(partition, reason)
        raise Fenced(partition, reason)

    async def _tell_redis(self, partition: int, place: _Place) -> None:
        """Tell Redis the cursor and what it need not keep, at most once a `CURSOR_BELIEVED_MS`.

        Now and then also where nothing is new: it says that this server has been compared.
        """
        now_s = self._clock()
        place.reach(now_s)
        news = (place.position.sequence, place.keep_from(now_s))
        told_for_s = now_s - place.told_s
        if place.told and told_for_s < (_TOLD_AGAIN_S if news == place.told else _BELIEVED_S):
            return
        await self._source.journal.trim(partition, *news, place.position.bytes)
        place.told, place.told_s = news, now_s

    def _alarm(self, partition: int, reason: str, sequence: int, detail: str) -> None:
        """Say once that a partition's drain stands still, and why."""
        if self._alarms.get(partition) != (reason, sequence):
            self._all_clear(partition)
            self._alarms[partition] = (reason, sequence)
            metrics.STOPPED.labels(partition, reason).set(1)
            _log.error(
                "drain_stopped",
                partition=partition,
                reason=reason,
                sequence=sequence,
                detail=detail,
            )

    def _all_clear(self, partition: int) -> None:
        if alarm := self._alarms.pop(partition, None):
            metrics.STOPPED.labels(partition, alarm[0]).set(0)
