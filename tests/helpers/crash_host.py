"""Carries payments on in processes that die at a chosen await.

    python -m tests.helpers.crash_host REDIS_URL SIMULATOR_URL DIRECTORY < jobs.json

Everything is imported once; each job is a fork of that, which ends by itself, or by SIGKILL at its
point. A job's trace, `DIRECTORY/ID`, says in lines what it came by: `booking ID`, `armed`, then
`before POINT` and `after POINT`. When all are done, the exit codes by job's id are printed.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import traceback
from collections.abc import Awaitable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from tests.helpers.crash_points import instrument

AT_ONCE: Final = 4


@dataclass(frozen=True, slots=True)
class Job:
    """A payment to carry on, and where to die; without a point, nowhere.

    `booking_id`: one that another process left, and `owner` now takes over.
    """

    id: str
    scenario: str
    owner: str
    point: str | None = None
    side: str = ""
    sale_id: str = ""
    booking_id: str = ""


class Trace:
    """What this process came by, written before anything else happens."""

    def __init__(self) -> None:
        self._file = -1
        self._armed = False
        self._dies_at = ""

    def begin(self, path: Path) -> None:
        """Write into this file from now on."""
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def arm(self, dies_at: str) -> None:
        """Die at this line."""
        self._armed, self._dies_at = True, dies_at
        self.write("armed")

    def write(self, line: str) -> None:
        """Write a line."""
        os.write(self._file, f"{line}\n".encode())

    def pass_by(self, line: str) -> None:
        """Note a place, or die there."""
        if self._armed:
            self.write(line)
            if line == self._dies_at:
                os.kill(os.getpid(), signal.SIGKILL)

    async def reach(self, point: str, awaited: Awaitable[Any]) -> Any:
        """Stand for `await awaited`."""
        self.pass_by(f"before {point}")
        result = await awaited
        self.pass_by(f"after {point}")
        return result


TRACE: Final = Trace()


async def carry_on(job: Job, redis_url: str, simulator_url: str) -> None:
    """Do a job, up to its point."""
    from redis.asyncio import Redis

    from engine.engine import Engine
    from tests.helpers.crash_hand import Hand
    from tests.helpers.crash_scenarios import SCENARIOS
    from tests.helpers.engines import options
    from tests.helpers.gateways import adapter
    from tests.helpers.odd_gateway import OddGateway

    scenario = SCENARIOS[job.scenario]
    async with (
        await Engine.open(options(redis_url)) as engine,
        adapter(simulator_url) as gateway,
        Redis.from_url(redis_url) as redis,
    ):
        sale_id = job.sale_id or job.id
        hand = Hand(engine, redis, gateway, simulator_url, sale_id, job.booking_id)
        if not job.booking_id:
            await hand.hold()
            TRACE.write(f"booking {hand.booking_id}")
            await scenario.setup(hand)
        TRACE.arm(f"{job.side} {job.point}")
        await scenario.act(hand, OddGateway(gateway, scenario.odd), job.owner)


def fork(job: Job, redis_url: str, simulator_url: str, directory: Path) -> int:
    """Do a job in a process of its own."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        TRACE.begin(directory / job.id)
        asyncio.run(carry_on(job, redis_url, simulator_url))
        code = 0
    except BaseException:  # noqa: BLE001 - it ends here, whatever it is
        TRACE.write(traceback.format_exc())
    finally:
        os._exit(code)


def main() -> None:
    """Do the jobs of stdin."""
    redis_url, simulator_url, directory = sys.argv[1:]
    instrument(TRACE.reach)
    from holdfast import logs
    from tests.helpers import crash_scenarios, engines, gateways  # noqa: F401

    logs.configure("error", "json")
    jobs = [Job(**job) for job in json.load(sys.stdin)]
    running: dict[int, str] = {}
    ended: dict[str, int] = {}
    while jobs or running:
        while jobs and len(running) < AT_ONCE:
            job = jobs.pop(0)
            running[fork(job, redis_url, simulator_url, Path(directory))] = job.id
        pid, status = os.wait()
        ended[running.pop(pid)] = os.waitstatus_to_exitcode(status)
    print(json.dumps(ended))


def spelled(jobs: list[Job]) -> bytes:
    """The jobs as `main` reads them."""
    return json.dumps([asdict(job) for job in jobs]).encode()


if __name__ == "__main__":
    main()
