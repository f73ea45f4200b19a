"""What can become of a booking, money apart: extend, cancel, complete."""

from __future__ import annotations

from typing import Final

from api.call import ADMIN, Call, Reply, json_reply
from api.metrics import count_outcome
from api.operations import ADMINS, ALL_SCOPES, BOOKING, CUSTOMERS, Answered, Operation
from api.problems import Problem, refusal
from api.routes_bookings import (
    REPLAYED,
    TAG,
    named_customer,
    own_or_named,
)
from api.schemas import Act, CustomerQuery, Nothing
from engine.bookings import Answer
from engine.outcomes import Outcome
from engine.shown import BookingShown, show_booking
from engine.types import CancelReason


def customer_of(call: Call, *, admins: bool = False) -> str | None:
    """The customer that body or query names, or the caller; None is anybody."""
    return own_or_named(call, named_customer(call), admins=admins)


async def _spend_rate(call: Call) -> None:
    """Count this call on the customer's rate. Front ends and administrators have none."""
    if call.any_customer or ADMIN in call.principal.scopes:
        return
    engine = call.parts.engine
    partition = engine.keys.partition_of_booking(call.path["booking_id"])
    if partition is None:
        raise refusal(Outcome.ABSENT)
    wait_ms = await engine.rate_limit.spend(partition, call.principal.sub)
    if wait_ms is not None:
        raise refusal(Outcome.RATE_LIMITED, retry_after_ms=wait_ms)


_DONE: Final = frozenset(
    {
        Outcome.EXTENDED,
        Outcome.CANCELLED,
        Outcome.CONFIRMED,
        Outcome.COMPLETED,
        Outcome.UNCHANGED,
        Outcome.REPLAYED,
        Outcome.REFUND_BEGUN,
    }
)


def changed(operation: str, answer: Answer) -> Reply:
    """The answer to a call that changes a booking. Raises the problem of a refusal."""
    count_outcome(operation, answer.outcome)
    if answer.outcome is Outcome.INVALID_STATE and answer.booking is not None:
        status = answer.booking.status
        raise Problem("invalid_state", f"The booking is {status}, which does not allow this.")
    if answer.outcome not in _DONE or answer.booking is None:
        raise refusal(answer.outcome, answer.item_id, answer.retry_after_ms)
    headers = [REPLAYED] if answer.replayed else []
    return json_reply(200, show_booking(answer.booking), headers)


async def extend(call: Call) -> Reply:
    """Lengthen a hold, once."""
    customer_id = customer_of(call)
    await _spend_rate(call)
    bookings = call.parts.engine.bookings
    return changed(
        "extend", await bookings.extend(call.path["booking_id"], customer_id, call.trace)
    )


async def cancel(call: Call) -> Reply:
    """Give the stock back."""
    customer_id = customer_of(call, admins=True)
    await _spend_rate(call)
    booking_id = call.path["booking_id"]
    bookings = call.parts.engine.bookings
    reason = CancelReason.CUSTOMER
    if not call.any_customer and ADMIN in call.principal.scopes:
        found = await bookings.get(booking_id, customer_id)
        if found.booking is None:
            raise refusal(Outcome.ABSENT)
        if found.booking.customer_id != call.principal.sub:
            reason = CancelReason.OPERATOR
    return changed("cancel", await bookings.cancel(booking_id, reason, customer_id, call.trace))


async def complete(call: Call) -> Reply:
    """Mark a confirmed booking as used up."""
    bookings = call.parts.engine.bookings
    return changed("complete", await bookings.complete(call.path["booking_id"], call.trace))


_IDS: Final = {"booking_id": BOOKING}

OPERATIONS: Final = (
    Operation(
        name="extend",
        method="POST",
        path="/v1/bookings/{booking_id}/extend",
        tag=TAG,
        summary="Lengthen a hold, once",
        about="To the sale's `hold_seconds` from now. Said again: the present state.",
        handler=extend,
        scopes=CUSTOMERS,
        path_ids=_IDS,
        query=CustomerQuery,
        body=Act,
        answers={200: Answered(about="The booking.", shape=BookingShown)},
        codes=frozenset({"rate_limited", "hold_expired", "invalid_state", "sale_closed", "fenced"}),
    ),
    Operation(
        name="cancel",
        method="POST",
        path="/v1/bookings/{booking_id}/cancel",
        tag=TAG,
        summary="Give the stock back",
        about=(
            "At once. Said again: the present state. An administrator's cancel has the reason "
            "`operator`."
        ),
        handler=cancel,
        scopes=ALL_SCOPES,
        path_ids=_IDS,
        query=CustomerQuery,
        body=Act,
        answers={200: Answered(about="The booking.", shape=BookingShown)},
        codes=frozenset({"rate_limited", "invalid_state", "fenced"}),
    ),
    Operation(
        name="complete",
        method="POST",
        path="/v1/bookings/{booking_id}/complete",
        tag=TAG,
        summary="Mark a confirmed booking as used up",
        about="Said again: the present state.",
        handler=complete,
        scopes=ADMINS,
        path_ids=_IDS,
        body=Nothing,
        answers={200: Answered(about="The booking.", shape=BookingShown)},
        codes=frozenset({"invalid_state", "fenced"}),
    ),
)
