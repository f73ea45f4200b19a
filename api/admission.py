"""Which holds are worked at, which wait for their turn, and which are told to come again.

A few hundred at once are as fast as an event loop gets; ten thousand at once only cost memory and
caches. So the others wait, before anything of them is parsed, first come, first served.

How long the queue may be depends on why it is there. A crowd that comes at once and is then served
(a sale opens) gets answers, however many they are: the queue does not grow any more. Where more
comes than goes for `ADMISSION_WINDOWS` in a row, waiting helps nobody, since everybody would wait
longer and longer: who waits too long already, and who would, is told so at once, until as much goes
as comes. The answered are then as quick as on a good day. (The thought is CoDel's: not a queue that
is long says overload, but one that stands.)
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final

import structlog

from engine.limits import (
    ADMISSION_PATIENCE_MS,
    ADMISSION_TARGET_MS,
    ADMISSION_WINDOW_MS,
    ADMISSION_WINDOWS,
    MAX_HOLDS_AT_ONCE,
)

_log = structlog.stdlib.get_logger("holdfast.api")

_GROWS: Final = 1.15
"""So many times of what goes come, where more comes than goes."""


class _Waiting:
    """One that waits for its turn."""

    __slots__ = ("since_s", "turn")

    def __init__(self, since_s: float, turn: asyncio.Future[bool]) -> None:
        self.since_s = since_s
        self.turn = turn
        """True: it is its turn. False: it is not to wait any longer."""


class Admission:
    """The turns of one process. Each `enter` that answers True is followed by one `leave`.

    Args:
        at_once: how many are worked at.
        clock: seconds.
    """

    def __init__(
        self, at_once: int = MAX_HOLDS_AT_ONCE, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._at_once = at_once
        self._clock = clock
        self._working = 0
        self._queue: deque[_Waiting] = deque()
        self._came = self._went = self._shed = 0
        self._window_s = clock()
        self._behind = 0
        """For how many windows in a row more came than went."""
        self._most_waiting: int | None = None
        """How many may wait; None where there is no overload."""

    def is_overloaded(self) -> bool:
        """Whether who would wait too long is told so at once."""
        return self._most_waiting is not None

    async def enter(self) -> bool:
        """Come to work, at once or when it is one's turn; False where that will not come."""
        now_s = self._clock()
        self._came += 1
        self._look(now_s)
        if self._working < self._at_once and not self._queue:
            self._working += 1
            return True
        if self._most_waiting is not None and len(self._queue) >= self._most_waiting:
            self._shed += 1
            return False
        waiting = _Waiting(now_s, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        try:
            return await waiting.turn
        except asyncio.CancelledError:
            if waiting.turn.done() and not waiting.turn.cancelled() and waiting.turn.result():
                self.leave()
            raise

    def leave(self) -> None:
        """Be done; the next one's turn comes."""
        now_s = self._clock()
        self._went += 1
        self._working -= 1
        self._look(now_s)
        while self._queue and self._working < self._at_once:
            waiting = self._queue.popleft()
            if waiting.turn.done():
                continue
            if now_s - waiting.since_s > ADMISSION_PATIENCE_MS / 1000:
                # Redis stood still. Of those who came since, the oldest have long given up.
                waiting.turn.set_result(False)
                continue
            self._working += 1
            waiting.turn.set_result(True)

    def _look(self, now_s: float) -> None:
        """At the end of a window, compare what came with what went."""
        lasted_s = now_s - self._window_s
        if lasted_s < ADMISSION_WINDOW_MS / 1000:
            return
        waits_s = now_s - self._queue[0].since_s if self._queue else 0.0
        grows = self._came > self._went * _GROWS and waits_s > ADMISSION_TARGET_MS / 1000
        per_s = self._went / lasted_s
        if self._most_waiting is None:
            self._behind = self._behind + 1 if grows else 0
            if self._behind >= ADMISSION_WINDOWS:
                self._begin_to_shed(per_s)
        elif self._shed:
            self._most_waiting = self._room(per_s)
        else:
            self._most_waiting, self._behind = None, 0
            _log.warning("holds_wait_again")
        self._window_s = now_s
        self._came = self._went = self._shed = 0

    def _begin_to_shed(self, per_s: float) -> None:
        self._most_waiting = self._room(per_s)
        _log.warning("holds_shed", waiting=len(self._queue), most=self._most_waiting)
        while len(self._queue) > self._most_waiting:
            waiting = self._queue.popleft()
            if not waiting.turn.done():
                self._shed += 1
                waiting.turn.set_result(False)

    @staticmethod
    def _room(per_s: float) -> int:
        """How many may wait, so that none waits for longer than the target."""
        return int(per_s * ADMISSION_TARGET_MS / 1000)
