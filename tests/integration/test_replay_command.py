"""`holdfast backlog replay`: the journal is applied again, and nothing comes of it twice."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.helpers.stage import Stage
from workers import backlog_replay
from workers.backlog_replay import NotRetained

TABLES = ("journal", "bookings", "lines", "items", "stock_history", "outbox")


async def counts(on: Stage) -> list[int]:
    return [await on.pool.fetchval(f"SELECT count(*) FROM {table}") for table in TABLES]


async def replay(
    on: Stage, capsys: pytest.CaptureFixture[str], *place: int | None, dry_run: bool = False
) -> tuple[int, Any]:
    capsys.readouterr()
    partition, sequence = (*place, None, None)[:2]
    code = await backlog_replay.replay(
        on.settings, partition, sequence, dry_run=dry_run, as_json=True
    )
    return code, json.loads(capsys.readouterr().out)


async def test_what_postgresql_lacks_is_applied_and_what_it_has_is_compared(
    on: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    await on.hold("ann")
    await on.drain_all()
    await on.confirm(await on.hold("bob"))
    before = await counts(on)
    code, told = await replay(on, capsys, dry_run=True)
    assert (code, told["applied"], told["lacking"], told["compared"]) == (0, 0, 2, 2)
    assert await counts(on) == before
    code, told = await replay(on, capsys)
    assert (code, told["applied"], told["lacking"], told["compared"]) == (0, 2, 0, 4)
    after = await counts(on)
    assert after != before
    code, told = await replay(on, capsys)
    assert (code, told["applied"], told["compared"], told["differences"]) == (0, 0, 4, [])
    assert await counts(on) == after
    code, told = await replay(on, capsys, on.partition(), 3)
    assert (code, told["compared"]) == (0, 2)


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        ("UPDATE journal SET entry = convert_to('{}', 'UTF8') WHERE sequence = 2", "not the same"),
        ("DELETE FROM journal WHERE sequence = 2", "lacks entry 2"),
        ("UPDATE journal SET chain = sha256('x') WHERE sequence = 2", "does not follow"),
    ],
)
async def test_a_journal_that_was_altered_is_told(
    damage: str, expected: str, on: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    await on.hold("ann")
    await on.hold("bob")
    await on.drain_all()
    await on.pool.execute(damage)
    code, told = await replay(on, capsys)
    assert code == 1
    assert expected in told["differences"][0]


async def test_below_what_redis_keeps_it_is_refused_with_what_to_do(
    on: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    for more in range(250):
        await on.put(capacity=100 + more)
    await on.drain_all()
    tip = (await on.engine.journal.status(on.partition())).sequence
    assert await on.engine.journal.trim(on.partition(), tip, tip) > 0
    with pytest.raises(NotRetained, match="holdfast verify"):
        await replay(on, capsys, on.partition(), 1)
    code, told = await replay(on, capsys)
    assert code == 0
    assert 0 < told["compared"] < tip


async def test_a_fenced_partition_is_a_difference(
    on: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    await on.engine.journal.fence(on.partition(), "drill")
    code, told = await replay(on, capsys)
    assert (code, told["differences"]) == (1, [f"partition {on.partition()}: is fenced: drill"])
