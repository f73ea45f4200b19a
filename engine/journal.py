"""The partition's journal: its entries, its status, its first start, its trimming and fencing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from redis.asyncio import Redis
from redis.exceptions import RedisError

from engine.calls import Caller
from engine.errors import Fenced, HoldfastError, Unavailable
from engine.keys import HASH_FUNCTION, Keys
from engine.outcomes import Outcome
from engine.partitions import Partitions
from engine.types import Booking, Levels

VERSION: Final = 1
BOOKING_TYPES: Final = frozenset(
    {
        "held",
        "extended",
        "payment_begun",
        "requires_action",
        "payment_unknown",
        "payment_failed",
        "confirmed",
        "late_money",
        "captured",
        "voided",
        "refund_begun",
        "refunded",
        "completed",
        "cancelled",
        "expired",
    }
)
SALE_TYPES: Final = frozenset({"sale_put", "stock_adjusted"})


class UnknownEntry(HoldfastError):
    """An entry of a type or version this code does not know: a newer writer is about."""


@dataclass(frozen=True, slots=True)
class RawEntry:
    """An entry as it lies in the journal."""

    sequence: int
    text: bytes


@dataclass(frozen=True, slots=True)
class JournalSlice:
    """Entries in order, and the sequence of the journal's last one when they were read."""

    sequence: int
    entries: tuple[RawEntry, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """A journal entry, understood.

    `deltas` are signed changes by item, `levels` what they led to. A booking's entry carries the
    whole booking after the change; a sale's carries its definition, without capacities.
    """

    sequence: int
    type: str
    at_ms: int
    sale_id: str
    version: int
    booking: Booking | None
    definition: dict[str, Any] | None
    deltas: tuple[Levels, ...]
    levels: tuple[Levels, ...]
    trace: str
    key: str | None
    fingerprint: str | None
    contact: bool


def unpack_levels(text: str) -> tuple[Levels, ...]:
    """Read `item:available:held:sold,…`; empty text is no item."""
    if not text:
        return ()
    levels = []
    for part in text.split(","):
        item_id, available, held, sold = part.split(":")
        levels.append(Levels(item_id, int(available), int(held), int(sold)))
    return tuple(levels)


def parse_entry(sequence: int, text: bytes) -> Entry:
    """Read an entry.

    Raises:
        UnknownEntry: its type or version is not known.
        ValueError, KeyError: it is of a known type and malformed.
    """
    fields = orjson.loads(text)
    kind = fields["type"]
    if fields["v"] != VERSION or kind not in BOOKING_TYPES | SALE_TYPES:
        raise UnknownEntry(f"entry {sequence}: type {kind}, version {fields['v']}")
    return Entry(
        sequence=sequence,
        type=kind,
        at_ms=fields["at_ms"],
        sale_id=fields["sale_id"],
        version=fields["version"],
        booking=Booking.from_fields(fields) if kind in BOOKING_TYPES else None,
        definition=fields["definition"] if kind in SALE_TYPES else None,
        deltas=unpack_levels(fields["deltas"]),
        levels=unpack_levels(fields["levels"]),
        trace=fields["trace"],
        key=fields.get("key"),
        fingerprint=fields.get("fingerprint"),
        contact=fields.get("contact", False),
    )


def written_ms(fields: Mapping[bytes, bytes]) -> int | None:
    """When an entry was written, by the fields of its stream; None where it cannot be read.

    What looks at a journal from outside must not fail on the entry that stops it.
    """
    try:
        at_ms = orjson.loads(fields[b"entry"])["at_ms"]
    except (ValueError, KeyError, TypeError):
        return None
    return at_ms if type(at_ms) is int else None


@dataclass(frozen=True, slots=True)
class JournalStatus:
    """A partition as Redis has it, read past the fence: for operators and readiness.

    `generation` None means that there is no meta; `drained` is the cursor PostgreSQL last told.
    """

    partition: int
    generation: int | None
    sequence: int
    drained: int
    fenced: str | None
    entries: int
    bytes: int
    oldest_ms: int | None
    """When the oldest entry was written that PostgreSQL lacks."""


class Journal:
    """The journal operations of an engine."""

    def __init__(self, caller: Caller, keys: Keys, partitions: Partitions, redis: Redis) -> None:
        self._caller = caller
        self._keys = keys
        self._partitions = partitions
        self._redis = redis

    async def initialise(self, partition: int) -> Outcome:
        """First start of a partition: `created`, or `unchanged` where it was before.

        Only for who knows that the partition never held anything (`persistence.bootstrap`): on a
        Redis that lost its data this would open it for selling again.

        Raises:
            Fenced: another number of partitions or hash function is recorded.
        """
        self._partitions.observe(partition, 1, 0)
        reply = await self._caller.run(
            "init_partition", partition, self._keys.partitions, HASH_FUNCTION
        )
        self._partitions.observe(partition, int(reply.text()), 0)
        return reply.outcome

    async def read(self, partition: int, from_sequence: int, limit: int) -> JournalSlice:
        """Entries from `from_sequence` (inclusive), at most `limit`."""
        reply = await self._caller.run("read_journal", partition, from_sequence, limit)
        entries = tuple(
            RawEntry(int(entry_id.partition(b"-")[0]), fields[1])
            for entry_id, fields in reply.values[0]
        )
        return JournalSlice(reply.sequence, entries)

    async def trim(self, partition: int, cursor: int, keep_from: int) -> int:
        """Tell Redis PostgreSQL's cursor, and drop entries below `keep_from`; answers how many."""
        reply = await self._caller.run("trim", partition, cursor, keep_from)
        return int(reply.text())

    async def fence(self, partition: int, reason: str) -> None:
        """Close a partition for everybody until it is rebuilt."""
        try:
            await self._caller.run("fence", partition, reason)
        except Fenced:
            return

    async def contacts(self, partition: int, booking_ids: Iterable[str]) -> dict[str, bytes]:
        """Encrypted contacts of bookings; those without one are left out."""
        names = list(booking_ids)
        if not names:
            return {}
        keys = [self._keys.key("contact", partition, name) for name in names]
        try:
            values = await self._redis.mget(keys)
        except (OSError, RedisError) as error:
            raise Unavailable(f"Redis: {error}") from error
        return {name: value for name, value in zip(names, values, strict=True) if value}

    async def statuses(self, partitions: Sequence[int] | None = None) -> list[JournalStatus]:
        """The status of some or all partitions, in one round trip or two."""
        chosen = list(range(self._keys.partitions) if partitions is None else partitions)
        try:
            return await self._statuses(chosen)
        except (OSError, RedisError) as error:
            raise Unavailable(f"Redis: {error}") from error

    async def status(self, partition: int) -> JournalStatus:
        """The status of one partition."""
        return (await self.statuses([partition]))[0]

    async def _statuses(self, chosen: list[int]) -> list[JournalStatus]:
        fields = ("generation", "sequence", "drained", "fenced")
        pipe = self._redis.pipeline(transaction=False)
        for partition in chosen:
            journal = self._keys.key("journal", partition)
            pipe.hmget(self._keys.meta(partition).decode(), list(fields))
            pipe.xlen(journal)
            pipe.memory_usage(journal)
        found = await pipe.execute()
        oldest = self._redis.pipeline(transaction=False)
        for at in range(len(chosen)):
            drained = int(found[3 * at][2] or 0)
            journal = self._keys.key("journal", chosen[at])
            oldest.xrange(journal, min=f"{drained + 1}-0", max="+", count=1)
        first = await oldest.execute()
        statuses = []
        for at, partition in enumerate(chosen):
            generation, sequence, drained, fenced = found[3 * at]
            lacking = first[at]
            statuses.append(
                JournalStatus(
                    partition=partition,
                    generation=int(generation) if generation else None,
                    sequence=int(sequence or 0),
                    drained=int(drained or 0),
                    fenced=fenced.decode() if fenced else None,
                    entries=found[3 * at + 1],
                    bytes=found[3 * at + 2] or 0,
                    oldest_ms=written_ms(lacking[0][1]) if lacking else None,
                )
            )
        return statuses
