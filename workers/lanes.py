"""A place that events go to, as a worker sees it: what is on its way there, and if it answers.

A lane holds nothing that must not be lost. What it knows of failures is its own process's.
"""

from __future__ import annotations

import asyncio
import random
from typing import Final

from engine.limits import (
    BREAKER_FAILURES,
    BREAKER_MAX_MS,
    DELIVERY_FIRST_BACK_OFF_MS,
    DELIVERY_MAX_BACK_OFF_MS,
    MAX_DELIVERIES_PER_PLACE,
    MAX_SENT_AT_ONCE,
)

_MAX_EXPONENT: Final = 16


def back_off_s(attempts: int, *, most_ms: int = DELIVERY_MAX_BACK_OFF_MS) -> float:
    """How long to wait after so many attempts: doubling, bounded, with jitter."""
    exponent = min(max(0, attempts - 1), _MAX_EXPONENT)
    wait_ms: int = min(DELIVERY_FIRST_BACK_OFF_MS * 2**exponent, most_ms)
    jitter = random.uniform(0.5, 1.0)  # noqa: S311 - spreads retries, keeps no secret
    return jitter * wait_ms / 1000


class Lane:
    """One place: how much it may be given now.

    After `BREAKER_FAILURES` failures in a row it is left alone for a moment that grows, then
    tried with one delivery. The first that arrives opens it again.
    """

    __slots__ = ("_failures", "_in_flight", "_pauses", "_resume_s", "gate")

    def __init__(self) -> None:
        self.gate = asyncio.Semaphore(MAX_SENT_AT_ONCE)
        """Passed by what is on its way."""
        self._in_flight = 0
        self._failures = 0
        self._pauses = 0
        self._resume_s = 0.0

    @property
    def failing(self) -> bool:
        """Whether the last delivery failed."""
        return self._failures > 0

    @property
    def broken(self) -> bool:
        """Whether it is given one delivery at a time, after pauses."""
        return self._failures >= BREAKER_FAILURES

    def room(self, now_s: float) -> int:
        """How many more deliveries it may be given."""
        if self.broken:
            return 1 if self._in_flight == 0 and now_s >= self._resume_s else 0
        return MAX_DELIVERIES_PER_PLACE - self._in_flight

    def begun(self) -> None:
        """A delivery is on its way."""
        self._in_flight += 1

    def ended(self) -> None:
        """One less is on its way, whatever became of it."""
        self._in_flight -= 1

    def arrived(self) -> bool:
        """A delivery arrived; whether that is news."""
        news = self._failures > 0
        self._failures, self._pauses, self._resume_s = 0, 0, 0.0
        return news

    def failed(self, now_s: float) -> bool:
        """A delivery failed; whether that is news."""
        self._failures += 1
        # What was on its way when the pause began tells nothing new.
        if self.broken and now_s >= self._resume_s:
            self._pauses += 1
            self._resume_s = now_s + back_off_s(self._pauses, most_ms=BREAKER_MAX_MS)
        return self._failures == 1
