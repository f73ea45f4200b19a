"""Carries payments on in processes that die, or are stopped, at a chosen await.

    python -m tests.helpers.crash_host REDIS_URL SIMULATOR_URL DIRECTORY < jobs.json

Everything is imported once; each job is a fork of that, which ends by itself, or by SIGKILL at its
point, or waits there for a SIGCONT. A job's trace, `DIRECTORY/ID`, says in lines what it came by:
`process PID`, `booking ID`, `armed`, then `before POINT` and `after POINT`. One that does not end
in time gives up by itself, and its trace says where every task of it stood. When all are done, the
exit codes by job's id are printed.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import io
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Awaitable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final

from tests.helpers.crash_points import instrument
from tests.helpers.servers import clean_environment

AT_ONCE: Final = 4
PATIENCE_S: Final = 90
"""How long a job may take. It asks the gateway some ten times, each time for 10 s at the most."""
TOO_LATE: Final = 3
"""The exit code of one that took longer."""


@dataclass(frozen=True, slots=True)
class Job:
    """A payment to carry on, and where to die (or to pause); without a point, nowhere.

    `booking_id`: one that another process left, and `owner` now takes over.
    """

    id: str
    scenario: str
    owner: str
    point: str | None = None
    side: str = ""
    sale_id: str = ""
    booking_id: str = ""
    pauses: bool = False


class Trace:
    """What this process came by, written before anything else happens."""

    def __init__(self) -> None:
        self._file = -1
        self._armed = False
        self._place = ""
        self._signal = signal.SIGKILL

    def begin(self, path: Path) -> None:
        """Write into this file from now on, and give up in time."""
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.write(f"process {os.getpid()}")
        signal.signal(signal.SIGALRM, self._give_up)
        signal.alarm(PATIENCE_S)
        # Should it hang where no handler of Python's is called.
        faulthandler.dump_traceback_later(PATIENCE_S + 10, exit=True, file=self._file)

    def arm(self, place: str, number: signal.Signals) -> None:
        """Have this signal sent to the process at a place."""
        self._armed, self._place, self._signal = True, place, number
        self.write("armed")

    def write(self, line: str) -> None:
        """Write a line."""
        os.write(self._file, f"{line}\n".encode())

    def pass_by(self, line: str) -> None:
        """Note a place; die or pause there, if it is the one."""
        if self._armed:
            self.write(line)
            if line == self._place:
                os.kill(os.getpid(), self._signal)

    def _give_up(self, _: int, frame: FrameType | None) -> None:
        """Say where everything stands, and end."""
        told = io.StringIO(f"did not end within {PATIENCE_S} s\n")
        told.seek(0, io.SEEK_END)
        traceback.print_stack(frame, file=told)
        with contextlib.suppress(RuntimeError):
            for task in asyncio.all_tasks():
                task.print_stack(file=told)
        self.write(told.getvalue())
        os._exit(TOO_LATE)

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
        number = signal.SIGSTOP if job.pauses else signal.SIGKILL
        TRACE.arm(f"{job.side} {job.point}", number)
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
    running: dict[int, Job] = {}
    ended: dict[str, int] = {}
    while jobs or running:
        while jobs and sum(not job.pauses for job in running.values()) < AT_ONCE:
            job = jobs.pop(0)
            running[fork(job, redis_url, simulator_url, Path(directory))] = job
        pid, status = os.wait()
        ended[running.pop(pid).id] = os.waitstatus_to_exitcode(status)
    print(json.dumps(ended))


def start(
    jobs: Sequence[Job], redis_url: str, simulator_url: str, directory: Path
) -> subprocess.Popen[str]:
    """Have jobs done, each in a process of its own; `ended` answers how they ended."""
    # Most of them are killed, and what they measured of coverage with them.
    environment = {
        name: value
        for name, value in clean_environment().items()
        if not name.startswith("COVERAGE_")
    }
    spelled = directory / "jobs.json"
    spelled.write_text(json.dumps([asdict(job) for job in jobs]))
    command = (sys.executable, "-m", "tests.helpers.crash_host")
    with spelled.open() as given:
        return subprocess.Popen(
            (*command, redis_url, simulator_url, str(directory)),
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            text=True,
        )


def ended(host: subprocess.Popen[str]) -> dict[str, int]:
    """Wait until all jobs have ended; their exit codes by id."""
    told, errors = host.communicate(timeout=600)
    assert host.returncode == 0, errors
    codes: dict[str, int] = json.loads(told)
    return codes


if __name__ == "__main__":
    main()
