"""The engine on fakeredis, for the fast suite: the same scripts in a Lua inside this process.

fakeredis cannot read a script's `#!lua` line, so it is blanked here, and only here. Whatever
decides stock is run on a real server too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Self

import fakeredis
from redis.exceptions import NoScriptError, ResponseError

from engine.bookings import Bookings
from engine.calls import Caller
from engine.connections import Command, Transport
from engine.crypto import Vault
from engine.journal import Journal
from engine.keys import Keys
from engine.nodes import Node, Nodes
from engine.partitions import Partitions
from engine.pipeline import Pipeline
from engine.pressure import Marks
from engine.rate_limit import RateLimiter
from engine.sales import Sales
from engine.scripts import load_script
from engine.types import RateLimit
from tests.helpers.scripted import ScriptedPartition

DATA_KEY = "mDm0hoVpZQpDUjK2gPIZ9wEw6fm9UIvnCOHZI8-XDuk="
"""A Fernet key that protects nothing but tests."""


def blanked(script: bytes) -> bytes:
    """A script without its `#!lua` line, its other lines where they were."""
    first, _, rest = script.partition(b"\n")
    assert first.startswith(b"#!lua")
    return b"\n" + rest


class FakeTransport:
    """A `Transport` over fakeredis, with a script cache that can be emptied."""

    def __init__(self, client: fakeredis.FakeAsyncRedis) -> None:
        self.client: Any = client
        self.cache: dict[bytes, bytes] = {}
        self.exchanges: list[list[Command]] = []

    async def connect(self) -> Transport:
        """What the pipeline opens its connections with."""
        return self

    async def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """Run the commands one after the other."""
        self.exchanges.append(list(commands))
        replies = []
        for command in commands:
            try:
                replies.append(await self._run(command))
            except ResponseError as error:
                replies.append(error)
        return replies

    async def _run(self, command: Command) -> Any:
        name, what, *rest = command
        assert isinstance(what, bytes)
        if name == "EVALSHA":
            if what not in self.cache:
                raise NoScriptError("No matching script. Please use EVAL.")
            what = self.cache[what]
        else:
            self.cache[hashlib.sha1(what).hexdigest().encode()] = what
        return await self.client.execute_command("EVAL", blanked(what), *rest)

    async def close(self) -> None:
        """Nothing to close."""


def node_over(pipeline: Pipeline, redis: Any = None) -> Node:
    """A node whose scripts go to a pipeline; `redis` is for reads beside them."""

    async def connect() -> Transport:
        raise ConnectionError("the pipeline has its own")

    return Node(connect, pipeline, redis)


class FakeEngine:
    """The rooms of `engine.engine.Engine`, over fakeredis."""

    def __init__(self, *, partitions: int = 4, rate_limit: RateLimit | None = None) -> None:
        client = fakeredis.FakeAsyncRedis()
        self.keys = Keys(partitions)
        self.partitions = Partitions(partitions)
        self.transport = FakeTransport(client)
        self.pipeline = Pipeline(self.transport.connect)
        self.vault = Vault((DATA_KEY,))
        nodes = Nodes([node_over(self.pipeline, client)] * partitions)
        caller = Caller(nodes, self.keys, self.partitions, self._nobody_to_ask)
        self.sales = Sales(caller, self.keys)
        self.bookings = Bookings(caller, self.keys, self.vault, rate_limit, Marks(), None)
        self.rate_limit = RateLimiter(caller, rate_limit)
        self.journal = Journal(caller, self.keys, self.partitions, nodes)

    async def _nobody_to_ask(self) -> None:
        """There is no PostgreSQL."""

    async def __aenter__(self) -> Self:
        for partition in range(len(self.partitions)):
            await self.journal.initialise(partition)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.pipeline.close()


class FakePartition(ScriptedPartition):
    """A scripted partition on fakeredis."""

    def __init__(self) -> None:
        super().__init__(fakeredis.FakeRedis())

    def evaluate(self, name: str, arguments: tuple[bytes | str | int, ...]) -> Any:
        """Run a script."""
        return self.client.eval(blanked(load_script(name).text), 1, self.meta, *arguments)
