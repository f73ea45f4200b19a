"""Stories of holds that end soon: their customers are told, once."""

from __future__ import annotations

from typing import Final

from engine.model import Cancel, Expire, Extend, Warn
from engine.outcomes import Outcome
from engine.types import Status
from tests.stories.paying import BEGUN, HELD, begin, begun, declined
from tests.stories.story import CUSTOMER, HOLD_MS, Row, Story, hold, put, sale

_WARNING_MS: Final = 10_000
_SOON_MS: Final = HOLD_MS - _WARNING_MS
_WARN: Final = Warn("gig", _WARNING_MS)

WARNINGS: Final[dict[str, Story]] = {
    "a_hold_that_ends_soon_is_warned_of_once": (
        *HELD,
        Row(_WARN, Outcome.DONE).at(_SOON_MS - 1),
        Row(_WARN, Outcome.DONE, warned=1).at(_SOON_MS),
        Row(_WARN, Outcome.DONE).at(HOLD_MS - 1),
        Row(Expire("gig"), Outcome.DONE, "P:3:0:0", expired=1).at(HOLD_MS),
        Row(_WARN, Outcome.DONE).at(HOLD_MS),
    ),
    "a_hold_that_is_due_is_the_sweepers": (
        *HELD,
        Row(_WARN, Outcome.DONE).at(HOLD_MS),
        Row(Expire("gig"), Outcome.DONE, "P:3:0:0", expired=1).at(HOLD_MS),
    ),
    "a_hold_that_was_warned_of_is_like_any_other": (
        *HELD,
        Row(_WARN, Outcome.DONE, warned=1).at(_SOON_MS),
        Row(Extend("b1"), Outcome.EXTENDED, status=Status.PENDING).at(_SOON_MS + 1),
        Row(_WARN, Outcome.DONE).at(_SOON_MS + HOLD_MS),
        Row(Cancel("b1", CUSTOMER), Outcome.CANCELLED, "P:3:0:0").at(_SOON_MS + HOLD_MS),
    ),
    "a_hold_that_is_no_longer_than_the_warning_is_not_warned_of": (
        *HELD,
        Row(Warn("gig", HOLD_MS), Outcome.DONE).at(1),
        Row(Warn("gig", HOLD_MS - 1), Outcome.DONE, warned=1).at(1),
    ),
    "a_hold_under_payment_is_not_warned_of_until_the_payment_failed": (
        *BEGUN,
        Row(_WARN, Outcome.DONE).at(_SOON_MS),
        Row(_WARN, Outcome.DONE).at(HOLD_MS + 1_000),
        declined(1),
        Row(_WARN, Outcome.DONE).at(HOLD_MS + 1_000),
    ),
    "a_hold_whose_payment_failed_in_time_is_warned_of": (
        *BEGUN,
        declined(1),
        Row(_WARN, Outcome.DONE, warned=1).at(_SOON_MS),
        begun(2),
        Row(_WARN, Outcome.DONE).at(_SOON_MS + 1),
    ),
    "the_first_to_end_are_warned_of_first": (
        Row(put(sale("P:3:500")), Outcome.CREATED, "P:3:0:0"),
        Row(hold("b2", "P:1"), Outcome.HELD, "P:2:1:0"),
        Row(hold("b1", "P:1"), Outcome.HELD, "P:1:2:0").at(5),
        Row(hold("b3", "P:1"), Outcome.HELD, "P:0:3:0").at(5),
        Row(Warn("gig", _WARNING_MS, 2), Outcome.DONE, warned=2).at(_SOON_MS + 5),
        Row(begin(), Outcome.BEGUN).at(_SOON_MS + 5),
        Row(_WARN, Outcome.DONE, warned=1).at(_SOON_MS + 5),
    ),
    "there_is_nothing_to_warn_of_in_no_sale": (Row(_WARN, Outcome.DONE),),
}
