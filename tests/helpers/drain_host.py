"""Drains a partition in a process of its own that stands still at a chosen place.

    python -m tests.helpers.drain_host REDIS_URL DATABASE_URL PLACE LEASE_MS

It drains the concert's partition, holds two times more, lets the time pass after which Redis need
not keep what is drained, and drains again. There it prints `reached` at its place, and goes on
when it reads a line; at the end it prints what came of the drain: a count, or an error's name.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any, Final
from unittest.mock import patch

from engine.errors import HoldfastError
from engine.limits import DATABASE_LEASE_MS, JOURNAL_KEPT_BEHIND_CURSOR_MS
from persistence import commit
from tests.helpers.ledger import open_ledger
from tests.helpers.servers import clean_environment

PLACES: Final = ("before_commit", "after_commit", "after_trim")


async def _stand_still() -> None:
    print("reached", flush=True)
    await asyncio.to_thread(sys.stdin.readline)


async def _tell(drain: Awaitable[int]) -> None:
    try:
        print(await drain, flush=True)
    except HoldfastError as error:
        print(type(error).__name__, flush=True)


async def _drain(redis_url: str, database_url: str, place: str) -> None:
    now_s = 1_000.0
    async with open_ledger(redis_url, database_url, clock=lambda: now_s) as ledger:
        partition = ledger.engine.keys.partition_of_sale("concert")
        journal, write = ledger.engine.journal, commit._write
        trim = journal.trim
        await ledger.drain.run_once(partition)
        await ledger.hold()
        await ledger.hold()
        now_s += JOURNAL_KEPT_BEHIND_CURSOR_MS / 1000

        async def write_and_stand_still(*args: Any) -> Any:
            written = await write(*args)
            await _stand_still()
            return written

        writes = {"before_commit": write_and_stand_still}

        async def stand_still_and_trim(*args: Any) -> int:
            if place == "after_commit":
                await _stand_still()
            trimmed = await trim(*args)
            if place == "after_trim":
                await _stand_still()
            return trimmed

        with patch.object(journal, "trim", stand_still_and_trim):
            with patch.object(commit, "_write", writes.get(place, write)):
                await _tell(ledger.drain.run_once(partition))
            await _tell(ledger.drain.run_once(partition))


@asynccontextmanager
async def drain_process(
    redis_url: str, database_url: str, place: str, *, lease_ms: int = DATABASE_LEASE_MS
) -> AsyncIterator[asyncio.subprocess.Process]:
    """The process, standing at its place; killed on leaving if it still runs."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.helpers.drain_host"),
        *(redis_url, database_url, place, str(lease_ms)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=clean_environment(),
    )
    assert child.stdout
    try:
        async with asyncio.timeout(60):
            assert await child.stdout.readline() == b"reached\n"
        yield child
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


if __name__ == "__main__":
    with patch("persistence.pool.DATABASE_LEASE_MS", int(sys.argv[4])):
        asyncio.run(_drain(*sys.argv[1:4]))
