"""A Valkey that lets itself be traced, and whose disk can be full.

No file of its may grow beyond a bound, if there is one when it starts: a write past it fails with
EFBIG, where a full disk says ENOSPC, and the server knows no difference. That needs no disk of its
own and no rights.
"""

from __future__ import annotations

import stat
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import redis.asyncio

from holdfast.embedded import valkey
from tests.helpers.faults import killed
from tests.helpers.servers import System, until

PR_SET_PTRACER, PR_SET_PTRACER_ANY = 0x59616D61, -1
BOUND = "largest-file-bytes"
"""The file beside the program that says what the bound is."""
PROGRAM = f"""#!{sys.executable} -IS
import ctypes, os, pathlib, resource, signal, sys
# Where only its ancestors may trace a process (Yama), this one lets anybody.
if sys.platform == "linux":
    ctypes.CDLL(None).prctl({PR_SET_PTRACER}, ctypes.c_long({PR_SET_PTRACER_ANY}), 0, 0, 0)
# A write past the bound is to fail, not to end the process.
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
bound = pathlib.Path(__file__).with_name({BOUND!r})
if bound.exists():
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(bound.read_text()), hard))
os.execv({str(valkey.find_binary())!r}, sys.argv)
"""
CANNOT_WRITE = "Can't recover from AOF write error"


def wrapped(directory: Path) -> dict[str, str]:
    """The settings of a system with such a Valkey; a program is left in `directory`."""
    program = directory / "valkey-server"
    program.write_text(PROGRAM)
    program.chmod(stat.S_IRWXU)
    return {"HOLDFAST_VALKEY_SERVER": str(program)}


@dataclass(slots=True)
class SmallDisk:
    """What has come of it: the server ends each time it finds no room."""

    log: Path
    ends: int = 0

    async def is_full(self) -> None:
        """Wait until the server has ended once more, because it could not write."""
        await until(lambda: self.count() > self.ends, "the disk is full", 60)
        self.ends = self.count()

    def count(self) -> int:
        """How often it has ended so."""
        return self.log.read_text().count(CANNOT_WRITE)


@asynccontextmanager
async def small_disk(system: System, room_bytes: int) -> AsyncIterator[SmallDisk]:
    """Start the system's Valkey again on a disk with so little room; outside there is more."""
    bound = Path(system.environment["HOLDFAST_VALKEY_SERVER"]).with_name(BOUND)
    async with redis.asyncio.Redis.from_url(system.run["redis_url"]) as client:
        directory = Path((await client.config_get("dir"))["dir"])
    disk = SmallDisk(system.directory / "logs" / "valkey.log")
    disk.ends = disk.count()
    before = disk.ends
    try:
        async with killed(system, "redis"):
            # Of the file that is appended to; the base that a rewrite left may be larger.
            files = (directory / "appendonlydir").glob("*.incr.aof")
            grown_bytes = max(file.stat().st_size for file in files)
            bound.write_text(str(grown_bytes + room_bytes))
        yield disk
        assert disk.ends > before, "there was room"
    finally:
        bound.unlink(missing_ok=True)
