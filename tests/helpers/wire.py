"""A `Transport` that a test answers for, holds back, or cuts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError

from engine.connections import Command, Transport
from engine.limits import MAX_BATCHES_IN_FLIGHT
from engine.pipeline import Pipeline
from engine.scripts import load_script

CUT = RedisConnectionError("Connection closed by server.")

CANCEL = load_script("cancel")
META = b"hf:{tag}:meta"

Answer = Callable[[Command], Any]


def done(command: Command) -> Any:
    """Answer every script with `done`, and WAIT with one replica."""
    return 1 if command[0] == "WAIT" else [b"done", 1, command[-1]]


class Wire:
    """What all connections of one server share."""

    def __init__(self, answer: Answer = done) -> None:
        self.answer = answer
        self.exchanges: list[list[Command]] = []
        self.opened = 0
        self.closed = 0
        self.restarts = 0
        self.refuses = False
        self.fails: Exception | None = None
        self.loses_cancellations = False
        """Whether an exchange goes on though it is cancelled: so does a wait with a time-out in
        Python 3.11, in the moment of its end."""
        self.open = asyncio.Event()
        self.open.set()
        self.reached = asyncio.Event()
        """Set when an exchange has begun."""

    async def connect(self) -> Transport:
        """Open a connection."""
        if self.refuses:
            raise ConnectionRefusedError("nobody listens")
        self.opened += 1
        return Connection(self)

    def restart(self) -> None:
        """The server ends and starts again: connections from before are dead, new ones work."""
        self.restarts += 1


class Connection:
    """One connection."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._restarts = wire.restarts

    async def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """Answer, once the wire is open; or fail as the wire was told to."""
        wire = self._wire
        wire.exchanges.append(list(commands))
        wire.reached.set()
        if self._restarts < wire.restarts:
            raise CUT
        try:
            await wire.open.wait()
        except asyncio.CancelledError:
            if not wire.loses_cancellations:
                raise
        if wire.fails:
            raise wire.fails
        return [wire.answer(command) for command in commands]

    async def close(self) -> None:
        """Count."""
        self._wire.closed += 1


def call(pipeline: Pipeline, name: str = "x") -> asyncio.Task[Any]:
    """Run a script."""
    return asyncio.create_task(pipeline.run(CANCEL, META, (1, 0, name)))


async def settle() -> None:
    """Let everything that can run, run."""
    for _ in range(20):
        await asyncio.sleep(0)


async def open_all(pipeline: Pipeline, wire: Wire) -> None:
    """Have every connection opened, and idle."""
    wire.open.clear()
    calls = []
    for _ in range(MAX_BATCHES_IN_FLIGHT):
        calls.append(call(pipeline))
        await settle()
    wire.open.set()
    await asyncio.gather(*calls)
    await settle()
    wire.exchanges.clear()
