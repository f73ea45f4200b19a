"""The partition's journal: its entries, its status, its first start, its trimming and fencing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import orjson

from engine.calls import Caller
from engine.errors import Fenced, HoldfastError
from engine.journal_status import JournalStatus, read_statuses
from engine.keys import HASH_FUNCTION, Keys
from engine.limits import MAX_DRAIN_BYTES
from engine.nodes import Nodes
from engine.outcomes import Outcome
from engine.partitions import Partitions
from engine.types import Booking, Levels

VERSION: Final = 1
BOOKING_TYPES: Final = frozenset(
    {
        "held",
        "extended",
        "warned",
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
MARK_TYPES: Final = frozenset({"rebuilt", "snapshot"})
"""Entries that change nothing and tell where the books stand."""
_TYPES: Final = BOOKING_TYPES | SALE_TYPES | MARK_TYPES


class UnknownEntry(HoldfastError):
    """An entry of a type or version this code does not know: a newer writer is about."""


class RawEntry(NamedTuple):
    """An entry as it lies in the journal."""

    sequence: int
    text: bytes


@dataclass(frozen=True, slots=True)
class JournalSlice:
    """Entries in order, and the sequence of the journal's last one when they were read.

    `cut` says that more could not be had at once: they would be too many bytes.
    """

    sequence: int
    entries: tuple[RawEntry, ...]
    cut: bool = False


class Entry(NamedTuple):
    """A journal entry, understood.

    `deltas` are signed changes by item, `levels` what they led to. A booking's entry carries the
    whole booking after the change; a sale's carries its definition, without capacities. A mark has
    neither, version 0, levels without deltas, and an empty `sale_id` where it is about all sales.
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
    if fields["v"] != VERSION or kind not in _TYPES:
        raise UnknownEntry(f"entry {sequence}: type {kind}, version {fields['v']}")
    return Entry(
        sequence=sequence,
        type=kind,
        at_ms=fields["at_ms"],
        sale_id=fields["sale_id"],
        version=0 if kind in MARK_TYPES else fields["version"],
        booking=Booking.from_fields(fields) if kind in BOOKING_TYPES else None,
        definition=fields["definition"] if kind in SALE_TYPES else None,
        deltas=unpack_levels(fields["deltas"]),
        levels=unpack_levels(fields["levels"]),
        trace=fields["trace"],
        key=fields.get("key"),
        fingerprint=fields.get("fingerprint"),
        contact=fields.get("contact", False),
    )


class Journal:
    """The journal operations of an engine."""

    def __init__(self, caller: Caller, keys: Keys, partitions: Partitions, nodes: Nodes) -> None:
        self._caller = caller
        self._keys = keys
        self._partitions = partitions
        self._nodes = nodes

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

    async def read(
        self, partition: int, from_sequence: int, limit: int, max_bytes: int = MAX_DRAIN_BYTES
    ) -> JournalSlice:
        """Entries from `from_sequence` (inclusive), at most `limit`.

        The one that reaches `max_bytes`, with those before it, is the last.
        """
        reply = await self._caller.run("read_journal", partition, from_sequence, limit, max_bytes)
        entries = tuple(
            RawEntry(int(entry_id.partition(b"-")[0]), fields[1])
            for entry_id, fields in reply.values[0]
        )
        return JournalSlice(reply.sequence, entries, reply.values[1] == 1)

    async def trim(
        self, partition: int, cursor: int, keep_from: int, drained_bytes: int | None = None
    ) -> int:
        """Tell Redis PostgreSQL's cursor, and drop entries below `keep_from`; answers how many.

        `drained_bytes` is the length of all entries up to the cursor, where it is known.
        """
        told = "" if drained_bytes is None else drained_bytes
        reply = await self._caller.run("trim", partition, cursor, keep_from, told)
        return int(reply.text())

    async def shed(self, partition: int, reason: str, ttl_ms: int) -> None:
        """Have new holds of a partition shed for some time from now."""
        await self._caller.run("shed", partition, reason, ttl_ms)

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
        values = await self._nodes.ask(partition, lambda redis: redis.mget(keys))
        return {name: value for name, value in zip(names, values, strict=True) if value}

    async def statuses(
        self, partitions: Sequence[int] | None = None, *, lenient: bool = False
    ) -> list[JournalStatus]:
        """The status of some or all partitions, in order.

        Args:
            lenient: leave out the partitions of nodes that do not answer, as long as one does.
        """
        chosen = range(self._keys.partitions) if partitions is None else partitions
        return await read_statuses(self._nodes, self._keys, chosen, lenient=lenient)

    async def status(self, partition: int) -> JournalStatus:
        """The status of one partition."""
        return (await self.statuses([partition]))[0]
