"""The faults of a soak, by name.

They are the faults of `tests/faults`, with their proofs that they fired, and those that take too
long for every run of the suite. Each answers when its cause was gone (`time.monotonic`), which is
what recovery is measured from.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.helpers.client import UNKNOWN, Client, History
from tests.helpers.faults import frozen, kept_down, killed
from tests.helpers.load import Load, make_hold
from tests.helpers.power_cut import lost, power_cut
from tests.helpers.servers import System, is_alive, until


@dataclass(frozen=True, slots=True)
class Ground:
    """Where faults happen.

    `load` is the one whose holds do not expire; `away_s` is how long a server stays away.
    """

    system: System
    load: Load
    rng: random.Random
    away_s: float
    scratch: Path


async def kill_valkey(ground: Ground) -> float:
    async with killed(ground.system, "redis"):
        return time.monotonic()


async def freeze_valkey(ground: Ground) -> float:
    async with frozen(ground.system.pids["redis"]):
        await asyncio.sleep(ground.rng.uniform(0.5, 8))
    return time.monotonic()


async def cut_power(ground: Ground) -> float:
    async with power_cut(ground.system, ground.load, min_unsynced_bytes=1) as cut:
        scratch = ground.scratch / "left"
        assert await lost(ground.load, cut, scratch) == []
        assert cut.trace.early_replies == 0
        shutil.rmtree(scratch)
    return time.monotonic()


async def keep_postgres_down(ground: Ground) -> float:
    async with kept_down(ground.system, "postgres"):
        await _hold_all_the_while(ground)
    return time.monotonic()


async def freeze_postgres(ground: Ground) -> float:
    async with frozen(ground.system.pids["postgres"]):
        await _hold_all_the_while(ground)
    return time.monotonic()


async def _hold_all_the_while(ground: Ground) -> None:
    loop = asyncio.get_running_loop()
    over = loop.time() + ground.away_s
    while loop.time() < over:
        await ground.load.held_more(5)


async def kill_api(ground: Ground) -> float:
    async with killed(ground.system, "api"):
        return time.monotonic()


async def kill_worker(ground: Ground) -> float:
    async with killed(ground.system, "worker"):
        return time.monotonic()


async def freeze_worker(ground: Ground) -> float:
    async with frozen(*ground.system.pids["worker"]):
        await asyncio.sleep(ground.rng.uniform(2, 15))
        await ground.load.held_more(5)
    return time.monotonic()


async def freeze_everything(ground: Ground) -> float:
    """As a laptop that sleeps: deadlines pass, connections are kept, nobody notices."""
    async with frozen(ground.system.pids["up"]):
        await asyncio.sleep(ground.rng.uniform(3, 8))
    return time.monotonic()


async def stop_up(ground: Ground) -> float:
    code = await asyncio.to_thread(ground.system.stop)
    assert code == 0, f"`up` ended with {code}"
    over_s = time.monotonic()
    await asyncio.to_thread(ground.system.start)
    return over_s


async def kill_up(ground: Ground) -> float:
    pids = [pid for part in ground.system.pids.values() for pid in _flat(part)]
    ground.system.kill()
    await until(lambda: not any(is_alive(pid) for pid in pids), "its children end", 60)
    over_s = time.monotonic()
    await asyncio.to_thread(ground.system.start)
    return over_s


def _flat(pids: object) -> list[int]:
    return pids if isinstance(pids, list) else [pids] if isinstance(pids, int) else []


async def hang_up(ground: Ground) -> float:
    """Clients hang up at any time of their request; then they ask again, to the end."""
    system, history = ground.system, History()
    sale_id, items = min(ground.load.items.items())
    for _ in range(50):
        hold = make_hold(ground.rng, sale_id, {items[0]: 1})
        async with Client(system.url, system.headers("service"), history) as hasty:
            await hold.send(hasty, abandon_after_s=ground.rng.uniform(0, 0.01))
        assert await ground.load.hold(hold)
    assert history.count(UNKNOWN) > 0, "everybody waited for the answer"
    return time.monotonic()


FAULTS: Final[Mapping[str, Callable[[Ground], Awaitable[float]]]] = {
    "Valkey killed": kill_valkey,
    "Valkey frozen for 0.5 to 8 s": freeze_valkey,
    "power cut between a write and its sync": cut_power,
    "PostgreSQL killed and kept away": keep_postgres_down,
    "PostgreSQL frozen": freeze_postgres,
    "API killed": kill_api,
    "worker killed": kill_worker,
    "worker frozen for 2 to 15 s": freeze_worker,
    "everything frozen for 3 to 8 s": freeze_everything,
    "`up` stopped and started": stop_up,
    "`up` killed and started": kill_up,
    "clients hang up": hang_up,
}
