"""`HOLDFAST_PARTITIONS` is recorded at the first start: whatever says otherwise is refused."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final

import pytest

from api.app import create_app
from engine.errors import SettingsError
from persistence.installation import check_installation
from persistence.migrate import migrate
from persistence.pool import create_pool
from tests.helpers.commands import run_command
from tests.helpers.gateways import payment_settings, payment_variables
from tests.helpers.ruins import SALE, Ruins
from tests.helpers.servers import clean_environment
from tests.helpers.stage import stage_settings, variables_of

COMMANDS: Final = (
    "verify",
    "verify --json",
    "rebuild --json",
    "rebuild --dry-run",
    "rebuild --partition 0",
    f"rebuild --sale {SALE}",
    "backlog status",
    "backlog replay",
    "backlog replay --dry-run",
    "backlog prune --older-than 30",
    "backlog quarantine list",
    "backlog quarantine show 0:1",
    "backlog quarantine retry 0:1",
    "backlog quarantine discard 0:1 --because nothing",
    "migrate",
)


async def run(ruins: Ruins, directory: Path, command: str, partitions: int) -> tuple[int, str, str]:
    """Run a command to its end: its exit code, and what it printed where."""
    is_api = command.startswith("api")
    options = [*command.split(), *([] if is_api else ["--data", str(directory)])]
    variables = {
        **variables_of(ruins.on.settings),
        **(payment_variables(payment_settings()) if is_api else {}),
        "HOLDFAST_PARTITIONS": str(partitions),
    }
    done = await asyncio.to_thread(run_command, options, clean_environment(variables), 60)
    return done.returncode, done.stdout, done.stderr


async def everything(ruins: Ruins) -> dict[bytes, Any]:
    """Every key of Redis, as it is."""
    return {key: await ruins.redis.dump(key) async for key in ruins.redis.scan_iter(count=1000)}


@pytest.mark.parametrize("partitions", [2, 8])
async def test_every_command_refuses_another_number_by_name_and_changes_nothing(
    partitions: int, ruins: Ruins, tmp_path: Path
) -> None:
    before = await everything(ruins)
    rows = await ruins.on.pool.fetch("SELECT * FROM partitions ORDER BY partition")
    refusal = (
        "holdfast: HOLDFAST_PARTITIONS: this installation has 4 partitions, "
        f"not {partitions}; their number cannot be changed\n"
    )
    for command in COMMANDS:
        told = await run(ruins, tmp_path, command, partitions)
        assert told == (2, "", refusal), command
    assert await everything(ruins) == before
    assert await ruins.on.pool.fetch("SELECT * FROM partitions ORDER BY partition") == rows
    await ruins.hold("sold", "kim")
    await ruins.check_equal()


async def test_the_recorded_number_is_not_refused(ruins: Ruins, tmp_path: Path) -> None:
    for command in ("verify", "rebuild --dry-run", "backlog status", "backlog quarantine list"):
        code, _, complaint = await run(ruins, tmp_path, command, 4)
        assert (code, complaint) == (0, ""), command


async def test_the_api_refuses_another_number_by_name(ruins: Ruins, tmp_path: Path) -> None:
    code, _, complaint = await run(ruins, tmp_path, "api --port 0", 8)
    assert code == 2
    assert "HOLDFAST_PARTITIONS: this installation has 4 partitions, not 8" in complaint


async def test_an_api_that_is_refused_closes_what_it_opened(ruins: Ruins) -> None:
    app = create_app(ruins.on.settings.model_copy(update={"partitions": 8}), payment_settings())
    with pytest.raises(SettingsError, match="HOLDFAST_PARTITIONS"):
        async with app.router.lifespan_context(app):
            pytest.fail("it was not refused")


async def test_an_api_starts_while_nobody_can_tell_how_many_there_are(redis_url: str) -> None:
    away = stage_settings(redis_url, "postgresql://nobody@127.0.0.1:1/nothing")
    app = create_app(away, payment_settings())
    async with app.router.lifespan_context(app):
        assert app.state.parts.refused is None


async def test_before_the_first_start_no_number_is_refused(database_url: str) -> None:
    async with await create_pool(database_url) as pool:
        await check_installation(pool, 8)
        await migrate(database_url)
        await check_installation(pool, 8)
        assert await pool.fetchval("SELECT count(*) FROM installation") == 0
