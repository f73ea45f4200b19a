"""Work that is done for each partition by itself: one that fails waits, the others go on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from engine.errors import Fenced, Overloaded, Unavailable
from workers import metrics
from workers.loops import BackOff

_log = structlog.stdlib.get_logger("holdfast.worker")

SAID_AGAIN_S: Final = 30.0
"""A trouble that stays is said again so often, and not at each try."""
FENCED: Final = "fenced: "
"""How the trouble begins of a partition that waits for its operator; no other wait helps it."""


class Partitioned:
    """Runs a piece of work for every partition, side by side.

    Args:
        name: what logs and metrics call the work.
        partitions: how many there are.
        work: does a bounded piece for one partition; answers how much.
        at_once: how many partitions are worked on at the same time.
    """

    def __init__(
        self,
        name: str,
        partitions: int,
        work: Callable[[int], Awaitable[int]],
        *,
        at_once: int,
    ) -> None:
        self._name = name
        self._work = work
        self._gate = asyncio.Semaphore(at_once)
        self._back_off = [BackOff() for _ in range(partitions)]
        self._resume_at = [0.0] * partitions
        self._troubles = [""] * partitions
        self._said: dict[str, float] = {}

    @property
    def troubled(self) -> bool:
        """Whether some partition's last try failed in a way that may pass by itself."""
        return any(trouble and not trouble.startswith(FENCED) for trouble in self._troubles)

    async def run_once(self) -> int:
        """Do a piece for each partition that does not wait after a failure; answers how much."""
        now = time.monotonic()
        ready = [p for p, at in enumerate(self._resume_at) if at <= now]
        counts = await asyncio.gather(*(self._one(partition) for partition in ready))
        self._say()
        return sum(counts)

    async def _one(self, partition: int) -> int:
        try:
            async with self._gate:
                count = await self._work(partition)
        except (Unavailable, Overloaded) as error:
            trouble = str(error)
        except Fenced as error:
            trouble = f"{FENCED}{error.reason}"
        except Exception as error:  # noqa: BLE001 - logged below, in one place
            # One partition's fault, even one of ours, must not stop the others.
            trouble = repr(error)
            if trouble not in self._said:
                _log.exception("partition_failed", loop=self._name, partition=partition)
        else:
            self._troubles[partition] = ""
            self._back_off[partition].succeeded()
            return count
        self._troubles[partition] = trouble
        self._resume_at[partition] = time.monotonic() + self._back_off[partition].failed()
        metrics.FAILURES.labels(self._name).inc()
        return 0

    def _say(self) -> None:
        """Log each trouble when it comes, now and then while it stays, and when it has gone."""
        present: dict[str, list[int]] = {}
        for partition, trouble in enumerate(self._troubles):
            if trouble:
                present.setdefault(trouble, []).append(partition)
        now = time.monotonic()
        for trouble, partitions in present.items():
            if now - self._said.get(trouble, -SAID_AGAIN_S) >= SAID_AGAIN_S:
                self._said[trouble] = now
                _log.warning(
                    "partitions_wait", loop=self._name, partitions=partitions, reason=trouble
                )
        for trouble in self._said.keys() - present.keys():
            del self._said[trouble]
            _log.info("partitions_go_on", loop=self._name, reason=trouble)
