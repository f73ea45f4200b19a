"""Keeps arq's worker alive: a lost Redis connection ends it, and then it is made again."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Final

import structlog
from arq.connections import ArqRedis
from arq.worker import Worker

from engine.connections import CONNECTION_LOST
from engine.tasks import end_tasks
from workers.hands import Hands
from workers.loops import BackOff
from workers.settings import arq_worker, queue_pool

_log = structlog.stdlib.get_logger("holdfast.worker")

STEADY_S: Final = 10.0
"""A worker that lived this long is made again at once."""
JOBS_END_S: Final = 1.0


async def keep_queue(url: str, hands: Hands) -> None:
    """Run arq's worker on the Redis that `url` names until cancelled, again whenever it ends.

    While it is away the loops go on by themselves (`workers.hands`).
    """
    back_off = BackOff()
    while True:
        begun_s = time.monotonic()
        pool = queue_pool(url)
        worker = arq_worker(pool, hands)
        try:
            await worker.async_run()
        except Exception as error:  # noqa: BLE001 - whatever ended it, it is made again
            if time.monotonic() - begun_s > STEADY_S or not back_off.failing:
                _log.warning("arq_ended", error=repr(error))
        finally:
            await _end(worker, pool)
        if time.monotonic() - begun_s > STEADY_S:
            back_off.succeeded()
        await asyncio.sleep(back_off.failed())


async def _end(worker: Worker, pool: ArqRedis) -> None:
    """What `Worker.close` does, with a Redis that may be away.

    Jobs whose loops were told to stop come to their end; others are cancelled.
    """
    jobs = list(worker.tasks.values())
    if jobs:
        await asyncio.wait(jobs, timeout=JOBS_END_S)
        await end_tasks(jobs)
    with contextlib.suppress(*CONNECTION_LOST):
        await pool.aclose()
