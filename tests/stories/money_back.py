"""Stories of money that goes back: cancels in every state of a payment, and refunds."""

from __future__ import annotations

from typing import Final

from engine.model import (
    Cancel,
    CaptureFailed,
    ClaimPayment,
    Complete,
    Confirm,
    PaymentFailed,
    PaymentUnknown,
    RecordCapture,
    Refund,
    Refunded,
    RequireAction,
    Voided,
)
from engine.outcomes import Outcome
from engine.payments.types import Step
from engine.types import Status
from tests.stories.paying import (
    ACTION,
    BEGUN,
    CAPTURE,
    CAPTURED,
    CONFIRM,
    CONFIRMED,
    HELD,
    begin,
    declined,
)
from tests.stories.story import CUSTOMER, HOLD_MS, OPERATOR, Row, Story


def _cancelled(payment: str) -> Row:
    return Row(
        Cancel("b1", CUSTOMER, "ann"),
        Outcome.CANCELLED,
        "P:3:0:0",
        status=Status.CANCELLED,
        payment=payment,
    )


_VOIDED: Final = Row(Voided("b1", "api", 1), Outcome.VOIDED, payment="VOIDED none 1")
_REFUNDED: Final = Row(Refunded("b1", "api", 1), Outcome.REFUNDED, payment="REFUNDED none 1")
_CLAIM: Final = Row(ClaimPayment("b1", "api"), Outcome.DONE)
_LATE_VOID: Final = Row(
    CONFIRM, Outcome.LATE_MONEY, status=Status.CANCELLED, payment="AUTHORIZED void 1"
)

