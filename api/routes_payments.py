"""Money: pay for a hold, give a payment back, and what the gateway tells."""

from __future__ import annotations

from typing import Final

import structlog

from api.call import Call, Reply, json_reply
from api.metrics import WEBHOOKS, count_outcome
from api.operations import ADMINS, ANYBODY, BOOKING, CUSTOMERS, GATEWAY, Answered, Operation
from api.problems import Fault, Problem, invalid, refusal
from api.routes_bookings import REPLAYED, REPLAYED_ABOUT, TAG
from api.routes_changes import changed, customer_of
from api.schemas import CustomerQuery, Nothing, Pay
from api.shapes import WebhookTaken
from engine.outcomes import Outcome
from engine.payments.books import PaymentRequest
from engine.payments.cashier import PayAnswer
from engine.payments.gateway import Rejection
from engine.payments.limits import MAX_WEBHOOK_BYTES
from engine.payments.types import PaymentStatus
from engine.shown import BookingShown, show_booking
from engine.types import Booking, CancelReason, Status

_log = structlog.stdlib.get_logger("holdfast.api")

_OPEN: Final = frozenset(
    {
        PaymentStatus.AUTHORIZING,
        PaymentStatus.REQUIRES_ACTION,
        PaymentStatus.CAPTURING,
        PaymentStatus.UNKNOWN,
    }
)


async def pay(call: Call) -> Reply:
    """Pay for a hold; one that costs nothing is confirmed without a payment method.

    A rate is not spent here: a replay must cost none, and a hold that can be paid has cost one.
    """
    body: Pay = call.body
    booking_id = call.path["booking_id"]
    bookings = call.parts.engine.bookings
    customer_id = customer_of(call)
    if customer_id is None:
        found = await bookings.get(booking_id)
        if found.booking is None:
            raise refusal(Outcome.ABSENT)
        # The key's scope is the customer: whoever asks, it must be the same one.
        customer_id = found.booking.customer_id
    if body.payment_method is None:
        answer = await bookings.confirm(booking_id, customer_id, call.key, call.trace)
        if answer.outcome is Outcome.PAYMENT_REQUIRED:
            raise invalid("This booking costs money.", [Fault("payment_method", "required")])
        return changed("pay", answer)
    request = PaymentRequest(booking_id, customer_id, call.key, body.payment_method, call.trace)
    paid = await call.parts.cashier.pay(request)
    count_outcome("pay", paid.outcome)
    return _paid(paid)


def _paid(answer: PayAnswer) -> Reply:
    """What a pay request is answered with: by where the booking and its payment stand."""
    booking = answer.booking
    if answer.outcome is Outcome.PAYMENT_FREE:
        raise invalid(
            "This booking costs nothing.",
            [Fault("payment_method", "must be left out where the total is 0")],
        )
    if answer.outcome is Outcome.INVALID_STATE and booking is not None:
        paid = f", its payment {booking.payment.status}" if booking.payment else ""
        detail = f"The booking is {booking.status}{paid}, which does not allow this."
        raise Problem("invalid_state", detail)
    settled = answer.outcome in {Outcome.BEGUN, Outcome.JOINED, Outcome.REPLAYED}
    if not settled or booking is None:
        raise refusal(answer.outcome)
    headers = [REPLAYED] if answer.replayed else []
    payment = booking.payment
    if payment is None or payment.status is PaymentStatus.CAPTURED:
        return json_reply(200, show_booking(booking), headers)
    if payment.status in _OPEN and booking.cancel_reason in {None, CancelReason.EXPIRED}:
        return json_reply(202, show_booking(booking), headers)
    problem = _unpaid(booking, payment.status, payment.decline_code)
    problem.headers += headers
    raise problem


def _unpaid(booking: Booking, status: PaymentStatus, decline_code: str | None) -> Problem:
    failed = booking.cancel_reason is CancelReason.PAYMENT_FAILED
    if status is PaymentStatus.DECLINED or failed:
        left = "The hold stays until it expires."
        if booking.status is not Status.PENDING:
            left = "The booking is cancelled."
        return Problem("payment_declined", f"The payment was declined: {decline_code}. {left}")
    if booking.cancel_reason is CancelReason.EXPIRED:
        return Problem(
            "hold_expired",
            "The hold had expired and its units were sold; the payment is given back.",
        )
    return Problem(
        "invalid_state", "The booking was cancelled meanwhile; the payment is given back."
    )


