"""The values that cross the engine's border. Frozen, and the same words as in Lua, JSON and SQL.

Times are integers of milliseconds since the epoch (UTC); money is an integer in the currency's
minor unit; quantities are units of an item.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, NamedTuple

import orjson

from engine.payments.types import Payment


class Status(StrEnum):
    """Where a booking stands. `PENDING` is a hold with a deadline."""

    PENDING = "PENDING"
    CONFIRMED = "CONFIRMED"
    COMPLETED = "COMPLETED"
    CANCELLED = "CANCELLED"


_STATUSES: Final = {status.value: status for status in Status}


class CancelReason(StrEnum):
    """Why a booking is `CANCELLED`."""

    EXPIRED = "expired"
    CUSTOMER = "customer"
    PAYMENT_FAILED = "payment_failed"
    OPERATOR = "operator"


class Line(NamedTuple):
    """A quantity of one item at the price it had when it was held."""

    item_id: str
    quantity: int
    unit_price: int

    @property
    def amount(self) -> int:
        """Minor units for the whole line."""
        return self.quantity * self.unit_price


def pack_lines(lines: Sequence[Line]) -> str:
    """Spell lines as scripts, journal and tables keep them: `item:quantity:unit_price,…`."""
    return ",".join(f"{line.item_id}:{line.quantity}:{line.unit_price}" for line in lines)


def unpack_lines(text: str) -> tuple[Line, ...]:
    """Read what `pack_lines` wrote."""
    lines = []
    for part in text.split(","):
        item_id, quantity, unit_price = part.split(":")
        lines.append(Line(item_id, int(quantity), int(unit_price)))
    return tuple(lines)


class Booking(NamedTuple):
    """One customer's lines in one sale, as of `version`.

    `version` grows by one with every journal entry; `warned`: the customer was told of its end.
    """

    booking_id: str
    version: int
    sale_id: str
    customer_id: str
    status: Status
    cancel_reason: CancelReason | None
    lines: tuple[Line, ...]
    amount: int
    currency: str
    hold_expires_ms: int
    created_ms: int
    updated_ms: int
    extended: bool
    payment: Payment | None = None
    warned: bool = False

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> Booking:
        """Build from the JSON object that scripts answer and journal entries carry."""
        # Payments and warnings are not in those from before there were any.
        reason, payment = fields["cancel_reason"], fields.get("payment")
        return cls(
            booking_id=fields["booking_id"],
            version=fields["version"],
            sale_id=fields["sale_id"],
            customer_id=fields["customer_id"],
            status=_STATUSES[fields["status"]],
            cancel_reason=CancelReason(reason) if reason else None,
            lines=unpack_lines(fields["lines"]),
            amount=fields["amount"],
            currency=fields["currency"],
            hold_expires_ms=fields["hold_expires_ms"],
            created_ms=fields["created_ms"],
            updated_ms=fields["updated_ms"],
            extended=bool(fields["extended"]),
            payment=Payment.from_fields(payment) if payment else None,
            warned=bool(fields.get("warned")),
        )

    @classmethod
    def from_json(cls, text: bytes | str) -> Booking:
        """Read the JSON object that scripts answer with."""
        return cls.from_fields(orjson.loads(text))

    def to_json(self) -> bytes:
        """Spell it byte for byte as `lua/lib/booking_json.lua` does, for records kept anew."""
        return orjson.dumps(
            {
                "booking_id": self.booking_id,
                "version": self.version,
                "sale_id": self.sale_id,
                "customer_id": self.customer_id,
                "status": self.status,
                "cancel_reason": self.cancel_reason,
                "lines": pack_lines(self.lines),
                "amount": self.amount,
                "currency": self.currency,
                "hold_expires_ms": self.hold_expires_ms,
                "created_ms": self.created_ms,
                "updated_ms": self.updated_ms,
                "extended": int(self.extended),
                "warned": int(self.warned),
                "payment": self.payment.spelled() if self.payment else None,
            }
        )


@dataclass(frozen=True, slots=True)
class ItemDefinition:
    """Something countable in a sale. `max_per_booking` 0 means no such cap."""

    item_id: str
    name: str
    capacity: int
    unit_price: int
    max_per_booking: int = 0


@dataclass(frozen=True, slots=True)
class SaleDefinition:
    """What is opened and closed together, and the unit of atomicity.

    `opens_ms` 0 means open from the start, `closes_ms` 0 never closes,
    `max_units_per_customer` 0 means no such cap.
    """

    sale_id: str
    name: str
    items: tuple[ItemDefinition, ...]
    opens_ms: int = 0
    closes_ms: int = 0
    hold_ms: int = 300_000
    max_units_per_customer: int = 0
    currency: str = "USD"


def definition_json(definition: SaleDefinition) -> str:
    """The definition as journal and Redis keep it: everything but the capacities.

    Capacities are sums of deltas; written here too they would be a second truth.
    """
    return orjson.dumps(
        {
            "sale_id": definition.sale_id,
            "name": definition.name,
            "opens_ms": definition.opens_ms,
            "closes_ms": definition.closes_ms,
            "hold_ms": definition.hold_ms,
            "max_units_per_customer": definition.max_units_per_customer,
            "currency": definition.currency,
            "items": [
                {
                    "item_id": item.item_id,
                    "name": item.name,
                    "unit_price": item.unit_price,
                    "max_per_booking": item.max_per_booking,
                }
                for item in definition.items
            ],
        }
    ).decode()


def definition_of(fields: dict[str, Any], capacities: dict[str, int]) -> SaleDefinition:
    """Read what `definition_json` wrote, with the capacities of the items by id."""
    items = tuple(
        ItemDefinition(
            item_id=item["item_id"],
            name=item["name"],
            capacity=capacities.get(item["item_id"], 0),
            unit_price=item["unit_price"],
            max_per_booking=item["max_per_booking"],
        )
        for item in fields["items"]
    )
    return SaleDefinition(
        sale_id=fields["sale_id"],
        name=fields["name"],
        items=items,
        opens_ms=fields["opens_ms"],
        closes_ms=fields["closes_ms"],
        hold_ms=fields["hold_ms"],
        max_units_per_customer=fields["max_units_per_customer"],
        currency=fields["currency"],
    )


class Levels(NamedTuple):
    """An item's counts: `available + held + sold = capacity`, always."""

    item_id: str
    available: int
    held: int
    sold: int

    @property
    def capacity(self) -> int:
        """Units of the item that exist."""
        return self.available + self.held + self.sold


