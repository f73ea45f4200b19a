"""What an installation was set up with, which no setting may say otherwise afterwards."""

from __future__ import annotations

from asyncpg import UndefinedTableError

from engine.errors import SettingsError
from engine.keys import HASH_FUNCTION
from persistence.pool import Connection, Pool, connection
from persistence.queries import query


async def check_installation(pool: Pool, partitions: int) -> None:
    """Refuse other settings than the recorded ones; writes nothing.

    Before the first start nothing is recorded, and nothing is refused.

    Raises:
        SettingsError: this installation was set up with another number of partitions, or by code
            that spreads sales over them by another function.
        Unavailable: PostgreSQL is away.
    """
    async with connection(pool) as taken:
        try:
            await compare_with_recorded(taken, partitions)
        except UndefinedTableError:
            return


async def compare_with_recorded(taken: Connection, partitions: int) -> None:
    """The same on a connection to a database that has its tables."""
    recorded = await taken.fetchrow(query("installation"))
    if recorded is None:
        return
    if recorded["partitions"] != partitions:
        raise SettingsError(
            f"HOLDFAST_PARTITIONS: this installation has {recorded['partitions']}"
            f" partitions, not {partitions}; their number cannot be changed"
        )
    if recorded["hash_function"] != HASH_FUNCTION:
        raise SettingsError(
            f"HOLDFAST_PARTITIONS: sales of this installation are spread by"
            f" {recorded['hash_function']}, and this code spreads by {HASH_FUNCTION}"
        )
