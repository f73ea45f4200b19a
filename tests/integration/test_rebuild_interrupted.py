"""A rebuild may end or stand still anywhere: it can be run again, and a late one writes nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import persistence.commit
import persistence.drain
from engine.errors import Fenced
from persistence.drain import Drain
from persistence.pool import create_pool
from tests.helpers.interrupted import Crash, Steps, end_sessions_with_locks, standing
from tests.helpers.ruins import Ruins
from tests.integration.test_rebuild import kept
from workers.rebuild import rebuild_partitions


@pytest.mark.parametrize("loss", ["emptied", "keys_lost"])
async def test_a_rebuild_that_ended_at_any_step_is_finished_by_the_next_one(
    loss: str, ruins: Ruins
) -> None:
    async def lose() -> None:
        if loss == "emptied":
            await ruins.redis.flushall()
        else:
            await ruins.redis.delete(ruins.key("meta"), ruins.key("customers", "concert"))

    crash_at, names = 0, []
    while True:
        crash_at += 1
        before = kept(await ruins.dump())
        before.pop("payments")
        await lose()
        with pytest.MonkeyPatch.context() as patch:
            steps = Steps(patch)
            steps.crash_at = crash_at
            try:
                await ruins.rebuild(partition=ruins.partition)
                break
            except Crash:
                names.append(steps.names[-1])
        status = await ruins.on.engine.journal.status(ruins.partition)
        opened = names[-1] == "PostgreSQL" and "finish_rebuild" in steps.names
        assert (status.fenced is None and status.generation is not None) == opened, names
        if not opened:
            with pytest.raises(Fenced):
                await ruins.hold("refused", "kim")
            await ruins.rebuild(partition=ruins.partition)
        after = kept(await ruins.dump())
        after.pop("payments")
        assert after == before, names
    assert {"begin_rebuild", "reset_partition", "restore_sale", "finish_rebuild"} <= set(names)
    assert names.count("PostgreSQL") > 5
    await ruins.rebuild()
    await ruins.check_equal()


async def test_two_rebuilds_of_a_partition_do_not_interleave(ruins: Ruins) -> None:
    rebuild = ruins.rebuild(partition=ruins.partition)
    async with standing(rebuild, "restore_bookings") as first:
        second = await ruins.try_to_rebuild(partition=ruins.partition)
        assert "another rebuild of it is at work" in second.refused[ruins.partition]
    assert first.result().partitions[0].generation == 2
    await ruins.check_equal()


@pytest.mark.parametrize(
    "stop_at", ["reset_partition", "forget_keys", "restore_bookings", "finish_rebuild"]
)
async def test_a_rebuild_that_wakes_up_after_another_one_writes_nothing(
    stop_at: str, ruins: Ruins
) -> None:
    async with await create_pool(ruins.on.settings.database_url) as pool:
        rebuild = rebuild_partitions(ruins.on.engine, pool, grace_ms=1, partition=ruins.partition)
        async with standing(rebuild, stop_at) as late:
            # Its session is gone, and its lock with it, as after a long pause or a failover.
            await end_sessions_with_locks(ruins.on.pool)
            await ruins.rebuild(partition=ruins.partition)
            await ruins.hold("sold", "kim")
            dumped = await ruins.dump()
        assert "overtaken" in late.result().refused[ruins.partition]
    assert await ruins.dump() == dumped
    await ruins.hold("sold-again", "kim")
    await ruins.check_equal()


async def test_a_drain_from_before_a_rebuild_commits_nothing(
    ruins: Ruins, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has read entries that Redis lost meanwhile: their place belongs to others now."""
    await ruins.hold("lost", "kim")
    read, go_on = asyncio.Event(), asyncio.Event()
    commit = persistence.commit.commit

    async def late_commit(*args: Any) -> Any:
        read.set()
        await go_on.wait()
        return await commit(*args)

    monkeypatch.setattr(persistence.drain, "commit", late_commit)
    late = asyncio.create_task(Drain(ruins.on.pool, ruins.on.engine).run_once(ruins.partition))
    await read.wait()
    await ruins.redis.flushall()
    await ruins.rebuild()
    go_on.set()
    assert await late == 0
    await ruins.hold("sold", "kim")
    await ruins.check_equal()
