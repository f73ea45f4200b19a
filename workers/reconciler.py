"""The reconciler: compares the gateway's charges with our books, all the time.

It lists what the gateway made, window by window behind the time in which a request of ours can
still be under way, and judges each charge (`engine.payments.matching`). What is in flight is looked
at until it has settled. Money that nothing of ours counts on is given back; what else disagrees is
in the metric until somebody sees to it. And each capture of our journal is looked for among the
charges (`workers.captures`).

How far everything has settled is kept in PostgreSQL, so that a new process goes on there; all else
it remembers can be found again from that.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

import structlog

from engine.engine import Engine
from engine.errors import Fenced, Overloaded, Unavailable
from engine.payments.gateway import Gateway, Missing, Unknown
from engine.payments.gateway import Payment as Charge
from engine.payments.intents import now_ms, was_taken
from engine.payments.limits import (
    MAX_UNSETTLED_CHARGES,
    RECONCILE_INTERVAL_MS,
    RECONCILER_LOOK_BACK_MS,
    RECONCILER_MARGIN_MS,
    RECONCILER_OVERLAP_MS,
    RECONCILER_WINDOW_MS,
    UNSETTLED_PAGE,
)
from engine.payments.matching import DIFFERENCES, Verdict, judge
from engine.tasks import end_tasks
from engine.types import Booking
from persistence.reconciling import Reconciling
from workers import metrics
from workers.captures import Captures
from workers.late_money import give_back
from workers.loops import Loop
from workers.partitioned import Partitioned
from workers.undecided import Undecided

_log = structlog.stdlib.get_logger("holdfast.reconciler")

PAGES_PER_PIECE: Final = 10
AT_ONCE: Final = 8
"""Requests to the gateway at the same time: the sagas' come first."""
PIECE_WAIT_S: Final = 1.0


@dataclass(slots=True)
class _Unsettled:
    """A charge that has to be looked at again; `verdict` None where our side could not be read."""

    created_ms: int
    verdict: Verdict | None


