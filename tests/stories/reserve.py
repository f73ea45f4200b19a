"""Stories of `reserve`, where no hold is due."""

from __future__ import annotations

from typing import Final

from engine.limits import MAX_INTEGER
from engine.model import Bounds, Cancel, ConfirmFree
from engine.outcomes import Outcome
from engine.types import Status
from tests.stories.story import BEGIN_MS, CUSTOMER, HOLD_MS, Row, Story, hold, put, sale

_HALF = 2**52
_PUT = Row(put(sale("A:10:0 B:5:300:2")), Outcome.CREATED, "A:10:0:0 B:5:0:0")
_CAPPED = Row(put(sale("A:10:0", max_units_per_customer=4)), Outcome.CREATED, "A:10:0:0")

RESERVE: Final[dict[str, Story]] = {
    "held_units_are_no_longer_available": (
        _PUT,
        Row(hold("b1", "A:2 B:1"), Outcome.HELD, "A:8:2:0 B:4:1:0", status=Status.PENDING),
        Row(hold("b2", "A:8", "bob"), Outcome.HELD, "A:0:10:0 B:4:1:0"),
        Row(hold("b3", "A:1", "cat"), Outcome.SOLD_OUT, item_id="A"),
    ),
    "two_lines_on_one_item_are_one_demand": (
        _PUT,
        Row(hold("b1", "A:6 A:5"), Outcome.SOLD_OUT, item_id="A"),
        Row(hold("b2", "A:6 A:4"), Outcome.HELD, "A:0:10:0 B:5:0:0"),
        Row(Cancel("b2", CUSTOMER), Outcome.CANCELLED, "A:10:0:0 B:5:0:0"),
    ),
    "a_cart_of_which_one_item_is_short_takes_nothing": (
        Row(put(sale("A:10:0 B:1:0 C:10:0")), Outcome.CREATED, "A:10:0:0 B:1:0:0 C:10:0:0"),
        Row(hold("b1", "A:1 B:2 C:1"), Outcome.SOLD_OUT, item_id="B"),
        Row(hold("b2", "A:1 B:1 C:1"), Outcome.HELD, "A:9:1:0 B:0:1:0 C:9:1:0"),
    ),
    "the_first_item_that_is_short_is_named": (
        _PUT,
        Row(hold("b1", "A:10"), Outcome.HELD, "A:0:10:0 B:5:0:0"),
        Row(hold("b2", "B:1 A:1"), Outcome.SOLD_OUT, item_id="A"),
    ),
    "a_sale_sells_from_its_opening_to_its_closing": (
        Row(
            put(sale(opens_ms=BEGIN_MS + 10, closes_ms=BEGIN_MS + 20)), Outcome.CREATED, "A:10:0:0"
        ),
        Row(hold("b1", "A:1"), Outcome.SALE_NOT_OPEN).at(9),
        Row(hold("b1", "A:1"), Outcome.HELD, "A:9:1:0").at(10),
        Row(hold("b2", "A:1"), Outcome.HELD, "A:8:2:0").at(19),
        Row(hold("b3", "A:1"), Outcome.SALE_CLOSED).at(20),
    ),
    "what_does_not_exist_is_named": (
        Row(hold("b1", "A:1"), Outcome.UNKNOWN_SALE),
        _PUT,
        Row(hold("b1", "A:1", sale_id="other"), Outcome.UNKNOWN_SALE),
        Row(hold("b1", "A:1 X:1 Y:1"), Outcome.UNKNOWN_ITEM, item_id="X"),
    ),
    "the_cap_of_a_booking_counts_all_lines_of_an_item": (
        _PUT,
        Row(hold("b1", "B:1 A:1 B:2"), Outcome.BOOKING_LIMIT, item_id="B"),
        Row(hold("b2", "B:1 A:1 B:1"), Outcome.HELD, "A:9:1:0 B:3:2:0"),
        Row(hold("b3", "B:2"), Outcome.HELD, "A:9:1:0 B:1:4:0"),
    ),
    "a_total_at_the_bound_is_exact_and_beyond_it_refused": (
        Row(
            put(sale(f"A:9:{MAX_INTEGER} B:9:{_HALF} C:9:{_HALF - 1}")),
            Outcome.CREATED,
            "A:9:0:0 B:9:0:0 C:9:0:0",
        ),
        Row(hold("b1", "A:1"), Outcome.HELD, "A:8:1:0 B:9:0:0 C:9:0:0"),
        Row(hold("b2", "A:2"), Outcome.AMOUNT_TOO_LARGE),
        Row(hold("b3", "B:1 C:1"), Outcome.HELD, "A:8:1:0 B:8:1:0 C:8:1:0"),
        Row(hold("b4", "B:2"), Outcome.AMOUNT_TOO_LARGE),
        Row(hold("b5", "A:1 B:1"), Outcome.AMOUNT_TOO_LARGE),
    ),
    "the_cap_of_a_customer_counts_what_is_held_and_sold": (
        _CAPPED,
        Row(hold("b1", "A:2"), Outcome.HELD, "A:8:2:0"),
        Row(hold("b2", "A:3"), Outcome.CUSTOMER_LIMIT),
        Row(hold("b3", "A:3", "bob"), Outcome.HELD, "A:5:5:0"),
        Row(ConfirmFree("b1", "ann", "k", "f"), Outcome.CONFIRMED, "A:5:3:2"),
        Row(hold("b4", "A:3"), Outcome.CUSTOMER_LIMIT),
        Row(hold("b5", "A:2"), Outcome.HELD, "A:3:5:2"),
        Row(hold("b6", "A:1"), Outcome.CUSTOMER_LIMIT),
    ),
    "what_is_given_back_counts_no_more": (
        _CAPPED,
        Row(hold("b1", "A:4"), Outcome.HELD, "A:6:4:0"),
        Row(hold("b2", "A:1"), Outcome.CUSTOMER_LIMIT),
        Row(Cancel("b1", CUSTOMER), Outcome.CANCELLED, "A:10:0:0"),
        Row(hold("b2", "A:4"), Outcome.HELD, "A:6:4:0"),
        Row(ConfirmFree("b2", "ann", "k", "f"), Outcome.CONFIRMED, "A:6:0:4"),
        Row(Cancel("b2", CUSTOMER), Outcome.CANCELLED, "A:10:0:0"),
        Row(hold("b3", "A:4"), Outcome.HELD, "A:6:4:0"),
    ),
    "more_than_a_customer_may_ever_have_is_refused_at_once": (
        _CAPPED,
        Row(hold("b1", "A:5"), Outcome.CUSTOMER_LIMIT),
    ),
    "a_cap_lowered_below_what_somebody_has_takes_nothing_away": (
        _CAPPED,
        Row(hold("b1", "A:4"), Outcome.HELD, "A:6:4:0"),
        Row(put(sale("A:10:0", max_units_per_customer=1), "put-2"), Outcome.UPDATED),
        Row(hold("b2", "A:1"), Outcome.CUSTOMER_LIMIT),
        Row(ConfirmFree("b1", "ann", "k", "f"), Outcome.CONFIRMED, "A:6:0:4"),
    ),
    "a_key_that_comes_again_gets_the_first_answer_whatever_happened_since": (
        Row(
            put(sale("A:2:0", closes_ms=BEGIN_MS + 50, max_units_per_customer=2)),
            Outcome.CREATED,
            "A:2:0:0",
        ),
        Row(hold("b1", "A:2", key="k"), Outcome.HELD, "A:0:2:0"),
        Row(hold("b2", "A:2", key="k"), Outcome.REPLAYED, status=Status.PENDING),
        Row(Cancel("b1", CUSTOMER), Outcome.CANCELLED, "A:2:0:0"),
        Row(hold("b3", "A:2", key="k"), Outcome.REPLAYED, status=Status.PENDING),
        Row(hold("b4", "A:2", key="k"), Outcome.REPLAYED, status=Status.PENDING).at(60),
        Row(hold("b5", "A:2"), Outcome.SALE_CLOSED).at(60),
    ),
    "a_key_with_other_lines_is_refused": (
        _PUT,
        Row(hold("b1", "A:2", key="k"), Outcome.HELD, "A:8:2:0 B:5:0:0"),
        Row(hold("b2", "A:1", key="k"), Outcome.IDEMPOTENCY_KEY_REUSED),
        Row(hold("b3", "A:99", key="k"), Outcome.IDEMPOTENCY_KEY_REUSED),
    ),
    "a_key_belongs_to_one_customer": (
        _PUT,
        Row(hold("b1", "A:2", "ann", key="k"), Outcome.HELD, "A:8:2:0 B:5:0:0"),
        Row(hold("b2", "A:2", "bob", key="k"), Outcome.HELD, "A:6:4:0 B:5:0:0"),
    ),
    "a_refusal_is_not_kept": (
        Row(put(sale("A:1:0")), Outcome.CREATED, "A:1:0:0"),
        Row(hold("b1", "A:1", "ann"), Outcome.HELD, "A:0:1:0"),
        Row(hold("b2", "A:1", "bob", key="k"), Outcome.SOLD_OUT, item_id="A"),
        Row(Cancel("b1", CUSTOMER), Outcome.CANCELLED, "A:1:0:0"),
        Row(hold("b2", "A:1", "bob", key="k"), Outcome.HELD, "A:0:1:0"),
    ),
    "a_backlog_at_its_bound_sheds_new_holds_and_answers_replays": (
        _PUT,
        Row(hold("b1", "A:1", key="k", bounds=Bounds(2)), Outcome.HELD, "A:9:1:0 B:5:0:0"),
        Row(hold("b2", "A:1", bounds=Bounds(2)), Outcome.BACKLOG_FULL),
        Row(hold("b3", "A:1", key="k", bounds=Bounds(2)), Outcome.REPLAYED),
        Row(Cancel("b1", CUSTOMER), Outcome.CANCELLED, "A:10:0:0 B:5:0:0"),
        Row(hold("b4", "A:1", bounds=Bounds(4)), Outcome.HELD, "A:9:1:0 B:5:0:0"),
    ),
    "replay_comes_before_the_backlog_the_sale_the_window_the_item_the_caps_and_the_stock": (
        Row(
            put(sale("A:2:9 B:9:9:3", opens_ms=BEGIN_MS + 10, max_units_per_customer=4)),
            Outcome.CREATED,
            "A:2:0:0 B:9:0:0",
        ),
        Row(hold("b1", "X:9", bounds=Bounds(1)), Outcome.BACKLOG_FULL),
        Row(hold("b1", "X:9", sale_id="no"), Outcome.UNKNOWN_SALE),
        Row(hold("b1", "X:9"), Outcome.SALE_NOT_OPEN),
        Row(hold("b1", "B:9 X:9"), Outcome.UNKNOWN_ITEM, item_id="X").at(10),
        Row(hold("b1", "B:9", bounds=Bounds(max_amount=1)), Outcome.BOOKING_LIMIT, item_id="B").at(
            10
        ),
        Row(hold("b1", "A:9", bounds=Bounds(max_amount=1)), Outcome.AMOUNT_TOO_LARGE).at(10),
        Row(hold("b1", "A:9"), Outcome.CUSTOMER_LIMIT).at(10),
        Row(hold("b1", "A:3"), Outcome.SOLD_OUT, item_id="A").at(10),
        Row(hold("b1", "A:2", key="k"), Outcome.HELD, "A:0:2:0 B:9:0:0").at(10),
        Row(hold("b2", "A:2", key="k", bounds=Bounds(1)), Outcome.REPLAYED).at(HOLD_MS),
    ),
    "contact_data_is_told_of_in_the_journal_and_not_shown": (
        _PUT,
        Row(hold("b1", "A:1", contact=True), Outcome.HELD, "A:9:1:0 B:5:0:0"),
    ),
}
