"""What the simulator answered is there after a restart, and after a kill."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from engine.payments.gateway import (
    Approved,
    Declined,
    GatewayStatus,
    Payment,
    Unknown,
)
from tests.helpers.gateways import Simulator, adapter, an_intent
from tests.helpers.servers import until


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_payments_and_keys_survive_a_restart_and_a_kill(
    end: str, simulator: Simulator
) -> None:
    intent, declined = an_intent(), an_intent("pm_card_chargeDeclined", attempt=2)
    async with adapter(simulator.url) as gateway:
        approved = await gateway.authorize(intent)
        refused = await gateway.authorize(declined)
        assert isinstance(approved, Approved)
        assert isinstance(refused, Declined)
        captured = await gateway.capture(intent, approved.authorization_id)
        charges, totals = simulator.charges(), simulator.totals()
        getattr(simulator, end)()
        assert await gateway.authorize(an_intent(attempt=3)) == Unknown("connection")
        simulator.start()
        assert (simulator.charges(), simulator.totals()) == (charges, totals)
        assert await gateway.authorize(intent) == approved
        assert await gateway.authorize(declined) == refused
        assert await gateway.capture(intent, approved.authorization_id) == captured
        assert simulator.totals() == totals
        now = await gateway.retrieve(approved.authorization_id)
        assert isinstance(now, Payment)
        assert now.status is GatewayStatus.CAPTURED


async def test_every_answer_given_before_a_kill_is_there_after_it(simulator: Simulator) -> None:
    seen: dict[int, Approved] = {}
    attempts = iter(range(1, 100_000))

    async def buy() -> None:
        for attempt in attempts:
            result = await gateway.authorize(an_intent(attempt=attempt))
            if not isinstance(result, Approved):
                assert isinstance(result, Unknown)
                return
            seen[attempt] = result

    async with adapter(simulator.url) as gateway:
        buyers = [asyncio.create_task(buy()) for _ in range(8)]
        await until(lambda: len(seen) > 100, "100 authorizations")
        simulator.kill()
        await asyncio.gather(*buyers)
        simulator.start()
        for attempt, approved in seen.items():
            assert await gateway.authorize(an_intent(attempt=attempt)) == approved
    attempts_made = [int(entry["attempt"]) for entry in simulator.charges()]
    assert len(attempts_made) == len(set(attempts_made))
    assert set(seen) <= set(attempts_made)


async def test_a_second_simulator_on_the_same_directory_is_refused(
    simulator: Simulator, tmp_path: Path
) -> None:
    second = await asyncio.create_subprocess_exec(
        *simulator.server.launch.command[:-1],
        "0",
        stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=dict(simulator.server.launch.environment),
    )
    _, said = await second.communicate()
    assert second.returncode == 1
    assert b"another simulator runs on" in said
    assert b"Traceback" not in said
