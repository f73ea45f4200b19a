"""Where the faults of a soak happen."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from tests.helpers.load import Hold, Load, make_hold
from tests.helpers.servers import System


@dataclass(frozen=True, slots=True)
class Ground:
    """A system under load.

    `load` is the one whose holds do not expire; `away_s` is how long PostgreSQL stays away.
    """

    system: System
    load: Load
    rng: random.Random
    away_s: float
    scratch: Path

    async def hold_all_the_while(self, seconds: float) -> None:
        """See that holds go on for some time."""
        loop = asyncio.get_running_loop()
        over = loop.time() + seconds
        while loop.time() < over:
            await self.load.held_more(5)

    def a_hold(self, customer_id: str | None = None) -> Hold:
        """A request that the load does not know yet."""
        sale_id, items = min(self.load.items.items())
        return make_hold(self.rng, sale_id, {items[0]: 1}, customer_id)


Fault = Callable[[Ground], Awaitable[float]]
"""Fires, proves that it fired, and answers when its cause was gone (`time.monotonic`)."""
