"""Holding and reading bookings. `POST /v1/bookings` is the path that has to be fast."""

from __future__ import annotations

from typing import Final

from api.answers import show_bookings
from api.call import ADMIN, Call, Reply, json_reply
from api.csv_text import VARY, wants_csv
from api.exports import export_bookings
from api.metrics import count_outcome
from api.operations import ALL_SCOPES, BOOKING, CUSTOMERS, Answered, Operation
from api.paging import bad_cursor, wait_for_writes
from api.problems import Fault, Problem, invalid, refusal
from api.schemas import Act, CustomerQuery, HistoryQuery, Hold
from api.shapes import BookingPage
from api.streaming import Stream
from engine.limits import MAX_INTEGER
from engine.outcomes import Outcome
from engine.shown import BookingShown, show_booking
from engine.types import Contact, LineRequest
from persistence.reads import InvalidCursor

TAG: Final = "bookings"
REPLAYED: Final = (b"idempotency-replayed", b"true")
REPLAYED_ABOUT: Final = {
    "Idempotency-Replayed": "`true` where this is the first answer to the same request, kept."
}


def named_customer(call: Call) -> str | None:
    """The customer that the body or the query names.

    Raises:
        Problem: `invalid_request`, they name two.
    """
    query: CustomerQuery = call.query
    body: Act | Hold = call.body
    in_query, in_body = query.customer_id, body.customer_id
    if in_query is not None and in_body is not None and in_query != in_body:
        raise invalid(
            "The query and the body name different customers.",
            [Fault("customer_id", "differs between query and body")],
        )
    return in_body or in_query


def own_or_named(call: Call, named: str | None, *, admins: bool) -> str | None:
    """Whose booking it must be; None where the caller may act on anybody's and named nobody.

    Args:
        admins: whether `admin` is enough for this with another's booking.

    Raises:
        Problem: `forbidden`, a customer named another.
    """
    if call.any_customer or (admins and ADMIN in call.principal.scopes):
        return named
    if named is not None and named != call.principal.sub:
        raise _not_for_others()
    return call.principal.sub


def _not_for_others() -> Problem:
    return Problem("forbidden", "Only a token with `bookings:any` may act for another customer.")


async def hold(call: Call) -> Reply:
    """Hold stock: all lines or none."""
    body: Hold = call.body
    customer_id = named_customer(call) or call.principal.sub
    trusted = call.any_customer
    if customer_id != call.principal.sub and not trusted:
        raise _not_for_others()
    contact = Contact(body.contact.email, body.contact.phone) if body.contact else None
    answer = await call.parts.engine.bookings.reserve(
        body.sale_id,
        customer_id,
        [LineRequest(line.item_id, line.quantity) for line in body.lines],
        call.key,
        contact=contact,
        limited=not trusted,
        trace=call.trace,
    )
    count_outcome("hold", answer.outcome)
    if answer.booking is None:
        raise refusal(answer.outcome, answer.item_id, answer.retry_after_ms)
    headers = [(b"location", f"/v1/bookings/{answer.booking.booking_id}".encode())]
    if answer.replayed:
        headers.append(REPLAYED)
    return json_reply(201, show_booking(answer.booking), headers)


async def get_booking(call: Call) -> Reply:
    """One booking, wherever it lives."""
    query: CustomerQuery = call.query
    customer_id = own_or_named(call, query.customer_id, admins=True)
    answer = await call.parts.engine.bookings.get(call.path["booking_id"], customer_id)
    if answer.booking is None:
        raise refusal(Outcome.ABSENT)
    return json_reply(200, show_booking(answer.booking))


async def list_bookings(call: Call) -> Reply | Stream:
    """A customer's history, newest first, with what was written just before."""
    query: HistoryQuery = call.query
    customer_id = own_or_named(call, query.customer_id, admins=True)
    if customer_id is None and not call.principal.scopes.isdisjoint(CUSTOMERS):
        # A front end has bookings of its own; everybody's is what an administrator asks for.
        customer_id = call.principal.sub
    partitions = None
    if query.sale_id is not None:
        partitions = [call.parts.keys.partition_of_sale(query.sale_id)]
    wanted = wants_csv(call.headers)
    if wanted:
        _check_export(call)
    await wait_for_writes(call.parts, partitions)
    if wanted:
        return export_bookings(call.parts, customer_id, query)
    try:
        page = await call.parts.reads.history(
            customer_id,
            query.limit,
            query.cursor,
            query.status,
            query.sale_id,
            query.from_ms or 0,
            query.to_ms or MAX_INTEGER,
        )
    except InvalidCursor:
        raise bad_cursor() from None
    return json_reply(200, show_bookings(page.bookings, page.next_cursor), [VARY])


def _check_export(call: Call) -> None:
    """Only for administrators, and whole."""
    if ADMIN not in call.principal.scopes:
        raise Problem("forbidden", "Only a token with `admin` may take bookings as a table.")
    query: HistoryQuery = call.query
    if paged := sorted({"limit", "cursor"} & query.model_fields_set):
        raise invalid("A table is not paged.", [Fault(name, "not with text/csv") for name in paged])


OPERATIONS: Final = (
    Operation(
        name="hold",
        method="POST",
        path="/v1/bookings",
        often=True,
        queued=True,
        tag=TAG,
        summary="Hold stock",
        about=(
            "All lines or none. The booking is `PENDING` until it is paid, cancelled, or its hold "
            "expires. The same key with the same body gives the first answer again for 24 hours; "
            "a refusal is not kept."
        ),
        handler=hold,
        scopes=CUSTOMERS,
        query=CustomerQuery,
        body=Hold,
        body_required=True,
        needs_key=True,
        answers={
            201: Answered(
                about="The units are held.",
                shape=BookingShown,
                headers={"Location": "The booking.", **REPLAYED_ABOUT},
            )
        },
        codes=frozenset(
            {
                "idempotency_key_reused",
                "rate_limited",
                "unknown_sale",
                "unknown_item",
                "sale_not_open",
                "sale_closed",
                "booking_limit",
                "customer_limit",
                "sold_out",
                "fenced",
            }
        ),
    ),
    Operation(
        name="getBooking",
        method="GET",
        path="/v1/bookings/{booking_id}",
        often=True,
        tag=TAG,
        summary="A booking",
        about="Another customer's booking is `not_found`.",
        handler=get_booking,
        scopes=ALL_SCOPES,
        path_ids={"booking_id": BOOKING},
        query=CustomerQuery,
        answers={200: Answered(about="The booking.", shape=BookingShown)},
        codes=frozenset({"fenced"}),
    ),
    Operation(
        name="listBookings",
        method="GET",
        path="/v1/bookings",
        tag=TAG,
        summary="A customer's bookings, newest first",
        about=(
            "The caller's own; with `bookings:any` or `admin`, those of `customer_id`; with "
            "`admin` alone and no `customer_id`, everybody's. For `admin` with `Accept: text/csv`, "
            "all of them as one table, which has no `limit` and no `cursor`."
        ),
        handler=list_bookings,
        scopes=ALL_SCOPES,
        query=HistoryQuery,
        answers={200: Answered(about="A page of bookings.", shape=BookingPage, csv=True)},
    ),
)
