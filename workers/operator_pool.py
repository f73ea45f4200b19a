"""The pool of an operator's command, which every one of them gets here and nowhere else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from engine.limits import DATABASE_COMMAND_TIMEOUT_MS
from engine.settings import Settings
from persistence.installation import check_installation
from persistence.pool import Pool, create_pool


@asynccontextmanager
async def operator_pool(
    settings: Settings,
    application_name: str,
    *,
    command_timeout_ms: int = DATABASE_COMMAND_TIMEOUT_MS,
) -> AsyncIterator[Pool]:
    """A pool on the installation that the settings are of.

    With another number of partitions a command would look for sales where they are not, and
    `rebuild` would write them there.

    Raises:
        SettingsError: the installation was set up with others.
        Unavailable: PostgreSQL is away.
    """
    pool = await create_pool(
        settings.database_url,
        application_name=application_name,
        command_timeout_ms=command_timeout_ms,
    )
    try:
        await check_installation(pool, settings.partitions)
        yield pool
    finally:
        await pool.close()
