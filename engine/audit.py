"""Reads for `holdfast verify`: what Redis has, with the sequence at which it had it.

Safe on a live system: nothing is written, and each call is a bounded slice.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass

from redis.asyncio import Redis

from engine.archive import read_payment
from engine.calls import Caller
from engine.connections import CONNECTION_LOST
from engine.errors import Unavailable
from engine.journal_status import written_ms
from engine.keys import Keys
from engine.nodes import Nodes
from engine.outcomes import Outcome
from engine.types import Booking

Fields = dict[str, str]


@dataclass(frozen=True, slots=True)
class SaleReading:
    """A sale at a sequence; `sale` and `stock` are its hashes, empty where there is no sale.

    `first_deadline_ms` is that of its earliest hold, `due_ms` its place in the partition's `due`.
    """

    sale_id: str
    sequence: int
    sale: Fields
    stock: Fields
    customers: int
    holds: int
    first_deadline_ms: int | None
    due_ms: int | None
    retired: bool = False
    """Whether it has left Redis; then there is nothing else of it."""


@dataclass(frozen=True, slots=True)
class CustomersReading:
    """Units of customers in a sale at a sequence; None where Redis counts none.

    Without any where the sale has left Redis.
    """

    sale_id: str
    sequence: int
    units: Mapping[str, int | None]


@dataclass(frozen=True, slots=True)
class HoldReading:
    """A booking's deadline in the index, and its hash; each None where there is none.

    `own_deadline_ms` is the one in the hash.
    """

    booking_id: str
    deadline_ms: int | None
    own_deadline_ms: int | None
    status: str | None
    version: int | None


@dataclass(frozen=True, slots=True)
class HoldsReading:
    """Bookings of a sale at a sequence."""

    sale_id: str
    sequence: int
    holds: tuple[HoldReading, ...]


@dataclass(frozen=True, slots=True)
class PaymentsReading:
    """Open payments of a partition at a sequence: how many, and of some when they are looked at.

    None where no worker will ever look.
    """

    sequence: int
    count: int
    looks: Mapping[str, int | None]


@dataclass(frozen=True, slots=True)
class BookingReading:
    """A booking's hash; `booking` None where its fields do not make one."""

    partition: int
    booking_id: str
    sequence: int
    booking: Booking | None


class Audit:
    """The audit reads of an engine. All raise `Unavailable`; those by partition, `Fenced` too."""

    def __init__(self, caller: Caller, keys: Keys, nodes: Nodes) -> None:
        self._caller = caller
        self._keys = keys
        self._nodes = nodes

    async def sale_ids(self, partition: int, after: str, limit: int) -> list[str]:
        """Ids of a partition's sales after `after`, in order, at most `limit`."""
        reply = await self._caller.run("list_sales", partition, after, limit)
        return [name.decode() for name in reply.values[0]]

    async def sale(self, partition: int, sale_id: str) -> SaleReading:
        """A sale with its stock."""
        reply = await self._caller.run("audit_sale", partition, sale_id)
        if reply.outcome is not Outcome.FOUND:
            retired = reply.outcome is Outcome.SALE_RETIRED
            return SaleReading(sale_id, reply.sequence, {}, {}, 0, 0, None, None, retired)
        sale, stock, customers, holds, first, due = reply.values
        return SaleReading(
            sale_id, reply.sequence, _fields(sale), _fields(stock), customers, holds,
            _number(first), _number(due),
        )  # fmt: skip

    async def customers(
        self, partition: int, sale_id: str, customer_ids: Sequence[str]
    ) -> CustomersReading:
        """What customers hold and have bought in a sale."""
        reply = await self._caller.run("audit_customers", partition, sale_id, *customer_ids)
        if reply.outcome is Outcome.SALE_RETIRED:
            return CustomersReading(sale_id, reply.sequence, {})
        units = zip(customer_ids, map(_number, reply.values[0]), strict=True)
        return CustomersReading(sale_id, reply.sequence, dict(units))

    async def holds(self, partition: int, sale_id: str, booking_ids: Sequence[str]) -> HoldsReading:
        """Bookings of a sale, and what the index of deadlines says of them."""
        reply = await self._caller.run("audit_holds", partition, sale_id, *booking_ids)
        holds = tuple(
            HoldReading(
                name, _number(deadline), _number(own), status.decode() or None, _number(version)
            )
            for name, (deadline, own, status, version) in zip(
                booking_ids, reply.values[0], strict=True
            )
        )
        return HoldsReading(sale_id, reply.sequence, holds)

    async def payments(self, partition: int, booking_ids: Sequence[str]) -> PaymentsReading:
        """When a worker shall look at the payments of bookings."""
        reply = await self._caller.run("audit_payments", partition, *booking_ids)
        count, times = reply.values
        looks = dict(zip(booking_ids, map(_number, times), strict=True))
        return PaymentsReading(reply.sequence, count, looks)

    async def bookings(self) -> AsyncIterator[list[BookingReading]]:
        """All bookings of all partitions that are in Redis, page by page; one may come twice."""
        async for page in self._nodes.scan(self._keys, range(self._keys.partitions), "booking"):
            places = [(p, name.removeprefix("booking:")) for p, name in page.names]
            pipe = page.redis.pipeline(transaction=False)
            for partition, booking_id in places:
                pipe.hgetall(self._keys.key("booking", partition, booking_id))
            try:
                hashes = await pipe.execute() if places else []
            except CONNECTION_LOST as error:
                raise Unavailable(f"Redis: {error}") from error
            # A hash that is empty by now was evicted since the scan met its key.
            yield [
                _booking(*place, fields)
                for place, fields in zip(places, hashes, strict=True)
                if fields
            ]

    async def written_ms(self, sequences: Mapping[int, int]) -> dict[int, int]:
        """When entries were written, by partition; those not there or not readable left out."""

        async def read(redis: Redis, group: list[int]) -> dict[int, int | None]:
            pipe = redis.pipeline(transaction=False)
            for partition in group:
                first = f"{sequences[partition]}-0"
                pipe.xrange(self._keys.key("journal", partition), first, "+", count=1)
            found = await pipe.execute()
            return {
                partition: written_ms(entries[0][1]) if entries else None
                for partition, entries in zip(group, found, strict=True)
            }

        times = await self._nodes.ask_each(sequences, read)
        return {
            partition: at_ms
            for group in times
            for partition, at_ms in group.items()
            if at_ms is not None
        }


def _fields(flat: Sequence[bytes]) -> Fields:
    words = [word.decode() for word in flat]
    return dict(zip(words[::2], words[1::2], strict=True))


def _number(text: bytes) -> int | None:
    return int(float(text)) if text else None


def _booking(partition: int, booking_id: str, fields: Mapping[bytes, bytes]) -> BookingReading:
    words: dict[str, str | int | None] = {
        name.decode(): value.decode() for name, value in fields.items()
    }
    try:
        for name in (
            *("version", "amount", "hold_expires_ms", "created_ms", "updated_ms", "extended"),
            "sequence",
        ):
            words[name] = int(str(words[name]))
        # Not there before the first warning.
        words["warned"] = int(str(words.get("warned") or 0))
        payment = read_payment(words)
        words = {"cancel_reason": None, **words, "booking_id": booking_id}
        booking = Booking.from_fields(words)._replace(payment=payment)
        return BookingReading(partition, booking_id, int(str(words["sequence"])), booking)
    except (KeyError, ValueError):
        return BookingReading(partition, booking_id, 0, None)
