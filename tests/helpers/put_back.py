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
    await asyncio.to_thread(_copy, _data(postgres), to)
    # A server ends with the thread that started it.
    postgres.start()


async def put_data_back(postgres: Postgres, copy: Path) -> None:
    """Have a server, which must be stopped, find what it had then; start it."""
    shutil.rmtree(_data(postgres))
    await asyncio.to_thread(_copy, copy, _data(postgres))
    postgres.start()


def _data(postgres: Postgres) -> Path:
    return Path(postgres.server.launch.command[-1])


def _copy(source: Path, target: Path) -> None:
    # Owners too: the server may run as another user than the tests.
    subprocess.run(("cp", "-a", str(source), str(target)), check=True, timeout=60)
