"""Fills the shapes of `api.shapes` from the engine's and PostgreSQL's values."""

from __future__ import annotations

from collections.abc import Iterable

from api.shapes import (
    AvailabilityShown,
    BookingPage,
    LevelsShown,
    SaleShown,
    StockHistoryPage,
)
from engine.shown import show_booking
from engine.times import rfc3339
from engine.types import Availability, Booking, Levels, Sale
from persistence.reads import StockPage


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
