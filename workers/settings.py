"""arq's settings: a queue that remembers nothing, and cron ticks that put the loops into it again.

arq is the clock and the hands (rule 11). A job is a slice of one loop's work; losing every job
loses nothing, since the next tick makes the next one.

- JSON instead of pickle: a queue that somebody else can write must not be able to run code.
- `keep_result=0`, and no `_job_id` of ours: an id blocks as long as its result is kept.
- A job that fails is not tried again: the next tick is.
"""

from __future__ import annotations

from datetime import UTC
from typing import Any, ClassVar, Final

import orjson
from arq.connections import ArqRedis
from arq.cron import CronJob, cron
from arq.worker import Worker, create_worker
from redis.asyncio import ConnectionPool
from redis.asyncio.sentinel import Sentinel

from engine.connections import split_sentinel
from engine.limits import CONNECT_TIMEOUT_MS, DATABASE_DRAIN_TIMEOUT_MS, QUEUE_TIMEOUT_MS, TICK_S
from workers.hands import Hands

QUEUE: Final = "holdfast:arq"
LOOPS: Final = (
    "drain",
    "sweep",
    "warn",
    "recover",
    "reconcile",
    "evict",
    "retire",
    "snapshot",
    "deal",
    "stream",
    "deliver",
    "tidy",
)
"""The loops that arq's ticks seed."""
JOB_TIMEOUT_S: Final = 4 * DATABASE_DRAIN_TIMEOUT_MS / 1000
"""For a job that hangs. A slice ends by itself after its present piece, which may be a large batch
on a slow disk: to cancel that would be to begin it again, for ever."""
_EVERY_TICK: Final = set(range(0, 60, TICK_S))


def _dump(job: dict[str, Any]) -> bytes:
    # A failed job's exception is the one thing in it that JSON cannot spell.
    return orjson.dumps(job, default=repr)


async def drain(ctx: dict[str, Any]) -> None:
    """A slice of the drain."""
    await _slice(ctx, "drain")


async def sweep(ctx: dict[str, Any]) -> None:
    """A slice of the sweep."""
    await _slice(ctx, "sweep")


async def warn(ctx: dict[str, Any]) -> None:
    """A slice of the warnings."""
    await _slice(ctx, "warn")


async def recover(ctx: dict[str, Any]) -> None:
    """A slice of the payments' recovery."""
    await _slice(ctx, "recover")


async def reconcile(ctx: dict[str, Any]) -> None:
    """A slice of the reconciler."""
    await _slice(ctx, "reconcile")


async def evict(ctx: dict[str, Any]) -> None:
    """A slice of the eviction."""
    await _slice(ctx, "evict")


async def retire(ctx: dict[str, Any]) -> None:
    """A slice of the retirement of closed sales."""
    await _slice(ctx, "retire")


async def snapshot(ctx: dict[str, Any]) -> None:
    """A slice of the snapshots."""
    await _slice(ctx, "snapshot")


async def deal(ctx: dict[str, Any]) -> None:
    """A slice of dealing out events."""
    await _slice(ctx, "deal")


async def stream(ctx: dict[str, Any]) -> None:
    """A slice of the stream for other services."""
    await _slice(ctx, "stream")


async def deliver(ctx: dict[str, Any]) -> None:
    """A slice of deliveries."""
    await _slice(ctx, "deliver")


async def tidy(ctx: dict[str, Any]) -> None:
    """A slice of forgetting what was delivered long ago."""
    await _slice(ctx, "tidy")


async def _slice(ctx: dict[str, Any], name: str) -> None:
    hands: Hands = ctx["hands"]
    await hands.job(name, ctx["redis"])


JOBS: Final = (
    drain,
    sweep,
    warn,
    recover,
    reconcile,
    evict,
    retire,
    snapshot,
    deal,
    stream,
    deliver,
    tidy,
)


def ticks() -> list[CronJob]:
    """Fresh cron jobs for one worker.

    Fresh, because a cron job remembers when it is next due: one that was made before an outage
    would first make up for every tick it missed.
    """
    return [
        cron(
            job,
            name=job.__name__,
            second=_EVERY_TICK,
            microsecond=0,
            run_at_startup=True,
            keep_result=0,
            max_tries=1,
            timeout=JOB_TIMEOUT_S,
        )
        for job in JOBS
    ]


class WorkerSettings:
    """What arq's worker is made of; the pool, the ticks and the hands are given when it is made."""

    queue_name: ClassVar = QUEUE
    job_serializer: ClassVar = _dump
    job_deserializer: ClassVar = orjson.loads
    keep_result: ClassVar = 0
    max_tries: ClassVar = 1
    max_jobs: ClassVar = 4 * len(JOBS)
    """A slice lasts into the next tick, and one that waits for its turn is a job as well. arq's own
    bound, 10, is below the number of loops: who found no room would never be worked by it."""
    expires_extra_ms: ClassVar = 60_000
    """A job that waited a minute is of a tick long gone."""
    handle_signals: ClassVar = False
    log_results: ClassVar = False
    timezone: ClassVar = UTC


def queue_pool(url: str) -> ArqRedis:
    """arq's client of the Redis that `url` names; it connects when it is first used.

    Every wait on it is bounded, which arq's own settings have no word for: a server that is frozen
    ends the worker, so that it is made again, instead of keeping it for ever.
    """
    timeouts: dict[str, Any] = {
        "socket_connect_timeout": CONNECT_TIMEOUT_MS / 1000,
        "socket_timeout": QUEUE_TIMEOUT_MS / 1000,
        "client_name": "holdfast-queue",
    }
    pool: ArqRedis
    if url.startswith("redis+sentinel://"):
        hosts, service, options = split_sentinel(url)
        sentinel = Sentinel(hosts, **timeouts)
        pool = sentinel.master_for(service, redis_class=ArqRedis, **(timeouts | options))
    else:
        pool = ArqRedis(ConnectionPool.from_url(url, **timeouts))
    pool.job_serializer = _dump
    pool.job_deserializer = orjson.loads
    pool.default_queue_name = QUEUE
    pool.expires_extra_ms = WorkerSettings.expires_extra_ms
    return pool


def arq_worker(pool: ArqRedis, hands: Hands) -> Worker:
    """A worker whose jobs lend their hands to the loops."""
    return create_worker(
        dict(vars(WorkerSettings)), redis_pool=pool, cron_jobs=ticks(), ctx={"hands": hands}
    )
