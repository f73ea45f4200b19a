"""Many buyers pay through a gateway that fails a third of the time, while processes are killed."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Final

from tests.helpers import payers
from tests.helpers.client import UNKNOWN, Client
from tests.helpers.faults import killed
from tests.helpers.servers import System

BUYERS: Final = 2_250
"""Of which one in ten cancels: 2,000 and more pay."""
LATENCY_MS: Final = 200


async def pay(scratch: Path, seed: int, buyers_count: int = BUYERS) -> str:
    """Let all of them pay, compare every book with every answer; a line for the report."""
    faults = {**payers.FAULTS, "HOLDFAST_SIMULATOR_LATENCY_MS": str(LATENCY_MS)}
    system = System(scratch / "payments", **faults)
    await asyncio.to_thread(system.start)
    try:
        async with (
            Client(system.url, system.headers("admin")) as admin,
            Client(system.url, system.headers("service"), timeout_s=60) as service,
        ):
            await payers.open_sale(admin, buyers_count)
            buyers = payers.Buyers(service, buyers_count, seed, at_once=48, give_up_s=600)
            running = asyncio.create_task(buyers.run())
            rng = random.Random(seed)
            for part in ("worker", "api"):
                await buyers.paid_more(buyers_count // 5, running)
                await asyncio.sleep(rng.random())
                async with killed(system, part):
                    pass
            await running
            await payers.check(system, buyers, buyers_count)
    finally:
        await asyncio.to_thread(system.stop)
    history = service.history
    return (
        f"{len(buyers.paid):,} bookings paid and {len(buyers.cancelled):,} cancelled meanwhile, "
        f"through a gateway with {LATENCY_MS} ms latency of which a third of the answers failed, "
        f"with API and worker killed: one capture each, none for the cancelled; "
        f"{history.count(202):,} answers came late, {history.count(UNKNOWN):,} never."
    )
