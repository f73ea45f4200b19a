"""What operators and managers may ask: reports, and bookings by what somebody has of them."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from api.fields import BookingId, Cursor, DayOrTime, Email, Id, PaymentId
from api.problems import Fault
from api.schemas import Body, Query, Window
from api.times import epoch_ms
from engine import limits
from persistence.reports import DAY_MS, GroupBy

_CRITERIA: Final = ("booking_id", "customer_id", "email", "payment_id")


class SummaryQuery(Query):
    """Which days and sales, and what a row is about."""

    from_: Annotated[
        DayOrTime | None,
        Field(alias="from", description="The first UTC day, or a time on it."),
    ] = None
    to: Annotated[
        DayOrTime | None,
        Field(description="The last UTC day, or the time before which it lies."),
    ] = None
    sale_id: Id | None = None
    group_by: Annotated[
        GroupBy | None,
        Field(description="A row for each UTC day, or for each sale; without it, one for all."),
    ] = None

    @property
    def from_ms(self) -> int | None:
        """The first day's beginning."""
        if self.from_ is None:
            return None
        at_ms = _time_ms(self.from_)
        return at_ms - at_ms % DAY_MS

    @property
    def to_ms(self) -> int | None:
        """The last day's beginning. A time takes in the day on which the moment before it lies."""
        if self.to is None:
            return None
        at_ms = _time_ms(self.to)
        last_ms = at_ms if _is_day(self.to) else at_ms - 1
        return last_ms - last_ms % DAY_MS

    def faults(self) -> list[Fault]:
        """A last day before the first."""
        from_ms, to_ms = self.from_ms, self.to_ms
        ends_early = from_ms is not None and to_ms is not None and to_ms < from_ms
        return [Fault("to", "must not be before from")] if ends_early else []


class SeriesQuery(Window):
    """Which part of a sale's course; each end is moved outwards to a whole interval."""


class Search(Body):
    """One thing that is known of the bookings looked for. In a body: URLs are written into logs."""

    booking_id: BookingId | None = None
    customer_id: Id | None = None
    email: Annotated[
        Email | None, Field(description="Of the contact; capitals make no difference.")
    ] = None
    payment_id: Annotated[
        PaymentId | None,
        Field(description="The gateway's id of an authorization or a capture, of any attempt."),
    ] = None
    limit: Annotated[int, Field(ge=1, le=limits.MAX_PAGE_ROWS)] = limits.DEFAULT_PAGE_ROWS
    cursor: Annotated[Cursor | None, Field(description="`next_cursor` of the page before.")] = None

    def faults(self) -> list[Fault]:
        """None of them, or several."""
        given = [name for name in _CRITERIA if getattr(self, name) is not None]
        if len(given) == 1:
            return []
        return [Fault("", f"exactly one of {', '.join(_CRITERIA)} is needed")]


def _is_day(text: str) -> bool:
    return len(text) == len("2026-11-22")


def _time_ms(text: str) -> int:
    return epoch_ms(f"{text}T00:00:00Z" if _is_day(text) else text)
