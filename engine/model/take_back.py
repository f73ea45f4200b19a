"""Which due holds a reserve takes back: the twin of `lua/lib/take_back.lua`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.model.apply import units_of
from engine.model.operations import Bounds
from engine.model.state import PartitionState
from engine.outcomes import Outcome
from engine.types import Booking, Status


@dataclass(frozen=True, slots=True)
class Choice:
    """The holds to expire, or why none is."""

    chosen: tuple[Booking, ...] = ()
    refusal: Outcome | None = None


def due_holds(state: PartitionState, sale_id: str, now_ms: int) -> list[Booking]:
    """Due holds of a sale, oldest deadline first, as the sorted set of deadlines has them."""
    due = [
        booking
        for booking in state.bookings.values()
        if booking.sale_id == sale_id
        and booking.status is Status.PENDING
        and state.deadline_ms(booking) <= now_ms
    ]
    return sorted(due, key=lambda booking: (state.deadline_ms(booking), booking.booking_id))


def choose_due(
    due: Sequence[Booking], short: dict[str, int], customer_id: str, excess: int, bounds: Bounds
) -> Choice:
    """Choose due holds that cover what is missing: `short` units by item, `excess` over a cap.

    All that is missing, or nothing. Where a bound on the work was reached the answer is
    `due_backlog`: the same call may succeed once the sweeper has caught up.
    """
    short = dict(short)
    chosen: list[Booking] = []
    for booking in due[: bounds.max_due_scanned]:
        if not short and excess <= 0:
            break
        if len(chosen) == bounds.max_taken:
            break
        units = units_of(booking)
        own = excess > 0 and booking.customer_id == customer_id
        if not own and not short.keys() & units.keys():
            continue
        chosen.append(booking)
        short = {
            item_id: missing - units.get(item_id, 0)
            for item_id, missing in short.items()
            if missing > units.get(item_id, 0)
        }
        excess -= sum(units.values()) if own else 0
    if not short and excess <= 0:
        return Choice(tuple(chosen))
    seen = min(len(due), bounds.max_due_scanned + 1)
    if seen > bounds.max_due_scanned or len(chosen) == bounds.max_taken < seen:
        return Choice(refusal=Outcome.DUE_BACKLOG)
    return Choice(refusal=Outcome.CUSTOMER_LIMIT if excess > 0 else Outcome.SOLD_OUT)
