"""Stories of a payment that begins, is authorized, captured or declined."""

from __future__ import annotations

from typing import Any, Final

from engine.model import (
    BeginPayment,
    ClaimPayment,
    Complete,
    Confirm,
    ConfirmFree,
    Extend,
    PaymentFailed,
    PaymentUnknown,
    RecordCapture,
    Refunded,
    RequireAction,
    Voided,
)
from engine.outcomes import Outcome
from engine.payments.types import Step
from engine.types import Status
from tests.stories.story import HOLD_MS, Row, Story, hold, put, sale

GRACE_MS: Final = 10_000
ACTION: Final = '{"type":"redirect","url":"https://example.com/3ds"}'


def begin(key: str = "k1", **more: Any) -> BeginPayment:
    """Begin to pay for ann's `b1`, as the owner `api`."""
    given: dict[str, Any] = {
        "booking_id": "b1",
        "customer_id": "ann",
        "key": key,
        "fingerprint": "f",
        "owner": "api",
        "grace_ms": GRACE_MS,
    }
    return BeginPayment(**given | more)


HELD: Final = (
    Row(put(sale("P:3:500")), Outcome.CREATED, "P:3:0:0"),
    Row(hold("b1", "P:2"), Outcome.HELD, "P:1:2:0"),
)
BEGUN: Final = (*HELD, Row(begin(), Outcome.BEGUN, payment="AUTHORIZING authorize 1"))
CONFIRM: Final = Confirm("b1", "api", 1, "pi_1")
CONFIRMED: Final = (
    *BEGUN,
    Row(
        CONFIRM,
        Outcome.CONFIRMED,
        "P:1:0:2",
        status=Status.CONFIRMED,
        payment="CAPTURING capture 1",
    ),
)
CAPTURE: Final = RecordCapture("b1", "api", 1, "ch_1")
CAPTURED: Final = (*CONFIRMED, Row(CAPTURE, Outcome.CAPTURED, payment="CAPTURED none 1"))


def declined(attempt: int, levels: str = "") -> Row:
    """The gateway declines an attempt."""
    return Row(
        PaymentFailed("b1", "api", attempt, "card_declined"),
        Outcome.PAYMENT_FAILED,
        levels,
        payment=f"DECLINED none {attempt}",
    )


def begun(attempt: int) -> Row:
    """The buyer tries (again)."""
    return Row(begin(f"k{attempt}"), Outcome.BEGUN, payment=f"AUTHORIZING authorize {attempt}")


