"""Stories of a payment and the deadline of its hold: the one grace, and money that comes late."""

from __future__ import annotations

from typing import Final

from engine.model import (
    Cancel,
    ClaimPayment,
    Confirm,
    Expire,
    Extend,
    PaymentFailed,
    PaymentUnknown,
    RecordCapture,
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
    CONFIRM,
    GRACE_MS,
    HELD,
    begin,
    begun,
    declined,
)
from tests.stories.story import BEGIN_MS, CUSTOMER, HOLD_MS, OPERATOR, Row, Story, hold, put, sale

_END_MS: Final = HOLD_MS + GRACE_MS
_EXPIRED: Final = (
    *BEGUN,
    Row(Expire("gig"), Outcome.DONE, "P:3:0:0", expired=1).at(_END_MS),
)
_TAKEN_AGAIN: Final = (
    *_EXPIRED,
    Row(
        CONFIRM,
        Outcome.LATE_MONEY,
        "P:1:0:2",
        status=Status.CONFIRMED,
        payment="CAPTURING capture 1",
    ),
)
_VOID: Final = (
    Row(
        CONFIRM,
        Outcome.LATE_MONEY,
        status=Status.CANCELLED,
        payment="AUTHORIZED void 1",
    ),
    Row(Voided("b1", "api", 1), Outcome.VOIDED, payment="VOIDED none 1"),
)

