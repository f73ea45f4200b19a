"""What happens in a soak to API, worker, gateway, `up`, and to who asks them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Final

from holdfast.embedded.process import free_port
from tests.helpers.another import another
from tests.helpers.client import UNKNOWN, Client, History
from tests.helpers.faults import frozen, killed
from tests.helpers.hanging_commit import drain_held_up
from tests.helpers.servers import holdfast, is_alive, until
from tests.helpers.shifted_clock import shifted
from tests.helpers.stage import eventually
from tests.soak.ground import Fault, Ground

HOUR_S: Final = 3600


async def kill_api(ground: Ground) -> float:
    async with killed(ground.system, "api"):
        return time.monotonic()


async def kill_worker(ground: Ground) -> float:
    async with killed(ground.system, "worker"):
        return time.monotonic()


async def kill_worker_in_drain(ground: Ground) -> float:
    """Its cursor is moved and its rows are written, and nothing is committed."""
    async with drain_held_up(ground.system), killed(ground.system, "worker"):
        pass
    return time.monotonic()


async def kill_gateway(ground: Ground) -> float:
    async with killed(ground.system, "gateway"):
        return time.monotonic()


async def freeze_worker(ground: Ground) -> float:
    """Also for longer than a lease."""
    async with frozen(*ground.system.pids["worker"]):
        await asyncio.sleep(ground.rng.uniform(2, 15))
        await ground.load.held_more(5)
    return time.monotonic()


async def add_worker(ground: Ground) -> float:
    """Two drains and two sweepers, and then one of them dies."""
    log = ground.scratch / "second-worker.log"
    async with another(ground.system, holdfast("worker"), log) as child:
        await until(lambda: '"worker_started"' in log.read_text(), "it works", 60)
        await ground.hold_all_the_while(5)
        child.kill()
    return time.monotonic()


async def be_an_hour_wrong(ground: Ground) -> float:
    """Buyers of an API on a host whose clock is wrong, among those of the others."""
    ahead_s, port = ground.rng.choice((HOUR_S, -HOUR_S)), free_port()
    api = shifted(ahead_s, "api", "--port", str(port))
    async with (
        another(ground.system, api, ground.scratch / "wrong-clock.log"),
        Client(f"http://127.0.0.1:{port}", ground.system.headers("service")) as client,
    ):

        async def serves() -> bool:
            return (await client.get("/readyz")).status == 200

        await eventually(serves, "it to serve", 60)
        for _ in range(50):
            hold = ground.a_hold()
            assert (await hold.send(client)).status == 201
            assert await ground.load.hold(hold)
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
    for _ in range(50):
        hold = ground.a_hold()
        async with Client(system.url, system.headers("service"), history) as hasty:
            await hold.send(hasty, abandon_after_s=ground.rng.uniform(0, 0.01))
        assert await ground.load.hold(hold)
    assert history.count(UNKNOWN) > 0, "everybody waited for the answer"
    return time.monotonic()


FAULTS: Final[Mapping[str, Fault]] = {
    "API killed": kill_api,
    "worker killed": kill_worker,
    "worker killed in the middle of a drain": kill_worker_in_drain,
    "worker frozen for 2 to 15 s": freeze_worker,
    "a second worker for some seconds": add_worker,
    "gateway killed": kill_gateway,
    "an API whose clock is an hour wrong": be_an_hour_wrong,
    "everything frozen for 3 to 8 s": freeze_everything,
    "`up` stopped and started": stop_up,
    "`up` killed and started": kill_up,
    "clients hang up": hang_up,
}
