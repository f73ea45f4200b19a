"""Bookings: hold, read, extend, confirm, complete, cancel, expire, evict. One script each."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final, NamedTuple

from engine import limits
from engine.archive import Archive, bring_back, require_not_below
from engine.calls import Caller, Reply
from engine.checks import require_ids, require_trace
from engine.crypto import Vault
from engine.errors import Unavailable
from engine.hold_arguments import hold_arguments, wanted_of
from engine.keys import Keys, new_booking_id
from engine.outcomes import Outcome
from engine.pressure import Marks
from engine.retired import RetiredSales
from engine.sold_out import SoldOut
from engine.types import (
    Booking,
    CancelReason,
    Contact,
    LineRequest,
    RateLimit,
)

_OTHER_CUSTOMER: Final = "other_customer"
"""What `absent` says beside a booking that is there, but not for who asks."""


class Answer(NamedTuple):
    """What came of a call on a booking.

    `booking` is the booking as it is now, or as first answered where `replayed`; None where the
    outcome has none. `item_id` names the item that a refusal is about.
    """

    outcome: Outcome
    booking: Booking | None = None
    replayed: bool = False
    item_id: str | None = None
    retry_after_ms: int | None = None


class Bookings:
    """The booking operations of an engine."""

    def __init__(
        self,
        caller: Caller,
        keys: Keys,
        vault: Vault,
        rate_limit: RateLimit | None,
        marks: Marks,
        archive: Archive | None,
    ) -> None:
        self._caller = caller
        self._sold_out = SoldOut(caller)
        self._keys = keys
        self._vault = vault
        self._rate_limit = rate_limit
        self.marks = marks
        self._archive = archive
        self._retired = RetiredSales(caller, keys, archive)

    async def reserve(
        self,
        sale_id: str,
        customer_id: str,
        lines: Sequence[LineRequest],
        key: str,
        *,
        contact: Contact | None = None,
        limited: bool = True,
        trace: str = "",
    ) -> Answer:
        """Hold stock for a customer: all lines or none.

        Args:
            key: the idempotency key; its scope is the customer and the sale.
            limited: whether the customer's rate limit applies.
            trace: a W3C traceparent for the journal.

        Outcomes: `held`, `replayed`, `idempotency_key_reused`, `rate_limited`, `shed`,
        `backlog_full`, `due_backlog`, `unknown_sale`, `unknown_item`, `sale_not_open`,
        `sale_closed`, `booking_limit`, `amount_too_large`, `customer_limit`, `sold_out`.
        """
        rate = self._rate_limit if limited else None
        wanted = wanted_of(lines)
        if found := self._sold_out.find(sale_id, wanted):
            require_ids(customer_id, key)
            wait_ms = await self._sold_out.refuse(found, customer_id, key, rate)
            if wait_ms:
                return Answer(Outcome.RATE_LIMITED, retry_after_ms=wait_ms)
            if wait_ms == 0:
                return Answer(Outcome.SOLD_OUT, item_id=found.item_id)
        partition = self._keys.partition_of_sale(sale_id)
        booking_id = new_booking_id(partition)
        arguments = hold_arguments(
            self._vault,
            self.marks,
            rate,
            booking_id,
            sale_id,
            customer_id,
            lines,
            key,
            contact=contact,
            trace=trace,
        )
        asked_s = time.monotonic()
        for _ in range(limits.MAX_RESERVE_ROUNDS):
            reply = await self._caller.run("reserve", partition, *arguments)
            if reply.outcome is not Outcome.DUE_BACKLOG:
                break
            # More holds are due than one reserve may take back: help the sweeper, look again.
            await self.expire(sale_id)
        match reply.outcome:
            case Outcome.HELD:
                return Answer(Outcome.HELD, Booking.from_json(reply.text()))
            case Outcome.REPLAYED:
                booking = Booking.from_json(reply.text())
                # Our own repetition after a lost reply is not the customer's.
                first = booking.booking_id == booking_id
                return Answer(Outcome.HELD if first else Outcome.REPLAYED, booking, not first)
            case Outcome.RATE_LIMITED:
                return Answer(reply.outcome, retry_after_ms=int(reply.text()))
            case Outcome.SOLD_OUT:
                item_id, lasts_ms = reply.text(), int(reply.text(1))
                self._sold_out.remember(
                    partition, sale_id, wanted, item_id, asked_s, reply.sequence, lasts_ms
                )
                return Answer(reply.outcome, item_id=item_id)
            case _:
                return Answer(reply.outcome, item_id=reply.text() or None)

    async def get(self, booking_id: str, customer_id: str | None = None) -> Answer:
        """Read a booking, from Redis or from the archive: `found` or `absent`.

        A hold whose deadline has passed is expired first, so that it never reads as live.
        With `customer_id`, another customer's booking is `absent`.
        """
        partition = self._keys.partition_of_booking(booking_id)
        if partition is None:
            return Answer(Outcome.ABSENT)
        arguments = (booking_id, customer_id or "")
        reply = await self._caller.run("get_booking", partition, *arguments)
        for _ in range(limits.MAX_RESERVE_ROUNDS):
            if reply.outcome is not Outcome.FOUND or not reply.values[1]:
                break
            # Oldest first: before this one come all that are due longer in its sale.
            await self.expire(Booking.from_json(reply.text()).sale_id)
            reply = await self._caller.run("get_booking", partition, *arguments)
        if reply.outcome is Outcome.FOUND:
            return Answer(Outcome.FOUND, Booking.from_json(reply.text()))
        if reply.outcome is Outcome.ABSENT and reply.text() == _OTHER_CUSTOMER:
            return Answer(Outcome.ABSENT)
        archived = await self._archive.booking(booking_id) if self._archive else None
        if reply.outcome in (Outcome.EVICTED, Outcome.SALE_RETIRED):
            require_not_below(archived, int(reply.text()))
        if archived is None or customer_id not in (None, archived.booking.customer_id):
            return Answer(Outcome.ABSENT)
        return Answer(Outcome.FOUND, archived.booking)

    async def extend(
        self, booking_id: str, customer_id: str | None = None, trace: str = ""
    ) -> Answer:
        """Lengthen a live hold, once, to the sale's `hold_ms` from now.

        Outcomes: `extended`, `unchanged` (it was before), `absent`, `hold_expired`,
        `invalid_state`, `sale_closed`.
        """
        return await self.change("extend", booking_id, customer_id or "", trace)

    async def cancel(
        self,
        booking_id: str,
        reason: CancelReason,
        customer_id: str | None = None,
        trace: str = "",
    ) -> Answer:
        """Cancel a booking in `PENDING` or `CONFIRMED`; its units are available at once.

        Outcomes: `cancelled`, `unchanged` (it was before), `absent`, `invalid_state`.
        """
        return await self.change("cancel", booking_id, customer_id or "", reason, trace)

    async def confirm(self, booking_id: str, customer_id: str, key: str, trace: str = "") -> Answer:
        """Turn a hold whose total is 0 into a sale; the key's scope is customer and booking.

        Outcomes: `confirmed`, `replayed`, `idempotency_key_reused`, `absent`, `hold_expired`,
        `invalid_state`, `payment_required`.
        """
        require_ids(customer_id, key)
        fingerprint = self._vault.fingerprint("confirm")
        return await self.change(
            "confirm_free",
            booking_id,
            customer_id,
            key,
            fingerprint,
            limits.IDEMPOTENCY_TTL_MS,
            trace,
        )

    async def complete(self, booking_id: str, trace: str = "") -> Answer:
        """Mark a confirmed booking as used up.

        Outcomes: `completed`, `unchanged` (it was before), `absent`, `invalid_state`.
        """
        return await self.change("complete", booking_id, trace)

    async def expire(self, sale_id: str) -> int:
        """End due holds of one sale, at most `MAX_EXPIRED_PER_CALL`; answers how many."""
        partition = self._keys.partition_of_sale(sale_id)
        reply = await self._caller.run("expire", partition, sale_id, limits.MAX_EXPIRED_PER_CALL)
        return int(reply.text())

    async def sweep(self, partition: int, limit: int) -> int:
        """End due holds of a partition's sales, about `limit` at the most; answers how many."""
        reply = await self._caller.run("due", partition, limit)
        expired = 0
        for sale_id in reply.values[0]:
            while expired < limit:
                count = await self.expire(sale_id.decode())
                expired += count
                if count < limits.MAX_EXPIRED_PER_CALL:
                    break
        return expired

    async def evict(self, partition: int, cursor: int, retention_ms: int, limit: int) -> int:
        """Remove bookings that finished `retention_ms` ago and that PostgreSQL has up to `cursor`.

        By Redis's clock, like every deadline. Each leaves a tombstone; answers how many left.
        """
        reply = await self._caller.run(
            "evict", partition, cursor, retention_ms, limit, limits.TOMBSTONE_TTL_MS
        )
        return int(reply.text())

    async def change(self, name: str, booking_id: str, *arguments: str | int) -> Answer:
        """Run a script that changes one booking, bringing it back from the archive if it left.

        The last argument is a trace, or anything that could be one.
        """
        partition = self._keys.partition_of_booking(booking_id)
        if partition is None:
            return Answer(Outcome.ABSENT)
        require_trace(str(arguments[-1]))
        reply = await self._caller.run(name, partition, booking_id, *arguments)
        gone = reply.outcome is Outcome.EVICTED or (
            reply.outcome is Outcome.ABSENT and reply.text() != _OTHER_CUSTOMER
        )
        if gone and await bring_back(self._caller, self._archive, partition, booking_id):
            reply = await self._caller.run(name, partition, booking_id, *arguments)
        if reply.outcome is Outcome.SALE_RETIRED:
            await self._retired.bring_back(reply.text(), int(reply.text(1)))
            reply = await self._caller.run(name, partition, booking_id, *arguments)
        return _answer(reply)


def _answer(reply: Reply) -> Answer:
    if reply.outcome is Outcome.EVICTED:
        # Its tombstone says that it exists: to answer `absent` would be a lie.
        raise Unavailable("the booking has left Redis and could not be brought back")
    if reply.outcome is Outcome.SALE_RETIRED:
        raise Unavailable("its sale left Redis again; the same again may find it there")
    if reply.outcome in (Outcome.ABSENT, Outcome.IDEMPOTENCY_KEY_REUSED):
        return Answer(reply.outcome)
    booking = Booking.from_json(reply.text())
    # Only a repetition of ours can be told from the customer's by its number of attempts.
    replayed = reply.outcome is Outcome.REPLAYED and reply.attempts == 1
    return Answer(reply.outcome, booking, replayed)
