"""Stories of `put_sale`."""

from __future__ import annotations

from typing import Final

from engine.limits import MAX_INTEGER
from engine.model import Cancel, ConfirmFree, Extend, Snapshot
from engine.outcomes import Outcome
from engine.types import Status
from tests.stories.story import BEGIN_MS, CUSTOMER, HOLD_MS, Row, Story, hold, put, sale

_TWO = "A:10:0 B:5:0"
_PUT = Row(put(sale(_TWO)), Outcome.CREATED, "A:10:0:0 B:5:0:0")

SALES: Final[dict[str, Story]] = {
    "a_new_sale_has_all_its_units_available": (_PUT,),
    "the_same_definition_again_changes_nothing": (
        _PUT,
        Row(put(sale(_TWO), "put-2"), Outcome.UNCHANGED),
    ),
    "an_operation_that_comes_again_is_recognised_after_others_booked": (
        _PUT,
        Row(hold("b1", "A:3"), Outcome.HELD, "A:7:3:0 B:5:0:0"),
        Row(put(sale(_TWO)), Outcome.CREATED, repeats=True),
    ),
    "a_capacity_is_set_and_not_added": (
        _PUT,
        Row(hold("b1", "A:3"), Outcome.HELD, "A:7:3:0 B:5:0:0"),
        Row(put(sale("A:12:0 B:5:0"), "put-2"), Outcome.UPDATED, "A:9:3:0 B:5:0:0"),
    ),
    "a_capacity_can_go_down_to_what_is_held_and_sold": (
        _PUT,
        Row(hold("b1", "A:3"), Outcome.HELD, "A:7:3:0 B:5:0:0"),
        Row(hold("b2", "A:1", "bob"), Outcome.HELD, "A:6:4:0 B:5:0:0"),
        Row(ConfirmFree("b2", "bob", "k", "f"), Outcome.CONFIRMED, "A:6:3:1 B:5:0:0"),
        Row(put(sale("A:4:0 B:5:0"), "put-2"), Outcome.UPDATED, "A:0:3:1 B:5:0:0"),
        Row(hold("b3", "A:1", "cat"), Outcome.SOLD_OUT, item_id="A"),
    ),
    "a_capacity_below_what_is_held_and_sold_is_refused": (
        _PUT,
        Row(hold("b1", "A:3"), Outcome.HELD, "A:7:3:0 B:5:0:0"),
        Row(put(sale("A:2:0 B:9:0"), "put-2"), Outcome.CAPACITY_IN_USE, item_id="A"),
    ),
    "an_item_in_use_cannot_be_taken_out_of_its_sale": (
        _PUT,
        Row(hold("b1", "B:1"), Outcome.HELD, "A:10:0:0 B:4:1:0"),
        Row(put(sale("A:10:0"), "put-2"), Outcome.CAPACITY_IN_USE, item_id="B"),
    ),
    "an_item_that_nobody_has_can_be_taken_out_and_come_back": (
        _PUT,
        Row(put(sale("A:10:0"), "put-2"), Outcome.UPDATED, "A:10:0:0"),
        Row(hold("b1", "B:1"), Outcome.UNKNOWN_ITEM, item_id="B"),
        Row(put(sale("A:10:0 B:2:0"), "put-3"), Outcome.UPDATED, "A:10:0:0 B:2:0:0"),
    ),
    "an_item_of_no_units_can_be_put_and_taken_out": (
        Row(put(sale("A:10:0 Z:0:0")), Outcome.CREATED, "A:10:0:0 Z:0:0:0"),
        Row(hold("b1", "Z:1"), Outcome.SOLD_OUT, item_id="Z"),
        Row(put(sale("A:10:0"), "put-2"), Outcome.UPDATED, "A:10:0:0"),
    ),
    "a_sale_cannot_be_put_into_the_past": (
        Row(put(sale(closes_ms=BEGIN_MS)), Outcome.SALE_IN_PAST),
        Row(put(sale(closes_ms=BEGIN_MS + 1)), Outcome.CREATED, "A:10:0:0"),
        Row(put(sale(closes_ms=BEGIN_MS - 5), "put-2"), Outcome.SALE_IN_PAST),
    ),
    "a_sale_that_has_ended_can_still_be_edited": (
        Row(put(sale(closes_ms=BEGIN_MS + 10)), Outcome.CREATED, "A:10:0:0"),
        Row(put(sale("A:8:0", closes_ms=BEGIN_MS + 10), "p2"), Outcome.UPDATED, "A:8:0:0").at(20),
    ),
    "a_currency_in_use_cannot_be_changed": (
        _PUT,
        Row(hold("b1", "A:1"), Outcome.HELD, "A:9:1:0 B:5:0:0"),
        Row(put(sale(_TWO, currency="EUR"), "put-2"), Outcome.CURRENCY_IN_USE),
        Row(Cancel("b1", CUSTOMER), Outcome.CANCELLED, "A:10:0:0 B:5:0:0"),
        Row(put(sale(_TWO, currency="EUR"), "put-3"), Outcome.UPDATED),
    ),
    "a_new_price_is_for_new_holds_alone": (
        Row(put(sale("A:10:0")), Outcome.CREATED, "A:10:0:0"),
        Row(hold("b1", "A:1"), Outcome.HELD, "A:9:1:0"),
        Row(put(sale("A:10:700"), "put-2"), Outcome.UPDATED),
        Row(hold("b2", "A:1"), Outcome.HELD, "A:8:2:0"),
        Row(ConfirmFree("b1", "ann", "k1", "f"), Outcome.CONFIRMED, "A:8:1:1"),
        Row(ConfirmFree("b2", "ann", "k2", "f"), Outcome.PAYMENT_REQUIRED, status=Status.PENDING),
    ),
    "the_largest_capacity_comes_back_to_the_unit": (
        Row(put(sale(f"A:{MAX_INTEGER}:0")), Outcome.CREATED, f"A:{MAX_INTEGER}:0:0"),
        Row(hold("b1", "A:1"), Outcome.HELD, f"A:{MAX_INTEGER - 1}:1:0"),
        Row(hold("b2", "A:1000"), Outcome.HELD, f"A:{MAX_INTEGER - 1001}:1001:0"),
        Row(
            ConfirmFree("b1", "ann", "k", "f"), Outcome.CONFIRMED, f"A:{MAX_INTEGER - 1001}:1000:1"
        ),
        Row(Cancel("b2", CUSTOMER), Outcome.CANCELLED, f"A:{MAX_INTEGER - 1}:0:1"),
        Row(Cancel("b1", CUSTOMER), Outcome.CANCELLED, f"A:{MAX_INTEGER}:0:0"),
    ),
    "a_snapshot_is_written_when_levels_changed_since_the_last": (
        Row(Snapshot("gig"), Outcome.UNKNOWN_SALE),
        _PUT,
        Row(Snapshot("gig"), Outcome.DONE),
        Row(hold("b1", "A:1"), Outcome.HELD, "A:9:1:0 B:5:0:0"),
        Row(Snapshot("gig"), Outcome.DONE),
        Row(Cancel("b1", CUSTOMER), Outcome.CANCELLED, "A:10:0:0 B:5:0:0"),
        Row(Snapshot("gig"), Outcome.DONE),
        Row(put(sale("A:10:0"), "put-2"), Outcome.UPDATED, "A:10:0:0"),
        Row(Snapshot("gig"), Outcome.DONE),
        Row(hold("b2", "A:1"), Outcome.HELD, "A:9:1:0"),
        Row(Cancel("b2", CUSTOMER), Outcome.CANCELLED, "A:10:0:0"),
        Row(Snapshot("gig"), Outcome.UNCHANGED),
    ),
    "a_longer_hold_is_for_new_holds_and_extensions": (
        Row(put(sale()), Outcome.CREATED, "A:10:0:0"),
        Row(hold("b1", "A:1"), Outcome.HELD, "A:9:1:0"),
        Row(put(sale(hold_ms=2 * HOLD_MS), "put-2"), Outcome.UPDATED),
        Row(Extend("b1"), Outcome.EXTENDED, status=Status.PENDING).at(HOLD_MS - 1),
        Row(ConfirmFree("b1", "ann", "k", "f"), Outcome.CONFIRMED, "A:9:0:1").at(3 * HOLD_MS - 2),
    ),
}
