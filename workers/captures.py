"""Looks for each capture that our journal has among the gateway's charges."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from engine.engine import Engine
from engine.errors import Unavailable
from engine.payments.types import PaymentStatus
from engine.types import Booking
from persistence.reconciling import Reconciling

_log = structlog.stdlib.get_logger("holdfast.reconciler")

REMEMBERED: Final = 100_000
"""Captures seen among the charges; one that was forgotten is asked for by itself."""
MAX_LOOKED_FOR: Final = 50
"""Missing ones that are asked for again at once."""


class Captures:
    """Payments that are captured by our books.

    Those that are not captured yet need no look here: their saga asks the gateway by itself, and
    shows as stuck where it is told that there is no such payment.

    Args:
        look_at: compares the charge of an authorization; False where the gateway has none.
    """

    def __init__(
        self, engine: Engine, books: Reconciling, look_at: Callable[[str], Awaitable[bool]]
    ) -> None:
        self._engine = engine
        self._books = books
        self._look_at = look_at
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._missing: dict[str, str] = {}
        """Bookings by the authorization that the gateway does not know."""
        self.position_ms = 0
        """Captures recorded before were all looked for."""

    @property
    def missing(self) -> int:
        """How many bookings are paid by our books, and not by the gateway's."""
        return len(self._missing)

    def go_to(self, at_ms: int) -> None:
        """Look for what was recorded from a time on."""
        self.position_ms = at_ms

    def saw(self, authorization_id: str) -> None:
        """Remember a charge that was captured."""
        self._seen[authorization_id] = None
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)

    async def look(self, until_ms: int) -> None:
        """Look for what was recorded before a time, and again for what was missing.

        What PostgreSQL does not have yet is left for later, and while it is away, everything.
        Raises `Unavailable` where the gateway or Redis is.
        """
        for authorization_id, booking_id in list(self._missing.items())[:MAX_LOOKED_FOR]:
            await self._look_for(booking_id, authorization_id)
        for status in await self._engine.journal.statuses():
            if status.oldest_ms is not None:
                until_ms = min(until_ms, status.oldest_ms)
        if until_ms <= self.position_ms:
            return
        unseen: list[Booking] = []
        with contextlib.suppress(Unavailable):
            async for bookings in self._books.captures(self.position_ms, until_ms):
                unseen += [one for one in bookings if _authorization(one) not in self._seen]
            for booking in unseen:
                await self._look_for(booking.booking_id, _authorization(booking))
            self.position_ms = until_ms

    async def _look_for(self, booking_id: str, authorization_id: str) -> None:
        if await self._look_at(authorization_id):
            self._missing.pop(authorization_id, None)
            return
        booking = (await self._engine.bookings.get(booking_id)).booking
        if (
            booking is None
            or booking.payment is None
            or booking.payment.status is not PaymentStatus.CAPTURED
            or _authorization(booking) != authorization_id
        ):
            self._missing.pop(authorization_id, None)
        elif authorization_id not in self._missing:
            self._missing[authorization_id] = booking_id
            _log.error(
                "captured_booking_without_charge",
                booking_id=booking_id,
                authorization_id=authorization_id,
            )


def _authorization(booking: Booking) -> str:
    assert booking.payment
    return booking.payment.authorization_id or ""
