"""A `holdfast up` of one's own, in a directory of one's own, for as long as a block lasts.

`holdfast demo`, `holdfast bench` and the load tests run on one, so that they touch nobody's data.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

from holdfast.embedded import process
from holdfast.embedded.process import Launch, ServerFailed
from holdfast.settings import given_settings
from holdfast.system import DataDirectory, RunFile

UP_S: Final = 120.0
DOWN_S: Final = 120.0


@asynccontextmanager
async def own_system(
    data: DataDirectory,
    arguments: Sequence[str] = (),
    variables: Mapping[str, str] | None = None,
) -> AsyncIterator[RunFile]:
    """The system, from when everything answers until it has stopped.

    Args:
        arguments: further ones for `up`.
        variables: settings; none of another system's are taken over.

    Raises:
        ServerFailed: it did not start; the message has its last words.
    """
    log = data.path.parent / "up.log"
    command = (sys.executable, "-m", "holdfast", "up", "--data", str(data.path), "--port", "0")
    environment = {**clean_environment(), **(variables or {})}
    child = process.spawn(
        Launch("up", (*command, *arguments), log, environment, death_signal=signal.SIGTERM)
    )
    try:
        deadline = time.monotonic() + UP_S
        while not data.run_file.exists():
            if child.poll() is not None or time.monotonic() > deadline:
                raise ServerFailed(f"the system did not start; {process.last_words(log, 20)}")
            await asyncio.sleep(0.05)
        yield RunFile.read(data.run_file)
    finally:
        await _stop(child)


async def _stop(child: subprocess.Popen[bytes]) -> None:
    """Stop `up`, which stops its children; a second Ctrl-C does not leave them behind."""
    child.send_signal(signal.SIGINT)
    deadline = time.monotonic() + DOWN_S
    while child.poll() is None:
        if time.monotonic() > deadline:
            child.kill()
        try:
            await asyncio.sleep(0.05)
        except asyncio.CancelledError:
            continue


def clean_environment() -> dict[str, str]:
    """The environment without the settings of another system, which this must not touch.

    Those of a `.env` in the working directory are overruled by being set to nothing.
    """
    return {**os.environ, **dict.fromkeys(given_settings(), "")}
