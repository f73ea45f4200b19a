"""What a power cut leaves: nothing that was answered 201 is missing from it.

A kill alone proves little, because the kernel writes out what the process had handed over. So the
server's calls are traced, it is killed between a write to its append only file and the sync, and
the file is cut to what was synced. The same is done to a server that syncs once a second: there
holds are lost and answers leave early, which shows that this test would notice.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis.asyncio

from tests.helpers import books
from tests.helpers.client import Client
from tests.helpers.load import Load, items_of, put_sales
from tests.helpers.power_cut import lost, power_cut
from tests.helpers.servers import System
from tests.helpers.wrapped_valkey import wrapped

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="ptrace as Linux has it")


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A system whose Valkey can be traced; the last test leaves it half dead."""
    directory = tmp_path_factory.mktemp("system")
    with System(directory / "data", **wrapped(directory)) as system:
        yield system


def capacities(name: str) -> dict[str, dict[str, int]]:
    return {f"{name}-{number}": {"A": 100_000, "B": 100_000} for number in range(3)}


async def test_what_was_synced_before_the_kill_has_every_acknowledged_booking(
    system: System, admin: Client, service: Client, tmp_path: Path
) -> None:
    sales = capacities("synced")
    await put_sales(admin, sales)
    async with Load(service, items_of(sales), seed=8, buyers=16, pause_s=0.02) as load:
        async with power_cut(system, load, min_unsynced_bytes=1) as cut:
            assert await lost(load, cut, tmp_path / "left") == []
        # The server starts on the file as it was cut, and everybody goes on where they were.
        await load.held_more(50)
    assert cut.trace.replies > 20
    assert cut.trace.early_replies == 0
    assert cut.trace.syncs >= cut.trace.writes - 1
    await books.check(system, load, sales)


async def test_a_server_that_syncs_once_a_second_is_seen_to_lose_acknowledged_bookings(
    system: System, admin: Client, service: Client, tmp_path: Path
) -> None:
    sales = capacities("unsynced")
    await put_sales(admin, sales)
    async with redis.asyncio.Redis.from_url(system.run["redis_url"]) as client:
        await client.config_set("appendfsync", "everysec")
    load = Load(service, items_of(sales), seed=9, buyers=16, pause_s=0.02, give_up_s=0)
    async with load, power_cut(system, load, min_unsynced_bytes=40_000) as cut:
        assert await lost(load, cut, tmp_path / "left") != []
    assert cut.trace.early_replies > 0
    assert cut.trace.syncs < cut.trace.writes / 2