MONEY_BACK: Final[dict[str, Story]] = {
    "a_cancel_while_the_gateway_is_asked_to_authorize": (
        *BEGUN,
        _cancelled("AUTHORIZING authorize 1"),
        _LATE_VOID,
        _VOIDED,
        Row(begin(), Outcome.REPLAYED, status=Status.CANCELLED, payment="VOIDED none 1"),
    ),
    "a_cancel_while_the_gateway_is_asked_and_declines": (
        *BEGUN,
        _cancelled("AUTHORIZING authorize 1"),
        Row(PaymentFailed("b1", "api", 1, "declined"), Outcome.PAYMENT_FAILED),
        Row(begin("k2"), Outcome.INVALID_STATE, payment="DECLINED none 1"),
    ),
    "a_cancel_while_the_buyer_has_to_act": (
        *BEGUN,
        Row(RequireAction("b1", "api", 1, "pi_1", ACTION), Outcome.REQUIRES_ACTION),
        _cancelled("REQUIRES_ACTION authorize 1"),
        _CLAIM,
        _LATE_VOID,
        _VOIDED,
    ),
    "a_cancel_while_nobody_knows_what_the_gateway_did": (
        *BEGUN,
        Row(PaymentUnknown("b1", "api", 1, Step.AUTHORIZE), Outcome.PAYMENT_UNKNOWN),
        _cancelled("UNKNOWN authorize 1"),
        _CLAIM,
        _LATE_VOID,
        Row(
            PaymentUnknown("b1", "api", 1, Step.VOID),
            Outcome.PAYMENT_UNKNOWN,
            payment="UNKNOWN void 1",
        ),
        _CLAIM,
        _VOIDED,
    ),
    "a_cancel_after_a_decline": (
        *BEGUN,
        declined(1),
        _cancelled("DECLINED none 1"),
    ),
    "a_cancel_before_the_capture": (
        *CONFIRMED,
        _cancelled("AUTHORIZED void 1"),
        _VOIDED,
        Row(CAPTURE, Outcome.LEASE_LOST),
    ),
    "a_cancel_before_a_capture_that_nobody_knows_of": (
        *CONFIRMED,
        Row(PaymentUnknown("b1", "api", 1, Step.CAPTURE), Outcome.PAYMENT_UNKNOWN),
        _cancelled("AUTHORIZED void 1"),
        _CLAIM,
        Row(CAPTURE, Outcome.REFUND_BEGUN, payment="REFUNDING refund 1"),
        Row(
            PaymentUnknown("b1", "api", 1, Step.REFUND),
            Outcome.PAYMENT_UNKNOWN,
            payment="UNKNOWN refund 1",
        ),
        Row(Refund("b1"), Outcome.UNCHANGED, payment="UNKNOWN refund 1"),
        _CLAIM,
        _REFUNDED,
    ),
    "a_cancel_between_the_capture_and_its_record": (
        *CONFIRMED,
        _cancelled("AUTHORIZED void 1"),
        Row(CAPTURE, Outcome.REFUND_BEGUN, status=Status.CANCELLED, payment="REFUNDING refund 1"),
        _REFUNDED,
        Row(begin(), Outcome.JOINED, status=Status.CANCELLED, payment="REFUNDED none 1"),
    ),
    "a_cancel_after_the_capture": (
        *CAPTURED,
        _cancelled("REFUNDING refund 1"),
        Row(Cancel("b1", OPERATOR), Outcome.UNCHANGED, payment="REFUNDING refund 1"),
        Row(Refund("b1"), Outcome.UNCHANGED, payment="REFUNDING refund 1"),
        Row(Refunded("b1", "api", 1), Outcome.LEASE_LOST),
        _CLAIM,
        _REFUNDED,
        Row(Cancel("b1", OPERATOR), Outcome.UNCHANGED, payment="REFUNDED none 1"),
        Row(Refund("b1"), Outcome.UNCHANGED, payment="REFUNDED none 1"),
        Row(begin(), Outcome.REPLAYED, status=Status.CONFIRMED, payment="CAPTURED none 1"),
    ),
    "a_capture_refused_for_good_gives_the_units_back_once": (
        *CONFIRMED,
        Row(
            CaptureFailed("b1", "api", 1, "expired"),
            Outcome.CANCELLED,
            "P:3:0:0",
            status=Status.CANCELLED,
            payment="AUTHORIZED void 1",
        ),
        Row(Cancel("b1", CUSTOMER), Outcome.UNCHANGED),
        _VOIDED,
        Row(begin(), Outcome.REPLAYED, status=Status.CANCELLED, payment="VOIDED none 1"),
        Row(begin("k2"), Outcome.INVALID_STATE),
    ),
    "only_a_capture_that_was_asked_can_be_refused": (
        *BEGUN,
        Row(CaptureFailed("b1", "api", 1, "x"), Outcome.MOVED_ON),
        Row(CONFIRM, Outcome.CONFIRMED, "P:1:0:2"),
        Row(CaptureFailed("b1", "worker", 1, "x"), Outcome.LEASE_LOST),
        Row(CAPTURE, Outcome.CAPTURED),
        Row(CaptureFailed("b1", "api", 1, "x"), Outcome.LEASE_LOST),
    ),
    "an_operator_refunds_a_confirmed_booking_and_its_units_are_for_sale": (
        *CAPTURED,
        Row(
            Refund("b1"),
            Outcome.REFUND_BEGUN,
            "P:3:0:0",
            status=Status.CANCELLED,
            payment="REFUNDING refund 1",
        ),
        _CLAIM,
        _REFUNDED,
    ),
    "an_operator_refunds_what_was_used_up_and_it_stays_used_up": (
        *CAPTURED,
        Row(Complete("b1"), Outcome.COMPLETED),
        Row(
            Refund("b1"),
            Outcome.REFUND_BEGUN,
            status=Status.COMPLETED,
            payment="REFUNDING refund 1",
        ),
        _CLAIM,
        Row(
            PaymentUnknown("b1", "api", 1, Step.REFUND),
            Outcome.PAYMENT_UNKNOWN,
            status=Status.COMPLETED,
        ),
        Row(Complete("b1"), Outcome.UNCHANGED, payment="UNKNOWN refund 1"),
        _CLAIM,
        _REFUNDED,
        Row(Complete("b1"), Outcome.UNCHANGED, payment="REFUNDED none 1"),
    ),
    "only_what_was_captured_can_be_refunded": (
        *HELD,
        Row(Refund("b9"), Outcome.ABSENT),
        Row(Refund("b1"), Outcome.INVALID_STATE, payment="none"),
        Row(begin(), Outcome.BEGUN),
        Row(Refund("b1"), Outcome.INVALID_STATE, payment="AUTHORIZING authorize 1"),
        Row(CONFIRM, Outcome.CONFIRMED, "P:1:0:2"),
        Row(Refund("b1"), Outcome.INVALID_STATE, payment="CAPTURING capture 1"),
        Row(Cancel("b1", OPERATOR), Outcome.CANCELLED, "P:3:0:0"),
        Row(Refund("b1"), Outcome.INVALID_STATE, payment="AUTHORIZED void 1"),
        _VOIDED,
        Row(Refund("b1"), Outcome.INVALID_STATE, payment="VOIDED none 1"),
    ),
    "what_came_of_another_attempt_is_not_recorded": (
        *CAPTURED,
        _cancelled("REFUNDING refund 1"),
        _CLAIM,
        Row(Refunded("b1", "api", 2), Outcome.MOVED_ON),
        Row(Voided("b1", "api", 1), Outcome.MOVED_ON),
        Row(RecordCapture("b1", "api", 1, "ch_2"), Outcome.MOVED_ON),
        Row(Confirm("b1", "api", 1, "pi_2"), Outcome.MOVED_ON, payment="REFUNDING refund 1"),
    ),
    "a_refund_comes_long_after_the_sale": (
        *CAPTURED,
        Row(Complete("b1"), Outcome.COMPLETED).at(HOLD_MS),
        Row(Refund("b1"), Outcome.REFUND_BEGUN, payment="REFUNDING refund 1").at(99 * HOLD_MS),
    ),
}
