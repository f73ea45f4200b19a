"""The shapes of reports, for the type checker and for OpenAPI."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, WithJsonSchema
from typing_extensions import TypedDict

from engine.shown import Minor, Moment

Day = Annotated[str, WithJsonSchema({"type": "string", "format": "date"})]
Count = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(ge=0)]


class BookingCounts(TypedDict):
    """Bookings by what happened to them, each on the day it happened.

    `confirmed` is paid, or free and confirmed. `cancelled` is by somebody or for a failed capture,
    `expired` by its deadline: no cancel counts as both.
    """

    created: Count
    confirmed: Count
    cancelled: Count
    expired: Count
    completed: Count


class PaymentCounts(TypedDict):
    """Attempts to pay by what the gateway did, each on the day it was recorded."""

    authorized: Count
    captured: Count
    declined: Count
    refunded: Count


class SummaryRow(TypedDict):
    """What happened, in one currency.

    `day` is null where rows are not by day, `sale_id` where they are not by sale and no sale was
    asked for. `booking_success_rate` is confirmed by created, `payment_success_rate` captured by
    authorized and declined; null where nothing is to be divided by.
    """

    day: Day | None
    sale_id: str | None
    currency: str
    bookings: BookingCounts
    booking_success_rate: Rate | None
    payments: PaymentCounts
    payment_success_rate: Rate | None
    revenue: Annotated[
        int,
        Field(
            description="Net, in the minor unit: `captured_amount` without `returned_amount`. Below"
            " 0 on a day on which more was given back than taken."
        ),
    ]
    captured_amount: Minor
    returned_amount: Annotated[
        int,
        Field(
            ge=0,
            description="What is given back of captured amounts, by a cancel or a refund, from the"
            " moment it is decided; `payments.refunded` counts those that the gateway has done.",
        ),
    ]
    average_time_to_pay_s: Annotated[
        float | None, Field(description="From hold to capture; null where nothing was captured.")
    ]


# `from` is a keyword of Python: a class cannot have it for a field.
_From = TypedDict("_From", {"from": Day | None})


class SummaryReport(_From):
    """What happened on the UTC days from `from` to `to`, both included; null is without an end.

    Everything that was recorded before `as_of` is in it.
    """

    to: Day | None
    rows: list[SummaryRow]
    as_of: Moment


class PointShown(TypedDict):
    """Where a sale stood at a time, all its items together; `sell_through` is sold by capacity."""

    at: Moment
    sold: Count
    capacity: Count
    sell_through: Rate | None


class SellThrough(TypedDict):
    """The course of a sale: a point at the end of each interval, and one before the first."""

    sale_id: str
    as_of: Moment
    interval_s: Annotated[int, Field(ge=1)]
    points: list[PointShown]
