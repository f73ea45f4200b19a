"""What telling customers costs bookings: the same buyers, with a worker that mails and without."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Final

from holdfast.bench.orders import Measured, Order
from holdfast.bench.sink import Sink, open_sink
from holdfast.bench.stage import POLL_S, BenchFailed, Stage
from holdfast.bench.strain import FEW_CUSTOMERS, PART, PAYING, SECONDS, at_rate
from holdfast.embedded import process
from holdfast.embedded.process import Launch
from holdfast.own_system import clean_environment

STARTED: Final = b"worker_started"
PATIENCE_S: Final = 60.0

ABOUT: Final = {
    "untold": "paid bookings with an address, nobody told",
    "told": "paid bookings, each buyer told by mail",
    "untold_70": "payments with an address at 70 %, nobody told",
    "told_70": "the same, each buyer told by mail",
    "mails": "the mails, from the capture to the server's answer",
}


async def play_notices(
    stage: Stage, number: int, most: Mapping[str, float]
) -> AsyncGenerator[tuple[str, Measured]]:
    """Buyers who leave an address, once a round with mails and once without, in turns.

    As many as the machine does, where whatever the mails cost is taken from sales; and as many as
    it should be planned for, where they could only slow them.

    Each time with a worker of its own while the system's stands still, so that all that differs is
    one setting.
    """
    order = Order(work="told", url=stage.run.url, customers=FEW_CUSTOMERS, seconds=SECONDS)
    per_s = PART * most["paid_drained"]
    names = ("untold", "told") if number % 2 == 0 else ("told", "untold")
    async with AsyncExitStack() as stack:
        sink = await stack.enter_async_context(open_sink())
        await settled(stage)
        await stack.enter_async_context(stage.worker_paused())
        await let_go(stage)
        for name in names:
            settings = {"HOLDFAST_SMTP_URL": sink.url} if name == "told" else {}
            async with another_worker(stage, settings):
                began_s = time.perf_counter()
                yield name, await stage.measure(order)
                await settled(stage)
                yield f"{name}_70", await at_rate(stage, "told", stage.run.url, PAYING, per_s)
                await settled(stage)
                if name == "told":
                    yield "mails", await mails_of(stage, sink, time.perf_counter() - began_s)


async def mails_of(stage: Stage, sink: Sink, seconds: float) -> Measured:
    """How many there were, and how old their events were when they had arrived."""
    async with stage.database() as connection:
        sent, p50_ms, p99_ms = await connection.fetchrow(
            """
            SELECT count(*), percentile_cont(0.5) WITHIN GROUP (ORDER BY age_ms),
                percentile_cont(0.99) WITHIN GROUP (ORDER BY age_ms)
            FROM (
                SELECT 1000 * extract(EPOCH FROM delivery.ended_at) - journal.at_ms AS age_ms
                FROM deliveries AS delivery
                INNER JOIN journal USING (partition, sequence)
                WHERE delivery.destination = 'email' AND delivery.state = 'delivered'
                AND delivery.ended_at > now() - make_interval(secs => $1)
            )
            """,
            seconds,
        ) or (0, 0, 0)
    if not 0 < sent <= sink.count:
        raise BenchFailed(f"{sent} mails are marked as sent, and {sink.count} arrived")
    return Measured(seconds=seconds, done=sent, p50_ms=float(p50_ms), p99_ms=float(p99_ms))


async def settled(stage: Stage) -> None:
    """Wait until everything has left PostgreSQL that is to leave it."""
    await stage.drained()
    async with stage.database() as connection:

        async def is_settled() -> bool:
            return not await connection.fetchval(
                "SELECT EXISTS (SELECT FROM outbox)"
                " OR EXISTS (SELECT FROM deliveries WHERE state = 'waiting')"
            )

        await _until(is_settled, "all events to have left")


async def let_go(stage: Stage) -> None:
    """End the transactions in which the worker was stopped: another would wait for their locks."""
    async with stage.database() as connection:

        async def has_none() -> bool:
            return not await connection.fetchval(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE xact_start IS NOT NULL"
                " AND application_name IN ('holdfast-worker', 'holdfast-relay')"
            )

        await _until(has_none, "a stopped worker's transactions to end")


@asynccontextmanager
async def another_worker(stage: Stage, changes: Mapping[str, str]) -> AsyncIterator[None]:
    """A worker of the same system with other settings, counted as the system's."""
    log = stage.data.path.parent / "another-worker.log"
    log.unlink(missing_ok=True)
    launch = Launch(
        name="another worker",
        command=(sys.executable, "-m", "holdfast", "worker"),
        log=log,
        environment={**clean_environment(), **stage.data.read_settings(), **changes},
    )
    child, run = process.spawn(launch), stage.run

    async def is_started() -> bool:
        return STARTED in log.read_bytes()

    try:
        await _until(is_started, "a worker to start")
        stage.run = replace(run, pids=replace(run.pids, worker=[child.pid]))
        yield
    finally:
        stage.run = run
        await asyncio.to_thread(process.stop, child, signal.SIGTERM, 30)


async def _until(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    deadline_s = time.perf_counter() + PATIENCE_S
    while not await condition():
        if time.perf_counter() > deadline_s:
            raise BenchFailed(f"waited {PATIENCE_S:.0f} s for {what}")
        await asyncio.sleep(POLL_S)
