"""Bookings by what somebody has of them: an id, an e-mail, what the gateway calls a payment."""

from __future__ import annotations

from typing import Final

from api.answers import show_bookings
from api.call import Call, Reply, json_reply
from api.operations import ADMINS, Answered, Operation
from api.paging import bad_cursor, wait_for_writes
from api.schemas_admin import Search
from api.shapes import BookingPage
from persistence.reads import InvalidCursor, Page

TAG: Final = "operations"


async def search_bookings(call: Call) -> Reply:
    """A page of the bookings that have it, newest first."""
    body: Search = call.body
    try:
        page = await _find(call, body)
    except InvalidCursor:
        raise bad_cursor() from None
    return json_reply(200, show_bookings(page.bookings, page.next_cursor))


async def _find(call: Call, body: Search) -> Page:
    if body.booking_id is not None:
        # Where it lives, as it is now: this one needs no waiting.
        booking = (await call.parts.engine.bookings.get(body.booking_id)).booking
        return Page((booking,) if booking and body.cursor is None else (), None)
    await wait_for_writes(call.parts, None)
    reads = call.parts.reads
    if body.email is not None:
        hashes = call.parts.vault.email_hashes(body.email)
        return await reads.found_by_email(hashes, body.limit, body.cursor)
    if body.payment_id is not None:
        return await reads.found_by_payment(body.payment_id, body.limit, body.cursor)
    return await reads.history(body.customer_id, body.limit, body.cursor)


OPERATIONS: Final = (
    Operation(
        name="searchBookings",
        method="POST",
        path="/v1/ops/bookings/search",
        tag=TAG,
        summary="Bookings by an id, an e-mail or a payment",
        about=(
            "Newest first, by exactly one of `booking_id`, `customer_id`, `email` and "
            "`payment_id`. Nothing is changed: it is a POST so that no e-mail is in a URL."
        ),
        handler=search_bookings,
        scopes=ADMINS,
        body=Search,
        body_required=True,
        answers={200: Answered(about="A page of bookings.", shape=BookingPage)},
        codes=frozenset({"fenced"}),
    ),
)
