"""Stories of holds whose deadline has passed."""

from __future__ import annotations

from typing import Final

from engine.limits import MAX_TAKEN_BACK_PER_RESERVE
from engine.model import Bounds, Cancel, ConfirmFree, Expire, Extend
from engine.outcomes import Outcome
from engine.types import Status
from tests.stories.story import CUSTOMER, HOLD_MS, Row, Story, hold, put, sale


def _held(count: int, capacity: int) -> Story:
    """`count` holds of one unit of A each, all due at once; the item is then exhausted."""
    return (
        Row(put(sale(f"A:{capacity}:0")), Outcome.CREATED, f"A:{capacity}:0:0"),
        *(
            Row(hold(f"b{i:03}", "A:1"), Outcome.HELD, f"A:{capacity - i - 1}:{i + 1}:0")
            for i in range(count)
        ),
    )


_ONE = (
    Row(put(sale("A:1:0")), Outcome.CREATED, "A:1:0:0"),
    Row(hold("b1", "A:1"), Outcome.HELD, "A:0:1:0"),
)
_THREE = (
    Row(put(sale("A:3:0")), Outcome.CREATED, "A:3:0:0"),
    Row(hold("b1", "A:1"), Outcome.HELD, "A:2:1:0"),
    Row(hold("b2", "A:1"), Outcome.HELD, "A:1:2:0").at(1),
    Row(hold("b3", "A:1"), Outcome.HELD, "A:0:3:0").at(2),
)
_FEW = Bounds(max_taken=2)
_NEAR = Bounds(max_due_scanned=2)
_MOST = MAX_TAKEN_BACK_PER_RESERVE

