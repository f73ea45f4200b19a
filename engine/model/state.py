"""What a partition holds, as plain values: what the journal's fold makes and `decide` reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from engine.errors import HoldfastError
from engine.limits import IDEMPOTENCY_TTL_MS
from engine.payments.types import Step
from engine.types import Booking, CancelReason, Levels, SaleDefinition

RecordName = tuple[str, str, str, str]
"""An idempotency record's name: operation (`hold`, `pay`), scope_id, key, customer_id."""


class Disagreement(HoldfastError):
    """An entry that cannot follow the state before it: one of the two books is wrong."""

    def __init__(self, sequence: int, what: str) -> None:
        super().__init__(f"entry {sequence}: {what}")
        self.sequence = sequence
        self.what = what


@dataclass(frozen=True, slots=True)
class Record:
    """An idempotency record: the first answer to a request that changed something."""

    fingerprint: str
    answer: Booking
    at_ms: int

    def lives(self, now_ms: int) -> bool:
        """Whether it is still kept; counted from the change, whatever happened to the booking."""
        return now_ms < self.at_ms + IDEMPOTENCY_TTL_MS


def is_paying(booking: Booking) -> bool:
    """Whether something is asked of the gateway for the booking."""
    return booking.payment is not None and booking.payment.step is not Step.NONE


def awaits_late_money(booking: Booking) -> bool:
    """Whether it has expired, and an authorization that is under way may take new units for it."""
    open_ = booking.payment is not None and booking.payment.step is Step.AUTHORIZE
    return booking.cancel_reason is CancelReason.EXPIRED and open_


@dataclass(slots=True)
class SaleState:
    """A sale: its definition with the capacities as they are, its levels, what customers have.

    `fields` is the definition as the journal spells it. `customers` counts units held and sold;
    who has none is not in it. `operation` and `outcome` are those of the last `put_sale`, which
    the journal does not carry: they are no part of what a replay is compared on. Nor is
    `snapshot`, the levels at the last one.
    """

    definition: SaleDefinition
    fields: dict[str, Any]
    version: int
    created_ms: int
    updated_ms: int
    levels: dict[str, Levels]
    customers: dict[str, int] = field(default_factory=dict)
    operation: str | None = field(default=None, compare=False)
    outcome: str | None = field(default=None, compare=False)
    snapshot: tuple[Levels, ...] = field(default=(), compare=False)

    def copy(self) -> SaleState:
        """An independent copy."""
        return SaleState(
            self.definition,
            self.fields,
            self.version,
            self.created_ms,
            self.updated_ms,
            dict(self.levels),
            dict(self.customers),
            self.operation,
            self.outcome,
            self.snapshot,
        )


@dataclass(slots=True)
class PartitionState:
    """Everything that a partition's journal tells, up to and with entry `sequence`.

    Bookings that Redis has evicted, and records that have run out, are still in it. `drained` is
    the cursor that PostgreSQL last told, `graces` by how much longer bookings live under payment,
    `leases` who may speak to the gateway about them; the journal does not carry these. `believed`
    names bookings that were there before the fold began and that nothing is known of but what
    `booking_before` tells: their first step is checked by itself, and they are no longer in it.
    """

    sequence: int = 0
    last_ms: int = 0
    sales: dict[str, SaleState] = field(default_factory=dict)
    bookings: dict[str, Booking] = field(default_factory=dict)
    records: dict[RecordName, Record] = field(default_factory=dict)
    drained: int = field(default=0, compare=False)
    graces: dict[str, int] = field(default_factory=dict, compare=False)
    leases: dict[str, str] = field(default_factory=dict, compare=False)
    believed: set[str] = field(default_factory=set, compare=False)

    def deadline_ms(self, booking: Booking) -> int:
        """When a hold ends: later by its grace while its payment is open."""
        grace_ms = self.graces.get(booking.booking_id, 0) if is_paying(booking) else 0
        return booking.hold_expires_ms + grace_ms

    def copy(self) -> PartitionState:
        """An independent copy. Costs as much as the state is large."""
        return PartitionState(
            self.sequence,
            self.last_ms,
            {sale_id: sale.copy() for sale_id, sale in self.sales.items()},
            dict(self.bookings),
            dict(self.records),
            self.drained,
            dict(self.graces),
            dict(self.leases),
            set(self.believed),
        )
