"""Tells a story to something that can perform operations, and checks every row of it twice."""

from __future__ import annotations

from typing import Any, Protocol

from engine.model import Expire, Operation
from engine.outcomes import Outcome
from engine.types import Levels
from tests.helpers.scripted import Result
from tests.stories.story import AGAIN, BEGIN_MS, Row, Story, levels_of


class Listener(Protocol):
    """What a story is told to: the model, or a partition on a server."""

    def move_clock(self, now_ms: int) -> None:
        """Set the time."""

    def perform(self, operation: Operation) -> Result:
        """Do it."""

    def levels(self, sale_id: str) -> dict[str, Levels]:
        """The levels of a sale; none where there is no sale."""

    def dump(self) -> Any:
        """All there is, to be compared."""

    def check(self) -> object:
        """Raise AssertionError where the books disagree with each other."""


def tell(story: Story, listener: Listener) -> None:
    """Tell a story, row by row."""
    now_ms = BEGIN_MS
    for row in story:
        now_ms = max(now_ms, BEGIN_MS + row.after_ms)
        listener.move_clock(now_ms)
        _tell_row(row, listener)


def _tell_row(row: Row, listener: Listener) -> None:
    levels, before = listener.levels("gig"), listener.dump()
    result = listener.perform(row.operation)
    assert (result.outcome, result.item_id) == (row.outcome, row.item_id), row
    assert result.expired == row.expired, row
    if row.status is not None:
        assert result.booking, row
        assert result.booking.status is row.status, row
    expected = levels_of(row.levels) if row.levels else levels
    assert listener.levels("gig") == expected, row
    listener.check()

    changed = row.outcome in AGAIN and (row.expired > 0 or row.outcome is not Outcome.DONE)
    if not changed or row.repeats:
        assert listener.dump() == before, f"a refusal wrote something: {row}"
        return
    if isinstance(row.operation, Expire) and row.expired == row.operation.limit:
        return  # more may be due, so that the same again is another step
    after = listener.dump()
    assert after != before, row
    again = listener.perform(row.operation)
    assert again.outcome is AGAIN[row.outcome], row
    assert (again.booking, again.sequence) == (result.booking, result.sequence), row
    assert listener.dump() == after, f"the same again wrote something: {row}"
