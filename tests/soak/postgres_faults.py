"""What happens to PostgreSQL in a soak."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.helpers import books
from tests.helpers.faults import frozen, kept_down
from tests.helpers.hanging_commit import a_commit_hangs, hang_commits, let_commits_go
from tests.helpers.put_back import copy_whole
from tests.soak.ground import Fault, Ground

SLOW_S: Final = 15
FROZEN_S: Final = 20


async def keep_down(ground: Ground) -> float:
    async with kept_down(ground.system, "postgres"):
        await ground.hold_all_the_while(ground.away_s)
    return time.monotonic()


async def freeze(ground: Ground) -> float:
    async with frozen(ground.system.pids["postgres"]):
        await ground.hold_all_the_while(min(FROZEN_S, ground.away_s))
    return time.monotonic()


async def slow_down(ground: Ground) -> float:
    """Every statement takes a second or so: the server stands still nine tenths of the time."""

    async def stutter() -> None:
        for _ in range(SLOW_S):
            async with frozen(ground.system.pids["postgres"]):
                await asyncio.sleep(0.9)
            await asyncio.sleep(0.1)

    await asyncio.gather(stutter(), ground.hold_all_the_while(SLOW_S))
    return time.monotonic()


async def kill_in_commit(ground: Ground) -> float:
    """A drain's commit is on the disk, the drain was not told, and the server dies."""
    connection = await books.connect(ground.system)
    await hang_commits(connection)
    await a_commit_hangs(connection)
    data = Path(await connection.fetchval("SHOW data_directory"))
    async with kept_down(ground.system, "postgres"):
        connection.terminate()
        let_commits_go(data)
        return time.monotonic()


async def take_back(ground: Ground) -> float:
    """As a failover to a standby that lacked the last commits."""
    connection = await books.connect(ground.system)
    data, copy = Path(await connection.fetchval("SHOW data_directory")), ground.scratch / "copy"
    await connection.close()
    async with kept_down(ground.system, "postgres"):
        await asyncio.to_thread(copy_whole, data, copy)
    await ground.load.held_more(20)
    await books.drained(ground.system)
    # Nobody drains again before it has been seen that commits are missing.
    async with frozen(*ground.system.pids["worker"]):
        before = await cursors(ground)
        async with kept_down(ground.system, "postgres"):
            shutil.rmtree(data)
            await asyncio.to_thread(copy_whole, copy, data)
        after = await cursors(ground)
        assert any(now < then for now, then in zip(after, before, strict=True)), "nothing is lost"
        await ground.load.held_more(5)
    shutil.rmtree(copy)
    return time.monotonic()


async def cursors(ground: Ground) -> list[int]:
    connection = await books.connect(ground.system)
    try:
        rows = await connection.fetch("SELECT sequence FROM partitions ORDER BY partition")
    finally:
        await connection.close()
    return [row["sequence"] for row in rows]


FAULTS: Final[Mapping[str, Fault]] = {
    "PostgreSQL killed and kept away": keep_down,
    "PostgreSQL frozen": freeze,
    "PostgreSQL slow, a second a statement": slow_down,
    "PostgreSQL killed in the middle of a commit": kill_in_commit,
    "PostgreSQL back without its last commits": take_back,
}
