"""What every rebuild does: write what PostgreSQL has into Redis, read it back, compare."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import asdict, dataclass

from engine.engine import Engine
from engine.errors import HoldfastError
from engine.limits import TOMBSTONE_TTL_MS
from engine.restoring import Restoring, booking_argument, record_argument
from engine.types import Status
from persistence.audit import Audit
from persistence.pool import Pool
from persistence.rebuilding import Expected, State


class RebuildRefused(HoldfastError):
    """The partition is not rebuilt, and stays as it is: somebody has to decide something first."""


@dataclass(slots=True)
class Rebuilt:
    """What became of a partition, or of one sale; also what would, in a dry run."""

    partition: int
    reason: str | None
    """Why it was closed; None where nothing was wrong with it."""
    sale_id: str | None = None
    """The sale that was rebuilt alone."""
    generation: int = 0
    sequence: int = 0
    """The cursor that it was rebuilt at."""
    salvaged: int = 0
    """Entries of Redis's journal that PostgreSQL lacked and has taken over."""
    dropped: int = 0
    """Entries of Redis's journal that do not follow from PostgreSQL's."""
    dropped_because: str | None = None
    sales: int = 0
    customers: int = 0
    holds: int = 0
    payments: int = 0
    tombstones: int = 0
    records: int = 0
    seconds: float = 0.0

    def counts(self) -> dict[str, object]:
        """Its fields by name."""
        return asdict(self)


async def write_state(
    engine: Engine,
    restoring: Restoring,
    state: State,
    rebuilt: Rebuilt,
    grace_ms: int,
    restored: Callable[[], None],
) -> None:
    """Write into Redis what PostgreSQL has.

    Args:
        grace_ms: how much longer a hold lives while its payment is open.
        restored: is called for each hold.
    """
    now_ms = await engine.restore.now_ms(rebuilt.partition)
    for sale in await state.sales():
        await restoring.put_sale(sale)
    async with restoring.writer("restore_customers") as writer:
        async for sale_id, customer_id, units in state.customers():
            await writer.put(sale_id, customer_id, units)
    async with restoring.writer("restore_bookings") as writer:
        async for archived in state.bookings():
            await writer.put(booking_argument(archived, grace_ms))
            if archived.booking.status is Status.PENDING:
                restored()
    async with restoring.writer("restore_tombstones", TOMBSTONE_TTL_MS) as writer:
        async for booking_id, version in state.tombstones(now_ms):
            await writer.put(booking_id, version)
    rebuilt.tombstones = writer.written
    async with restoring.writer("restore_records") as writer:
        async for name, record in state.records(now_ms):
            await writer.put(record_argument(name, record))
    require(rebuilt.partition, "idempotency records", writer.counted, writer.written)
    rebuilt.records = writer.written


async def compare(engine: Engine, rebuilt: Rebuilt, expected: Expected) -> None:
    """Compare what lies in Redis now with what PostgreSQL says. Raises `RebuildRefused`."""
    partition = rebuilt.partition
    looked_at = await engine.restore.payments(partition)
    if rebuilt.sale_id is None:
        require(partition, "open payments", looked_at, expected.payments)
    else:
        # Those of other sales come and go.
        require(partition, "open payments", looked_at & expected.payments, expected.payments)
    rebuilt.sales, rebuilt.payments = len(expected.levels), len(expected.payments)
    rebuilt.customers = rebuilt.holds = 0
    for sale_id, levels in expected.levels.items():
        found = await engine.restore.sale(partition, sale_id)
        where = f"sale {sale_id}: "
        require(partition, f"{where}levels", found.levels, levels)
        require(partition, f"{where}units of customers", found.units, expected.units(sale_id))
        require(partition, f"{where}holds", found.holds, expected.holds.get(sale_id, 0))
        rebuilt.customers += found.customers
        rebuilt.holds += found.holds


async def check_quarantine(pool: Pool, partition: int, sale_id: str | None = None) -> None:
    """Refuse while entries are in quarantine: what they moved, the tables do not show.

    Args:
        sale_id: only those of this sale, and those of which it cannot be told.
    """
    async with Audit(pool).snapshot(partition) as snapshot:
        found = await snapshot.quarantine()
    waiting = [
        row
        for row in found
        if not row.discarded and (None in (sale_id, row.sale_id) or row.sale_id == sale_id)
    ]
    if waiting:
        raise RebuildRefused(
            f"partition {partition}: {len(waiting)} entries are in quarantine, the first is "
            f"{waiting[0].sequence}; `holdfast backlog quarantine` decides on them first"
        )


def require(partition: int, what: str, found: object, expected: object) -> None:
    """Raise `RebuildRefused` where Redis does not have what PostgreSQL says."""
    if found != expected:
        raise RebuildRefused(
            f"partition {partition}: {what}: {found} in Redis after the rebuild, {expected} in "
            "PostgreSQL; it stays closed"
        )


def started_by() -> str:
    """Who rebuilds, for whoever wonders later."""
    return f"{socket.gethostname()}, process {os.getpid()}"
