"""The first start of an installation and of its partitions; harmless at every later one.

A partition is created in Redis only while PostgreSQL says that it never was: afterwards a Redis
without it has lost it, and must not be opened for selling again.
"""

from __future__ import annotations

from engine.keys import HASH_FUNCTION
from persistence.installation import compare_with_recorded
from persistence.pool import Connection, Pool, connection
from persistence.queries import query
from persistence.source import Source


async def bootstrap(pool: Pool, engine: Source) -> list[int]:
    """Start the partitions that never were; answers which. Any number of hosts may do so at once.

    Raises:
        SettingsError: this installation was set up with others (`persistence.installation`).
        Fenced: a partition that PostgreSQL never had is there in Redis, in another shape.
        Unavailable: PostgreSQL or Redis is away; run it again.
    """
    wanted = engine.keys.partitions
    started = []
    async with connection(pool) as taken:
        async with taken.transaction():
            await taken.execute(query("insert_installation"), wanted, HASH_FUNCTION)
            await compare_with_recorded(taken, wanted)
            await taken.execute(query("insert_partitions"), wanted)
        for row in await taken.fetch(query("partitions")):
            engine.partitions.observe(row["partition"], row["generation"], row["sequence"])
            if not row["initialised"] and await _start(taken, engine, row["partition"]):
                started.append(row["partition"])
    return started


async def _start(taken: Connection, engine: Source, partition: int) -> bool:
    """Create one partition in Redis, unless another host did meanwhile; whether it was this one."""
    # Under the row's lock: a host that looked before another marked the partition, and went on
    # only after Redis had lost it, would open it anew.
    async with taken.transaction():
        if await taken.fetchval(query("lock_uninitialised"), partition) is None:
            return False
        await engine.journal.initialise(partition)
        await taken.execute(query("mark_initialised"), partition)
        return True
