"""Which holds are worked at, which wait for their turn, and which are told to come again.

A thousand at once are as fast as an event loop gets; ten thousand at once only cost memory and
caches. So the others wait, before anything of them is parsed, first come, first served.

How long the queue may be depends on why it is there. A crowd that comes at once and is then served
(a sale opens) gets answers, up to `HOLDFAST_MAX_IN_FLIGHT`. More than that is no crowd but an
overload, in which waiting helps nobody, since everybody would wait longer and longer: who waits too
long already is told so, and so is at once who would, until as much goes as comes. The answered are
then as quick as on a good day. (The thought is CoDel's: a queue is for bursts, and is to be short
when it stands.)
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

import structlog

from engine.limits import (
    ADMISSION_PATIENCE_MS,
    ADMISSION_QUIET_WINDOWS,
    ADMISSION_TARGET_MS,
    ADMISSION_WINDOW_MS,
    MAX_HOLDS_AT_ONCE,
    MAX_HOLDS_IN_OVERLOAD,
)

_log = structlog.stdlib.get_logger("holdfast.api")


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
        in_overload: the same while an overload is shed; more where fewer went than before it.
        clock: seconds.
    """

    def __init__(
        self,
        at_once: int = MAX_HOLDS_AT_ONCE,
        in_overload: int = MAX_HOLDS_IN_OVERLOAD,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._at_once = at_once
        self._in_overload = in_overload
        self._clock = clock
        self._working = 0
        self._queue: deque[_Waiting] = deque()
        self._went = self._shed = 0
        self._window_s = clock()
        self._per_s = 0.0
        """How many went by the second, in the window before."""
        self._most_working = at_once
        self._most_waiting: int | None = None
        """How many may wait; None where there is no overload."""
        self._usual_per_s = 0.0
        """How many went by the second before the overload."""
        self._quiet = 0
        """Windows in a row in which nobody was sent away."""

    def is_overloaded(self) -> bool:
        """Whether who would wait too long is told so at once."""
        return self._most_waiting is not None

    async def enter(self) -> bool:
        """Come to work, at once or when it is one's turn; False where that will not come."""
        now_s = self._clock()
        self._look(now_s)
        if self._working < self._most_working and not self._queue:
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
        while self._queue and self._working < self._most_working:
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
        """At the end of a window, look how fast it goes, and whether the overload is over."""
        lasted_s = now_s - self._window_s
        if lasted_s < ADMISSION_WINDOW_MS / 1000:
            return
        self._per_s = self._went / lasted_s
        if self._most_waiting is not None:
            # Over when nobody was sent away for some windows, or nobody came for as long. Not after
            # one: a turn of the event loop may outlast it, and it then sees only those who go.
            self._quiet = 0 if self._shed else self._quiet + 1
            if max(self._quiet, lasted_s * 1000 // ADMISSION_WINDOW_MS) >= ADMISSION_QUIET_WINDOWS:
                self._most_waiting, self._most_working = None, self._at_once
                _log.warning("holds_wait_again")
            else:
                self._adjust()
        self._window_s = now_s
        self._went = self._shed = 0

    def _adjust(self) -> None:
        """Few at once are answered soon, unless turns of the event loop are what they wait for.

        The more connections there are, the longer a turn takes; a fixed number at work would then
        let ever fewer go, down to a few dozen a second.
        """
        self._most_waiting = self._room()
        if self._per_s < self._usual_per_s / 2:
            self._most_working = min(2 * self._most_working, self._at_once)
        elif self._per_s > self._usual_per_s * 3 / 4:
            self._most_working = max(self._most_working // 2, self._in_overload)

    def begin_to_shed(self) -> None:
        """Take it for an overload: more came than may be here at once."""
        self._shed += 1
        if self._most_waiting is not None:
            return
        self._most_waiting, self._most_working = self._room(), self._in_overload
        self._usual_per_s, self._quiet = self._per_s, 0
        _log.warning("holds_shed", waiting=len(self._queue), most=self._most_waiting)
        while len(self._queue) > self._most_waiting:
            waiting = self._queue.popleft()
            if not waiting.turn.done():
                self._shed += 1
                waiting.turn.set_result(False)

    def _room(self) -> int:
        """How many may wait, so that none waits for longer than the target."""
        return int(self._per_s * ADMISSION_TARGET_MS / 1000)
