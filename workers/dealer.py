"""Deals the outbox out: each event goes on to the places that want it."""

from __future__ import annotations

from engine.limits import (
    EVENTS_GATHER_MS,
    EVENTS_IDLE_MAX_MS,
    EVENTS_IDLE_MIN_MS,
    FEW_EVENTS,
)
from persistence.outbox import Outbox
from workers.loops import Loop


class Dealer:
    """The first of the two stages of the relay (docs/adr/0013)."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self.loop = Loop(
            "deal",
            self.run_once,
            idle_min_ms=EVENTS_IDLE_MIN_MS,
            idle_max_ms=EVENTS_IDLE_MAX_MS,
            few=FEW_EVENTS,
            gather_ms=EVENTS_GATHER_MS,
        )

    async def run_once(self) -> int:
        """Deal out some events; answers how many."""
        return await self._outbox.deal_out()
