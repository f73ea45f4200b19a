"""Fills the shapes of `api.shapes` from the engine's and PostgreSQL's values."""

from __future__ import annotations

from collections.abc import Iterable

from api.shapes import (
    AvailabilityShown,
    BookingPage,
    BookingShown,
    LevelsShown,
    LineShown,
    NextActionShown,
    PaymentShown,
    SaleShown,
    StockHistoryPage,
)
from api.times import rfc3339
from engine.payments.types import Payment
from engine.types import Availability, Booking, Levels, Line, Sale
from persistence.reads import StockPage


def _line(line: Line) -> LineShown:
    return {
        "item_id": line.item_id,
        "quantity": line.quantity,
        "unit_price": line.unit_price,
        "amount": line.amount,
    }


def _payment(booking: Booking, payment: Payment) -> PaymentShown:
    action = payment.next_action
    shown: NextActionShown | None = None
    if action is not None:
        shown = {"type": action["type"]}
        if action.get("url"):
            shown["url"] = action["url"]
        if action.get("client_secret"):
            shown["client_secret"] = action["client_secret"]
    return {
        "status": payment.status,
        "gateway": payment.gateway,
        "amount": booking.amount,
        "currency": booking.currency,
        "authorization_id": payment.authorization_id,
        "capture_id": payment.capture_id,
        "attempts": payment.attempt,
        "decline_code": payment.decline_code,
        "next_action": shown,
    }


def show_booking(booking: Booking) -> BookingShown:
    """A booking as the contract spells it."""
    return {
        "id": booking.booking_id,
        "sale_id": booking.sale_id,
        "customer_id": booking.customer_id,
        "status": booking.status,
        "cancel_reason": booking.cancel_reason,
        "lines": [_line(line) for line in booking.lines],
        "total": {"amount": booking.amount, "currency": booking.currency},
        "hold_expires_at": rfc3339(booking.hold_expires_ms),
        "created_at": rfc3339(booking.created_ms),
        "updated_at": rfc3339(booking.updated_ms),
        "payment": _payment(booking, booking.payment) if booking.payment else None,
    }


def show_sale(sale: Sale) -> SaleShown:
    """A sale as the contract spells it; what is not set is null."""
    definition = sale.definition
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
                "capacity": item.capacity,
                "unit_price": item.unit_price,
                "max_per_booking": item.max_per_booking or None,
            }
            for item in definition.items
        ],
        "version": sale.version,
        "created_at": rfc3339(sale.created_ms),
        "updated_at": rfc3339(sale.updated_ms),
    }


def show_levels(levels: Levels) -> LevelsShown:
    """An item's counts."""
    return {
        "item_id": levels.item_id,
        "capacity": levels.capacity,
        "available": levels.available,
        "held": levels.held,
        "sold": levels.sold,
    }


def show_availability(availability: Availability) -> AvailabilityShown:
    """A sale's levels."""
    return {
        "sale_id": availability.sale_id,
        "as_of": rfc3339(availability.as_of_ms),
        "items": [show_levels(levels) for levels in availability.items],
    }


def show_bookings(bookings: Iterable[Booking], next_cursor: str | None) -> BookingPage:
    """A page of bookings."""
    return {"bookings": [show_booking(booking) for booking in bookings], "next_cursor": next_cursor}


def show_stock_history(sale_id: str, item_id: str, page: StockPage) -> StockHistoryPage:
    """A page of an item's changes."""
    return {
        "sale_id": sale_id,
        "item_id": item_id,
        "changes": [
            {
                "at": rfc3339(change.at_ms),
                "type": change.type,
                "booking_id": change.booking_id,
                "deltas": {
                    "available": change.delta.available,
                    "held": change.delta.held,
                    "sold": change.delta.sold,
                },
                "levels": show_levels(change.levels),
                "sequence": change.sequence,
            }
            for change in page.changes
        ],
        "next_cursor": page.next_cursor,
    }
