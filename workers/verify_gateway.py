"""Compares bookings with the gateway's charges.

Each captured booking has exactly one capture, and each capture a booking, or it was given back.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Final, TypeVar

from engine.engine import Engine
from engine.errors import Fenced, Unavailable
from engine.payments.gateway import Gateway, GatewayStatus, Missing, Unknown
from engine.payments.gateway import Payment as Charge
from engine.payments.intents import now_ms, was_taken
from engine.payments.limits import (
    GATEWAY_TIMEOUT_MS,
    PAYMENT_LEASE_MS,
    RECONCILER_MARGIN_MS,
)
from engine.payments.matching import DIFFERENCES, Verdict, judge
from engine.payments.types import PaymentStatus
from engine.types import Booking
from persistence.payments import PaymentRow
from workers.loops import BackOff
from workers.replay import Report

SETTLED_MS: Final = PAYMENT_LEASE_MS + GATEWAY_TIMEOUT_MS + RECONCILER_MARGIN_MS
DAY_MS: Final = 24 * 3600 * 1000
AT_ONCE: Final = 8
MAX_TRIES: Final = 10
"""How often a question is put to a gateway that does not answer it, with growing pauses: some ten
seconds, and the time-outs of the questions themselves."""

T = TypeVar("T")


class GatewayComparison:
    """Collects what the journal says was captured, and compares it with one gateway's charges."""

    def __init__(self, engine: Engine, gateway: Gateway, report: Report) -> None:
        self._engine = engine
        self._gateway = gateway
        self._report = report
        self._captured: dict[str, str] = {}
        """Bookings by the authorization that was captured for them."""
        self._taken: Counter[str] = Counter()
        """How many captures each booking has that were not given back."""
        self._gate = asyncio.Semaphore(AT_ONCE)

    def expect(self, payments: Iterable[PaymentRow]) -> None:
        """Take note of a partition's payments, as the journal makes them."""
        for row in payments:
            if row.payment.status is PaymentStatus.CAPTURED and row.payment.authorization_id:
                self._captured[row.payment.authorization_id] = row.booking_id

    async def compare(self, since_ms: int) -> None:
        """Compare with all charges made from a time on.

        Raises `Unavailable`: the gateway, Redis or PostgreSQL does not answer.
        """
        cursor: str | None = None
        while True:
            # The gateway's clock may be ahead of ours; what it makes from now on comes before.
            list_created = partial(self._gateway.list_created, since_ms, now_ms() + DAY_MS, cursor)
            page = await _insist(list_created)
            await asyncio.gather(*map(self._look_at, page.payments))
            cursor = page.next_cursor
            if cursor is None:
                break
        for booking_id, times in sorted(self._taken.items()):
            if times > 1:
                self._report.differ(f"booking {booking_id}: the gateway captured {times} charges")
        # What is left was captured by our books, and not listed.
        for authorization_id, booking_id in sorted(self._captured.items()):
            await self._look_for(authorization_id, booking_id)

    async def _look_at(self, charge: Charge) -> None:
        reference = charge.reference
        if reference is None:
            return
        if self._engine.keys.partition_of_booking(reference.booking_id) is None:
            return
        if was_taken(charge):
            self._captured.pop(charge.authorization_id, None)
        if charge.status is GatewayStatus.CAPTURED:
            self._taken[reference.booking_id] += 1
        async with self._gate:
            await self._judge(charge, reference.booking_id)

    async def _look_for(self, authorization_id: str, booking_id: str) -> None:
        found: Charge | Missing = await _insist(partial(self._gateway.retrieve, authorization_id))
        if isinstance(found, Missing):
            self._report.differ(
                f"booking {booking_id}: captured as {authorization_id} by the journal, and the "
                "gateway has no such payment"
            )
            return
        await self._judge(found, booking_id)

    async def _judge(self, charge: Charge, booking_id: str) -> None:
        try:
            booking = await self._booking(booking_id)
            verdict = judge(charge, booking, now_ms(), SETTLED_MS)
            if verdict in DIFFERENCES:
                # The system is live: what moves between the two looks is no difference.
                fresh = await _insist(partial(self._gateway.retrieve, charge.authorization_id))
                if not isinstance(fresh, Charge) or await self._booking(booking_id) != booking:
                    return
                charge, verdict = fresh, judge(fresh, booking, now_ms(), SETTLED_MS)
        except Fenced:
            # The partition's fence is a difference already.
            return
        if verdict in DIFFERENCES:
            self._report.differ(_line(verdict, charge, booking_id, booking))

    async def _booking(self, booking_id: str) -> Booking | None:
        return (await self._engine.bookings.get(booking_id)).booking


async def _insist(ask: Callable[[], Awaitable[T | Unknown]]) -> T:
    """What the gateway answers, though it fails some times before. Raises `Unavailable`."""
    back_off = BackOff()
    for _ in range(MAX_TRIES - 1):
        answer = await ask()
        if not isinstance(answer, Unknown):
            return answer
        await asyncio.sleep(back_off.failed())
    answer = await ask()
    if isinstance(answer, Unknown):
        raise Unavailable(f"the gateway: {answer.reason}")
    return answer


def _line(verdict: Verdict, charge: Charge, booking_id: str, booking: Booking | None) -> str:
    ours = "no such booking"
    if booking is not None:
        payment = booking.payment
        paid = f"payment {payment.status} of attempt {payment.attempt}" if payment else "no payment"
        ours = f"{booking.status} over {booking.amount} {booking.currency}, {paid}"
    attempt = charge.reference.attempt if charge.reference else 0
    return (
        f"booking {booking_id}: {verdict}: the gateway has {charge.authorization_id} of attempt "
        f"{attempt}, {charge.status} over {charge.amount} {charge.currency} "
        f"({charge.amount_captured} captured, {charge.amount_refunded} refunded); we have {ours}"
    )
