"""Public events on their way out of PostgreSQL: dealt out to where they go, and to the stream.

The drain writes the outbox in the transaction of the entries. `deal_out` takes from it in the
order of its positions, which within a partition is that of the journal, and one at a time over all
workers: so what is dealt out of one booking is always a beginning of its events, without gaps.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from engine.journal import Entry, parse_entry
from engine.limits import MAX_DEALT_EVENTS, MAX_STREAMED_EVENTS
from persistence.pool import Connection, Pool, connection
from persistence.queries import query

STREAM: Final = "stream"
"""What the stream is called among the destinations."""
_DEAL_LOCK: Final = 0x686F6C64_6465616C
_STREAM_LOCK: Final = 0x686F6C64_73747265
"""Advisory locks, held for one transaction each."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An event to be sent: what it is called, and the entry that tells what it says."""

    event_id: str
    type: str
    subject_sequence: int
    partition: int
    sequence: int
    text: bytes | None

    def entry(self) -> Entry:
        """The journal entry.

        Raises:
            ValueError, KeyError, TypeError, AttributeError, UnknownEntry: it cannot be read.
        """
        if self.text is None:
            raise ValueError(f"entry {self.sequence} of partition {self.partition} is not kept")
        return parse_entry(self.sequence, self.text)


@dataclass(frozen=True, slots=True)
class Poisoned:
    """An event that cannot be said, and why."""

    event: Outgoing
    detail: str


Publish = Callable[[Sequence[Outgoing]], Awaitable[Collection[Poisoned]]]


class Outbox:
    """The outbox over a pool. All raise `Unavailable` where PostgreSQL is away.

    Args:
        streams: whether events go to the stream.
        channels: ways to people, and the types of events that go there where there is a contact.
    """

    def __init__(
        self, pool: Pool, *, streams: bool, channels: Mapping[str, Collection[str]] | None = None
    ) -> None:
        self._pool = pool
        self._streams = streams
        chosen = channels or {}
        self._channels = (list(chosen), [" ".join(types) for types in chosen.values()])

    async def deal_out(self, limit: int = MAX_DEALT_EVENTS) -> int:
        """Give the oldest events to the places that want them; answers how many were taken.

        Also 0 where another worker is at it.
        """
        async with connection(self._pool) as taken, taken.transaction():
            if not await _alone(taken, _DEAL_LOCK):
                return 0
            count: int = await taken.fetchval(
                query("deal_out"), limit, self._streams, *self._channels
            )
            return count

    async def oldest_s(self) -> float:
        """The age of the oldest event that was not dealt out; 0 where there is none."""
        async with connection(self._pool) as taken:
            age_s: float | None = await taken.fetchval(query("outbox_age"))
        return max(0.0, age_s or 0.0)

    async def stream(self, publish: Publish, limit: int = MAX_STREAMED_EVENTS) -> int:
        """Publish the oldest events that wait for the stream, in order; answers how many.

        They leave the queue when `publish` has returned: a crash between makes them come again.
        What it answers cannot be said is parked. Also 0 where another worker is at it.
        """
        async with connection(self._pool) as taken, taken.transaction():
            if not await _alone(taken, _STREAM_LOCK):
                return 0
            rows = await taken.fetch(query("take_for_stream"), limit)
            if rows:
                await _park(taken, await publish([Outgoing(*row) for row in rows]))
            return len(rows)


async def _alone(taken: Connection, lock: int) -> bool:
    """Whether nobody else is at it, until the end of the transaction."""
    alone: bool = await taken.fetchval(query("try_lock"), lock)
    return alone


async def _park(taken: Connection, poisoned: Collection[Poisoned]) -> None:
    if not poisoned:
        return
    rows = [
        (
            one.event.event_id,
            one.event.type,
            one.event.subject_sequence,
            one.event.partition,
            one.event.sequence,
            one.detail,
        )
        for one in poisoned
    ]
    await taken.execute(query("park_streamed"), STREAM, *zip(*rows, strict=True))
