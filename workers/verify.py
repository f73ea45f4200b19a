"""`holdfast verify`: Redis, the journal, PostgreSQL and the gateway say the same, or where not.

Safe on a live system: it writes nothing and freezes nothing. Each partition by itself: what Redis
has is read with the sequence at which it has it, and compared with the fold of PostgreSQL's
journal at that sequence (`workers.verify_redis`); PostgreSQL's projections are read as of one
instant, and compared with the fold at the cursor they have then (`workers.verify_postgres`). Last,
what was captured is compared with the gateway's charges (`workers.verify_gateway`).

Where old rows of the journal were dropped, the fold begins at the base (`workers.verify_base`);
until it ends, no more are dropped.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import orjson

from engine.backlog import fence_of
from engine.engine import Engine
from engine.errors import Fenced
from engine.payments.gateway import Gateway
from engine.payments.limits import RECONCILER_MARGIN_MS
from engine.payments.settings import PaymentSettings
from engine.payments.stripe import StripeGateway
from engine.settings import EngineOptions, Settings
from engine.types import Floor
from persistence.audit import Audit
from persistence.pool import Pool
from persistence.reads import Reads
from persistence.reconciling import Reconciling
from workers import verify_base, verify_bookings, verify_postgres, verify_redis
from workers.bar import bar_of
from workers.operator_pool import operator_pool
from workers.replay import Cursors, Replay, Report
from workers.verify_gateway import GatewayComparison

DIFFERENT: Final = 1
QUERY_TIMEOUT_MS: Final = 10 * 60 * 1000

Show = Callable[[int, int], None]


async def verify(
    settings: Settings, payments: PaymentSettings | None = None, *, as_json: bool
) -> int:
    """Compare everything and print what came of it; returns the exit code, 1 for differences.

    Raises `Unavailable` where Redis, PostgreSQL or the gateway does not answer.
    """
    with _progress() as show:
        report = await compare(settings, show, payments)
    if as_json:
        lines = [orjson.dumps(summary(report)).decode()]
    else:
        verdict = f"different in {report.found:,} places" if report.found else "equal"
        lines = [
            *report.differences,
            f"{verdict}: {report.bookings:,} bookings, {report.payments:,} payments, "
            f"{report.journal_entries:,} journal entries",
        ]
    sys.stdout.write("\n".join((*lines, "")))
    sys.stdout.flush()
    return DIFFERENT if report.found else 0


def summary(report: Report) -> dict[str, object]:
    """The object that `--json` prints."""
    return {
        "equal": not report.found,
        "differences": report.differences,
        "bookings": report.bookings,
        "journal_entries": report.journal_entries,
        "payments": report.payments,
    }


def show_nothing(done: int, total: int) -> None:
    """Where there is nobody to show progress to."""


async def compare(
    settings: Settings, show: Show = show_nothing, payments: PaymentSettings | None = None
) -> Report:
    """Compare Redis, the journal, PostgreSQL and the gateway. Raises `Unavailable`.

    Args:
        show: is told how many entries have been folded, of how many.
        payments: the gateway to compare with; None compares with none.
    """
    async with operator_pool(
        settings, "holdfast-verify", command_timeout_ms=QUERY_TIMEOUT_MS
    ) as pool:
        reads = Reads(pool)
        await reads.ready()
        # With the archive: a charge may be for a booking that has left Redis.
        engine = await Engine.open(EngineOptions.of(settings), archive=reads, floors=reads.cursors)
        async with engine, Audit(pool).nothing_is_dropped():
            if payments is None:
                return await _compare_all(engine, pool, reads, show, None)
            gateway = await StripeGateway.open(payments)
            try:
                return await _compare_all(engine, pool, reads, show, gateway)
            finally:
                await gateway.close()


async def _compare_all(
    engine: Engine, pool: Pool, reads: Reads, show: Show, gateway: Gateway | None
) -> Report:
    report, audit, cursors = Report(), Audit(pool), Cursors(reads)
    bases: dict[int, int] = {}
    charges = GatewayComparison(engine, gateway, report) if gateway else None
    floors = await reads.cursors()
    statuses = await engine.journal.statuses()
    open_partitions = []
    for status in statuses:
        if reason := fence_of(status, floors.get(status.partition)):
            report.differ(f"partition {status.partition}: is fenced: {reason}")
        else:
            open_partitions.append(status.partition)
    total = sum(status.sequence for status in statuses)
    # All at once, so that partitions that nobody drains are found in the time that one takes.
    await asyncio.gather(
        *(
            cursors.reached(status.partition, status.sequence)
            for status in statuses
            if status.partition in open_partitions
        )
    )

    def folded() -> None:
        show(report.journal_entries, max(total, report.journal_entries))

    for partition in range(len(engine.partitions)):
        replay = Replay(audit, cursors, partition, report, folded)
        begun = await verify_base.begin(audit, replay)
        bases[partition] = replay.state.sequence
        total -= bases[partition]
        await replay.fold(max(begun, floors.get(partition, Floor(0, 0)).sequence))
        if partition in open_partitions:
            try:
                await verify_redis.compare_partition(engine, audit, replay)
            except Fenced as fenced:
                replay.differ(f"is fenced: {fenced.reason}")
        await verify_postgres.compare_partition(audit, replay)
        report.bookings += len(replay.state.bookings)
        report.payments += len(replay.payments)
        if charges:
            charges.expect(replay.payments.values())
    await verify_bookings.compare_bookings(engine, audit, cursors, report, bases)
    if gateway and charges and (position := await Reconciling(pool).position(gateway.name)):
        await charges.compare(position.installed_ms - RECONCILER_MARGIN_MS)
    report.end()
    return report


@contextmanager
def _progress() -> Iterator[Show]:
    """A bar on the terminal, if there is one; stdout stays for the result."""
    with bar_of("entries") as bar:
        task = bar.add_task("verify", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