class Reconciler:
    """Compares one gateway's charges with the books of an engine.

    Args:
        settled_ms: age of a charge from which no request of ours can be under way for it.
        run_out: names bookings whose authorization's key has run out.
    """

    def __init__(
        self,
        engine: Engine,
        gateway: Gateway,
        books: Reconciling,
        undecided: Undecided,
        run_out: Callable[[], Sequence[str]],
        *,
        settled_ms: int,
    ) -> None:
        self._engine = engine
        self._gateway = gateway
        self._books = books
        self._undecided = undecided
        self._run_out = run_out
        self._settled_ms = settled_ms
        self._begun_at_ms = 0
        self._frontier_ms = 0
        """Charges made before were all listed."""
        self._installed_ms: int | None = None
        """Charges from before it are another installation's; None until PostgreSQL was asked."""
        self._noted_ms = 0
        self._window: tuple[int, int, str | None] | None = None
        self._unsettled: OrderedDict[str, _Unsettled] = OrderedDict()
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._captures = Captures(engine, books, self._look_at)
        self._piece: asyncio.Task[int] | None = None
        self._work = Partitioned("reconcile", 1, self._one_piece, at_once=1)
        self.loop = Loop(
            "reconcile",
            self.run_once,
            idle_min_ms=RECONCILE_INTERVAL_MS,
            idle_max_ms=RECONCILE_INTERVAL_MS,
        )

    async def run_once(self) -> int:
        """Go on with a piece, for a second at the most; it goes on by itself behind that.

        So a gateway that is slow does not get the piece cut off with the slice that began it.
        Answers whether there is more to do at once.
        """
        if self._piece is None:
            self._piece = asyncio.create_task(self._work.run_once())
        done, _ = await asyncio.wait({self._piece}, timeout=PIECE_WAIT_S)
        if not done:
            return 1
        piece, self._piece = self._piece, None
        return piece.result()

    async def finish(self) -> None:
        """Before the process ends. Everything it does may be cut off and is done again."""
        if self._piece is not None:
            await end_tasks((self._piece,))

    async def _one_piece(self, _: int) -> int:
        try:
            await self._find_position()
            more = await self._list()
            await self._look_again()
            await self._captures.look(self._frontier_ms)
        finally:
            await self._note(self._show())
        await self._undecided.run_once(self._run_out())
        return more

    async def _find_position(self) -> None:
        """Begin where PostgreSQL says; while it is away, far enough back.

        Until it has answered nothing is given back: charges from before the installation, in an
        account that had another, are not ours to judge.
        """
        if self._frontier_ms == 0:
            self._go_to(now_ms() - RECONCILER_LOOK_BACK_MS)
        if self._installed_ms is None:
            await self._ask_position()
        if self._frontier_ms > now_ms() - self._settled_ms + RECONCILER_MARGIN_MS:
            # A clock was ahead, here or where the position was noted: some may be on no list.
            self._go_to(max(now_ms() - RECONCILER_LOOK_BACK_MS, self._installed_ms or 0))

    async def _ask_position(self) -> None:
        with contextlib.suppress(Unavailable):
            if position := await self._books.position(self._gateway.name):
                self._installed_ms = position.installed_ms - RECONCILER_MARGIN_MS
                begun_ms = self._begun_at_ms
                if self._frontier_ms == begun_ms or position.checked_until_ms < begun_ms:
                    self._go_to(max(position.checked_until_ms, self._installed_ms))

    def _go_to(self, at_ms: int) -> None:
        self._begun_at_ms = self._frontier_ms = at_ms
        self._captures.go_to(at_ms)
        self._window = None

    async def _list(self) -> int:
        """List some pages and compare what is on them; answers whether there are more."""
        if self._window is None:
            until_ms = min(self._frontier_ms + RECONCILER_WINDOW_MS, now_ms() - self._settled_ms)
            if until_ms <= self._frontier_ms:
                return 0
            self._window = (self._frontier_ms - RECONCILER_OVERLAP_MS, until_ms, None)
        since_ms, until_ms, cursor = self._window
        for _ in range(PAGES_PER_PIECE):
            if len(self._unsettled) >= MAX_UNSETTLED_CHARGES:
                return 0
            page = await self._gateway.list_created(since_ms, until_ms, cursor)
            if isinstance(page, Unknown):
                raise Unavailable(f"the gateway: {page.reason}")
            verdicts = Counter(await asyncio.gather(*map(self._compare, page.payments)))
            for verdict, times in verdicts.items():
                if verdict is not None:
                    metrics.RECONCILED.labels(verdict).inc(times)
            cursor = page.next_cursor
            self._window = (since_ms, until_ms, cursor)
            if cursor is None:
                self._frontier_ms, self._window = until_ms, None
                # A window that reached up to the present leaves nothing to do at once.
                return int(until_ms + RECONCILE_INTERVAL_MS < now_ms() - self._settled_ms)
        return 1

    async def _compare(self, charge: Charge) -> Verdict | None:
        """Judge a charge, and see to what follows; None where it is none of ours, or not now."""
        reference = charge.reference
        if (
            reference is None
            or self._engine.keys.partition_of_booking(reference.booking_id) is None
        ):
            return None
        if charge.created_ms < (self._installed_ms or 0):
            return None
        if was_taken(charge):
            self._captures.saw(charge.authorization_id)
        try:
            booking = await self._booking(reference.booking_id)
            verdict = judge(charge, booking, now_ms(), self._settled_ms)
            if verdict in DIFFERENCES:
                async with self._gate:
                    charge, verdict = await self._make_sure(charge, booking)
        except (Unavailable, Overloaded, Fenced):
            self._keep(charge, None)
            return None
        if verdict is Verdict.AGREES:
            self._settle(charge)
            return verdict
        self._keep(charge, verdict)
        if verdict is Verdict.ORPHAN and self._installed_ms is not None:
            async with self._gate:
                if await give_back(self._gateway, charge):
                    self._settle(charge)
        return verdict

    async def _make_sure(self, charge: Charge, booking: Booking | None) -> tuple[Charge, Verdict]:
        """Judge again by what both say now. What moves meanwhile is in flight."""
        fresh = await self._gateway.retrieve(charge.authorization_id)
        if not isinstance(fresh, Charge) or fresh.reference is None:
            return charge, Verdict.IN_FLIGHT
        if await self._booking(fresh.reference.booking_id) != booking:
            return fresh, Verdict.IN_FLIGHT
        return fresh, judge(fresh, booking, now_ms(), self._settled_ms)

    async def _booking(self, booking_id: str) -> Booking | None:
        return (await self._engine.bookings.get(booking_id)).booking

    def _keep(self, charge: Charge, verdict: Verdict | None) -> None:
        """Have a charge looked at again, and say so the first time that it disagrees."""
        known = self._unsettled.pop(charge.authorization_id, None)
        if verdict in DIFFERENCES and (known is None or known.verdict is not verdict):
            _log.error("charge_disagrees", verdict=verdict, **_words(charge))
        if verdict is None and known is not None:
            verdict = known.verdict
        self._unsettled[charge.authorization_id] = _Unsettled(charge.created_ms, verdict)

    def _settle(self, charge: Charge) -> None:
        """Forget a charge that has settled; an orphan was given back, by whichever answer."""
        known = self._unsettled.pop(charge.authorization_id, None)
        if known is not None and known.verdict is Verdict.ORPHAN:
            how = "refunded" if was_taken(charge) else "voided"
            metrics.RETURNED.labels(how).inc()
            _log.warning("late_money_returned", how=how, **_words(charge))

    async def _look_again(self) -> None:
        """Ask anew for charges that had not settled, the longest not asked for first."""
        names = list(islice(self._unsettled, UNSETTLED_PAGE))
        await asyncio.gather(*map(self._look_at, names))

    async def _look_at(self, authorization_id: str) -> bool:
        """Compare a charge as it is now; False where the gateway does not know it."""
        async with self._gate:
            found = await self._gateway.retrieve(authorization_id)
        match found:
            case Charge():
                await self._compare(found)
                return True
            case Unknown(reason):
                raise Unavailable(f"the gateway: {reason}")
            case Missing():
                if authorization_id in self._unsettled:
                    self._unsettled.move_to_end(authorization_id)
                return False

    def _show(self) -> int:
        """Show how things are; answers up to when everything has settled."""
        verdicts = Counter(one.verdict for one in self._unsettled.values())
        verdicts[Verdict.MISSING] += self._captures.missing
        for verdict in sorted(DIFFERENCES):
            metrics.DIFFERENCES.labels(verdict).set(verdicts[verdict])
        settled_ms = min((self._frontier_ms, *(one.created_ms for one in self._unsettled.values())))
        metrics.RECONCILER_LAG.set(max(0, now_ms() - settled_ms) / 1000)
        return settled_ms

    async def _note(self, settled_ms: int) -> None:
        """Have the next process begin there."""
        position_ms = min(settled_ms, self._captures.position_ms)
        if self._installed_ms is not None and position_ms > self._noted_ms:
            with contextlib.suppress(Unavailable):
                await self._books.note_checked_until_ms(self._gateway.name, position_ms)
                self._noted_ms = position_ms


def _words(charge: Charge) -> dict[str, str | int]:
    assert charge.reference
    return {
        "booking_id": charge.reference.booking_id,
        "attempt": charge.reference.attempt,
        "authorization_id": charge.authorization_id,
        "status": charge.status,
        "amount": charge.amount,
        "currency": charge.currency,
    }
