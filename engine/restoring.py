"""One rebuild of one partition on its way: closed, emptied, written anew, opened.

Every write is a script that looks whether the partition is still this rebuild's. Each writes what
it is told, whatever was there, so that a call whose outcome is not known may be sent again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Final

import orjson

from engine.archive import booking_fields
from engine.calls import Caller
from engine.keys import HASH_FUNCTION, Keys
from engine.limits import IDEMPOTENCY_TTL_MS
from engine.model import Record, RecordName, is_paying
from engine.types import ArchivedBooking, Sale, Status, definition_json, pack_lines

PER_CALL: Final = {
    "forget_keys": 500,
    "restore_customers": 500,
    "restore_bookings": 50,
    "restore_tombstones": 500,
    "restore_records": 200,
}
"""How many things a call carries."""
CALLS_AT_ONCE: Final = 32

Argument = bytes | str | int


class Restoring:
    """One rebuild of one partition, by its token.

    All raise `Fenced` where another rebuild has begun since, `Unavailable` where Redis is away, and
    `Overloaded` where it is at its memory limit.
    """

    def __init__(
        self, caller: Caller, keys: Keys, partition: int, generation: int, token: str
    ) -> None:
        self.partition = partition
        self.generation = generation
        self._caller = caller
        self._keys = keys
        self._token = token

    async def run(self, name: str, *args: Argument) -> int:
        """Run one of a rebuild's scripts; answers how many things it counted."""
        reply = await self._caller.run_as(name, self.partition, self.generation, self._token, *args)
        return int(reply.text() or 0)

    async def reset(self, generation: int, sequence: int, size: int, last_ms: int) -> None:
        """Take the partition to its new generation and to PostgreSQL's cursor; it stays closed.

        Args:
            size: bytes of all entries up to the cursor.
            last_ms: when the entry at the cursor was written.
        """
        await self.run(
            "reset_partition",
            generation,
            sequence,
            size,
            last_ms,
            self._keys.partitions,
            HASH_FUNCTION,
        )
        self.generation = generation

    async def forget(self, names: Iterable[str]) -> int:
        """Remove keys, named without their prefix; answers how many."""
        async with self.writer("forget_keys") as writer:
            for name in names:
                await writer.put(name.encode(errors="surrogateescape"))
        return writer.counted

    async def put_sale(self, sale: Sale) -> None:
        """Write a sale with its levels."""
        definition = sale.definition
        stock: list[Argument] = []
        for item, level in zip(definition.items, sale.levels, strict=True):
            for field, value in (
                ("available", level.available),
                ("held", level.held),
                ("sold", level.sold),
                ("unit_price", item.unit_price),
                ("max_per_booking", item.max_per_booking),
            ):
                stock += (f"{item.item_id}:{field}", value)
        await self.run(
            "restore_sale",
            definition.sale_id,
            definition_json(definition),
            definition.opens_ms,
            definition.closes_ms,
            definition.hold_ms,
            definition.max_units_per_customer,
            definition.currency,
            sale.version,
            sale.created_ms,
            sale.updated_ms,
            *stock,
        )

    async def finish(self, entry: bytes | None) -> None:
        """Open the partition.

        Args:
            entry: the text of the entry at the cursor; None before the first.
        """
        await self.run("finish_rebuild", entry or b"")

    async def finish_sale(self, sale_id: str) -> None:
        """Open a sale that was frozen."""
        await self.run("finish_sale", sale_id)

    @asynccontextmanager
    async def writer(self, name: str, *first: Argument) -> AsyncIterator[Writer]:
        """Write many things by one script; all are written when it is left.

        Args:
            first: what each call begins with.
        """
        try:
            async with asyncio.TaskGroup() as group:
                writer = Writer(self, group, name, first)
                yield writer
                await writer.flush()
        except BaseExceptionGroup as failed:
            # What fails is the server or the fence, and that for all calls alike.
            raise failed.exceptions[0] from None


class Writer:
    """Gathers things into calls of one script, and sends `CALLS_AT_ONCE` of them at the most.

    `written` counts the things that were put, `counted` what the calls answered.
    """

    def __init__(
        self, restoring: Restoring, group: asyncio.TaskGroup, name: str, first: Sequence[Argument]
    ) -> None:
        self.written = 0
        self.counted = 0
        self._restoring = restoring
        self._group = group
        self._name = name
        self._first = first
        self._things = 0
        self._args: list[Argument] = []
        self._gate = asyncio.Semaphore(CALLS_AT_ONCE)

    async def put(self, *thing: Argument) -> None:
        """Write a thing, together with its neighbours."""
        self._args += thing
        self._things += 1
        self.written += 1
        if self._things == PER_CALL[self._name]:
            await self.flush()

    async def flush(self) -> None:
        """Send what was gathered, as soon as there is room."""
        if self._things:
            await self._gate.acquire()
            args, self._args, self._things = self._args, [], 0
            self._group.create_task(self._send(args))

    async def _send(self, args: Sequence[Argument]) -> None:
        try:
            counted = await self._restoring.run(self._name, *self._first, *args)
        finally:
            self._gate.release()
        # Not `+= await`: others count meanwhile.
        self.counted += counted


def booking_argument(archived: ArchivedBooking, grace_ms: int) -> bytes:
    """A booking that is not over, as `restore_bookings` takes it.

    A hold under payment lives for its grace more: how much it was given is in no entry, so that it
    is given what is set now. A worker looks at an open payment at once.
    """
    booking = archived.booking
    paying, pending = is_paying(booking), booking.status is Status.PENDING
    deadline_ms = booking.hold_expires_ms + (grace_ms if paying else 0)
    fields = booking_fields(booking, deadline_ms)
    fields |= {"version": booking.version, "sequence": archived.sequence}
    # Texts all: a script must read no number that it could round, and one argument each, because
    # the client is what takes the time.
    return orjson.dumps(
        {
            "booking_id": booking.booking_id,
            "sale_id": booking.sale_id,
            "deadline_ms": str(deadline_ms) if pending else "",
            "look_ms": str(booking.updated_ms) if paying else "",
            "updated_ms": str(booking.updated_ms),
            "contact": (archived.contact or b"").decode("ascii"),
            "fields": [str(part) for pair in fields.items() for part in pair],
        }
    )


def record_argument(name: RecordName, record: Record) -> bytes:
    """An idempotency record, as `restore_records` takes it."""
    expires_ms = str(record.at_ms + IDEMPOTENCY_TTL_MS)
    answer = record.answer
    if name[0] == "hold":
        # As `lua/lib/hold_record.lua` does.
        kept = (
            f"{answer.booking_id} {pack_lines(answer.lines)} {answer.amount} {answer.currency} "
            f"{answer.hold_expires_ms} {answer.created_ms}"
        )
    else:
        kept = answer.to_json().decode()
    return orjson.dumps([*name, expires_ms, f"{record.fingerprint} {kept}"])