DEADLINES: Final[dict[str, Story]] = {
    "a_hold_under_payment_lives_for_one_grace_more": (
        *BEGUN,
        Row(Expire("gig"), Outcome.DONE).at(HOLD_MS),
        Row(Extend("b1"), Outcome.HOLD_EXPIRED, status=Status.PENDING).at(HOLD_MS),
        Row(hold("b2", "P:2", "bob"), Outcome.SOLD_OUT, item_id="P").at(_END_MS - 1),
        Row(Expire("gig"), Outcome.DONE).at(_END_MS - 1),
        Row(Expire("gig"), Outcome.DONE, "P:3:0:0", expired=1).at(_END_MS),
        Row(Extend("b1"), Outcome.HOLD_EXPIRED, payment="AUTHORIZING authorize 1").at(_END_MS),
    ),
    "a_payment_within_the_grace_is_in_time": (
        *BEGUN,
        Row(CONFIRM, Outcome.CONFIRMED, "P:1:0:2", status=Status.CONFIRMED).at(_END_MS - 1),
        Row(Expire("gig"), Outcome.DONE).at(_END_MS),
        Row(CAPTURE, Outcome.CAPTURED).at(10 * _END_MS),
    ),
    "a_hold_at_its_deadline_goes_to_whoever_comes_first_the_payment": (
        *BEGUN,
        Row(CONFIRM, Outcome.CONFIRMED, "P:1:0:2").at(_END_MS + 1),
        Row(Expire("gig"), Outcome.DONE).at(_END_MS + 1),
    ),
    "a_hold_at_its_deadline_goes_to_whoever_comes_first_the_next_buyer": (
        *BEGUN,
        Row(hold("b2", "P:2", "bob"), Outcome.HELD, "P:1:2:0").at(_END_MS),
        *_VOID,
    ),
    "no_payment_begins_in_the_grace": (
        *HELD,
        Row(begin(), Outcome.HOLD_EXPIRED, payment="none").at(HOLD_MS),
    ),
    "a_hold_that_ended_cannot_be_paid": (
        *HELD,
        Row(Expire("gig"), Outcome.DONE, "P:3:0:0", expired=1).at(HOLD_MS),
        Row(begin(), Outcome.HOLD_EXPIRED, status=Status.CANCELLED).at(HOLD_MS),
    ),
    "a_hold_that_was_cancelled_cannot_be_paid": (
        *HELD,
        Row(Cancel("b1", CUSTOMER), Outcome.CANCELLED, "P:3:0:0"),
        Row(begin(), Outcome.INVALID_STATE, status=Status.CANCELLED),
    ),
    "a_decline_takes_the_grace_back": (
        *BEGUN,
        declined(1),
        Row(Expire("gig"), Outcome.DONE, "P:3:0:0", expired=1).at(HOLD_MS),
        Row(begin("k2"), Outcome.HOLD_EXPIRED, payment="DECLINED none 1").at(HOLD_MS),
    ),
    "a_decline_in_the_grace_leaves_a_hold_that_is_due": (
        *BEGUN,
        Row(
            PaymentFailed("b1", "api", 1, "declined"),
            Outcome.PAYMENT_FAILED,
            status=Status.PENDING,
        ).at(HOLD_MS + 1),
        Row(begin("k2"), Outcome.HOLD_EXPIRED, status=Status.PENDING).at(HOLD_MS + 1),
        Row(hold("b2", "P:3", "bob"), Outcome.HELD, "P:0:3:0").at(HOLD_MS + 1),
    ),
    "each_attempt_has_the_same_grace_and_no_more": (
        *BEGUN,
        declined(1),
        begun(2),
        Row(Expire("gig"), Outcome.DONE).at(_END_MS - 1),
        Row(Expire("gig"), Outcome.DONE, "P:3:0:0", expired=1).at(_END_MS),
    ),
    "late_money_takes_new_stock_where_all_of_it_is_there": (
        *_TAKEN_AGAIN,
        Row(CAPTURE, Outcome.CAPTURED, payment="CAPTURED none 1").at(_END_MS + 9),
        Row(begin(), Outcome.REPLAYED, status=Status.CONFIRMED),
    ),
    "late_money_takes_no_stock_that_is_not_there": (
        *_EXPIRED,
        Row(hold("b2", "P:2", "bob"), Outcome.HELD, "P:1:2:0").at(_END_MS),
        *_VOID,
        Row(begin(), Outcome.REPLAYED, status=Status.CANCELLED, payment="VOIDED none 1"),
    ),
    "late_money_takes_all_items_or_none": (
        Row(put(sale("P:2:500 Q:1:1")), Outcome.CREATED, "P:2:0:0 Q:1:0:0"),
        Row(hold("b1", "P:2 Q:1"), Outcome.HELD, "P:0:2:0 Q:0:1:0"),
        Row(begin(), Outcome.BEGUN),
        Row(Expire("gig"), Outcome.DONE, "P:2:0:0 Q:1:0:0", expired=1).at(_END_MS),
        Row(hold("b2", "Q:1", "bob"), Outcome.HELD, "P:2:0:0 Q:0:1:0").at(_END_MS),
        *_VOID,
    ),
    "late_money_for_an_item_that_the_sale_no_longer_has_is_given_back": (
        Row(put(sale("P:2:500 Q:1:1")), Outcome.CREATED, "P:2:0:0 Q:1:0:0"),
        Row(hold("b1", "Q:1"), Outcome.HELD, "P:2:0:0 Q:0:1:0"),
        Row(begin(), Outcome.BEGUN),
        Row(Expire("gig"), Outcome.DONE, "P:2:0:0 Q:1:0:0", expired=1).at(_END_MS),
        Row(put(sale("P:2:500"), "put-2"), Outcome.UPDATED, "P:2:0:0"),
        *_VOID,
    ),
    "late_money_takes_no_more_than_the_customer_may_have": (
        Row(put(sale("P:9:500", max_units_per_customer=3)), Outcome.CREATED, "P:9:0:0"),
        Row(hold("b1", "P:2"), Outcome.HELD, "P:7:2:0"),
        Row(begin(), Outcome.BEGUN),
        Row(Expire("gig"), Outcome.DONE, "P:9:0:0", expired=1).at(_END_MS),
        Row(hold("b2", "P:2"), Outcome.HELD, "P:7:2:0").at(_END_MS),
        *_VOID,
    ),
    "late_money_takes_no_more_than_one_booking_may_have_by_now": (
        Row(put(sale("P:9:500:2")), Outcome.CREATED, "P:9:0:0"),
        Row(hold("b1", "P:2"), Outcome.HELD, "P:7:2:0"),
        Row(begin(), Outcome.BEGUN),
        Row(Expire("gig"), Outcome.DONE, "P:9:0:0", expired=1).at(_END_MS),
        Row(put(sale("P:9:500:1"), "put-2"), Outcome.UPDATED),
        *_VOID,
    ),
    "late_money_takes_nothing_of_a_sale_that_has_closed": (
        Row(put(sale("P:3:500", closes_ms=BEGIN_MS + _END_MS)), Outcome.CREATED, "P:3:0:0"),
        Row(hold("b1", "P:2"), Outcome.HELD, "P:1:2:0"),
        Row(begin(), Outcome.BEGUN),
        Row(Expire("gig"), Outcome.DONE, "P:3:0:0", expired=1).at(_END_MS),
        *_VOID,
    ),
    "money_in_time_is_taken_although_the_sale_has_closed": (
        Row(put(sale("P:3:500", closes_ms=BEGIN_MS + 1)), Outcome.CREATED, "P:3:0:0"),
        Row(hold("b1", "P:2"), Outcome.HELD, "P:1:2:0"),
        Row(begin(), Outcome.BEGUN).at(1),
        Row(CONFIRM, Outcome.CONFIRMED, "P:1:0:2").at(_END_MS - 1),
    ),
    "late_money_takes_nothing_of_a_sale_that_is_to_open_again": (
        *_EXPIRED,
        Row(put(sale("P:3:500", opens_ms=BEGIN_MS + 2 * _END_MS), "put-2"), Outcome.UPDATED),
        *_VOID,
    ),
    "late_money_counts_for_the_customers_cap_again": (
        Row(put(sale("P:3:500", max_units_per_customer=2)), Outcome.CREATED, "P:3:0:0"),
        Row(hold("b1", "P:2"), Outcome.HELD, "P:1:2:0"),
        Row(begin(), Outcome.BEGUN),
        Row(Expire("gig"), Outcome.DONE, "P:3:0:0", expired=1).at(_END_MS),
        Row(CONFIRM, Outcome.LATE_MONEY, "P:1:0:2", status=Status.CONFIRMED),
        Row(hold("b2", "P:1"), Outcome.CUSTOMER_LIMIT),
        Row(Cancel("b1", OPERATOR), Outcome.CANCELLED, "P:3:0:0", payment="AUTHORIZED void 1"),
        Row(hold("b2", "P:1"), Outcome.HELD, "P:2:1:0"),
    ),
    "an_open_payment_whose_hold_ended_is_made_definite_all_the_same": (
        *_EXPIRED,
        Row(
            PaymentUnknown("b1", "api", 1, Step.AUTHORIZE),
            Outcome.PAYMENT_UNKNOWN,
            status=Status.CANCELLED,
        ),
        Row(ClaimPayment("b1", "worker"), Outcome.DONE),
        Row(
            RequireAction("b1", "worker", 1, "pi_1", ACTION),
            Outcome.REQUIRES_ACTION,
            status=Status.CANCELLED,
        ),
        Row(ClaimPayment("b1", "worker"), Outcome.DONE),
        Row(
            PaymentFailed("b1", "worker", 1, "declined"),
            Outcome.PAYMENT_FAILED,
            status=Status.CANCELLED,
            payment="DECLINED none 1",
        ),
        Row(begin(), Outcome.REPLAYED, payment="DECLINED none 1"),
        Row(begin("k2"), Outcome.HOLD_EXPIRED),
    ),
    "money_captured_although_it_came_too_late_is_refunded": (
        *_EXPIRED,
        Row(hold("b2", "P:2", "bob"), Outcome.HELD, "P:1:2:0").at(_END_MS),
        _VOID[0],
        Row(
            RecordCapture("b1", "api", 1, "ch_1"),
            Outcome.REFUND_BEGUN,
            status=Status.CANCELLED,
            payment="REFUNDING refund 1",
        ),
    ),
    "a_cancelled_hold_under_payment_is_no_hold_that_expired": (
        *BEGUN,
        Row(
            Cancel("b1", CUSTOMER),
            Outcome.CANCELLED,
            "P:3:0:0",
            payment="AUTHORIZING authorize 1",
        ).at(_END_MS - 1),
        *_VOID,
    ),
    "a_due_hold_under_payment_that_is_cancelled_is_no_hold_that_expired": (
        *BEGUN,
        Row(Cancel("b1", CUSTOMER), Outcome.CANCELLED, "P:3:0:0").at(_END_MS),
        *_VOID,
    ),
    "what_expired_under_payment_and_is_cancelled_then_gets_no_late_money": (
        *_EXPIRED,
        Row(
            Cancel("b1", CUSTOMER),
            Outcome.CANCELLED,
            "P:3:0:0",
            payment="AUTHORIZING authorize 1",
        ),
        Row(Cancel("b1", CUSTOMER), Outcome.UNCHANGED, "P:3:0:0"),
        *_VOID,
        Row(Cancel("b1", CUSTOMER), Outcome.UNCHANGED, "P:3:0:0"),
    ),
    "what_late_money_bought_can_be_cancelled": (
        *_TAKEN_AGAIN,
        Row(Cancel("b1", CUSTOMER), Outcome.CANCELLED, "P:3:0:0", payment="AUTHORIZED void 1"),
        Row(Voided("b1", "api", 1), Outcome.VOIDED, payment="VOIDED none 1"),
    ),
    "a_booking_that_late_money_bought_is_confirmed_by_its_own_attempt_alone": (
        *_TAKEN_AGAIN,
        Row(Confirm("b1", "api", 2, "pi_2"), Outcome.MOVED_ON, payment="CAPTURING capture 1"),
    ),
}
