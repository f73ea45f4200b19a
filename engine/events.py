"""Public events: which of them a journal entry is, and what each says (`docs/events.md`).

Pure, so that a replay makes the same events with the same ids. An event says the booking as it was
at its entry; nothing that is not in the journal is in an event, and so no contact.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

import orjson
from typing_extensions import TypedDict

from engine.journal import Entry
from engine.payments.types import PaymentStatus
from engine.shown import BookingShown, Moment, show_booking
from engine.times import rfc3339
from engine.types import CancelReason, Status, definition_of


class EventType(StrEnum):
    """What an event tells. `booking.confirmed` means paid, or free."""

    BOOKING_HELD = "booking.held"
    BOOKING_EXTENDED = "booking.extended"
    BOOKING_EXPIRING = "booking.expiring"
    BOOKING_CONFIRMED = "booking.confirmed"
    BOOKING_COMPLETED = "booking.completed"
    BOOKING_CANCELLED = "booking.cancelled"
    PAYMENT_BEGUN = "payment.begun"
    PAYMENT_REQUIRES_ACTION = "payment.requires_action"
    PAYMENT_AUTHORIZED = "payment.authorized"
    PAYMENT_CAPTURED = "payment.captured"
    PAYMENT_DECLINED = "payment.declined"
    PAYMENT_VOIDED = "payment.voided"
    PAYMENT_CAPTURE_FAILED = "payment.capture_failed"
    PAYMENT_REFUND_BEGUN = "payment.refund_begun"
    PAYMENT_REFUNDED = "payment.refunded"
    PAYMENT_UNKNOWN = "payment.unknown"
    SALE_CHANGED = "sale.changed"


@dataclass(frozen=True, slots=True)
class Case:
    """Events of an entry, in order; `when` says in words which entries `holds` is true of."""

    types: tuple[EventType, ...]
    when: str = ""
    holds: Callable[[Entry], bool] = lambda _entry: True


def _is_free(entry: Entry) -> bool:
    return entry.booking is not None and entry.booking.amount == 0


def _captured_too_late(entry: Entry) -> bool:
    # `refund` cancels a confirmed booking, which moves its units, or finds a completed one.
    booking = entry.booking
    return booking is not None and booking.status is Status.CANCELLED and not entry.deltas


def _gives_units_back(entry: Entry) -> bool:
    return bool(entry.deltas)


def _capture_failed(entry: Entry) -> bool:
    booking = entry.booking
    return booking is not None and booking.cancel_reason is CancelReason.PAYMENT_FAILED


def _was_captured(entry: Entry) -> bool:
    payment = entry.booking.payment if entry.booking else None
    return payment is not None and payment.status is PaymentStatus.REFUNDING


_E: Final = EventType
EVENTS: Final[dict[str, tuple[Case, ...]]] = {
    "sale_put": (Case((_E.SALE_CHANGED,)),),
    "stock_adjusted": (Case((_E.SALE_CHANGED,)),),
    "held": (Case((_E.BOOKING_HELD,)),),
    "extended": (Case((_E.BOOKING_EXTENDED,)),),
    "warned": (Case((_E.BOOKING_EXPIRING,)),),
    "payment_begun": (Case((_E.PAYMENT_BEGUN,)),),
    "requires_action": (Case((_E.PAYMENT_REQUIRES_ACTION,)),),
    "payment_unknown": (Case((_E.PAYMENT_UNKNOWN,)),),
    "payment_failed": (Case((_E.PAYMENT_DECLINED,)),),
    "confirmed": (
        Case((_E.BOOKING_CONFIRMED,), "its total is 0", _is_free),
        Case((_E.PAYMENT_AUTHORIZED,)),
    ),
    "late_money": (Case((_E.PAYMENT_AUTHORIZED,)),),
    "captured": (Case((_E.PAYMENT_CAPTURED, _E.BOOKING_CONFIRMED)),),
    "voided": (Case((_E.PAYMENT_VOIDED,)),),
    "refund_begun": (
        Case(
            (_E.PAYMENT_CAPTURED, _E.PAYMENT_REFUND_BEGUN),
            "the booking had ended before its money was captured",
            _captured_too_late,
        ),
        Case(
            (_E.BOOKING_CANCELLED, _E.PAYMENT_REFUND_BEGUN),
            "an operator refunds a confirmed booking",
            _gives_units_back,
        ),
        Case((_E.PAYMENT_REFUND_BEGUN,)),
    ),
    "refunded": (Case((_E.PAYMENT_REFUNDED,)),),
    "completed": (Case((_E.BOOKING_COMPLETED,)),),
    "cancelled": (
        Case(
            (_E.PAYMENT_CAPTURE_FAILED, _E.BOOKING_CANCELLED),
            "the gateway refuses the capture",
            _capture_failed,
        ),
        Case(
            (_E.BOOKING_CANCELLED, _E.PAYMENT_REFUND_BEGUN),
            "its payment was captured",
            _was_captured,
        ),
        Case((_E.BOOKING_CANCELLED,)),
    ),
    "expired": (Case((_E.BOOKING_CANCELLED,)),),
}
"""The events of every type of entry: those of the first case that holds."""


def events_of(entry: Entry) -> tuple[EventType, ...]:
    """The public events that an entry is, in order."""
    for case in EVENTS[entry.type]:
        if case.holds(entry):
            return case.types
    return ()


def event_ids(partition: int, generation: int, sequence: int, count: int) -> list[str]:
    """The ids of the events of an entry: made of where it lies, and so the same in a replay."""
    name = f"{partition:03x}-{generation}-{sequence}"
    return [name] if count == 1 else [f"{name}-{number}" for number in range(1, count + 1)]


class SaleItemChanged(TypedDict):
    """An item of a sale's definition."""

    id: str
    name: str
    unit_price: int
    max_per_booking: int | None


