"""A PostgreSQL whose data directory is put back by an older copy, as by a failover to a standby
that lacked the last commits."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from pathlib import Path

from tests.helpers.servers import Postgres


async def copy_data(postgres: Postgres, to: Path) -> None:
    """Copy the data directory of a server that is stopped for as long as that takes."""
    await asyncio.to_thread(postgres.stop)
    await asyncio.to_thread(copy_whole, data_of(postgres), to)
    # A server ends with the thread that started it.
    postgres.start()


async def put_data_back(postgres: Postgres, copy: Path) -> None:
    """Have a server, which must be stopped, find what it had then; start it."""
    shutil.rmtree(data_of(postgres))
    await asyncio.to_thread(copy_whole, copy, data_of(postgres))
    postgres.start()


def data_of(postgres: Postgres) -> Path:
    """Where it keeps its data."""
    return Path(postgres.server.launch.command[-1])


def copy_whole(source: Path, target: Path) -> None:
    """Copy a directory with its owners."""
    # The server may run as another user than the tests.
    subprocess.run(("cp", "-a", str(source), str(target)), check=True, timeout=60)
