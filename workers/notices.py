"""Notices to customers: which event is which, and what it says, by templates.

A template is a file named by notice and kind (`confirmed.txt`, `.html`, `.sms`); the first line of
the `.txt` is the subject. Those in `HOLDFAST_TEMPLATES_DIR` come before those beside this module.
Values are escaped in HTML, and a name that a template misspells is an error, not an empty place.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from jinja2 import (
    ChoiceLoader,
    Environment,
    FileSystemLoader,
    StrictUndefined,
    Template,
    TemplateError,
    select_autoescape,
)

from engine.events import EventType
from engine.limits import MAX_SALES_REMEMBERED, SALE_NAMES_FRESH_MS
from engine.payments.currencies import exponent
from engine.shown import show_booking
from engine.types import Booking, CancelReason, Status
from persistence.deliveries import SaleNames
from workers.sending import Poison

BUILT_IN: Final = Path(__file__).parent / "templates"
TYPES: Final = (
    EventType.BOOKING_CONFIRMED,
    EventType.BOOKING_EXPIRING,
    EventType.BOOKING_CANCELLED,
    EventType.PAYMENT_DECLINED,
    EventType.PAYMENT_VOIDED,
    EventType.PAYMENT_REFUNDED,
)
"""The events that a customer may be told of."""


class Notice(StrEnum):
    """What a customer is told, and how its templates begin."""

    CONFIRMED = "confirmed"
    PAYMENT_FAILED = "payment_failed"
    EXPIRING = "expiring"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    VOIDED = "voided"
    REFUNDED = "refunded"


def notice_of(event_type: str, booking: Booking) -> Notice | None:
    """The notice that an event is to its customer; None where there is nothing to tell."""
    match event_type:
        case EventType.BOOKING_CONFIRMED:
            return Notice.CONFIRMED
        case EventType.BOOKING_EXPIRING:
            return Notice.EXPIRING
        case EventType.PAYMENT_DECLINED if booking.status is Status.PENDING:
            return Notice.PAYMENT_FAILED
        case EventType.BOOKING_CANCELLED if booking.cancel_reason is CancelReason.EXPIRED:
            return Notice.EXPIRED
        case EventType.BOOKING_CANCELLED:
            return Notice.CANCELLED
        case EventType.PAYMENT_VOIDED:
            return Notice.VOIDED
        case EventType.PAYMENT_REFUNDED:
            return Notice.REFUNDED
    return None


def money(amount: int, currency: str) -> str:
    """`50.00 USD` for 5000 minor units; as many decimals as the currency has."""
    decimals = exponent(currency) or 0
    if not decimals:
        return f"{amount} {currency}"
    whole, part = divmod(amount, 10**decimals)
    return f"{whole}.{part:0{decimals}d} {currency}"


def moment(ms: int) -> str:
    """`22 November 2026, 10:00 UTC`."""
    return time.strftime("%d %B %Y, %H:%M UTC", time.gmtime(ms // 1000)).lstrip("0")


@dataclass(frozen=True, slots=True)
class Letter:
    """A rendered e-mail."""

    subject: str
    text: str
    html: str


class Templates:
    """The templates, those of a directory before the built-in ones."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        places = [directory, BUILT_IN] if directory else [BUILT_IN]
        self._environment = Environment(
            loader=ChoiceLoader([FileSystemLoader(place) for place in places]),
            autoescape=select_autoescape(enabled_extensions=("html",), default=False),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )

    def check(self) -> None:
        """Compile all of them. Raises `Poison` with the first that cannot be.

        A directory that is not there is no empty one: its owner would be heard in our words.
        """
        if self._directory and not self._directory.is_dir():
            raise Poison(f"{self._directory} is no directory")
        for notice in Notice:
            for channel in ("txt", "html", "sms"):
                self._load(f"{notice}.{channel}")

    def letter(self, notice: Notice, values: dict[str, Any]) -> Letter:
        """An e-mail. Raises `Poison`."""
        text = self._render(f"{notice}.txt", values)
        subject, _, body = text.partition("\n")
        # A header is one line, whatever a name holds.
        return Letter(
            " ".join(subject.split()),
            body.lstrip("\n"),
            self._render(f"{notice}.html", values),
        )

    def short(self, notice: Notice, values: dict[str, Any]) -> str:
        """A text message. Raises `Poison`."""
        return " ".join(self._render(f"{notice}.sms", values).split())

    def _render(self, name: str, values: dict[str, Any]) -> str:
        template = self._load(name)
        try:
            return template.render(values)
        except Exception as fault:
            # What a template does is whatever its author wrote.
            raise Poison(f"template {name}: {type(fault).__name__}: {fault}") from fault

    def _load(self, name: str) -> Template:
        try:
            return self._environment.get_template(name)
        except (TemplateError, OSError, UnicodeError) as fault:
            raise Poison(f"template {name}: {type(fault).__name__}: {fault}") from fault


class Names:
    """How sales and items are called, remembered for a moment."""

    def __init__(self, read: Callable[[str], Awaitable[SaleNames]]) -> None:
        self._read = read
        self._known: dict[str, tuple[float, SaleNames]] = {}

    async def of(self, sale_id: str) -> SaleNames:
        """The names of a sale. Raises `Unavailable`."""
        now_s = time.monotonic()
        known = self._known.get(sale_id)
        if known and now_s - known[0] < SALE_NAMES_FRESH_MS / 1000:
            return known[1]
        names = await self._read(sale_id)
        if len(self._known) >= MAX_SALES_REMEMBERED:
            self._known.clear()
        self._known[sale_id] = (now_s, names)
        return names


def values_of(booking: Booking, names: SaleNames) -> dict[str, Any]:
    """What templates may say: the booking as the API shows it, and its parts for people."""
    return {
        "booking": show_booking(booking),
        "sale_name": names.sale or booking.sale_id,
        "lines": [
            {
                "name": names.items.get(line.item_id) or line.item_id,
                "quantity": line.quantity,
                "amount": money(line.amount, booking.currency),
            }
            for line in booking.lines
        ],
        "total": money(booking.amount, booking.currency),
        "hold_expires": moment(booking.hold_expires_ms),
        "paid": booking.amount > 0,
    }
