"""A customer's rate, for calls that have no script of their own to spend it in."""

from __future__ import annotations

from engine.calls import Caller
from engine.outcomes import Outcome
from engine.types import RateLimit


class RateLimiter:
    """Spends calls of customers' token buckets. A bucket lives in each partition by itself."""

    def __init__(self, caller: Caller, rate_limit: RateLimit | None) -> None:
        self._caller = caller
        self._rate_limit = rate_limit

    async def spend(self, partition: int, customer_id: str) -> int | None:
        """Spend one call; None where it is allowed, else the milliseconds to wait."""
        rate = self._rate_limit
        if rate is None:
            return None
        reply = await self._caller.run(
            "rate_limit", partition, customer_id, rate.interval_us, rate.interval_us * rate.burst
        )
        return int(reply.text()) if reply.outcome is Outcome.RATE_LIMITED else None
