"""Real servers for tests: a Valkey, a PostgreSQL, and the whole system as `holdfast up` runs it.

All on free ports and in the caller's directory; each is stopped by its `close()`.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import psutil
import redis

from holdfast.embedded import postgres, process, valkey
from holdfast.settings import load_embedded_settings
from tests.helpers import clusters
from tests.helpers.commands import run_command
from tests.plugins.leftovers import MARK


def wait_for(condition: Callable[[], bool], what: str, timeout_s: float = 20.0) -> None:
    """Poll until the condition holds; fail with `what` where it does not in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s} s: {what}"
        time.sleep(0.02)


async def until(condition: Callable[[], bool], what: str, timeout_s: float = 20.0) -> None:
    """`wait_for`, for tests whose event loop has to go on meanwhile."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s} s: {what}"
        await asyncio.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be reaped does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class RunningServer:
    """An embedded server that a test may stop, kill, freeze and start again on the same data."""

    child: subprocess.Popen[bytes]

    def __init__(self, server: process.Server) -> None:
        self.server = server
        self.start()

    @property
    def url(self) -> str:
        """Where it answers, with the password."""
        return self.server.url

    @property
    def pid(self) -> int:
        """The server's process."""
        return self.child.pid

    def start(self) -> None:
        """Start it again, after `stop` or `kill`: same data, same port. Waits until it answers."""
        self.child = process.start(self.server)

    def stop(self) -> None:
        """An orderly shutdown."""
        process.stop(self.child, self.server.launch.stop_signal, 30)

    def kill(self) -> None:
        """What `kill -9` does."""
        process.stop(self.child, signal.SIGKILL, 30)

    def pause(self) -> None:
        """Freeze it: connections stay open, nothing answers."""
        self.child.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self.child.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Stop it for good, frozen or not."""
        if self.child.poll() is None:
            self.resume()
        self.stop()


class Valkey(RunningServer):
    """A Valkey of its own, as durable as the embedded one, on which FLUSHALL is allowed."""

    def __init__(self, directory: Path, **options: Any) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        settings = load_embedded_settings()
        terms = {
            "binary": settings.valkey_server,
            "maxmemory_bytes": settings.valkey_maxmemory_bytes,
            "allow_flush": True,
            **options,
        }
        super().__init__(valkey.prepare(directory, directory / "valkey.log", **terms))

    def flush(self) -> None:
        """Empty it: keys, scripts and functions."""
        with redis.Redis.from_url(self.url, socket_timeout=10) as client:
            client.flushall()
            client.script_flush("SYNC")


class Postgres(RunningServer):
    """A PostgreSQL of its own; each test takes a database of its own on it.

    Its cluster is a copy, unless `anew`: then it is made as `up` makes one.
    """

    def __init__(self, directory: Path, *, anew: bool = False) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        if not anew:
            clusters.place(directory)
        super().__init__(postgres.prepare(directory, directory / "postgres.log"))

    def fresh_database(self) -> str:
        """Make an empty database and return its URL."""
        name = f"t_{secrets.token_hex(6)}"
        self._tool("createdb", name)
        return urlsplit(self.url)._replace(path=f"/{name}").geturl()

    def drop_database(self, url: str) -> None:
        """Drop a database of `fresh_database`, whoever is connected to it."""
        self._tool("dropdb", "--force", "--if-exists", urlsplit(url).path.lstrip("/"))

    def _tool(self, program: str, *arguments: str) -> None:
        address = urlsplit(self.url)
        command = (str(postgres.find_binaries() / program), "-h", "127.0.0.1", *arguments)
        environment = {
            "PGPORT": str(address.port),
            "PGUSER": address.username or "",
            "PGPASSWORD": address.password or "",
        }
        subprocess.run(command, env={**os.environ, **environment}, check=True, timeout=30)


class System:
    """The whole system: `holdfast up` as a process of its own, found by its `run.json`.

    A context manager: it is up inside, and stopped on leaving if it still runs. Its database
    cluster is a copy, unless `anew` is set: then `up` makes it, as everybody's first `up` does.
    """

    anew = False

    def __init__(self, directory: Path, *arguments: str, **environment: str) -> None:
        self.directory = directory
        self.arguments = arguments
        self.environment = environment
        self.output = directory.with_name(directory.name + ".out")
        self.child: subprocess.Popen[bytes] | None = None

    def start(self, timeout_s: float = 60.0) -> System:
        """Run `up` until everything answers, which is when it writes `run.json`."""
        self.run_file.unlink(missing_ok=True)
        self.directory.parent.mkdir(parents=True, exist_ok=True)
        if not self.anew and not self.directory.exists():
            clusters.place(self.directory / "postgres")
        with self.output.open("ab") as output:
            self.child = subprocess.Popen(
                holdfast("up", "--data", str(self.directory), "--port", "0", *self.arguments),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=clean_environment(self.environment),
                start_new_session=True,
            )
        deadline = time.monotonic() + timeout_s
        while not self.run_file.exists():
            if self.child.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise AssertionError(f"`up` did not come up:\n{self.output.read_text()}")
            time.sleep(0.05)
        return self

    @property
    def run_file(self) -> Path:
        """What tells the others where things are."""
        return self.directory / "run.json"

    @property
    def run(self) -> dict[str, Any]:
        """`run.json`, as it says now."""
        content: dict[str, Any] = json.loads(self.run_file.read_text())
        return content

    @property
    def url(self) -> str:
        """Where the API answers."""
        return str(self.run["url"])

    @property
    def pids(self) -> dict[str, Any]:
        """Who runs now, by the names of `run.json`."""
        pids: dict[str, Any] = self.run["pids"]
        return pids

    def headers(self, who: str = "service") -> dict[str, str]:
        """What a request as `admin`, `service` or `customer` carries."""
        return {"Authorization": f"Bearer {self.run['tokens'][who]}"}

    def command(self, *arguments: str, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run another `holdfast` command against this system."""
        return run_command(
            (*arguments, "--data", str(self.directory)),
            clean_environment(self.environment),
            timeout_s,
        )

    def stop(self, timeout_s: float = 60.0) -> int:
        """Stop `up` as Ctrl-C does, and return its exit code; by force where it does not end."""
        assert self.child
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGINT)
            try:
                self.child.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.kill()
        return int(self.child.returncode)

    def kill(self) -> None:
        """`kill -9` of `up`; its children end by themselves."""
        assert self.child
        self.child.kill()
        self.child.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def holdfast(*arguments: str) -> tuple[str, ...]:
    """The command line of this checkout."""
    return (sys.executable, "-m", "holdfast", *arguments)


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment without the settings that whoever runs the tests may have."""
    own = {
        name: value
        for name, value in os.environ.items()
        if name == MARK or not name.startswith("HOLDFAST_")
    }
    return {**own, **(extra or {})}