DUE: Final[dict[str, Story]] = {
    "a_due_hold_gives_its_units_to_the_next_buyer_without_a_sweeper": (
        *_ONE,
        Row(hold("b2", "A:1", "bob"), Outcome.SOLD_OUT, item_id="A").at(HOLD_MS - 1),
        Row(hold("b2", "A:1", "bob"), Outcome.HELD, "A:0:1:0").at(HOLD_MS),
        Row(ConfirmFree("b1", "ann", "k", "f"), Outcome.HOLD_EXPIRED, status=Status.CANCELLED).at(
            HOLD_MS
        ),
    ),
    "a_hold_that_expired_cannot_be_extended": (
        *_ONE,
        Row(Extend("b1"), Outcome.HOLD_EXPIRED, status=Status.PENDING).at(HOLD_MS),
        Row(Expire("gig"), Outcome.DONE, "A:1:0:0", expired=1).at(HOLD_MS),
        Row(Extend("b1"), Outcome.HOLD_EXPIRED, status=Status.CANCELLED).at(HOLD_MS),
    ),
    "a_hold_that_expired_cannot_be_confirmed": (
        *_ONE,
        Row(ConfirmFree("b1", "ann", "k", "f"), Outcome.HOLD_EXPIRED, status=Status.PENDING).at(
            HOLD_MS
        ),
        Row(Expire("gig"), Outcome.DONE, "A:1:0:0", expired=1).at(HOLD_MS),
        Row(ConfirmFree("b1", "ann", "k", "f"), Outcome.HOLD_EXPIRED, status=Status.CANCELLED).at(
            HOLD_MS
        ),
    ),
    "a_due_hold_that_is_cancelled_ends_as_expired": (
        *_ONE,
        Row(Cancel("b1", CUSTOMER), Outcome.CANCELLED, "A:1:0:0", status=Status.CANCELLED).at(
            HOLD_MS
        ),
        Row(Extend("b1"), Outcome.HOLD_EXPIRED).at(HOLD_MS),
    ),
    "only_as_many_due_holds_are_taken_back_as_are_needed_the_oldest_first": (
        *_THREE,
        Row(hold("b4", "A:2", "bob"), Outcome.HELD, "A:0:3:0").at(HOLD_MS + 2),
        Row(Cancel("b1", CUSTOMER), Outcome.UNCHANGED, status=Status.CANCELLED).at(HOLD_MS + 2),
        Row(Cancel("b2", CUSTOMER), Outcome.UNCHANGED, status=Status.CANCELLED).at(HOLD_MS + 2),
        Row(Cancel("b3", CUSTOMER), Outcome.CANCELLED, "A:1:2:0").at(HOLD_MS + 2),
    ),
    "due_holds_that_do_not_suffice_are_left_alone": (
        *_THREE,
        Row(hold("b4", "A:3", "bob"), Outcome.SOLD_OUT, item_id="A").at(HOLD_MS + 1),
        Row(hold("b4", "A:4", "bob"), Outcome.SOLD_OUT, item_id="A").at(HOLD_MS + 2),
        Row(hold("b4", "A:3", "bob"), Outcome.HELD, "A:0:3:0").at(HOLD_MS + 2),
    ),
    "a_due_hold_of_another_item_is_left_alone": (
        Row(put(sale("A:1:0 B:1:0")), Outcome.CREATED, "A:1:0:0 B:1:0:0"),
        Row(hold("b1", "B:1"), Outcome.HELD, "A:1:0:0 B:0:1:0"),
        Row(hold("b2", "A:1"), Outcome.HELD, "A:0:1:0 B:0:1:0").at(1),
        Row(hold("b3", "A:1", "bob"), Outcome.HELD).at(HOLD_MS + 1),
        Row(Expire("gig"), Outcome.DONE, "A:0:1:0 B:1:0:0", expired=1).at(HOLD_MS + 1),
    ),
    "a_cart_takes_back_what_each_of_its_items_lacks": (
        Row(put(sale("A:2:0 B:2:0")), Outcome.CREATED, "A:2:0:0 B:2:0:0"),
        Row(hold("b1", "A:2"), Outcome.HELD, "A:0:2:0 B:2:0:0"),
        Row(hold("b2", "B:1"), Outcome.HELD, "A:0:2:0 B:1:1:0"),
        Row(hold("b3", "A:1 B:2", "bob"), Outcome.HELD, "A:1:1:0 B:0:2:0").at(HOLD_MS),
    ),
    "the_due_hold_of_a_customer_does_not_count_against_its_cap": (
        Row(put(sale("A:10:0", max_units_per_customer=2)), Outcome.CREATED, "A:10:0:0"),
        Row(hold("b0", "A:2", "bob"), Outcome.HELD, "A:8:2:0"),
        Row(hold("b1", "A:2"), Outcome.HELD, "A:6:4:0"),
        Row(hold("b2", "A:1"), Outcome.CUSTOMER_LIMIT).at(HOLD_MS - 1),
        Row(hold("b2", "A:1"), Outcome.HELD, "A:7:3:0").at(HOLD_MS),
        Row(Expire("gig"), Outcome.DONE, "A:9:1:0", expired=1).at(HOLD_MS),
    ),
    "a_customer_over_its_cap_by_live_holds_takes_nothing_back": (
        Row(put(sale("A:3:0", max_units_per_customer=2)), Outcome.CREATED, "A:3:0:0"),
        Row(hold("b1", "A:1", "bob"), Outcome.HELD, "A:2:1:0"),
        Row(hold("b2", "A:2"), Outcome.HELD, "A:0:3:0").at(10),
        Row(hold("b3", "A:1"), Outcome.CUSTOMER_LIMIT).at(HOLD_MS),
        Row(hold("b4", "A:1", "cat"), Outcome.HELD).at(HOLD_MS),
    ),
    "a_cap_and_a_shortage_are_covered_together": (
        Row(put(sale("A:3:0", max_units_per_customer=2)), Outcome.CREATED, "A:3:0:0"),
        Row(hold("b1", "A:1"), Outcome.HELD, "A:2:1:0"),
        Row(hold("b2", "A:1"), Outcome.HELD, "A:1:2:0"),
        Row(hold("b3", "A:1", "bob"), Outcome.HELD, "A:0:3:0"),
        Row(hold("b4", "A:2"), Outcome.HELD, "A:0:3:0").at(HOLD_MS),
    ),
    "more_due_holds_than_one_reserve_may_take_back_is_not_sold_out": (
        *_THREE,
        Row(hold("b4", "A:3", "bob", bounds=_FEW), Outcome.DUE_BACKLOG).at(HOLD_MS + 2),
        Row(hold("b4", "A:2", "bob", bounds=_FEW), Outcome.HELD, "A:0:3:0").at(HOLD_MS + 2),
    ),
    "more_due_holds_than_one_reserve_may_look_at_is_not_sold_out": (
        *_THREE,
        Row(hold("b4", "A:3", "bob", bounds=_NEAR), Outcome.DUE_BACKLOG).at(HOLD_MS + 2),
        Row(Expire("gig", 1), Outcome.DONE, "A:1:2:0", expired=1).at(HOLD_MS + 2),
        Row(hold("b4", "A:3", "bob", bounds=_NEAR), Outcome.HELD, "A:0:3:0").at(HOLD_MS + 2),
    ),
    "the_bound_reached_with_nothing_more_due_is_sold_out": (
        *_THREE,
        Row(hold("b4", "A:3", "bob", bounds=_FEW), Outcome.SOLD_OUT, item_id="A").at(HOLD_MS + 1),
    ),
    "as_many_due_holds_as_the_bound_are_taken_back_at_once": (
        *_held(_MOST, _MOST),
        Row(hold("b999", f"A:{_MOST}", "bob"), Outcome.HELD, f"A:0:{_MOST}:0").at(HOLD_MS),
    ),
    "one_more_than_the_bound_writes_nothing_until_some_have_expired": (
        *_held(_MOST + 1, _MOST + 1),
        Row(hold("b999", f"A:{_MOST + 1}", "bob"), Outcome.DUE_BACKLOG).at(HOLD_MS),
        Row(Expire("gig"), Outcome.DONE, f"A:{_MOST}:1:0", expired=_MOST).at(HOLD_MS),
        Row(hold("b999", f"A:{_MOST + 1}", "bob"), Outcome.HELD, f"A:0:{_MOST + 1}:0").at(HOLD_MS),
    ),
    "the_sweeper_ends_what_is_due_the_oldest_first_and_nothing_else": (
        *_THREE,
        Row(Expire("gig"), Outcome.DONE).at(HOLD_MS - 1),
        Row(Expire("gig", 1), Outcome.DONE, "A:1:2:0", expired=1).at(HOLD_MS + 1),
        Row(Expire("gig", 9), Outcome.DONE, "A:2:1:0", expired=1).at(HOLD_MS + 1),
        Row(Expire("gig", 9), Outcome.DONE, "A:3:0:0", expired=1).at(HOLD_MS + 2),
        Row(Expire("other"), Outcome.DONE).at(HOLD_MS + 2),
    ),
    "an_extended_hold_is_due_at_its_new_deadline": (
        *_ONE,
        Row(Extend("b1"), Outcome.EXTENDED, status=Status.PENDING).at(HOLD_MS - 1),
        Row(hold("b2", "A:1", "bob"), Outcome.SOLD_OUT, item_id="A").at(2 * HOLD_MS - 2),
        Row(hold("b2", "A:1", "bob"), Outcome.HELD).at(2 * HOLD_MS - 1),
    ),
    "a_due_hold_on_two_lines_gives_both_back": (
        Row(put(sale("A:4:0")), Outcome.CREATED, "A:4:0:0"),
        Row(hold("b1", "A:1 A:3"), Outcome.HELD, "A:0:4:0"),
        Row(hold("b2", "A:2 A:1", "bob"), Outcome.HELD, "A:1:3:0").at(HOLD_MS),
    ),
}