PAYING: Final[dict[str, Story]] = {
    "a_payment_is_authorized_and_captured_and_then_the_booking_can_be_used": (
        *CONFIRMED,
        Row(Complete("b1"), Outcome.INVALID_STATE, status=Status.CONFIRMED),
        Row(CAPTURE, Outcome.CAPTURED, payment="CAPTURED none 1"),
        Row(Complete("b1"), Outcome.COMPLETED, status=Status.COMPLETED),
    ),
    "a_final_answer_is_replayed_to_its_key_whatever_happened_since": (
        *CAPTURED,
        Row(Complete("b1"), Outcome.COMPLETED),
        Row(begin(), Outcome.REPLAYED, status=Status.CONFIRMED, payment="CAPTURED none 1"),
        Row(begin(fingerprint="g"), Outcome.IDEMPOTENCY_KEY_REUSED),
        Row(begin("k2"), Outcome.INVALID_STATE, status=Status.COMPLETED),
    ),
    "an_open_attempt_is_joined_by_its_key_and_by_no_other": (
        *BEGUN,
        Row(begin(owner="other"), Outcome.JOINED, payment="AUTHORIZING authorize 1"),
        Row(begin(fingerprint="g"), Outcome.IDEMPOTENCY_KEY_REUSED),
        Row(begin("k2"), Outcome.INVALID_STATE, payment="AUTHORIZING authorize 1"),
        Row(CONFIRM, Outcome.CONFIRMED, "P:1:0:2"),
        Row(begin(), Outcome.JOINED, payment="CAPTURING capture 1"),
        Row(begin("k2"), Outcome.INVALID_STATE, status=Status.CONFIRMED),
    ),
    "what_costs_nothing_is_not_paid_for": (
        Row(put(sale("A:3:0")), Outcome.CREATED, "A:3:0:0"),
        Row(hold("b1", "A:2"), Outcome.HELD, "A:1:2:0"),
        Row(begin(), Outcome.PAYMENT_FREE, payment="none"),
        Row(ConfirmFree("b1", "ann", "k1", "f"), Outcome.CONFIRMED, "A:1:0:2", payment="none"),
        Row(begin(), Outcome.REPLAYED, status=Status.CONFIRMED),
        Row(begin("k2"), Outcome.INVALID_STATE, status=Status.CONFIRMED),
    ),
    "what_costs_something_is_not_confirmed_without": (
        *BEGUN,
        Row(ConfirmFree("b1", "ann", "k2", "f"), Outcome.PAYMENT_REQUIRED),
    ),
    "the_booking_of_another_customer_is_paid_by_nobody_else": (
        *HELD,
        Row(begin(customer_id="bob"), Outcome.ABSENT),
        Row(begin(booking_id="b9"), Outcome.ABSENT),
        Row(ClaimPayment("b9", "api"), Outcome.ABSENT),
        Row(Confirm("b9", "api", 1, "pi_1"), Outcome.ABSENT),
    ),
    "a_declined_hold_can_be_tried_again_but_not_for_ever": (
        *BEGUN,
        declined(1),
        begun(2),
        Row(begin("k1"), Outcome.REPLAYED, payment="DECLINED none 1"),
        declined(2),
        begun(3),
        declined(3),
        Row(begin("k4"), Outcome.ATTEMPTS_EXHAUSTED, payment="DECLINED none 3"),
        Row(begin("k2"), Outcome.REPLAYED, payment="DECLINED none 2"),
    ),
    "as_many_attempts_as_are_allowed": (
        *BEGUN,
        declined(1),
        Row(begin("k2", max_attempts=1), Outcome.ATTEMPTS_EXHAUSTED),
        Row(begin("k2", max_attempts=2), Outcome.BEGUN, payment="AUTHORIZING authorize 2"),
    ),
    "a_declined_hold_is_sold_on_its_second_attempt": (
        *BEGUN,
        declined(1),
        begun(2),
        Row(Confirm("b1", "api", 1, "pi_1"), Outcome.MOVED_ON, payment="AUTHORIZING authorize 2"),
        Row(Confirm("b1", "api", 2, "pi_2"), Outcome.CONFIRMED, "P:1:0:2"),
        Row(RecordCapture("b1", "api", 2, "ch_2"), Outcome.CAPTURED, payment="CAPTURED none 2"),
        Row(begin("k1"), Outcome.REPLAYED, status=Status.PENDING, payment="DECLINED none 1"),
        Row(begin("k2"), Outcome.REPLAYED, payment="CAPTURED none 2"),
    ),
    "only_the_owner_of_the_lease_records": (
        *BEGUN,
        Row(ClaimPayment("b1", "worker"), Outcome.LEASE_LOST),
        Row(Confirm("b1", "worker", 1, "pi_1"), Outcome.LEASE_LOST),
        Row(PaymentFailed("b1", "worker", 1, "x"), Outcome.LEASE_LOST),
        Row(PaymentUnknown("b1", "worker", 1, Step.AUTHORIZE), Outcome.LEASE_LOST),
        Row(RequireAction("b1", "worker", 1, "pi_1", ACTION), Outcome.LEASE_LOST),
        Row(CONFIRM, Outcome.CONFIRMED, "P:1:0:2"),
        Row(RecordCapture("b1", "worker", 1, "ch_1"), Outcome.LEASE_LOST),
        Row(CAPTURE, Outcome.CAPTURED),
    ),
    "a_lease_that_ran_out_is_taken_and_the_old_owner_records_nothing_more": (
        *BEGUN,
        Row(CONFIRM, Outcome.LEASE_LOST, lease_ended="b1"),
        Row(ClaimPayment("b1", "worker"), Outcome.DONE, payment="AUTHORIZING authorize 1"),
        Row(ClaimPayment("b1", "api"), Outcome.LEASE_LOST),
        Row(CONFIRM, Outcome.LEASE_LOST),
        Row(
            Confirm("b1", "worker", 1, "pi_1"),
            Outcome.CONFIRMED,
            "P:1:0:2",
            payment="CAPTURING capture 1",
        ),
        Row(CAPTURE, Outcome.LEASE_LOST),
        Row(RecordCapture("b1", "worker", 1, "ch_1"), Outcome.CAPTURED, payment="CAPTURED none 1"),
        Row(ClaimPayment("b1", "api"), Outcome.UNCHANGED, payment="CAPTURED none 1"),
    ),
    "what_is_recorded_fits_the_step_that_was_asked": (
        *BEGUN,
        Row(CAPTURE, Outcome.MOVED_ON, payment="AUTHORIZING authorize 1"),
        Row(Voided("b1", "api", 1), Outcome.MOVED_ON),
        Row(Refunded("b1", "api", 1), Outcome.MOVED_ON),
        Row(PaymentUnknown("b1", "api", 1, Step.CAPTURE), Outcome.MOVED_ON),
        Row(Confirm("b1", "api", 2, "pi_1"), Outcome.MOVED_ON),
        Row(CONFIRM, Outcome.CONFIRMED, "P:1:0:2"),
        Row(PaymentFailed("b1", "api", 1, "x"), Outcome.MOVED_ON, payment="CAPTURING capture 1"),
        Row(RequireAction("b1", "api", 1, "pi_1", ACTION), Outcome.MOVED_ON),
        Row(Voided("b1", "api", 1), Outcome.MOVED_ON),
    ),
    "nothing_is_claimed_or_recorded_of_a_hold_that_nobody_pays": (
        *HELD,
        Row(ClaimPayment("b1", "worker"), Outcome.UNCHANGED, payment="none"),
        Row(CONFIRM, Outcome.LEASE_LOST, payment="none"),
    ),
    "what_is_not_known_is_asked_again_at_its_step": (
        *BEGUN,
        Row(
            PaymentUnknown("b1", "api", 1, Step.AUTHORIZE),
            Outcome.PAYMENT_UNKNOWN,
            payment="UNKNOWN authorize 1",
        ),
        Row(ClaimPayment("b1", "worker"), Outcome.DONE),
        Row(PaymentUnknown("b1", "worker", 1, Step.AUTHORIZE), Outcome.UNCHANGED),
        Row(ClaimPayment("b1", "worker"), Outcome.DONE, payment="UNKNOWN authorize 1"),
        Row(Confirm("b1", "worker", 1, "pi_1"), Outcome.CONFIRMED, "P:1:0:2"),
        Row(
            PaymentUnknown("b1", "worker", 1, Step.CAPTURE),
            Outcome.PAYMENT_UNKNOWN,
            payment="UNKNOWN capture 1",
        ),
        Row(ClaimPayment("b1", "api"), Outcome.DONE),
        Row(CAPTURE, Outcome.CAPTURED, payment="CAPTURED none 1"),
    ),
    "the_buyer_acts_and_the_payment_goes_on": (
        *BEGUN,
        Row(
            RequireAction("b1", "api", 1, "pi_1", ACTION),
            Outcome.REQUIRES_ACTION,
            payment="REQUIRES_ACTION authorize 1",
        ),
        Row(begin(), Outcome.JOINED, payment="REQUIRES_ACTION authorize 1"),
        Row(ClaimPayment("b1", "worker"), Outcome.DONE),
        Row(RequireAction("b1", "worker", 1, "pi_1", ACTION), Outcome.UNCHANGED),
        Row(ClaimPayment("b1", "worker"), Outcome.DONE),
        Row(
            PaymentUnknown("b1", "worker", 1, Step.AUTHORIZE),
            Outcome.PAYMENT_UNKNOWN,
            payment="UNKNOWN authorize 1",
        ),
        Row(ClaimPayment("b1", "worker"), Outcome.DONE),
        Row(
            RequireAction("b1", "worker", 1, "pi_1", ACTION),
            Outcome.REQUIRES_ACTION,
            payment="REQUIRES_ACTION authorize 1",
        ),
        Row(ClaimPayment("b1", "worker"), Outcome.DONE),
        Row(Confirm("b1", "worker", 1, "pi_1"), Outcome.CONFIRMED, "P:1:0:2"),
    ),
    "an_action_that_the_buyer_never_took_is_a_decline": (
        *BEGUN,
        Row(RequireAction("b1", "api", 1, "pi_1", ACTION), Outcome.REQUIRES_ACTION),
        Row(ClaimPayment("b1", "api"), Outcome.DONE),
        declined(1),
        begun(2),
    ),
    "a_hold_under_payment_cannot_be_extended_and_after_a_decline_it_can": (
        *BEGUN,
        Row(Extend("b1"), Outcome.INVALID_STATE, payment="AUTHORIZING authorize 1").at(10),
        declined(1),
        Row(Extend("b1"), Outcome.EXTENDED, payment="DECLINED none 1").at(20),
        begun(2),
        Row(Extend("b1"), Outcome.UNCHANGED).at(30),
        Row(Confirm("b1", "api", 2, "pi_2"), Outcome.CONFIRMED, "P:1:0:2").at(HOLD_MS + 19),
    ),
}
