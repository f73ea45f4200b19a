"""What has to be there before the first request: tables, partitions, a sale to try things on."""

from __future__ import annotations

from typing import Final

import structlog

from engine.engine import Engine
from engine.settings import EngineOptions, Settings
from engine.types import ItemDefinition, SaleDefinition
from persistence.bootstrap import bootstrap
from persistence.migrate import migrate
from persistence.pool import Pool, create_pool
from persistence.reads import Reads

DEMO_SALE_ID: Final = "demo"
DEMO_SALE: Final = SaleDefinition(
    sale_id=DEMO_SALE_ID,
    name="A concert to try things on",
    items=(
        ItemDefinition("standing", "Standing", capacity=500, unit_price=4_500, max_per_booking=8),
        ItemDefinition("seated", "Seated", capacity=200, unit_price=7_500, max_per_booking=8),
        ItemDefinition("balcony", "Balcony", capacity=20, unit_price=12_000, max_per_booking=4),
        ItemDefinition("guest-list", "Guest list, free", capacity=50, unit_price=0),
    ),
)
"""With an item that costs nothing: such a booking is confirmed without a payment."""

_log = structlog.stdlib.get_logger("holdfast.first_start")


async def prepare(settings: Settings) -> list[str]:
    """Bring the tables to the newest version and start partitions that never were; idempotent.

    Returns the migrations applied now.

    Raises:
        Unavailable: a server does not answer.
        SettingsError: the installation was set up with others.
        HoldfastError: the database, Redis and this code do not fit together.
    """
    applied = await migrate(settings.database_url)
    if applied:
        _log.info("migrated", applied=applied)
    async with await create_pool(settings.database_url) as pool, await _open(settings, pool) as it:
        await bootstrap(pool, it)
    return applied


async def put_demo_sale(settings: Settings) -> None:
    """Make the sale to try things on, unless it is there. Raises as `prepare` does."""
    async with await create_pool(settings.database_url) as pool, await _open(settings, pool) as it:
        if await it.sales.get(DEMO_SALE_ID) is None:
            await it.sales.put(DEMO_SALE)


async def _open(settings: Settings, pool: Pool) -> Engine:
    reads = Reads(pool)
    return await Engine.open(EngineOptions.of(settings), archive=reads, floors=reads.cursors)
