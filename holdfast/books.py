"""The three books of a system after a load: drained, the gateway's charges, and compared."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from typing import Any, Final

import orjson

from engine.errors import HoldfastError
from holdfast import gateway
from holdfast.lean_http import Client
from holdfast.own_system import clean_environment
from holdfast.system import DataDirectory, RunFile

DRAINED_S: Final = 120.0


class BooksClosed(HoldfastError):
    """A book cannot be read."""


async def wait_until_drained(client: Client) -> list[str]:
    """Wait until PostgreSQL has every entry of the journal."""
    deadline = time.monotonic() + DRAINED_S
    while time.monotonic() < deadline:
        found = await client.request("GET", "/readyz", "")
        backlog = orjson.loads(found.body).get("backlog")
        if backlog and backlog["entries"] == 0:
            return []
        await asyncio.sleep(0.1)
    return [f"the backlog was not empty after {DRAINED_S:.0f} s"]


async def charges_of(run: RunFile) -> list[dict[str, Any]]:
    """Every charge, as the gateway has them. Raises `BooksClosed` or `Lost`."""
    assert run.gateway_url
    client = Client(gateway.variables_of(run.gateway_url)[gateway.API_BASE], 1)
    charges: list[dict[str, Any]] = []
    cursor = ""
    try:
        while True:
            found = await client.request("GET", f"/_simulator/charges?cursor={cursor}", "")
            if found.status != 200:
                raise BooksClosed(f"the gateway's charges: {found.status} {found.body!r}")
            page = orjson.loads(found.body)
            charges += page["charges"]
            cursor = page["next_cursor"]
            if cursor is None:
                return charges
    finally:
        client.close()


async def differences_of(data: DataDirectory) -> list[str]:
    """`holdfast verify`: the differences it finds."""
    checking = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "holdfast", "verify", "--json", "--data", str(data.path)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=clean_environment(),
    )
    try:
        said, complaint = await checking.communicate()
    except asyncio.CancelledError:
        checking.kill()
        await checking.wait()
        raise
    try:
        verdict: dict[str, Any] = orjson.loads(said)
    except orjson.JSONDecodeError:
        return [f"verify: exit {checking.returncode}: {complaint.decode(errors='replace')}"]
    differences: list[str] = verdict["differences"]
    return differences
