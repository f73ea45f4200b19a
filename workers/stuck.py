"""Counts open payments, and those that somebody should look at."""

from __future__ import annotations

from collections.abc import AsyncIterator

from engine.engine import Engine
from engine.limits import MAX_PARTITIONS_AT_ONCE
from engine.payments.limits import (
    MAX_OPEN_PAYMENTS_COUNTED,
    OPEN_PAYMENTS_PAGE,
    STUCK_INTERVAL_MS,
)
from engine.payments.open import OpenPayment
from engine.payments.types import Step
from workers import metrics
from workers.loops import Loop
from workers.partitioned import Partitioned


async def open_payments(engine: Engine, partition: int) -> AsyncIterator[OpenPayment]:
    """A partition's open payments, each once, about `MAX_OPEN_PAYMENTS_COUNTED` at the most.

    Raises `Unavailable`, `Fenced`.
    """
    position, seen = 0, set[str]()
    while len(seen) < MAX_OPEN_PAYMENTS_COUNTED:
        page = await engine.payments.open(partition, position, OPEN_PAYMENTS_PAGE)
        for payment in page.payments:
            if payment.booking_id not in seen:
                seen.add(payment.booking_id)
                yield payment
        position = page.next_position
        if position == 0:
            return


class StuckCounter:
    """Shows how many payments are open, and how many of them for too long.

    A partition that cannot be asked keeps its last numbers.
    """

    def __init__(self, engine: Engine, stuck_ms: int, key_lifetime_ms: int) -> None:
        self._engine = engine
        self._stuck_ms = stuck_ms
        self._key_lifetime_ms = key_lifetime_ms
        partitions = len(engine.partitions)
        self._open = [0] * partitions
        self._stuck = [0] * partitions
        self._run_out: list[list[str]] = [[] for _ in range(partitions)]
        self._work = Partitioned("stuck", partitions, self._count, at_once=MAX_PARTITIONS_AT_ONCE)
        self.loop = Loop(
            "stuck", self.run_once, idle_min_ms=STUCK_INTERVAL_MS, idle_max_ms=STUCK_INTERVAL_MS
        )

    async def run_once(self) -> int:
        """Count all partitions; answers 0, there is never more to do at once."""
        await self._work.run_once()
        metrics.PAYMENTS_OPEN.set(sum(self._open))
        metrics.PAYMENTS_STUCK.set(sum(self._stuck))
        return 0

    def run_out(self) -> list[str]:
        """Bookings that nobody sends the authorization of any more: its key has run out."""
        return [booking_id for names in self._run_out for booking_id in names]

    async def _count(self, partition: int) -> int:
        open_now = stuck = 0
        run_out = []
        async for payment in open_payments(self._engine, partition):
            open_now += 1
            stuck += payment.is_stuck(self._stuck_ms)
            if payment.step is Step.AUTHORIZE and payment.open_ms > self._key_lifetime_ms:
                run_out.append(payment.booking_id)
        self._open[partition], self._stuck[partition] = open_now, stuck
        self._run_out[partition] = run_out
        return stuck
