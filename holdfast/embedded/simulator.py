"""The payment gateway of `up`: the simulator, a child like the servers, on a port that it keeps.

Its books outlive it, since they say what was charged: a simulator that is started again on the
same directory knows every payment it made.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from holdfast.embedded import process
from holdfast.embedded.process import Launch, Server

FOLDER = "simulator"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who may call the simulator, and what its webhooks are signed with."""

    api_key: str
    webhook_secret: str


def keep_credentials(data: Path) -> Credentials:
    """Return what the data directory keeps, made at first use; readable by its owner alone."""
    directory = _make(data)
    return Credentials(
        process.keep_secret(directory / "api-key", lambda: f"sk_test_{secrets.token_hex(24)}"),
        process.keep_secret(directory / "webhook-secret", lambda: f"whsec_{secrets.token_hex(24)}"),
    )


def prepare(data: Path, log: Path, credentials: Credentials, webhook_url: str) -> Server:
    """Say how to start a simulator whose books are in `data/simulator`.

    The port stays as it was if it is still free. Its faults come from the environment
    (`HOLDFAST_SIMULATOR_…`); who may call it and where its webhooks go does not.
    """
    directory = _make(data)
    port = process.keep_port(directory / "port")
    terms = ("--data", str(data), "--host", "127.0.0.1", "--port", str(port))
    launch = Launch(
        name="simulator",
        command=(sys.executable, "-m", "holdfast", "simulator", *terms),
        log=log,
        environment={
            **os.environ,
            "HOLDFAST_SIMULATOR_API_KEY": credentials.api_key,
            "HOLDFAST_SIMULATOR_WEBHOOK_URL": webhook_url,
            "HOLDFAST_SIMULATOR_WEBHOOK_SECRET": credentials.webhook_secret,
        },
        lock=directory / "lock",
    )
    url = f"http://127.0.0.1:{port}"
    return Server(launch, url, lambda: answers(url))


def answers(url: str) -> bool:
    """Whether a simulator answers there."""
    with contextlib.suppress(OSError):
        # No proxy of the environment's: it is on this host.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{url}/_simulator/health", timeout=1) as found:
            return bool(found.status == 200)
    return False


def _make(data: Path) -> Path:
    directory = data / FOLDER
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return directory
