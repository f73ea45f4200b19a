"""A power cut, as seen by Valkey: its files are cut to what it had synced before it was killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import redis.asyncio

from engine.keys import Keys
from tests.helpers import books
from tests.helpers.faults import frozen_alone
from tests.helpers.fsync_trace import FsyncTrace, Trace
from tests.helpers.load import Load
from tests.helpers.servers import System, Valkey, is_alive, until


@dataclass(frozen=True, slots=True)
class PowerCut:
    """What it left: the data directory of the server, which is down, and what was seen."""

    directory: Path
    trace: Trace
    held_before: int
    """Bookings that had been answered 201."""


@contextlib.asynccontextmanager
async def power_cut(system: System, load: Load, min_unsynced_bytes: int) -> AsyncIterator[PowerCut]:
    """Kill Valkey under load with that much unsynced, and cut its files to what was synced.

    `up` is frozen inside, so that the server stays down.
    """
    async with redis.asyncio.Redis.from_url(system.run["redis_url"]) as client:
        directory = Path((await client.config_get("dir"))["dir"])
    pid = system.pids["redis"]
    with FsyncTrace(pid, min_unsynced_bytes=min_unsynced_bytes) as tracer:
        await load.held_more(200)
        async with frozen_alone(system.pids["up"]):
            tracer.kill_when_it_hurts()
            trace = await asyncio.to_thread(tracer.result)
            await until(lambda: not is_alive(pid), "the server ends")
            assert trace.killed
            assert trace.unsynced_bytes >= min_unsynced_bytes
            cut_files(trace)
            yield PowerCut(directory, trace, len(load.tracked))


def cut_files(trace: Trace) -> None:
    """Leave of each file what was synced."""
    for path, length in trace.synced.items():
        assert Path(path).stat().st_size == trace.written[path], "somebody else writes to it"
        os.truncate(path, length)


async def lost(load: Load, cut: PowerCut, scratch: Path) -> list[str]:
    """The acknowledged bookings that a server does not find which starts on what is left."""
    # On a port of its own: the API must not find it.
    shutil.copytree(cut.directory, scratch, ignore=shutil.ignore_patterns("lock", "port"))
    keys = Keys(books.PARTITIONS)
    server = await asyncio.to_thread(Valkey, scratch)
    try:
        async with redis.asyncio.Redis.from_url(server.url) as client:
            missing = []
            for booking in load.tracked[: cut.held_before]:
                partition = keys.partition_of_booking(booking.booking_id)
                assert partition is not None
                # One that had left, or that was over when Redis was rebuilt, has a tombstone.
                names = [
                    keys.key(family, partition, booking.booking_id)
                    for family in ("booking", "tombstone")
                ]
                if not await client.exists(*names):
                    missing.append(booking.booking_id)
            return missing
    finally:
        await asyncio.to_thread(server.close)
