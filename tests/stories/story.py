"""The words that stories are written in."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from typing import Final

from engine.model import (
    Bounds,
    CaptureFailed,
    Confirm,
    Operation,
    PutSale,
    RecordCapture,
    Reserve,
    Snapshot,
)
from engine.outcomes import Outcome
from engine.types import CancelReason, ItemDefinition, Levels, LineRequest, SaleDefinition, Status
from tests.helpers.scripted import START_MS

HOLD_MS: Final = 60_000

CUSTOMER: Final = CancelReason.CUSTOMER
OPERATOR: Final = CancelReason.OPERATOR


@dataclass(frozen=True, slots=True)
class Row:
    """An operation at a time, and what must come of it.

    `levels` are those of the whole sale after it, `A:8:2:0 B:5:0:0`; empty: as before the row.
    `status` is the answered booking's; `expired` how many holds `expire` ended, `warned`
    of how many `warn` warned. A row that
    `repeats` an operation answers that something was done, and does nothing. `payment` is where
    the answered booking's stands, `CAPTURING capture 1` with its attempt; `lease_ended` names a
    booking whose lease runs out before the row.
    """

    operation: Operation
    outcome: Outcome
    levels: str = ""
    after_ms: int = 0
    item_id: str | None = None
    status: Status | None = None
    expired: int = 0
    warned: int = 0
    repeats: bool = False
    payment: str | None = None
    lease_ended: str = ""

    def at(self, after_ms: int) -> Row:
        """The same row, at a time counted from the story's start."""
        return replace(self, after_ms=after_ms)


Story = tuple[Row, ...]

_BOUNDS: Final = Bounds()

BEGIN_MS: Final = START_MS
"""The time of a story's first row."""


def sale(items: str = "A:10:0", **terms: int | str) -> SaleDefinition:
    """A sale `gig` with items `item:capacity:unit_price[:max_per_booking]`, separated by spaces."""
    parts = [item.split(":") for item in items.split()]
    definition = SaleDefinition(
        sale_id="gig",
        name="A gig",
        items=tuple(
            ItemDefinition(item_id, f"Item {item_id}", *(int(number) for number in numbers))
            for item_id, *numbers in parts
        ),
        hold_ms=HOLD_MS,
    )
    return replace(definition, **terms)  # type: ignore[arg-type]


def put(definition: SaleDefinition, operation: str = "put-1") -> PutSale:
    """Put a sale."""
    return PutSale(definition, operation)


def lines_of(text: str) -> tuple[LineRequest, ...]:
    """Lines `item:quantity`, separated by spaces."""
    parts = [line.split(":") for line in text.split()]
    return tuple(LineRequest(item_id, int(quantity)) for item_id, quantity in parts)


def hold(
    booking_id: str,
    lines: str,
    customer_id: str = "ann",
    *,
    key: str = "",
    sale_id: str = "gig",
    bounds: Bounds = _BOUNDS,
    contact: bool = False,
) -> Reserve:
    """Reserve; the key is the booking's id unless another is named, the fingerprint its lines."""
    fingerprint = f"{zlib.crc32(lines.encode()):032x}"
    wanted = lines_of(lines)
    name = key or f"key-{booking_id}"
    return Reserve(booking_id, sale_id, customer_id, wanted, name, fingerprint, contact, bounds)


def levels_of(text: str) -> dict[str, Levels]:
    """Levels `item:available:held:sold`, separated by spaces."""
    parts = [item.split(":") for item in text.split()]
    return {name: Levels(name, int(a), int(h), int(s)) for name, a, h, s in parts}


_AGAIN: Final = {
    Outcome.CREATED: Outcome.CREATED,
    Outcome.UPDATED: Outcome.UPDATED,
    Outcome.HELD: Outcome.REPLAYED,
    Outcome.CONFIRMED: Outcome.REPLAYED,
    Outcome.EXTENDED: Outcome.UNCHANGED,
    Outcome.CANCELLED: Outcome.UNCHANGED,
    Outcome.COMPLETED: Outcome.UNCHANGED,
    Outcome.DONE: Outcome.DONE,
    Outcome.BEGUN: Outcome.JOINED,
    Outcome.REFUND_BEGUN: Outcome.UNCHANGED,
    # The owner's next step has begun, or the payment rests and nobody owns it.
    Outcome.LATE_MONEY: Outcome.MOVED_ON,
    Outcome.REQUIRES_ACTION: Outcome.LEASE_LOST,
    Outcome.PAYMENT_UNKNOWN: Outcome.LEASE_LOST,
    Outcome.PAYMENT_FAILED: Outcome.LEASE_LOST,
    Outcome.CAPTURED: Outcome.LEASE_LOST,
    Outcome.VOIDED: Outcome.LEASE_LOST,
    Outcome.REFUNDED: Outcome.LEASE_LOST,
}


def again(operation: Operation, outcome: Outcome) -> Outcome | None:
    """What an operation that changed something answers when it comes again; None: it changed none.

    What an owner says of a payment that has moved on since is not recorded twice.
    """
    if outcome is Outcome.DONE and isinstance(operation, Snapshot):
        return Outcome.UNCHANGED
    if outcome in _AGAIN and isinstance(operation, Confirm | RecordCapture | CaptureFailed):
        return Outcome.LEASE_LOST if outcome is Outcome.CAPTURED else Outcome.MOVED_ON
    return _AGAIN.get(outcome)
