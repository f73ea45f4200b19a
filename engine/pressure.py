"""When new holds are shed: how much of the journal PostgreSQL may lack, and what else runs short.

Everything else goes on at any pressure: what is confirmed, cancelled, expired or recorded frees
stock or finishes a payment, and is bounded by the holds that were let in before.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from engine import limits
from engine.connections import CONNECTION_LOST
from engine.errors import Unavailable

if TYPE_CHECKING:
    from engine.journal_status import JournalStatus
    from engine.settings import EngineOptions


@dataclass(frozen=True, slots=True)
class Marks:
    """How much of a partition's journal PostgreSQL may lack before its new holds are shed.

    `max_bytes` is for all partitions together. A script sees one, and sheds where that one alone
    has used it up; a worker adds them (`workers.watch`). An even share would punish the hot sale,
    which is the one that matters, for partitions that are empty.
    """

    max_entries: int = limits.MAX_BACKLOG_ENTRIES
    max_bytes: int = limits.MAX_BACKLOG_BYTES
    max_age_ms: int = limits.MAX_BACKLOG_AGE_MS

    def passed_by(self, status: JournalStatus) -> str | None:
        """Which mark a partition has passed: `entries`, `bytes` or `age`; None for none."""
        if status.lacking_entries >= self.max_entries:
            return "entries"
        if status.lacking_bytes >= self.max_bytes:
            return "bytes"
        return "age" if status.oldest_age_ms >= self.max_age_ms else None

    def why_shed(self, status: JournalStatus) -> str | None:
        """Why a partition takes no new holds: a mark, or what a worker said; None where it does."""
        return status.shed or self.passed_by(status)


@dataclass(frozen=True, slots=True)
class Memory:
    """What a Redis uses, and may use; `max_bytes` 0 is without a bound."""

    used_bytes: int
    max_bytes: int

    @property
    def used_share(self) -> float:
        """What is used, by what may be; 0 without a bound."""
        return self.used_bytes / self.max_bytes if self.max_bytes else 0.0


async def read_memory(redis: Redis) -> Memory:
    """Ask a server for its memory. Raises `Unavailable`."""
    try:
        info = await redis.info("memory")
    except ResponseError:
        # A server that does not tell has none to go by.
        return Memory(0, 0)
    except CONNECTION_LOST as error:
        raise Unavailable(f"Redis: {error}") from error
    return Memory(int(info["used_memory"]), int(info["maxmemory"]))


def marks_of(options: EngineOptions, memories: Iterable[Memory]) -> Marks:
    """The marks that the options ask for, on servers of which the smallest counts."""
    bounds = [memory.max_bytes for memory in memories if memory.max_bytes]
    share = min(bounds, default=0) // limits.BACKLOG_SHARE_OF_MEMORY
    return Marks(
        max_entries=options.max_backlog_entries,
        max_bytes=options.max_backlog_bytes or share or limits.MAX_BACKLOG_BYTES,
        max_age_ms=options.max_backlog_age_ms,
    )