class StockChanged(TypedDict):
    """What an item has after the change."""

    item_id: str
    capacity: int
    available: int
    held: int
    sold: int


class SaleChanged(TypedDict):
    """A sale as its entry has it; `stock` is of the items whose capacity changed with it."""

    id: str
    name: str
    opens_at: Moment | None
    closes_at: Moment | None
    hold_seconds: int
    max_units_per_customer: int | None
    currency: str
    items: list[SaleItemChanged]
    stock: list[StockChanged]
    version: int
    updated_at: Moment


class CloudEvent(TypedDict):
    """CloudEvents 1.0 in its JSON format. `sequence` is dense for each subject, from 1."""

    specversion: Literal["1.0"]
    id: str
    source: str
    type: str
    subject: str
    time: Moment
    sequence: int
    data: BookingShown | SaleChanged


def cloud_event(
    event_id: str, event_type: str, sequence: int, entry: Entry, source: str
) -> CloudEvent:
    """What an event of an entry says."""
    booking = entry.booking
    return {
        "specversion": "1.0",
        "id": event_id,
        "source": source,
        "type": event_type,
        "subject": booking.booking_id if booking else entry.sale_id,
        "time": rfc3339(entry.at_ms),
        "sequence": sequence,
        "data": show_booking(booking) if booking else _show_sale(entry),
    }


def spelled(event: CloudEvent) -> bytes:
    """An event as it is sent; the same bytes each time."""
    return orjson.dumps(event)


def _show_sale(entry: Entry) -> SaleChanged:
    assert entry.definition is not None, "an entry is about a booking or a sale"
    # The capacities are sums of deltas: the entry tells those of the items it changed.
    definition = definition_of(entry.definition, {})
    return {
        "id": definition.sale_id,
        "name": definition.name,
        "opens_at": rfc3339(definition.opens_ms) if definition.opens_ms else None,
        "closes_at": rfc3339(definition.closes_ms) if definition.closes_ms else None,
        "hold_seconds": definition.hold_ms // 1000,
        "max_units_per_customer": definition.max_units_per_customer or None,
        "currency": definition.currency,
        "items": [
            {
                "id": item.item_id,
                "name": item.name,
                "unit_price": item.unit_price,
                "max_per_booking": item.max_per_booking or None,
            }
            for item in definition.items
        ],
        "stock": [
            {
                "item_id": levels.item_id,
                "capacity": levels.capacity,
                "available": levels.available,
                "held": levels.held,
                "sold": levels.sold,
            }
            for levels in entry.levels
        ],
        "version": entry.version,
        "updated_at": rfc3339(entry.at_ms),
    }
