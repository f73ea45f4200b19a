"""`holdfast backlog status` on real servers: what PostgreSQL lacks, and what is closed and why."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis.asyncio

from engine.errors import Unavailable
from tests.helpers.stage import Stage, stage, stage_settings
from workers import backlog

PER_PARTITION = {
    *("partition", "entries", "bytes", "oldest_age_s", "cursor", "tip", "quarantined"),
    *("drain_per_s", "eta_s", "fenced", "shedding", "frozen"),
}


@pytest.fixture
async def on(redis_url: str, database_url: str) -> AsyncIterator[Stage]:
    async with stage(stage_settings(redis_url, database_url)) as ready:
        yield ready


async def status(on: Stage, capsys: pytest.CaptureFixture[str]) -> Any:
    capsys.readouterr()
    assert await backlog.status(on.settings, as_json=True) == 0
    return json.loads(capsys.readouterr().out)


async def test_what_postgresql_lacks_is_counted_in_its_partition(
    on: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    await on.put()
    await on.drain_all()
    for customer_id in ("ann", "bob"):
        await on.hold(customer_id)
    told = await status(on, capsys)
    assert told.keys() == {"partitions", "total_entries", "lag_s"}
    assert all(part.keys() == PER_PARTITION for part in told["partitions"])
    assert [part["partition"] for part in told["partitions"]] == list(range(16))
    part = told["partitions"][on.partition()]
    assert (part["entries"], part["cursor"], part["tip"]) == (2, 1, 3)
    assert part["bytes"] > 0
    assert told["lag_s"] == part["oldest_age_s"] > 0
    assert (part["drain_per_s"], part["eta_s"]) == (0.0, None)
    assert told["total_entries"] == 2
    await on.drain_all()
    told = await status(on, capsys)
    assert (told["total_entries"], told["lag_s"]) == (0, 0.0)


async def test_a_partition_that_cannot_be_trusted_is_named_with_its_reason(
    on: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    await on.put()
    await on.hold("ann")
    await on.drain_all()
    older = on.partition()
    lost, rebuilt, closed = (partition for partition in range(4) if partition != older)
    metas = [on.engine.keys.meta(partition).decode() for partition in range(16)]
    async with redis.asyncio.Redis.from_url(on.settings.redis_url) as found:
        client: Any = found
        await client.delete(metas[lost])
        await client.hset(metas[rebuilt], "generation", "7")
        await on.engine.journal.fence(closed, "operator")
        await client.hset(metas[older], "sequence", "1")
    parts = (await status(on, capsys))["partitions"]
    reasons = {part["partition"]: part["fenced"] for part in parts if part["fenced"]}
    assert reasons == {
        lost: "meta_missing",
        rebuilt: "generation",
        closed: "operator",
        older: "sequence",
    }
    assert await backlog.status(on.settings, as_json=False) == 0
    shown = capsys.readouterr().out
    for reason in reasons.values():
        assert reason in shown


async def test_a_quarantined_entry_is_counted(
    on: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    await on.put()
    async with redis.asyncio.Redis.from_url(on.settings.redis_url) as client:
        await client.xadd(on.engine.keys.key("journal", on.partition()), {"entry": "{}"}, id="2-0")
        await client.execute_command("HSET", on.engine.keys.meta(on.partition()), "sequence", "2")
    await on.drain_all()
    part = (await status(on, capsys))["partitions"][on.partition()]
    assert (part["quarantined"], part["entries"], part["cursor"]) == (1, 0, 2)


@pytest.mark.parametrize(
    "away",
    [
        {"redis_url": "redis://127.0.0.1:1"},
        {"database_url": "postgresql://nobody@127.0.0.1:1/nothing"},
    ],
    ids=["Redis", "PostgreSQL"],
)
async def test_a_server_that_does_not_answer_is_not_an_empty_backlog(
    on: Stage, away: dict[str, str]
) -> None:
    with pytest.raises(Unavailable):
        await backlog.status(on.settings.model_copy(update=away), as_json=True)
