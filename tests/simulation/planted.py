"""Bugs to plant, each where somebody could make it: the simulation must go red for every one."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final
from unittest import mock

from engine import calls
from engine.bookings import Answer, Bookings
from engine.calls import _Carried
from engine.model.state import PartitionState
from engine.model.work import Work
from engine.partitions import Partitions
from engine.payments import gateway as words
from engine.payments.gateway import Approved, Reference, Step
from engine.payments.intents import authorization_of, intent_of, reference_of
from engine.payments.matching import Verdict, judge
from engine.payments.saga import Saga
from engine.pipeline import Argument
from engine.types import Booking, Levels
from persistence import commit as committing
from persistence import drain as draining
from persistence import projections
from tests.simulation.postgres import Session
from workers import reconciler
from workers.recovery import Recovery

Bug = Callable[[], AbstractContextManager[Any]]


def _captured_before_confirmed() -> AbstractContextManager[Any]:
    authorize = Saga._authorize

    async def wrong(self: Saga, booking: Booking, owner: str) -> Answer:
        answer = await self._gateway.authorize(intent_of(booking))
        if isinstance(answer, Approved):
            await self._gateway.capture(intent_of(booking), answer.authorization_id)
        return await authorize(self, booking, owner)

    return mock.patch.object(Saga, "_authorize", wrong)


def _recorded_before_captured() -> AbstractContextManager[Any]:
    capture = Saga._capture

    async def wrong(self: Saga, booking: Booking, owner: str) -> Answer:
        answer = await self._books.captured(booking, owner, "ch_soon")
        await capture(self, booking, owner)
        return answer

    return mock.patch.object(Saga, "_capture", wrong)


def _new_key_on_retry() -> AbstractContextManager[Any]:
    numbers = itertools.count()

    def wrong(reference: Reference, step: Step) -> str:
        return f"{reference}-{step}-{next(numbers)}"

    return mock.patch.object(words, "idempotency_key", wrong)


def _not_found_is_believed() -> AbstractContextManager[Any]:
    wait = Saga._wait

    async def wrong(self: Saga, booking: Booking, owner: str, reason: str) -> Answer:
        payment = booking.payment
        if reason.startswith("http_5") and payment and payment.step == "authorize":
            return await self._books.failed(booking, owner, "not_found")
        return await wait(self, booking, owner, reason)

    return mock.patch.object(Saga, "_wait", wrong)


def _a_time_out_is_a_decline() -> AbstractContextManager[Any]:
    wait = Saga._wait

    async def wrong(self: Saga, booking: Booking, owner: str, reason: str) -> Answer:
        payment = booking.payment
        if reason in {"timeout", "connection"} and payment and payment.step == "authorize":
            return await self._books.failed(booking, owner, reason)
        return await wait(self, booking, owner, reason)

    return mock.patch.object(Saga, "_wait", wrong)


def _expiry_ignores_an_open_payment() -> AbstractContextManager[Any]:
    def wrong(self: PartitionState, booking: Booking) -> int:
        return booking.hold_expires_ms

    return mock.patch.object(PartitionState, "deadline_ms", wrong)


def _a_key_is_not_recognised() -> AbstractContextManager[Any]:
    return mock.patch.object(Work, "replay", return_value=None)


def _a_cancel_gives_back_twice() -> AbstractContextManager[Any]:
    """What is given back is given back again where the same is asked again."""
    append = Work.append

    def wrong(
        self: Work, kind: str, booking: Booking, move: tuple[str, str] | None, **more: Any
    ) -> None:
        append(self, kind, booking, move, **more)
        if kind == "cancelled":
            sale = self.state.sales[booking.sale_id]
            for line in booking.lines:
                at = sale.levels[line.item_id]
                more_of_it = at.available + line.quantity
                sale.levels[line.item_id] = Levels(at.item_id, more_of_it, at.held, at.sold)

    return mock.patch.object(Work, "append", wrong)


def _what_was_seen_is_not_carried() -> AbstractContextManager[Any]:
    def wrong(self: Partitions, partition: int) -> tuple[int, int]:
        return self._generations[partition], 0

    return mock.patch.object(Partitions, "arguments", wrong)


def _what_is_learned_on_the_way_is_not_carried() -> AbstractContextManager[Any]:
    """A call that waits for a new connection carries what its process knew before it waited."""

    class Old(_Carried):
        def __init__(self, partitions: Partitions, partition: int, args: Any) -> None:
            super().__init__(partitions, partition, args)
            self._then = tuple(super().__iter__())

        def __iter__(self) -> Iterator[Argument]:
            return iter(self._then)

    return mock.patch.object(calls, "_Carried", Old)


def _the_cursor_commits_by_itself() -> AbstractContextManager[Any]:
    advance = Session._advance

    def wrong(self: Session, *args: Any) -> Any:
        moved = advance(self, *args)
        if self._work:
            partition, tables = self._work
            self._server.committed(partition, tables.copy())
        return moved

    return mock.patch.object(Session, "_advance", wrong)


def _a_commit_does_not_look_at_the_cursor() -> AbstractContextManager[Any]:
    advance = Session._advance

    def wrong(
        self: Session, sql: str, partition: int, generation: int, at: int, chain: bytes, *to: Any
    ) -> Any:
        here = self._server.tables[partition]
        return advance(self, sql, partition, generation, here.sequence, here.chain, *to)

    return mock.patch.object(Session, "_advance", wrong)


def _the_journal_is_trimmed_at_once() -> AbstractContextManager[Any]:
    def wrong(self: Any, now_s: float) -> int:
        sequence: int = self.position.sequence
        return sequence

    return mock.patch.object(draining._Place, "keep_from", wrong)


@contextmanager
def _an_entry_is_drained_without_its_deltas() -> Iterator[None]:
    plan = projections.plan

    def wrong(*args: Any) -> Any:
        batch = plan(*args)
        if len(batch.journal) > 2:
            batch.deltas.clear()
            batch.levels.clear()
        return batch

    with mock.patch.object(committing, "plan", wrong):
        yield


def _recovery_never_looks() -> AbstractContextManager[Any]:
    async def wrong(self: Recovery, partition: int) -> int:
        return 0

    return mock.patch.object(Recovery, "_look", wrong)


def _each_try_is_a_booking_of_its_own() -> AbstractContextManager[Any]:
    """A hold whose answer did not come is asked for again under another key."""
    reserve = Bookings.reserve
    numbers = itertools.count()

    async def wrong(self: Bookings, sale_id: str, customer_id: str, lines: Any, key: str) -> Answer:
        return await reserve(self, sale_id, customer_id, lines, f"{key}-{next(numbers)}")

    return mock.patch.object(Bookings, "reserve", wrong)


def _a_refused_void_is_taken_for_done() -> AbstractContextManager[Any]:
    async def wrong(self: Saga, booking: Booking, owner: str) -> Answer:
        await self._gateway.void(reference_of(booking), authorization_of(booking))
        return await self._books.voided(booking, owner)

    return mock.patch.object(Saga, "_void", wrong)


def _the_reconciler_does_not_read_our_books() -> AbstractContextManager[Any]:
    def wrong(charge: Any, booking: Any, now_ms: int, settled_ms: int) -> Verdict:
        return judge(charge, None, now_ms, settled_ms)

    return mock.patch.object(reconciler, "judge", wrong)


BUGS: Final[dict[str, Bug]] = {
    "captured before it is confirmed": _captured_before_confirmed,
    "recorded before it is captured": _recorded_before_captured,
    "a new key on retry": _new_key_on_retry,
    "not found is believed": _not_found_is_believed,
    "a time-out is a decline": _a_time_out_is_a_decline,
    "expiry ignores an open payment": _expiry_ignores_an_open_payment,
    "a key is not recognised": _a_key_is_not_recognised,
    "each try is a booking of its own": _each_try_is_a_booking_of_its_own,
    "a cancel gives back twice": _a_cancel_gives_back_twice,
    "what was seen is not carried": _what_was_seen_is_not_carried,
    "what is learned on the way is not carried": _what_is_learned_on_the_way_is_not_carried,
    "the cursor commits by itself": _the_cursor_commits_by_itself,
    "a commit does not look at the cursor": _a_commit_does_not_look_at_the_cursor,
    "the journal is trimmed at once": _the_journal_is_trimmed_at_once,
    "an entry is drained without its deltas": _an_entry_is_drained_without_its_deltas,
    "recovery never looks": _recovery_never_looks,
    "the reconciler does not read our books": _the_reconciler_does_not_read_our_books,
    "a refused void is taken for done": _a_refused_void_is_taken_for_done,
}
"""By what is wrong."""


@contextlib.contextmanager
def planted(name: str) -> Iterator[None]:
    """Have a bug for as long as the block lasts."""
    with BUGS[name]():
        yield
