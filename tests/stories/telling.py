"""Tells a story to something that can perform operations, and checks every row of it twice."""

from __future__ import annotations

from typing import Any, Protocol

from engine.model import ClaimPayment, Expire, Operation, PaymentUnknown, RequireAction, Warn
from engine.outcomes import Outcome
from engine.types import Booking, Levels
from tests.helpers.scripted import Result
from tests.stories.story import BEGIN_MS, Row, Story, again, levels_of


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

    def books(self) -> Any:
        """All but leases and when to look at payments, which no journal tells."""

    def end_lease(self, booking_id: str) -> None:
        """Let a payment's lease run out."""

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
    if row.lease_ended:
        listener.end_lease(row.lease_ended)
    levels, before, books = listener.levels("gig"), listener.dump(), listener.books()
    result = listener.perform(row.operation)
    assert (result.outcome, result.item_id) == (row.outcome, row.item_id), row
    assert (result.expired, result.warned) == (row.expired, row.warned), row
    if row.payment is not None:
        assert result.booking, row
        assert payment_of(result.booking) == row.payment, row
    if row.status is not None:
        assert result.booking, row
        assert result.booking.status is row.status, row
    expected = levels_of(row.levels) if row.levels else levels
    assert listener.levels("gig") == expected, row
    listener.check()

    again_outcome = again(row.operation, row.outcome)
    if _moves_a_lease(row):
        assert listener.books() == books, f"a lease is not in the journal: {row}"
        if again_outcome is not None:
            second = listener.perform(row.operation)
            assert (second.outcome, second.booking) == (again_outcome, result.booking), row
        return
    if again_outcome is None or row.repeats or (_is_chore(row) and not row.expired + row.warned):
        assert listener.dump() == before, f"a refusal wrote something: {row}"
        return
    if isinstance(row.operation, Expire) and row.expired == row.operation.limit:
        return  # more may be due, so that the same again is another step
    after = listener.dump()
    assert after != before, row
    second = listener.perform(row.operation)
    assert second.outcome is again_outcome, row
    assert (second.booking, second.sequence) == (result.booking, result.sequence), row
    assert listener.dump() == after, f"the same again wrote something: {row}"
    listener.check()


def _is_chore(row: Row) -> bool:
    return isinstance(row.operation, Expire | Warn)


def _moves_a_lease(row: Row) -> bool:
    """Whether it takes or gives back a lease and journals nothing."""
    noted_again = isinstance(row.operation, RequireAction | PaymentUnknown)
    return isinstance(row.operation, ClaimPayment) or (
        noted_again and row.outcome is Outcome.UNCHANGED
    )


def payment_of(booking: Booking) -> str:
    """Where a booking's payment stands: `CAPTURING capture 1`, the last being the attempt."""
    payment = booking.payment
    return f"{payment.status} {payment.step} {payment.attempt}" if payment else "none"
