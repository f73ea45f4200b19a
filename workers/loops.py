"""A loop that only loops: the work is in `run_once()`, which does a bounded piece and counts it.

A loop is worked at in slices, one hand at a time: a slice that begins takes the loop over from the
one before it. So arq's jobs can overlap without a gap between them, and whoever finds a loop idle
can lend a hand without asking (`workers.hands`).
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from workers import metrics

_log = structlog.stdlib.get_logger("holdfast.worker")

RunOnce = Callable[[], Awaitable[int]]

FIRST_BACK_OFF_MS: Final = 50
MAX_BACK_OFF_MS: Final = 2_000


class BackOff:
    """How long to wait after failures: doubling, bounded, with jitter so that hands spread."""

    __slots__ = ("_failures",)

    def __init__(self) -> None:
        self._failures = 0

    @property
    def failing(self) -> bool:
        """Whether the last try failed."""
        return self._failures > 0

    def failed(self) -> float:
        """Note a failure; the seconds to wait now."""
        # The exponent is bounded, or a day of failures would compute 2 to the 40,000th.
        self._failures = min(self._failures + 1, 16)
        wait_ms: int = min(FIRST_BACK_OFF_MS * 2**self._failures, MAX_BACK_OFF_MS)
        jitter = random.uniform(0.5, 1.0)  # noqa: S311 - spreads retries, keeps no secret
        return jitter * wait_ms / 1000

    def succeeded(self) -> None:
        """Note a success."""
        self._failures = 0


class Loop:
    """Calls `run_once()` for as long as somebody lends a hand; never ends by an exception.

    Args:
        name: what logs and metrics call it.
        run_once: does a bounded piece of work; answers how much, 0 where there was nothing to do.
        idle_min_ms: the pause after the first time there was nothing to do.
        idle_max_ms: the pause to which it grows while there is nothing to do.
        few: after a piece of less than that, work may gather.
        gather_ms: for how long.
    """

    def __init__(
        self,
        name: str,
        run_once: RunOnce,
        *,
        idle_min_ms: int,
        idle_max_ms: int,
        few: int = 0,
        gather_ms: int = 0,
    ) -> None:
        self.name = name
        self._run_once = run_once
        self._idle_min_s = idle_min_ms / 1000
        self._idle_max_s = idle_max_ms / 1000
        self._few = few
        self._gather_s = gather_ms / 1000
        self._pause_s = 0.0
        self._back_off = BackOff()
        self._baton = asyncio.Condition()
        self._turn = 0
        self._working = False
        self._over = asyncio.Event()
        self._stopped = False
        self._worked_at = time.monotonic()

    def idle_s(self) -> float:
        """Seconds for which nobody in this process has worked at the loop."""
        return 0.0 if self._working else time.monotonic() - self._worked_at

    def stop(self) -> None:
        """End the present slice after its present piece; later slices do nothing."""
        self._stopped = True
        self._over.set()

    async def slice(self, seconds: float) -> bool:
        """Work for some time, from now on in the place of whoever did.

        Waits for the end of the present piece. Of several that wait only the last one stays, so
        that a piece that takes long does not gather a crowd.

        Returns:
            True where the time was used up, False where another hand took over or it was stopped.
        """
        async with self._baton:
            self._turn += 1
            mine = self._turn
            self._over.set()
            self._baton.notify_all()
            await self._baton.wait_for(lambda: not self._working or self._turn != mine)
            if self._turn != mine or self._stopped:
                return False
            self._working = True
            self._over.clear()
        try:
            return await self._keep_working(mine, time.monotonic() + seconds)
        finally:
            self._working = False
            async with self._baton:
                self._baton.notify_all()

    async def _keep_working(self, mine: int, until_s: float) -> bool:
        while self._turn == mine and not self._stopped:
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                return True
            await self._wait(min(self._pause_s, left_s))
            if self._turn == mine and not self._stopped:
                await self._work()
        return False

    async def _wait(self, seconds: float) -> None:
        """Pause, unless the slice is over before."""
        if seconds > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._over.wait()
        else:
            # A loop that always finds work must let the others have their turn.
            await asyncio.sleep(0)

    async def _work(self) -> None:
        try:
            done = await self._run_once()
        except Exception as error:  # noqa: BLE001 - a loop outlives whatever its work meets
            self._pause_s = self._back_off.failed()
            metrics.FAILURES.labels(self.name).inc()
            _log.warning("loop_failed", loop=self.name, error=repr(error), exc_info=True)
        else:
            self._back_off.succeeded()
            if done:
                self._pause_s = self._gather_s if done < self._few else 0.0
            else:
                self._pause_s = min(max(self._pause_s * 2, self._idle_min_s), self._idle_max_s)
        self._worked_at = time.monotonic()
