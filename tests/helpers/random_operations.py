"""Random operations that often do something: drawn with an eye on the state they will meet."""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, TypeVar

from engine.limits import MAX_INTEGER
from engine.model import (
    BeginPayment,
    Bounds,
    Cancel,
    CaptureFailed,
    ClaimPayment,
    Complete,
    Confirm,
    ConfirmFree,
    Expire,
    Extend,
    Operation,
    PartitionState,
    PaymentFailed,
    PaymentUnknown,
    PutSale,
    RecordCapture,
    Refund,
    Refunded,
    RequireAction,
    Reserve,
    Snapshot,
    Voided,
    Warn,
    is_paying,
)
from engine.payments.types import Step
from engine.types import CancelReason, ItemDefinition, LineRequest, SaleDefinition, Status

_T = TypeVar("_T")

SALES: Final = ("gig", "fair")
CUSTOMERS: Final = ("ann", "bob", "cat")
ITEMS: Final = ("A", "B", "C", "D")
_REASONS: Final = (CancelReason.CUSTOMER, CancelReason.OPERATOR, CancelReason.PAYMENT_FAILED)

_ACTION: Final = '{"type":"redirect","url":"https://example.com/3ds"}'


class RandomOperations:
    """Draws operations from a seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._count = 0
        self._sent: list[Operation] = []

    def step_ms(self) -> int:
        """How far the clock moves before the next operation: mostly little, now and then a lot."""
        return self._random.choice((0, 0, 1, 500, 2_000, self._random.randrange(15_000)))

    def draw(self, state: PartitionState, now_ms: int) -> Operation:
        """An operation on a state; one in eight is an earlier one, sent again as it was."""
        self._count += 1
        if self._sent and self._chance(8):
            return self._random.choice(self._sent[-30:])
        kinds = (*[self._put] * 2, *[self._reserve] * 9, *[self._cancel] * 2, *[self._extend] * 4)
        kinds = (*kinds, *[self._confirm] * 3, *[self._complete] * 3, self._expire, self._refund)
        kinds = (*kinds, *[self._snapshot] * 2)
        kinds = (*kinds, *[self._warn] * 2)
        kind = self._random.choice((*kinds, *[self._begin] * 5, *[self._gateway] * 12))
        if not state.sales:
            kind = self._put
        operation = kind(state, now_ms)
        self._sent.append(operation)
        return operation

    def lease_that_ends(self, state: PartitionState) -> str | None:
        """A booking whose lease runs out now, sometimes."""
        return (
            self._random.choice(sorted(state.leases)) if state.leases and self._chance(15) else None
        )

    def _chance(self, one_in: int) -> bool:
        return self._random.randrange(one_in) == 0

    def _any(self, some: Sequence[_T], otherwise: _T) -> _T:
        return self._random.choice(some) if some and not self._chance(20) else otherwise

    def _put(self, state: PartitionState, now_ms: int) -> Operation:
        sale_id = self._random.choice(SALES)
        sale = state.sales.get(sale_id)
        if sale is None:
            items = tuple(self._item(item_id) for item_id in ITEMS[: self._random.randint(2, 4)])
            return PutSale(
                SaleDefinition(
                    sale_id=sale_id,
                    name="A sale",
                    items=items,
                    hold_ms=self._random.choice((1_000, 10_000, 30_000)),
                    max_units_per_customer=self._random.choice((0, 0, 4, 9)),
                ),
                f"put-{self._count}",
            )
        return PutSale(self._edited(sale.definition, now_ms), f"put-{self._count}")

    def _edited(self, old: SaleDefinition, now_ms: int) -> SaleDefinition:
        items = list(old.items)
        at = self._random.randrange(len(items))
        match self._random.randrange(12):
            case 0:
                return old
            case 1 if len(items) > 1:
                del items[at]
            case 2:
                missing = [
                    item_id for item_id in ITEMS if item_id not in {i.item_id for i in items}
                ]
                items += [self._item(item_id) for item_id in missing[:1]]
            case 3:
                return replace(old, currency=self._random.choice(("USD", "EUR")))
            case 4:
                return replace(old, max_units_per_customer=self._random.choice((0, 3, 9)))
            case 5 | 8 | 9:
                closes_ms = self._random.choice((0, 0, 0, now_ms, *(now_ms + 500,) * 2))
                return replace(old, closes_ms=closes_ms)
            case 6 | 10:
                return replace(old, opens_ms=self._random.choice((0, 0, now_ms + 2_000)))
            case _:
                items[at] = replace(items[at], capacity=self._random.randrange(12))
        return replace(old, items=tuple(items))

    def _item(self, item_id: str) -> ItemDefinition:
        price = self._random.choice((0, 0, 300, 300, MAX_INTEGER // 2))
        cap = self._random.choice((0, 0, 3))
        return ItemDefinition(item_id, f"Item {item_id}", self._random.randrange(12), price, cap)

    def _reserve(self, state: PartitionState, now_ms: int) -> Operation:
        sale_id = self._any(tuple(state.sales), "nothing")
        sale = state.sales.get(sale_id)
        items = tuple(sale.levels) if sale else ITEMS
        lines = tuple(
            LineRequest(self._any(items, "X"), self._random.choice((1, 1, 1, 2, 3)))
            for _ in range(self._random.choice((1, 1, 2, 3)))
        )
        backlog = self._random.choice((20, 200, 1_000_000))
        small = Bounds(backlog, max_due_scanned=self._random.randint(2, 4), max_taken=2)
        return Reserve(
            booking_id=f"b{self._count}",
            sale_id=sale_id,
            customer_id=self._random.choice(CUSTOMERS),
            lines=lines,
            key=f"key-{self._random.randrange(max(4, self._count))}",
            fingerprint=f"{zlib.crc32(repr(lines).encode()):032x}",
            contact=self._chance(3),
            bounds=small if self._chance(3) else Bounds(),
        )

    def _booking(self, state: PartitionState, status: Status) -> str:
        """A recent booking, mostly one in the status in which the operation does something."""
        recent = list(state.bookings.values())[-40:]
        fitting = [booking for booking in recent if booking.status is status]
        chosen = recent[-12:] if self._chance(4) else fitting[-12:]
        return self._any([booking.booking_id for booking in chosen], "b-unknown")

    def _owner(self, state: PartitionState, booking_id: str) -> str:
        booking = state.bookings.get(booking_id)
        return self._any((booking.customer_id,) if booking else (), "bob")

    def _cancel(self, state: PartitionState, now_ms: int) -> Operation:
        sold = Status.CONFIRMED if self._chance(3) else Status.PENDING
        booking_id = self._booking(state, sold)
        customer_id = "" if self._chance(2) else self._owner(state, booking_id)
        return Cancel(booking_id, self._random.choice(_REASONS), customer_id)

    def _extend(self, state: PartitionState, now_ms: int) -> Operation:
        holds = [
            booking.booking_id
            for booking in list(state.bookings.values())[-40:]
            if booking.status is Status.PENDING
            and booking.hold_expires_ms > now_ms
            and 0 < state.sales[booking.sale_id].definition.closes_ms <= now_ms
        ]
        booking_id = self._any(holds, self._booking(state, Status.PENDING))
        return Extend(booking_id, self._owner(state, booking_id))

    def _confirm(self, state: PartitionState, now_ms: int) -> Operation:
        booking_id = self._booking(state, Status.PENDING)
        fingerprint = "f" if not self._chance(9) else "g"
        key = f"pay-{self._random.randrange(3)}"
        return ConfirmFree(booking_id, self._owner(state, booking_id), key, fingerprint)

    def _complete(self, state: PartitionState, now_ms: int) -> Operation:
        return Complete(self._booking(state, Status.CONFIRMED))

    def _expire(self, state: PartitionState, now_ms: int) -> Operation:
        return Expire(self._any(tuple(state.sales), "nothing"), self._random.choice((1, 2, 64)))

    def _snapshot(self, state: PartitionState, now_ms: int) -> Operation:
        return Snapshot(self._any(tuple(state.sales), "nothing"))

    def _warn(self, state: PartitionState, now_ms: int) -> Operation:
        sale_id = self._any(tuple(state.sales), "nothing")
        warning_ms, limit = self._random.choice(((500, 64), (5_000, 1), (20_000, 64)))
        return Warn(sale_id, warning_ms, limit)

    def _refund(self, state: PartitionState, now_ms: int) -> Operation:
        recent = list(state.bookings.values())[-60:]
        captured = [b.booking_id for b in recent if b.payment and b.payment.capture_id]
        return Refund(self._any(captured, self._booking(state, Status.CONFIRMED)))

    def _begin(self, state: PartitionState, now_ms: int) -> Operation:
        recent = list(state.bookings.values())[-40:]
        unpaid = [b for b in recent if b.status is Status.PENDING and b.amount and not is_paying(b)]
        chosen = [booking.booking_id for booking in unpaid]
        booking_id = self._any(chosen, self._booking(state, Status.PENDING))
        return BeginPayment(
            booking_id,
            self._owner(state, booking_id),
            key=f"pay-{self._random.randrange(6)}",
            fingerprint="f" if not self._chance(9) else "g",
            owner=self._random.choice(("api", "worker")),
            method=self._random.choice(("pm_card_visa", "pm_card_chargeDeclined")),
            return_url=self._random.choice((None, "https://example.com/back")),
            grace_ms=self._random.choice((0, 1_000, 20_000)),
            max_attempts=self._random.choice((1, 2, 3)),
        )

    def _gateway(self, state: PartitionState, now_ms: int) -> Operation:
        """What somebody records of a payment, mostly its owner of what was asked."""
        paying = [b for b in list(state.bookings.values())[-60:] if is_paying(b)]
        if not paying:
            return self._begin(state, now_ms)
        booking = self._random.choice(paying)
        payment = booking.payment
        assert payment
        owner = state.leases.get(booking.booking_id)
        name = booking.booking_id if not self._chance(9) else "b-unknown"
        if (owner is None and not self._chance(6)) or self._chance(12):
            return ClaimPayment(name, self._random.choice(("api", "worker")))
        owner = self._any((owner or "api",), "nobody")
        attempt = self._any((payment.attempt,), payment.attempt - 1)
        step = self._random.choice(tuple(Step)[:4]) if self._chance(8) else payment.step
        if self._chance(5):
            return PaymentUnknown(name, owner, attempt, step, self._random.choice((0, 5_000)))
        result = self._random.randrange(6)
        gateway_id = f"{self._count}"
        match step:
            case Step.AUTHORIZE if result < 2:
                return PaymentFailed(name, owner, attempt, "card_declined")
            case Step.AUTHORIZE if result < 4:
                return RequireAction(name, owner, attempt, f"pi_{gateway_id}", _ACTION)
            case Step.AUTHORIZE:
                return Confirm(name, owner, attempt, f"pi_{gateway_id}")
            case Step.CAPTURE if result < 2:
                return CaptureFailed(name, owner, attempt, "capture_expired")
            case Step.VOID if result < 4:
                return Voided(name, owner, attempt)
            case Step.CAPTURE | Step.VOID:
                return RecordCapture(name, owner, attempt, f"ch_{gateway_id}")
            case _:
                return Refunded(name, owner, attempt)
