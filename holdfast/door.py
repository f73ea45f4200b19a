"""The socket on which the API listens, made by `up` and shared by all its API processes."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import httpx
import structlog

from engine.errors import SettingsError
from holdfast.embedded.process import ServerFailed, last_words
from holdfast.system import DEFAULT_PORT

LISTEN_BACKLOG: Final = 4096
START_TIMEOUT_S: Final = 60.0
NOT_READY_S: Final = 3.0
"""How long a system that answers may take to become ready."""
ANY_ADDRESS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}

_log = structlog.stdlib.get_logger("holdfast.door")


def listen(host: str, port: int | None) -> socket.socket:
    """The socket that all API processes share.

    Args:
        port: 0 takes a free one; None takes the default one, or a free one where that is taken,
            because who named none should not have to look for what holds it.

    Raises:
        SettingsError: the address cannot be listened on.
    """
    if port is None:
        try:
            return listen(host, DEFAULT_PORT)
        except SettingsError as refused:
            _log.warning("default_port_taken", reason=str(refused))
            return listen(host, 0)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=LISTEN_BACKLOG)
    except OSError as error:
        raise SettingsError(
            f"--host {host} --port {port}: {error.strerror}; --port 0 picks a free port"
        ) from None


def url_of(listener: socket.socket) -> str:
    """Where to call it from this machine."""
    host, port = listener.getsockname()[:2]
    host = ANY_ADDRESS.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def wait_until_ready(url: str, ensure_all_run: Callable[[], None], log: Path) -> bool:
    """Wait for the API; whether it takes bookings.

    A system whose partitions are fenced answers and is not ready, until its operator acts; it has
    to be up for that.

    Raises:
        ServerFailed: it does not answer, or `ensure_all_run` says that a part has ended.
    """
    deadline = time.monotonic() + START_TIMEOUT_S
    answered_s: float | None = None
    async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
        while True:
            ensure_all_run()
            try:
                answer = await client.get(f"{url}/readyz")
            except httpx.TransportError:
                answered_s = None
            else:
                if answer.status_code == httpx.codes.OK:
                    return True
                answered_s = answered_s or time.monotonic()
                if time.monotonic() > answered_s + NOT_READY_S:
                    _log.warning("not_ready", readyz=answer.text[:2000])
                    return False
            if time.monotonic() > deadline:
                raise ServerFailed(f"the API does not answer; {last_words(log)}")
            await asyncio.sleep(0.05)
