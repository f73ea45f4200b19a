"""Watches child processes: starts again what dies, ever more slowly, and stops them in order."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from holdfast.embedded import process
from holdfast.embedded.process import Launch, Server, ServerFailed

TICK_S: Final = 0.1
START_TIMEOUT_S: Final = 60.0
FIRST_PAUSE_S: Final = 0.2
LONGEST_PAUSE_S: Final = 30.0
"""A server that cannot run, say on a full disk, is not started again more often than this."""
STABLE_S: Final = 30.0
"""A child that lived this long is started again at once."""
LOG_CHECK_S: Final = 2.0
MAX_LOG_BYTES: Final = 16 << 20
"""Of each child, and as much again in `….log.1`."""

_log = structlog.stdlib.get_logger("holdfast.supervisor")


@dataclass(slots=True)
class Child:
    """A child as it stands: running, or waiting for its next start."""

    launch: Launch
    role: str
    process: subprocess.Popen[bytes] | None = None
    pause_s: float = 0.0
    started_s: float = 0.0
    start_at_s: float = 0.0


class Supervisor:
    """The children of one `up`, in the order in which they were started.

    `changed` says that the process ids are not those that were last written down. `on_end` is told
    the process id of a child that has ended.
    """

    def __init__(self, on_end: Callable[[int], None] = lambda _: None) -> None:
        self.changed = False
        self.hurry = False
        """Set to kill those children that may be killed instead of waiting for them."""
        self._on_end = on_end
        self._children: list[Child] = []
        self._log_check_s = 0.0

    def pids(self, role: str) -> list[int]:
        """Who runs in a role now."""
        return [
            child.process.pid
            for child in self._children
            if child.role == role and child.process is not None
        ]

    async def start(self, role: str, launch: Launch) -> Child:
        """Start a child. Raises ServerFailed where another process keeps its lock."""
        child = Child(launch, role)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._spawn(child):
            if time.monotonic() > deadline:
                raise ServerFailed(f"{launch.name}: another server still has {launch.lock}")
            await asyncio.sleep(TICK_S)
        self._children.append(child)
        return child

    async def start_server(self, role: str, server: Server) -> None:
        """Start a server and wait until it answers. Raises ServerFailed with its last words."""
        await self.start(role, server.launch)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not await asyncio.to_thread(server.is_ready):
            self.ensure_all_run()
            if time.monotonic() > deadline:
                words = process.last_words(server.launch.log)
                raise ServerFailed(f"{server.launch.name} does not answer; {words}")
            await asyncio.sleep(0.02)

    def ensure_all_run(self) -> None:
        """Raises ServerFailed where a child has ended: during the start that is a failure."""
        for child in self._children:
            if child.process is None or child.process.poll() is not None:
                words = process.last_words(child.launch.log)
                raise ServerFailed(f"{child.launch.name} ended while starting; {words}")

    async def watch(self, on_change: Callable[[], None]) -> None:
        """Keep the children running, until cancelled; call `on_change` after each restart."""
        while True:
            self.tick()
            if self.changed:
                try:
                    on_change()
                    self.changed = False
                except OSError as error:
                    # A full disk ends servers; it must not end the one who starts them again.
                    _log.warning("cannot_write_run_file", error=str(error))
                    await asyncio.sleep(1)
            await asyncio.sleep(TICK_S)

    def tick(self) -> None:
        """Look at every child once."""
        now = time.monotonic()
        for child in self._children:
            if child.process is not None and child.process.poll() is not None:
                self._note_end(child, now)
            elif child.process is None and now >= child.start_at_s:
                try:
                    self._spawn(child)
                except OSError as error:
                    self._postpone(child, now)
                    _log.error("cannot_start", child=child.launch.name, error=str(error))
        if now >= self._log_check_s:
            self._log_check_s = now + LOG_CHECK_S
            for child in self._children:
                bound_log(child.launch.log)

    def _spawn(self, child: Child) -> bool:
        """Start a child; False while another process holds its lock."""
        try:
            child.process = process.spawn(child.launch)
        except BlockingIOError:
            return False
        child.started_s = time.monotonic()
        self.changed = True
        _log.info("started", child=child.launch.name, pid=child.process.pid)
        return True

    def _note_end(self, child: Child, now: float) -> None:
        assert child.process is not None
        pid, code = child.process.pid, child.process.returncode
        child.process = None
        self.changed = True
        if now - child.started_s >= STABLE_S:
            child.pause_s = 0.0
        self._postpone(child, now)
        _log.error(
            "child_ended",
            child=child.launch.name,
            pid=pid,
            code=code,
            again_in_s=child.pause_s,
            words=process.last_words(child.launch.log, lines=3),
        )
        self._on_end(pid)

    def _postpone(self, child: Child, now: float) -> None:
        child.pause_s = min(max(FIRST_PAUSE_S, child.pause_s * 2), LONGEST_PAUSE_S)
        child.start_at_s = now + child.pause_s

    async def stop(self, role: str, timeout_s: float, *, may_hurry: bool = False) -> None:
        """Stop the children of a role, all at once, and wait; kill those that take too long.

        `may_hurry`: kill them as soon as `hurry` is set.
        """
        leaving = [child for child in self._children if child.role == role]
        self._children = [child for child in self._children if child.role != role]
        self.changed = True
        running = [(child.launch, child.process) for child in leaving if child.process]
        await self._end(running, timeout_s, may_hurry=may_hurry)

    async def renew(self, role: str, timeout_s: float) -> None:
        """Put a new process in the place of each child of a role, one after the other.

        The new one is started first. What it needs for that is no pause for those who connect: a
        shared socket keeps them until somebody accepts. The old one ends what it has begun.
        """
        for child in [child for child in self._children if child.role == role]:
            old = child.process
            if old is None or old.poll() is not None:
                # It is started again anyway.
                continue
            self._spawn(child)
            await self._end([(child.launch, old)], timeout_s, may_hurry=True)
            self._on_end(old.pid)

    async def _end(
        self,
        running: Sequence[tuple[Launch, subprocess.Popen[bytes]]],
        timeout_s: float,
        *,
        may_hurry: bool,
    ) -> None:
        """Have processes end, all at once, and wait; kill those that take too long."""
        for launch, ending in running:
            if ending.poll() is None:
                ending.send_signal(launch.stop_signal)
        deadline = time.monotonic() + timeout_s
        for launch, ending in running:
            killed = False
            while ending.poll() is None:
                late = time.monotonic() > deadline or (may_hurry and self.hurry)
                if late and not killed:
                    killed = True
                    ending.kill()
                    _log.warning("killed", child=launch.name, pid=ending.pid)
                await asyncio.sleep(0.02)
            _log.info("stopped", child=launch.name, code=ending.returncode)


def bound_log(log: Path) -> None:
    """Keep a log from growing without end: move what it holds to `….1`, and empty it.

    The child keeps its file, opened for appending; what it prints in between is lost.
    """
    try:
        if log.stat().st_size <= MAX_LOG_BYTES:
            return
        with log.open("r+b") as file:
            # Emptied even where the copy fails: then the disk is full.
            try:
                shutil.copyfile(log, log.with_name(log.name + ".1"))
            finally:
                file.truncate(0)
    except OSError as error:
        _log.warning("cannot_bound_log", log=str(log), error=str(error))
