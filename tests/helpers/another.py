"""One more process of a system, which its `up` does not know."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.helpers import books
from tests.helpers.servers import System, clean_environment


@asynccontextmanager
async def another(
    system: System, command: tuple[str, ...], log: Path, **settings: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a process with the system's settings, or others; stopped on leaving if it still runs."""
    with log.open("ab") as output:
        child = await asyncio.create_subprocess_exec(
            *command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=clean_environment({**books.settings(system), **settings}),
            start_new_session=True,
        )
    try:
        yield child
    finally:
        if child.returncode is None:
            child.terminate()
        await child.wait()
