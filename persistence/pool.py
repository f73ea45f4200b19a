"""Connections to PostgreSQL, each wait on them bounded, and what their errors mean.

A session that is silent in the middle of a transaction for `DATABASE_LEASE_MS` is ended by the
server: that is the lease of a drain. One that is stopped while it holds a partition loses it, and
its commit comes too late.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Final, TypeAlias

import asyncpg

from engine.errors import Unavailable
from engine.limits import (
    DATABASE_COMMAND_TIMEOUT_MS,
    DATABASE_CONNECT_TIMEOUT_MS,
    DATABASE_IDLE_MS,
    DATABASE_LEASE_MS,
    MAX_DATABASE_CONNECTIONS,
)

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"

_PASSING: Final = ("08", "28", "3D", "40", "53", "55", "57", "58")
"""SQLSTATE classes of errors that are not about the statement: no connection, not let in, no such
database, rolled back, no resources, not in the right state, an operator intervened, the system."""
_PASSING_STATES: Final = ("25006", "25P03")
"""A server that only reads (a failover is under way), and a lease that ran out."""


async def create_pool(
    url: str,
    *,
    application_name: str = "holdfast",
    max_size: int = MAX_DATABASE_CONNECTIONS,
    command_timeout_ms: int = DATABASE_COMMAND_TIMEOUT_MS,
    may_repeat: bool = False,
    keeps_nothing: bool = False,
) -> Pool:
    """Open a pool. It connects when somebody first needs it, so that PostgreSQL may be away now.

    Args:
        url: `postgresql://…`
        application_name: what `pg_stat_activity` shows.
        max_size: most connections at once.
        command_timeout_ms: most that a statement may take.
        may_repeat: a crash of the server may undo what was committed last, since whoever did it
            does it again: a commit does not wait for the disk.
        keeps_nothing: nobody leaves anything in a session (locks, settings, cursors), so that it
            need not be cleaned after each use, which costs a round trip.
    """
    return await asyncpg.create_pool(
        url,
        min_size=0,
        max_size=max_size,
        timeout=DATABASE_CONNECT_TIMEOUT_MS / 1000,
        command_timeout=command_timeout_ms / 1000,
        max_inactive_connection_lifetime=DATABASE_IDLE_MS / 1000,
        reset=_nothing if keeps_nothing else None,
        server_settings={
            "application_name": application_name,
            "idle_in_transaction_session_timeout": str(DATABASE_LEASE_MS),
            **({"synchronous_commit": "off"} if may_repeat else {}),
        },
    )


async def _nothing(_connection: Connection) -> None:
    """Leave a session as it is; asyncpg has rolled back what was open."""


@asynccontextmanager
async def connection(pool: Pool) -> AsyncIterator[Connection]:
    """A connection of the pool.

    Raises:
        Unavailable: PostgreSQL is away, or busy beyond all bounds; also from statements inside.
    """
    with database_errors():
        async with pool.acquire(timeout=DATABASE_CONNECT_TIMEOUT_MS / 1000) as taken:
            yield taken


@contextmanager
def database_errors() -> Iterator[None]:
    """Turn what says that PostgreSQL is away into `Unavailable`; our own mistakes stay as they are.

    After an `Unavailable` from a commit its outcome is not known.
    """
    try:
        yield
    except asyncpg.PostgresError as error:
        state = error.sqlstate or ""
        if state.startswith(_PASSING) or state in _PASSING_STATES:
            raise Unavailable(f"PostgreSQL: {error}") from error
        raise
    except (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        # A time-out is an OSError too, and says nothing by itself.
        raise Unavailable(f"PostgreSQL: {str(error) or type(error).__name__}") from error


def affected(status: str) -> int:
    """How many rows a command has changed, as PostgreSQL says it: `UPDATE 3`."""
    return int(status.rpartition(" ")[2])