async def refund(call: Call) -> Reply:
    """Give a captured payment back, whole."""
    payments = call.parts.engine.payments
    return changed("refund", await payments.refund(call.path["booking_id"], call.trace))


async def take_webhook(call: Call) -> Reply:
    """Take what the gateway tells: it is noted, and a worker asks the gateway itself."""
    gateway = call.parts.gateway
    if call.path["gateway"] not in {gateway.name, "stripe"}:
        raise Problem("not_found", "No gateway of this name is used here.")
    event = gateway.parse_webhook(
        call.body, {name.decode(): value.decode("latin-1") for name, value in call.headers.items()}
    )
    if isinstance(event, Rejection):
        WEBHOOKS.labels(event).inc()
        raise invalid("The webhook is not believed.", [Fault("", event)])
    payment = event.payment
    if payment is None or payment.reference is None:
        WEBHOOKS.labels("not_ours").inc()
        return json_reply(200, {"taken": False})
    outcome = await call.parts.engine.payments.nudge(
        payment.reference.booking_id,
        event.event_id,
        payment.reference.attempt,
        payment.amount,
        payment.currency,
    )
    WEBHOOKS.labels(outcome).inc()
    # A booking leaves Redis only once its payment rests: then there is nothing to be asked.
    if outcome in {Outcome.MOVED_ON, Outcome.ABSENT}:
        # Signed by the gateway, and not what was asked for: the reconciler sees to the money.
        _log.error(
            "webhook_disagrees",
            event_id=event.event_id,
            booking_id=payment.reference.booking_id,
            amount=payment.amount,
            currency=payment.currency,
            outcome=outcome,
        )
    return json_reply(200, {"taken": outcome is Outcome.DONE})


_IDS: Final = {"booking_id": BOOKING}

OPERATIONS: Final = (
    Operation(
        name="pay",
        method="POST",
        path="/v1/bookings/{booking_id}/pay",
        tag=TAG,
        summary="Pay for a hold",
        about=(
            "Authorizes, confirms, captures. 202 while the gateway's answer is not known, or while "
            "the buyer has to act (`payment.next_action`): poll the booking, or send the same key "
            "again to join. After a 402 the hold stays until it expires, for at most 3 attempts, "
            "each with a key of its own. A booking whose total is 0 is confirmed without a "
            "`payment_method`. The same key gives the first final answer again for 24 hours."
        ),
        handler=pay,
        scopes=CUSTOMERS,
        path_ids=_IDS,
        query=CustomerQuery,
        body=Pay,
        needs_key=True,
        answers={
            200: Answered(
                about="The booking is confirmed and paid.",
                shape=BookingShown,
                headers=REPLAYED_ABOUT,
            ),
            202: Answered(about="The payment is open.", shape=BookingShown),
        },
        codes=frozenset(
            {
                "payment_declined",
                "idempotency_key_reused",
                "hold_expired",
                "invalid_state",
                "fenced",
            }
        ),
        refused_headers={402: REPLAYED_ABOUT, 409: REPLAYED_ABOUT},
    ),
    Operation(
        name="refund",
        method="POST",
        path="/v1/bookings/{booking_id}/refund",
        tag=TAG,
        summary="Give a captured payment back, whole",
        about=(
            "A confirmed booking is cancelled with it (`operator`) and gives its units back; a "
            "completed one stays. Said again: the present state."
        ),
        handler=refund,
        scopes=ADMINS,
        path_ids=_IDS,
        body=Nothing,
        answers={200: Answered(about="The booking.", shape=BookingShown)},
        codes=frozenset({"invalid_state", "fenced"}),
    ),
    Operation(
        name="takeWebhook",
        method="POST",
        path="/v1/webhooks/{gateway}",
        tag=TAG,
        summary="What the payment gateway tells",
        about="The raw body, signed. Answered once its effect is durable; each event counts once.",
        handler=take_webhook,
        scopes=ANYBODY,
        path_ids={"gateway": GATEWAY},
        raw_body_bytes=MAX_WEBHOOK_BYTES,
        needs_headers={"Stripe-Signature": "The time it was signed, and signatures of the body."},
        answers={200: Answered(about="Taken, or known already.", shape=WebhookTaken)},
        codes=frozenset({"body_too_large", "request_timeout", "unavailable", "fenced"}),
    ),
)