@dataclass(frozen=True, slots=True)
class Sale:
    """A sale as it stands: its definition (capacities are the live ones) and its levels."""

    definition: SaleDefinition
    version: int
    created_ms: int
    updated_ms: int
    levels: tuple[Levels, ...]


@dataclass(frozen=True, slots=True)
class Availability:
    """Levels of a sale's items at one instant; units of due holds count as available."""

    sale_id: str
    as_of_ms: int
    items: tuple[Levels, ...]


class LineRequest(NamedTuple):
    """What a buyer asks for."""

    item_id: str
    quantity: int


@dataclass(frozen=True, slots=True)
class Contact:
    """Where notices go. Personal: encrypted beside the booking, never in the journal."""

    email: str | None = None
    phone: str | None = None


class RateLimit(NamedTuple):
    """A token bucket per customer: one call each `interval_us`, `burst` of them at once."""

    interval_us: int
    burst: int


@dataclass(frozen=True, slots=True)
class ArchivedBooking:
    """A booking as PostgreSQL has it, with the sequence of the entry that made it so."""

    booking: Booking
    contact: bytes | None
    sequence: int


@dataclass(frozen=True, slots=True)
class ArchivedSale:
    """A sale as PostgreSQL has it when its partition's cursor is at `sequence`."""

    sale: Sale
    sequence: int


class Floor(NamedTuple):
    """The least that a partition may be at: PostgreSQL's generation and cursor."""

    generation: int
    sequence: int
