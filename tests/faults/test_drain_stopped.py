"""A drain that dies or stands still, wherever it was: each entry is applied once, none is missing.

The drain is a process of its own; where it stands is proved by what PostgreSQL and Redis show.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator

import psutil
import pytest

from tests.helpers.drain_host import PLACES, drain_process
from tests.helpers.faults import are_stopped
from tests.helpers.ledger import Ledger, concert, open_ledger
from tests.helpers.servers import until

FIRST_HOLDS = 120
"""More than the entries of one node of a stream, so that there is something to drop."""
FIRST_BATCH = 1 + FIRST_HOLDS
ENTRIES = FIRST_BATCH + 2


@pytest.fixture
async def ledger(redis_url: str, database_url: str) -> AsyncIterator[Ledger]:
    """A concert of which some bookings are held: the first batch of the process."""
    async with open_ledger(redis_url, database_url) as opened:
        await opened.engine.sales.put(concert(capacity=1_000))
        await asyncio.gather(*(opened.hold() for _ in range(FIRST_HOLDS)))
        yield opened


async def stands(ledger: Ledger) -> tuple[int, int, bool]:
    """How far PostgreSQL is, what Redis was told of it, and whether it has dropped something."""
    partition = ledger.engine.keys.partition_of_sale("concert")
    status = await ledger.engine.journal.status(partition)
    cursor = (await ledger.reads.cursors())[partition].sequence
    return cursor, status.drained, status.entries < status.sequence


STANDS = {
    "before_commit": (FIRST_BATCH, FIRST_BATCH, False),
    "after_commit": (ENTRIES, FIRST_BATCH, False),
    "after_trim": (ENTRIES, ENTRIES, True),
}


async def check_applied_once(ledger: Ledger) -> None:
    partition = ledger.engine.keys.partition_of_sale("concert")
    assert (await ledger.chained(partition))[0] == ENTRIES
    assert await ledger.rows("SELECT count(*) FROM bookings") == [(FIRST_HOLDS + 2,)]
    assert await ledger.rows("SELECT count(*) FROM stock_history") == [(2 + FIRST_HOLDS + 2,)]
    sale = await ledger.engine.sales.get("concert")
    assert sale
    assert (await ledger.levels())["concert"] == sale.levels
    assert sale.levels[0].held == 2 * (FIRST_HOLDS + 2)
    assert (await ledger.engine.journal.status(partition)).fenced is None


async def drained(ledger: Ledger) -> int:
    """What is drained once PostgreSQL has noticed that the one before is gone."""
    partition = ledger.engine.keys.partition_of_sale("concert")
    total = 0
    for _ in range(400):
        total += await ledger.drain.run_once(partition)
        if (await stands(ledger))[0] == ENTRIES:
            return total
        await asyncio.sleep(0.05)
    raise AssertionError("nobody could drain")


@pytest.mark.parametrize("place", PLACES)
async def test_a_drain_process_killed_there_is_made_up_for_exactly_once(
    ledger: Ledger, redis_url: str, database_url: str, place: str
) -> None:
    async with drain_process(redis_url, database_url, place) as child:
        assert await stands(ledger) == STANDS[place]
        child.kill()
        assert await child.wait() == -signal.SIGKILL
    assert await drained(ledger) == (ENTRIES - FIRST_BATCH if place == "before_commit" else 0)
    await check_applied_once(ledger)


async def test_a_drain_process_stopped_past_its_lease_cannot_commit_when_it_goes_on(
    ledger: Ledger, redis_url: str, database_url: str
) -> None:
    async with drain_process(redis_url, database_url, "before_commit", lease_ms=300) as child:
        child.send_signal(signal.SIGSTOP)
        await until(lambda: are_stopped([psutil.Process(child.pid)]), "it is stopped")
        assert await drained(ledger) == ENTRIES - FIRST_BATCH
        child.send_signal(signal.SIGCONT)
        assert child.stdin
        assert child.stdout
        child.stdin.write(b"go on\n")
        async with asyncio.timeout(60):
            # Refused, and then it finds that there is nothing left to do.
            assert (await child.stdout.read()).split() == [b"Unavailable", b"0"]
        assert await child.wait() == 0
    await check_applied_once(ledger)


async def test_a_drain_process_within_its_lease_commits_when_it_goes_on(
    ledger: Ledger, redis_url: str, database_url: str
) -> None:
    """The other side of the lease: what refused the one above was not the standing still."""
    async with drain_process(redis_url, database_url, "before_commit") as child:
        child.send_signal(signal.SIGSTOP)
        await until(lambda: are_stopped([psutil.Process(child.pid)]), "it is stopped")
        partition = ledger.engine.keys.partition_of_sale("concert")
        assert await ledger.drain.run_once(partition) == 0, "the other one is at it"
        child.send_signal(signal.SIGCONT)
        assert child.stdin
        assert child.stdout
        child.stdin.write(b"go on\n")
        async with asyncio.timeout(60):
            assert (await child.stdout.read()).split() == [b"2", b"0"]
        assert await child.wait() == 0
    assert await ledger.drain.run_once(partition) == 0
    await check_applied_once(ledger)
