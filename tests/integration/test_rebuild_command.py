"""`holdfast rebuild` as a process: what it prints, its exit codes, killed in its middle."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from engine.errors import Fenced
from tests.helpers.ruins import Ruins
from tests.helpers.servers import clean_environment, holdfast
from tests.helpers.stage import eventually, variables_of


def start(ruins: Ruins, directory: Path, *options: str, **more: str) -> subprocess.Popen[str]:
    """Start the command on the ruins' servers."""
    return subprocess.Popen(
        holdfast("rebuild", "--data", str(directory), *options),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=clean_environment(variables_of(ruins.on.settings) | more),
    )


async def run(ruins: Ruins, directory: Path, *options: str, **more: str) -> tuple[int, str, str]:
    """Run the command to its end."""
    child = start(ruins, directory, *options, **more)
    out, err = await asyncio.to_thread(child.communicate, timeout=60)
    return child.returncode, out, err


async def test_what_needs_it_is_rebuilt_and_told(ruins: Ruins, tmp_path: Path) -> None:
    await ruins.redis.delete(ruins.key("meta"))
    code, out, err = await run(ruins, tmp_path, "--dry-run", "--json")
    told: dict[str, Any] = json.loads(out)
    assert (code, told["dry_run"], told["refused"], err) == (0, True, [], "")
    assert [part["partition"] for part in told["partitions"]] == [ruins.partition]
    assert (await ruins.on.engine.journal.status(ruins.partition)).generation is None

    code, out, _ = await run(ruins, tmp_path, "--json")
    done: dict[str, Any] = json.loads(out)
    assert code == 0
    assert set(done["sound"]) == set(range(4)) - {ruins.partition}
    (part,) = done["partitions"]
    assert part.keys() == told["partitions"][0].keys()
    assert (part["reason"], part["holds"], part["payments"]) == ("meta_missing", 5, 4)
    assert {k: part[k] for k in ("holds", "sales", "records", "customers", "generation")} == {
        k: told["partitions"][0][k]
        for k in ("holds", "sales", "records", "customers", "generation")
    }
    row = await ruins.on.pool.fetchrow("SELECT * FROM rebuilds")
    assert row
    assert row["finished_at"] is not None
    assert json.loads(row["counts"])["holds"] == 5
    await ruins.check_equal()

    code, out, _ = await run(ruins, tmp_path)
    assert (code, out) == (0, "sound, and left alone: 0, 1, 2, 3\n")


async def test_a_refusal_is_exit_code_1_and_another_rebuild_is_one(
    ruins: Ruins, tmp_path: Path
) -> None:
    await ruins.redis.delete(ruins.key("meta"))
    async with locked(ruins, "rebuilds"):
        first = start(ruins, tmp_path)
        await waits_for(ruins, "rebuilds")
        code, out, _ = await run(ruins, tmp_path)
        assert code == 1
        assert "another rebuild of it is at work; nothing was changed" in out
    assert await asyncio.to_thread(first.wait, 60) == 0
    first.communicate()
    await ruins.check_equal()


@contextlib.asynccontextmanager
async def locked(ruins: Ruins, table: str) -> AsyncIterator[None]:
    """Nobody else gets at a table of PostgreSQL's."""
    database = await asyncpg.connect(ruins.on.settings.database_url)
    try:
        async with database.transaction():
            await database.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            yield
    finally:
        await database.close()


async def waits_for(ruins: Ruins, table: str) -> None:
    """Wait until somebody waits for the table."""

    async def is_waiting() -> bool:
        return bool(
            await ruins.on.pool.fetchval(
                "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = $1::regclass",
                table,
            )
        )

    await eventually(is_waiting, f"the rebuild to come to {table}")


@pytest.mark.parametrize("table", ["rebuilds", "lines"])
async def test_a_rebuild_that_was_killed_is_run_again(
    table: str, ruins: Ruins, tmp_path: Path
) -> None:
    await ruins.redis.flushall()
    async with locked(ruins, table):
        child = start(ruins, tmp_path, "--partition", str(ruins.partition))
        await waits_for(ruins, table)
        child.send_signal(signal.SIGKILL)
        assert await asyncio.to_thread(child.wait, 60) == -signal.SIGKILL
        child.communicate()
    with pytest.raises(Fenced):
        await ruins.hold("refused", "kim")
    code, _, err = await run(ruins, tmp_path)
    assert (code, err) == (0, "")
    generation = (await ruins.on.engine.journal.status(ruins.partition)).generation
    assert generation == (2 if table == "rebuilds" else 3)
    await ruins.hold("sold", "kim")
    await ruins.check_equal()


async def test_postgresql_away_is_exit_code_3_and_changes_nothing(
    ruins: Ruins, tmp_path: Path
) -> None:
    before = await ruins.dump()
    nowhere = "postgresql://nobody@127.0.0.1:1/nothing"
    code, out, err = await run(ruins, tmp_path, HOLDFAST_DATABASE_URL=nowhere)
    assert (code, out) == (3, "")
    assert "PostgreSQL" in err
    assert await ruins.dump() == before


async def test_a_partition_that_is_not_there_is_wrong_usage(ruins: Ruins, tmp_path: Path) -> None:
    code, _, err = await run(ruins, tmp_path, "--partition", "4")
    assert code == 2
    assert "--partition: there are 4, from 0 on" in err
