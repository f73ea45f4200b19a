"""Authorizations whose key has run out while nobody knew what came of them.

Sent again such a request could charge twice, and a search that finds nothing proves nothing. What
the gateway lists of the whole time in which a request of ours can have run is complete: it decides.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog

from engine.engine import Engine
from engine.errors import Fenced, Unavailable
from engine.outcomes import Outcome
from engine.payments.gateway import Gateway, Reference, Unknown
from engine.payments.gateway import Payment as Charge
from engine.payments.intents import best_of, now_ms, reference_of
from engine.payments.limits import RECONCILER_OVERLAP_MS
from engine.payments.saga import Saga
from engine.payments.types import Step
from engine.types import Booking

_log = structlog.stdlib.get_logger("holdfast.reconciler")

AT_ONCE: Final = 10
PAGES_PER_PIECE: Final = 10


@dataclass(slots=True)
class _Scan:
    """How far the charges of an attempt's time were listed; `cursor` None is the start."""

    reference: Reference
    since_ms: int
    until_ms: int
    cursor: str | None = None
    complete: bool = False
    found: list[Charge] = field(default_factory=list)


class Undecided:
    """Decides such authorizations, some pages of the gateway's list at a time.

    A process that ends forgets how far it was and begins again.

    Args:
        settled_ms: age from which no request of ours can be under way.
    """

    def __init__(self, engine: Engine, gateway: Gateway, saga: Saga, settled_ms: int) -> None:
        self._engine = engine
        self._gateway = gateway
        self._saga = saga
        self._settled_ms = settled_ms
        self._scans: dict[str, _Scan] = {}

    async def run_once(self, booking_ids: Sequence[str]) -> int:
        """Go on with some of these; answers how many were decided.

        Raises `Unavailable` (the gateway too), `Overloaded`.
        """
        decided, looked_at = 0, set[str]()
        for booking_id in booking_ids:
            if len(looked_at) == AT_ONCE:
                break
            # One that waits for something else, or whose partition is closed, keeps none waiting.
            with contextlib.suppress(Fenced):
                booking = (await self._engine.bookings.get(booking_id)).booking
                if booking is not None and self._is_undecided(booking):
                    looked_at.add(booking_id)
                    decided += await self._go_on(booking)
        self._scans = {name: scan for name, scan in self._scans.items() if name in looked_at}
        return decided

    async def _go_on(self, booking: Booking) -> bool:
        booking_id = booking.booking_id
        scan = self._scans.get(booking_id)
        if scan is None or scan.reference != reference_of(booking):
            scan = self._scans[booking_id] = self._scan_of(booking)
        await self._list(scan)
        return scan.complete and await self._decide(booking_id, scan)

    def _is_undecided(self, booking: Booking) -> bool:
        payment = booking.payment
        if payment is None or payment.step is not Step.AUTHORIZE or payment.authorization_id:
            return False
        # The last request left before the key ran out, and may have been under way for a while.
        return now_ms() > payment.begun_ms + self._saga.key_lifetime_ms + self._settled_ms

    def _scan_of(self, booking: Booking) -> _Scan:
        assert booking.payment
        begun_ms = booking.payment.begun_ms
        return _Scan(
            reference_of(booking),
            begun_ms - RECONCILER_OVERLAP_MS,
            begun_ms + self._saga.key_lifetime_ms + self._settled_ms + RECONCILER_OVERLAP_MS,
        )

    async def _list(self, scan: _Scan) -> None:
        for _ in range(PAGES_PER_PIECE):
            if scan.complete:
                return
            page = await self._gateway.list_created(scan.since_ms, scan.until_ms, scan.cursor)
            if isinstance(page, Unknown):
                raise Unavailable(f"the gateway: {page.reason}")
            scan.found += [one for one in page.payments if one.reference == scan.reference]
            scan.cursor, scan.complete = page.next_cursor, page.next_cursor is None

    async def _decide(self, booking_id: str, scan: _Scan) -> bool:
        owner = f"reconciler:{uuid.uuid4().hex}"
        claim = await self._engine.payments.claim(booking_id, owner)
        booking = claim.booking
        if claim.outcome is not Outcome.DONE or booking is None:
            return False
        if reference_of(booking) != scan.reference or not self._is_undecided(booking):
            # The lease runs out, and a worker goes on with what it is now.
            return False
        charge = None
        if scan.found:
            charge = best_of(scan.found)
            fresh = await self._gateway.retrieve(charge.authorization_id)
            charge = fresh if isinstance(fresh, Charge) else charge
        del self._scans[booking_id]
        booking = await self._saga.decide(booking, owner, charge)
        _log.warning(
            "undecided_authorization_decided",
            booking_id=booking_id,
            attempt=scan.reference.attempt,
            found=charge.status if charge else None,
            status=booking.payment.status if booking.payment else None,
        )
        return True
