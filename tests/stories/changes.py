"""Stories of `extend`, `cancel`, `confirm` and `complete`."""

from __future__ import annotations

from typing import Final

from engine.model import Cancel, Complete, ConfirmFree, Extend
from engine.outcomes import Outcome
from engine.types import Status
from tests.stories.story import BEGIN_MS, CUSTOMER, HOLD_MS, OPERATOR, Row, Story, hold, put, sale

_HELD = (
    Row(put(sale("A:3:0 P:3:500")), Outcome.CREATED, "A:3:0:0 P:3:0:0"),
    Row(hold("b1", "A:2"), Outcome.HELD, "A:1:2:0 P:3:0:0"),
)
_CONFIRM = ConfirmFree("b1", "ann", "pay-1", "f")
_SOLD = (*_HELD, Row(_CONFIRM, Outcome.CONFIRMED, "A:1:0:2 P:3:0:0", status=Status.CONFIRMED))
_USED = (*_SOLD, Row(Complete("b1"), Outcome.COMPLETED, status=Status.COMPLETED))

CHANGES: Final[dict[str, Story]] = {
    "a_live_hold_can_be_extended_once": (
        *_HELD,
        Row(Extend("b1", "ann"), Outcome.EXTENDED, status=Status.PENDING).at(10),
        Row(Extend("b1", "ann"), Outcome.UNCHANGED, status=Status.PENDING).at(20),
        Row(_CONFIRM, Outcome.CONFIRMED, "A:1:0:2 P:3:0:0").at(HOLD_MS + 9),
    ),
    "an_extension_never_shortens_a_hold": (
        *_HELD,
        Row(put(sale("A:3:0 P:3:500", hold_ms=1_000), "put-2"), Outcome.UPDATED),
        Row(Extend("b1"), Outcome.EXTENDED, status=Status.PENDING).at(10),
        Row(_CONFIRM, Outcome.CONFIRMED, "A:1:0:2 P:3:0:0").at(HOLD_MS - 1),
    ),
    "a_closed_sale_extends_nothing_but_sells_what_is_held": (
        Row(put(sale(closes_ms=BEGIN_MS + 10)), Outcome.CREATED, "A:10:0:0"),
        Row(hold("b1", "A:2"), Outcome.HELD, "A:8:2:0"),
        Row(Extend("b1"), Outcome.SALE_CLOSED, status=Status.PENDING).at(10),
        Row(_CONFIRM, Outcome.CONFIRMED, "A:8:0:2").at(10),
    ),
    "only_a_hold_can_be_extended": (
        *_USED,
        Row(Extend("b1"), Outcome.INVALID_STATE, status=Status.COMPLETED),
        Row(hold("b2", "A:1"), Outcome.HELD, "A:0:1:2 P:3:0:0"),
        Row(ConfirmFree("b2", "ann", "k", "f"), Outcome.CONFIRMED, "A:0:0:3 P:3:0:0"),
        Row(Extend("b2"), Outcome.INVALID_STATE, status=Status.CONFIRMED),
        Row(Cancel("b2", CUSTOMER), Outcome.CANCELLED, "A:1:0:2 P:3:0:0"),
        Row(Extend("b2"), Outcome.INVALID_STATE, status=Status.CANCELLED),
    ),
    "an_extension_said_again_is_answered_by_what_became_of_the_booking": (
        *_HELD,
        Row(Extend("b1"), Outcome.EXTENDED, status=Status.PENDING).at(10),
        Row(_CONFIRM, Outcome.CONFIRMED, "A:1:0:2 P:3:0:0").at(20),
        Row(Extend("b1"), Outcome.UNCHANGED, status=Status.CONFIRMED).at(30),
        Row(Cancel("b1", CUSTOMER), Outcome.CANCELLED, "A:3:0:0 P:3:0:0").at(30),
        Row(Extend("b1"), Outcome.UNCHANGED, status=Status.CANCELLED).at(30),
    ),
    "a_cancelled_hold_gives_its_units_back_once": (
        *_HELD,
        Row(Cancel("b1", CUSTOMER, "ann"), Outcome.CANCELLED, "A:3:0:0 P:3:0:0"),
        Row(Cancel("b1", OPERATOR), Outcome.UNCHANGED, status=Status.CANCELLED),
    ),
    "a_cancelled_sale_gives_its_units_back_once": (
        *_SOLD,
        Row(Cancel("b1", OPERATOR), Outcome.CANCELLED, "A:3:0:0 P:3:0:0", status=Status.CANCELLED),
        Row(Cancel("b1", CUSTOMER, "ann"), Outcome.UNCHANGED, status=Status.CANCELLED),
    ),
    "what_was_used_up_cannot_be_cancelled": (
        *_USED,
        Row(Cancel("b1", OPERATOR), Outcome.INVALID_STATE, status=Status.COMPLETED),
    ),
    "a_confirmed_hold_has_no_deadline": (
        *_SOLD,
        Row(hold("b2", "A:2", "bob"), Outcome.SOLD_OUT, item_id="A").at(10 * HOLD_MS),
    ),
    "a_total_above_zero_wants_a_payment": (
        *_HELD,
        Row(hold("b2", "A:1 P:1"), Outcome.HELD, "A:0:3:0 P:2:1:0"),
        Row(ConfirmFree("b2", "ann", "k", "f"), Outcome.PAYMENT_REQUIRED, status=Status.PENDING),
    ),
    "a_confirmation_that_comes_again_gets_the_first_answer": (
        *_SOLD,
        Row(_CONFIRM, Outcome.REPLAYED, status=Status.CONFIRMED),
        Row(ConfirmFree("b1", "ann", "pay-1", "g"), Outcome.IDEMPOTENCY_KEY_REUSED),
        Row(ConfirmFree("b1", "ann", "pay-2", "f"), Outcome.INVALID_STATE, status=Status.CONFIRMED),
        Row(Cancel("b1", CUSTOMER), Outcome.CANCELLED, "A:3:0:0 P:3:0:0"),
        Row(_CONFIRM, Outcome.REPLAYED, status=Status.CONFIRMED).at(10 * HOLD_MS),
    ),
    "a_cancelled_hold_cannot_be_confirmed": (
        *_HELD,
        Row(Cancel("b1", CUSTOMER), Outcome.CANCELLED, "A:3:0:0 P:3:0:0"),
        Row(_CONFIRM, Outcome.INVALID_STATE, status=Status.CANCELLED),
    ),
    "only_what_is_confirmed_can_be_completed": (
        *_HELD,
        Row(Complete("b1"), Outcome.INVALID_STATE, status=Status.PENDING),
        Row(_CONFIRM, Outcome.CONFIRMED, "A:1:0:2 P:3:0:0"),
        Row(Complete("b1"), Outcome.COMPLETED, status=Status.COMPLETED).at(5),
        Row(Complete("b1"), Outcome.UNCHANGED, status=Status.COMPLETED).at(6),
        Row(_CONFIRM, Outcome.REPLAYED, status=Status.CONFIRMED).at(7),
    ),
    "a_cancelled_booking_cannot_be_completed": (
        *_HELD,
        Row(Cancel("b1", CUSTOMER), Outcome.CANCELLED, "A:3:0:0 P:3:0:0"),
        Row(Complete("b1"), Outcome.INVALID_STATE, status=Status.CANCELLED),
    ),
    "the_booking_of_another_customer_is_absent": (
        *_HELD,
        Row(Extend("b1", "bob"), Outcome.ABSENT),
        Row(Cancel("b1", CUSTOMER, "bob"), Outcome.ABSENT),
        Row(ConfirmFree("b1", "bob", "k", "f"), Outcome.ABSENT),
    ),
    "a_booking_that_never_was_is_absent": (
        *_HELD,
        Row(Extend("b9"), Outcome.ABSENT),
        Row(Cancel("b9", OPERATOR), Outcome.ABSENT),
        Row(ConfirmFree("b9", "ann", "k", "f"), Outcome.ABSENT),
        Row(Complete("b9"), Outcome.ABSENT),
    ),
}
