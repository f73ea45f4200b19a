"""Recovery: payments whose owner is gone, or that somebody asked a worker to look at.

Each partition's `payments` says when to look at which: at once for cancels, refunds and what a
webhook told of, at the end of a lease for what a process that crashed left behind, after the saga's
back-off for what the gateway did not answer. So a payment that fails comes back for ever, and a
worker remembers nothing.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import Iterable
from itertools import chain, zip_longest
from typing import Final

import structlog

from engine.engine import Engine
from engine.errors import Fenced, Overloaded, Unavailable
from engine.limits import MAX_PARTITIONS_AT_ONCE
from engine.outcomes import Outcome
from engine.payments.limits import (
    MAX_PAYMENTS_AT_ONCE,
    RECOVERY_IDLE_MAX_MS,
    RECOVERY_IDLE_MIN_MS,
    SAGA_PATIENCE_S,
)
from engine.payments.saga import Saga
from engine.tasks import end_tasks
from workers import metrics
from workers.loops import Loop
from workers.partitioned import Partitioned

_log = structlog.stdlib.get_logger("holdfast.worker")

ROOM_S: Final = 0.2
"""How long a piece waits for one of too many payments to end."""


class Recovery:
    """Drives due payments, at most `MAX_PAYMENTS_AT_ONCE` at the same time.

    Each is a task that outlives the piece that found it, so that one that waits for a slow gateway
    keeps none from being looked at.
    """

    def __init__(self, engine: Engine, saga: Saga) -> None:
        self._engine = engine
        self._saga = saga
        self._me = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._claims = 0
        self._due: dict[int, list[str]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._work = Partitioned(
            "recover", len(engine.partitions), self._look, at_once=MAX_PARTITIONS_AT_ONCE
        )
        self.loop = Loop(
            "recover",
            self.run_once,
            idle_min_ms=RECOVERY_IDLE_MIN_MS,
            idle_max_ms=RECOVERY_IDLE_MAX_MS,
        )

    async def run_once(self) -> int:
        """Begin with as many due payments as there is room for; answers with how many."""
        if len(self._tasks) >= MAX_PAYMENTS_AT_ONCE:
            await asyncio.wait(
                self._tasks.values(), timeout=ROOM_S, return_when=asyncio.FIRST_COMPLETED
            )
        room = MAX_PAYMENTS_AT_ONCE - len(self._tasks)
        if room <= 0:
            return 0
        self._due.clear()
        await self._work.run_once()
        begun = 0
        for booking_id in _in_turns(self._due.values()):
            # One of ours can be due again before it ends: a webhook nudged it.
            if begun < room and booking_id not in self._tasks:
                self._begin(booking_id)
                begun += 1
        return begun

    async def finish(self) -> None:
        """Before the process ends: let payments end, for a bounded time.

        What is left is looked at by another worker when its lease has run out.
        """
        tasks = list(self._tasks.values())
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=SAGA_PATIENCE_S)
        await end_tasks(late)
        if late:
            _log.warning("stopped_with_open_payments", payments=len(late))

    async def _look(self, partition: int) -> int:
        # Those under way here may be due and are passed over: there is room for as many beside.
        due = await self._engine.payments.due(partition, 2 * MAX_PAYMENTS_AT_ONCE)
        self._due[partition] = due
        return len(due)

    def _begin(self, booking_id: str) -> None:
        task = asyncio.create_task(self._drive(booking_id))
        self._tasks[booking_id] = task
        task.add_done_callback(lambda _: self._tasks.pop(booking_id, None))

    async def _drive(self, booking_id: str) -> None:
        """Take the lease and carry the payment on. Whatever fails, the lease's end brings it back.

        Each claim is an owner of its own: a claim whose answer was lost must not be mistaken for
        the next one's.
        """
        self._claims += 1
        owner = f"{self._me}:{self._claims}"
        try:
            claim = await self._engine.payments.claim(booking_id, owner)
            if claim.outcome is Outcome.DONE and claim.booking:
                metrics.RECOVERED.inc()
                await self._saga.drive(claim.booking, owner)
        except (Unavailable, Overloaded, Fenced) as error:
            metrics.FAILURES.labels("recover").inc()
            _log.warning("payment_waits", booking_id=booking_id, reason=str(error))
        except Exception:  # noqa: BLE001 - logged, and the lease brings it back
            # One payment's fault, even one of ours, must not stop the others.
            metrics.FAILURES.labels("recover").inc()
            _log.exception("payment_failed_to_move", booking_id=booking_id)


def _in_turns(due: Iterable[list[str]]) -> Iterable[str]:
    """The longest waiting of each partition, then the second of each, and so on."""
    return (name for name in chain.from_iterable(zip_longest(*due)) if name)
