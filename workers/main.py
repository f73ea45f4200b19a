"""The worker process: builds what the loops need, sees to it that they are worked at, ends them.

It starts while Redis, PostgreSQL or the payment gateway is away and outlives each. On a signal it
lets its payments end and drains the journal, as far as it gets in a bounded time; what is left
waits in Redis for the next worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
from typing import Final

import structlog
import uvloop
from asyncpg import UndefinedTableError

from engine.engine import Engine
from engine.errors import Unavailable
from engine.limits import GC_THRESHOLD
from engine.payments.books import PaymentOptions
from engine.payments.gateway import Gateway
from engine.payments.limits import PAYMENT_LEASE_MS, RECONCILER_MARGIN_MS
from engine.payments.saga import Saga
from engine.payments.settings import PaymentSettings, load_payment_settings
from engine.payments.stripe import StripeGateway
from engine.settings import EngineOptions, Settings
from engine.tasks import end_tasks
from persistence.bootstrap import bootstrap
from persistence.drain import Drain
from persistence.pool import Pool, create_pool
from persistence.reads import Reads
from persistence.reconciling import Reconciling
from persistence.retiring import Retiring
from workers import metrics
from workers.drainer import Drainer
from workers.evictor import Evictor
from workers.hands import Hands
from workers.loops import BackOff, Loop
from workers.queue import keep_queue
from workers.reconciler import Reconciler
from workers.recovery import Recovery
from workers.relay import open_relay
from workers.retirer import Retirer
from workers.settings import queue_pool
from workers.snapshots import Snapshotter
from workers.stuck import StuckCounter
from workers.sweeper import Sweeper
from workers.undecided import Undecided
from workers.warner import Warner
from workers.watch import Watch

_log = structlog.stdlib.get_logger("holdfast.worker")

DAY_S: Final = 86_400.0
ASK_AGAIN_S: Final = 30.0


def run(settings: Settings) -> None:
    """Run a worker until SIGINT or SIGTERM.

    Raises:
        SettingsError: a setting is refused, or Redis keeps less than the durability promises.
    """
    payments = load_payment_settings()
    # A batch of the drain is tens of thousands of objects that all die together: looking through
    # them for circles every 700 was measured to take half of the drain's time.
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 10, 10)
    # Two lines for every job would be six lines each second that say that nothing happened.
    logging.getLogger("arq").setLevel(logging.ERROR)
    with (
        metrics.served(settings.metrics_port),
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        runner.run(WorkerProcess(settings, payments).run())


class WorkerProcess:
    """One run of the worker."""

    def __init__(self, settings: Settings, payments: PaymentSettings) -> None:
        self._settings = settings
        self._payments = payments
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """Begin to end; what SIGINT and SIGTERM do."""
        self._stop.set()

    async def run(self) -> None:
        """Work until `stop`. Raises `SettingsError`."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.stop)
        settings = self._settings
        pool = await create_pool(settings.database_url, application_name="holdfast-worker")
        gateway = await StripeGateway.open(self._payments)
        try:
            reads = Reads(pool)
            engine = await self._open(reads)
            if engine:
                async with engine, open_relay(self._settings) as relay:
                    await self._work(pool, reads, engine, gateway, relay)
        finally:
            await gateway.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(5):
                    await pool.close()
            pool.terminate()
        _log.info("worker_ended")

    async def _open(self, reads: Reads) -> Engine | None:
        """Open the engine, as soon as Redis answers; None where the end comes before.

        A database that answers has to have its tables too (`holdfast migrate`).
        """
        back_off = BackOff()
        options = EngineOptions.of(self._settings)
        while not self._stop.is_set():
            try:
                return await Engine.open(
                    options,
                    archive=reads,
                    floors=reads.cursors,
                    payments=PaymentOptions.of(self._payments),
                )
            except (Unavailable, UndefinedTableError) as error:
                if not back_off.failing:
                    what = "redis" if isinstance(error, Unavailable) else "tables"
                    _log.warning(f"waits_for_{what}", error=str(error))
                await self._pause(back_off.failed())
        return None

    async def _work(
        self, pool: Pool, reads: Reads, engine: Engine, gateway: Gateway, relay: tuple[Loop, ...]
    ) -> None:
        settings = self._settings
        saga = Saga(engine.payments, gateway)
        recovery = Recovery(engine, saga)
        stuck = StuckCounter(engine, self._payments.payment_stuck_ms, saga.key_lifetime_ms)
        settled_ms = PAYMENT_LEASE_MS + self._payments.gateway_timeout_ms + RECONCILER_MARGIN_MS
        undecided = Undecided(engine, gateway, saga, settled_ms)
        reconciler = Reconciler(
            engine, gateway, Reconciling(pool), undecided, stuck.run_out, settled_ms=settled_ms
        )
        drainer = Drainer(len(engine.partitions), Drain(pool, engine).run_once)
        loops = (
            drainer.loop,
            Sweeper(engine, settings.sweep_interval_ms).loop,
            Warner(engine, settings.expiry_warning_ms).loop,
            recovery.loop,
            reconciler.loop,
            Evictor(engine, reads.cursors, settings.finished_retention_ms).loop,
            Snapshotter(engine).loop,
            Retirer(
                engine,
                Retiring(pool),
                settings.sale_retention_ms,
                settings.finished_retention_ms,
            ).loop,
            *relay,
        )
        observer = Watch(engine, settings).loop
        notes = queue_pool(settings.queue_url)
        hands = Hands(loops, notes)
        tasks = [
            asyncio.create_task(work)
            for work in (
                hands.watch(),
                keep_queue(settings.queue_url, hands),
                self._first_start(pool, engine),
                observer.slice(DAY_S * 36_500),
                stuck.loop.slice(DAY_S * 36_500),
            )
        ]
        _log.info("worker_started", partitions=len(engine.partitions))
        stopping = asyncio.create_task(self._stop.wait())
        try:
            # The first two end only by a fault of ours. Then this process is of no use any more,
            # and whoever watches it starts another.
            await asyncio.wait((stopping, *tasks[:2]), return_when=asyncio.FIRST_COMPLETED)
            for task in tasks[:2]:
                if task.done():
                    task.result()
        finally:
            hands.stop()
            observer.stop()
            stuck.loop.stop()
            await asyncio.gather(
                tasks[0], end_tasks((stopping, *tasks[1:])), return_exceptions=True
            )
            await notes.aclose()
        await asyncio.gather(recovery.finish(), reconciler.finish())
        await drainer.finish()

    async def _first_start(self, pool: Pool, engine: Engine) -> None:
        """Start partitions that never were, as soon as both servers answer."""
        back_off = BackOff()
        while True:
            try:
                started = await bootstrap(pool, engine)
            except (Unavailable, UndefinedTableError) as error:
                if not back_off.failing and isinstance(error, UndefinedTableError):
                    # PostgreSQL was away when the engine was opened.
                    _log.warning("waits_for_tables", error=str(error))
                await asyncio.sleep(back_off.failed())
            except Exception as error:  # noqa: BLE001 - nobody else would ever start them
                # The partitions stay closed until somebody acts; what is open goes on.
                _log.error("cannot_start_partitions", error=f"{type(error).__name__}: {error}")
                await asyncio.sleep(ASK_AGAIN_S)
            else:
                if started:
                    _log.info("partitions_started", partitions=started)
                return

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop.wait()
