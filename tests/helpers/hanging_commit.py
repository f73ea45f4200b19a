"""A PostgreSQL in which a commit hangs, or a drain does: where to kill somebody in the middle."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from asyncpg import Connection, Record

from tests.helpers import books
from tests.helpers.servers import System
from tests.helpers.stage import eventually

_HELD_UP: Final = """
SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND backend_xid IS NOT NULL
"""
_WRITE: Final = "SELECT pg_logical_emit_message(true, 'probe', '')"
_COMMITS: Final = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"


@asynccontextmanager
async def drain_held_up(system: System) -> AsyncIterator[None]:
    """Inside, a drain has moved its cursor and written its journal rows, and waits for a lock."""
    locking, watching = await books.connect(system), await books.connect(system)
    try:
        async with locking.transaction():
            await locking.execute("LOCK TABLE bookings IN SHARE MODE")
            await _some(watching, _HELD_UP, "somebody to drain")
            yield
    finally:
        await locking.close()
        await watching.close()


async def hang_commits(connection: Connection[Record]) -> None:
    """From now on a commit that is on the disk waits for a standby that there is not."""
    await connection.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    await connection.execute("SELECT pg_reload_conf()")

    async def hangs() -> bool:
        """Each process of the server learns of it in its own time."""
        try:
            await connection.execute(_WRITE, timeout=0.2)
        except TimeoutError:
            return True
        return False

    await eventually(hangs, "commits to hang")


async def a_commit_hangs(connection: Connection[Record]) -> None:
    """Wait until a session waits for that standby."""
    await _some(connection, _COMMITS, "a commit to wait for its standby")


def let_commits_go(data: Path) -> None:
    """Undo `hang_commits` in a data directory whose server is down."""
    settings = data / "postgresql.auto.conf"
    lines = settings.read_text().splitlines(keepends=True)
    settings.write_text("".join(line for line in lines if "standby" not in line))


async def _some(connection: Connection[Record], query: str, what: str) -> None:
    async def is_there() -> bool:
        return bool(await connection.fetchval(query))

    await eventually(is_there, what, 60)
