"""A state on its way through one operation: what `decide` reads, writes and answers with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from engine.journal import Entry
from engine.model.apply import advance, units_of
from engine.model.state import PartitionState, RecordName
from engine.outcomes import Outcome
from engine.types import Booking, CancelReason, Levels, Status


@dataclass(frozen=True, slots=True)
class Decision:
    """What comes of an operation.

    `booking` is what the script answers with, `item_id` what a refusal is about, `expired` how
    many holds `expire` ended, `warned` of how many `warn` warned. `entries` is what the journal
    gets, `state` what is after it.
    """

    outcome: Outcome
    state: PartitionState
    entries: tuple[Entry, ...] = ()
    booking: Booking | None = None
    item_id: str | None = None
    expired: int = 0
    warned: int = 0


class Work:
    """A state on its way through one operation, and the entries so far."""

    def __init__(self, state: PartitionState, now_ms: int) -> None:
        self.state = state
        self.now_ms = now_ms
        self.entries: list[Entry] = []

    def append(
        self, kind: str, booking: Booking, move: tuple[str, str] | None, **more: Any
    ) -> None:
        """Write the entry of a booking whose units move between two sides of the levels."""
        sale = self.state.sales[booking.sale_id]
        deltas, levels = [], []
        for item_id, units in units_of(booking).items() if move else ():
            assert move
            sides = dict.fromkeys(("available", "held", "sold"), 0)
            sides[move[0]], sides[move[1]] = -units, units
            was = sale.levels[item_id]
            deltas.append(Levels(item_id, sides["available"], sides["held"], sides["sold"]))
            levels.append(
                Levels(
                    item_id,
                    was.available + sides["available"],
                    was.held + sides["held"],
                    was.sold + sides["sold"],
                )
            )
        self.write(
            kind,
            sale_id=booking.sale_id,
            version=booking.version,
            booking=booking,
            deltas=tuple(deltas),
            levels=tuple(levels),
            **more,
        )

    def write(self, kind: str, **fields: Any) -> None:
        """Write an entry and bring the state after it."""
        given: dict[str, Any] = {
            "booking": None,
            "definition": None,
            "trace": "",
            "key": None,
            "fingerprint": None,
            "contact": False,
        }
        entry = Entry(
            sequence=self.state.sequence + 1,
            type=kind,
            at_ms=self.now_ms,
            **(given | fields),
        )
        advance(self.state, entry)
        self.entries.append(entry)

    def changed(
        self, booking: Booking, paying: Mapping[str, Any] | None = None, **fields: Any
    ) -> Booking:
        """The next version of a booking, and of its payment."""
        if paying:
            assert booking.payment
            fields["payment"] = replace(booking.payment, **paying)
        return booking._replace(version=booking.version + 1, updated_ms=self.now_ms, **fields)

    def end(
        self, booking: Booking, reason: CancelReason, kind: str = "", **payment: Any
    ) -> Booking:
        """Cancel a booking and give its units back; `payment` is what changes of its payment."""
        side = "held" if booking.status is Status.PENDING else "sold"
        ended = self.changed(booking, payment, status=Status.CANCELLED, cancel_reason=reason)
        otherwise = "expired" if reason is CancelReason.EXPIRED else "cancelled"
        self.append(kind or otherwise, ended, (side, "available"))
        return ended

    def replay(self, name: RecordName, fingerprint: str) -> Decision | None:
        """The first answer to a request that came before; None where it is new."""
        record = self.state.records.get(name)
        if record is None or not record.lives(self.now_ms):
            return None
        if record.fingerprint != fingerprint:
            return self.answer(Outcome.IDEMPOTENCY_KEY_REUSED)
        return self.answer(Outcome.REPLAYED, record.answer)

    def is_live(self, booking: Booking) -> bool:
        """Whether it is a hold before its own deadline."""
        return booking.status is Status.PENDING and booking.hold_expires_ms > self.now_ms

    def find(self, booking_id: str, customer_id: str) -> Booking | None:
        """A booking, unless it is another customer's."""
        booking = self.state.bookings.get(booking_id)
        if booking and customer_id in ("", booking.customer_id):
            return booking
        return None

    def answer(self, outcome: Outcome, booking: Booking | None = None, **more: Any) -> Decision:
        """The decision, with all that was written."""
        return Decision(outcome, self.state, tuple(self.entries), booking, **more)


def over(booking: Booking) -> Outcome:
    """Why a booking that is no live hold cannot be treated as one."""
    expired = booking.status is Status.PENDING or booking.cancel_reason is CancelReason.EXPIRED
    return Outcome.HOLD_EXPIRED if expired else Outcome.INVALID_STATE
