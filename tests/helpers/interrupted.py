"""A rebuild that ends, or stands still, at one of its steps: before a script, before a connection.

The steps are not written down: they are all calls of scripts of a rebuild and all statements' turns
to PostgreSQL, in the order in which they come.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

import persistence.commit
import persistence.rebuilding
from engine.calls import Caller, Reply
from persistence.pool import Connection, Pool, connection
from tests.helpers.stage import eventually
from workers.rebuild_told import Result


class Crash(Exception):
    """The process ends here, as far as the servers can tell."""


class Steps:
    """Counts steps; at `crash_at` it raises, at `stop_at` it waits for `go_on`."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self.crash_at: int | None = None
        self.stop_at: str | None = None
        self.names: list[str] = []
        self.stopped = asyncio.Event()
        self.go_on = asyncio.Event()
        run_as = Caller.run_as
        steps = self

        async def stepping_run(caller: Caller, name: str, *args: Any) -> Reply:
            await steps.step(name)
            return await run_as(caller, name, *args)

        @asynccontextmanager
        async def stepping_connection(pool: Pool) -> AsyncIterator[Connection]:
            await steps.step("PostgreSQL")
            async with connection(pool) as taken:
                yield taken

        patch.setattr(Caller, "run_as", stepping_run)
        for module in (persistence.rebuilding, persistence.commit):
            patch.setattr(module, "connection", stepping_connection)

    async def step(self, name: str) -> None:
        """A step of the rebuild is about to be taken."""
        self.count += 1
        self.names.append(name)
        if self.count == self.crash_at:
            raise Crash(f"at step {self.count}, {name}")
        if name == self.stop_at:
            self.stop_at = None
            self.stopped.set()
            await self.go_on.wait()


@asynccontextmanager
async def standing(
    rebuild: Coroutine[Any, Any, Result], name: str
) -> AsyncIterator[asyncio.Task[Result]]:
    """A rebuild that stands still before its first script of a name, while the body runs.

    It goes on when the body ends, and is waited for.
    """
    with pytest.MonkeyPatch.context() as patch:
        steps = Steps(patch)
        steps.stop_at = name
        task = asyncio.create_task(rebuild)
        try:
            stopped = asyncio.create_task(steps.stopped.wait())
            await asyncio.wait((stopped, task), return_when=asyncio.FIRST_COMPLETED)
            assert steps.stopped.is_set(), task.result()
            yield task
        finally:
            steps.go_on.set()
            await asyncio.wait((task,))


async def end_sessions_with_locks(pool: Pool) -> None:
    """End the sessions that hold advisory locks, of which there must be some, and wait for it."""
    ended = await pool.fetchval(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_locks WHERE locktype = 'advisory'"
    )
    assert ended

    async def are_gone() -> bool:
        left = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
        return bool(await pool.fetchval(left) == 0)

    await eventually(are_gone, "the locks to be given back")
