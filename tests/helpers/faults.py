"""Faults that prove that they fired: processes frozen, killed, kept from coming back."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Final

import psutil

from holdfast.embedded import valkey
from tests.helpers.servers import System, is_alive, until

BACK_S: Final = 60.0
"""`up` starts a server that has ended again and again only after its longest pause, 30 s."""


def family(pids: Iterable[int]) -> list[psutil.Process]:
    """Processes and all their children, parents first."""
    parents = [psutil.Process(pid) for pid in pids]
    return [member for parent in parents for member in (parent, *parent.children(recursive=True))]


def are_stopped(processes: Iterable[psutil.Process]) -> bool:
    """Whether all of them are frozen, but for those that ended before they could be."""
    statuses = {status_of(process) for process in processes} - {psutil.STATUS_ZOMBIE}
    return statuses == {psutil.STATUS_STOPPED}


def status_of(process: psutil.Process) -> str:
    """What psutil calls it; one that has gone is as one that waits to be reaped."""
    try:
        return str(process.status())
    except psutil.NoSuchProcess:
        return str(psutil.STATUS_ZOMBIE)


def stop_family(pids: Iterable[int]) -> list[psutil.Process]:
    """Send SIGSTOP to processes and their children: a parent first, so that it makes no more."""
    stopped = []
    waiting = [psutil.Process(pid) for pid in pids]
    while waiting:
        process = waiting.pop(0)
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGSTOP)
            stopped.append(process)
            waiting += process.children()
    return stopped


@asynccontextmanager
async def frozen(*pids: int) -> AsyncIterator[None]:
    """Freeze processes and their children: connections stay open, nothing answers."""
    processes = stop_family(pids)
    try:
        await until(lambda: are_stopped(processes), "they are frozen")
        yield
        assert are_stopped(processes), "somebody let them go on"
    finally:
        for process in reversed(processes):
            if process.is_running():
                process.send_signal(signal.SIGCONT)


async def kill(*pids: int) -> None:
    """`kill -9` of processes, as when memory runs out; returns when they have ended.

    The first must run; the others may be its children, and end with it.
    """
    psutil.Process(pids[0]).kill()
    for pid in pids[1:]:
        with contextlib.suppress(psutil.NoSuchProcess):
            psutil.Process(pid).kill()
    await until(lambda: not any(is_alive(pid) for pid in pids), "they end")


@asynccontextmanager
async def killed(system: System, part: str) -> AsyncIterator[None]:
    """Kill every process of a part; at the end `up` must have started others."""
    before = pids_of(system, part)
    assert before
    await kill(*before)
    yield
    assert not any(is_alive(pid) for pid in before)
    await until(
        lambda: len(pids_of(system, part) - before) == len(before), f"{part} is back", BACK_S
    )


def pids_of(system: System, part: str) -> set[int]:
    """The processes of a part that run now, by `run.json`."""
    pids = system.pids[part]
    return set(pids) if isinstance(pids, list) else {pids} - {None}


@asynccontextmanager
async def kept_down(system: System, part: str) -> AsyncIterator[None]:
    """Kill a server and its children; `up`, which would start it again, is frozen meanwhile."""
    pid: int = system.pids[part]
    processes = family([pid])
    async with frozen_alone(system.pids["up"]):
        await kill(*(process.pid for process in processes))
        yield
        assert not any(is_alive(process.pid) for process in processes)
    await until(lambda: system.pids[part] not in {None, pid}, f"{part} is started again", BACK_S)
    if part == "redis":
        await until(lambda: valkey.answers(system.run["redis_url"]), "it has read its files")


@asynccontextmanager
async def frozen_alone(pid: int) -> AsyncIterator[None]:
    """Freeze a process, and let its children run."""
    process = psutil.Process(pid)
    process.send_signal(signal.SIGSTOP)
    try:
        await until(lambda: are_stopped([process]), "it is frozen")
        yield
    finally:
        process.send_signal(signal.SIGCONT)
