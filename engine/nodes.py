"""Where each partition is: on one Redis, or on the nodes of a cluster (`engine.cluster`).

A script goes to `pipelines[partition]`. What is only read, beside the scripts, goes through `ask`,
`ask_each` and `scan`, node by node: no command names keys of two partitions.
"""

from __future__ import annotations

import asyncio
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Hashable,
    Iterable,
    Sequence,
)
from dataclasses import dataclass
from typing import Final, TypeVar

from redis.asyncio import Redis

from engine.connections import CONNECTION_LOST, Connect, check_durability
from engine.errors import Unavailable
from engine.keys import Keys
from engine.pipeline import Pipeline
from engine.scripts import Script, load_script
from engine.settings import Durability

Answer = TypeVar("Answer")
SCAN_KEYS: Final = 4_000


@dataclass(frozen=True, eq=False)
class Node:
    """One server: a pipeline for scripts, and a client for reads beside them."""

    connect: Connect
    pipeline: Pipeline
    redis: Redis

    async def close(self) -> None:
        """Drop the connections."""
        await self.pipeline.close()
        await self.redis.aclose()


@dataclass(frozen=True, slots=True)
class Page:
    """Some keys of a node, by partition and without the partition's prefix."""

    redis: Redis
    names: Sequence[tuple[int, str]]


class Nodes:
    """One Redis that has every partition; `nodes` is by partition."""

    load: Callable[[str], Script] = staticmethod(load_script)
    """Reads a script as this kind of server is sent it."""

    def __init__(self, nodes: Iterable[Node]) -> None:
        self._nodes = list(nodes)
        self.pipelines = [node.pipeline for node in self._nodes]
        """By partition; each call looks here."""

    async def find(self) -> None:
        """Find out where the partitions are, before anything is sent. Raises `Unavailable`."""

    async def look_again(self, partition: int, error: Exception) -> bool:  # noqa: ARG002
        """Find out where a partition is now, after an error that a move would explain.

        Answers whether it is elsewhere, and the call is best sent again at once.
        """
        return False

    async def places(self) -> Sequence[Hashable]:
        """Where the partitions are at this moment, to be compared. Raises `Unavailable`."""
        return ()

    async def ask(self, partition: int, question: Callable[[Redis], Awaitable[Answer]]) -> Answer:
        """Read something of one partition. Raises `Unavailable`."""
        answers = await self.ask_each([partition], lambda redis, _: question(redis))
        return answers[0]

    async def ask_each(
        self,
        partitions: Iterable[int],
        question: Callable[[Redis, list[int]], Awaitable[Answer]],
        *,
        lenient: bool = False,
    ) -> list[Answer]:
        """Ask each node about those of the partitions that it has, all at the same time.

        Args:
            lenient: leave out nodes that do not answer, as long as one does.

        Raises:
            Unavailable: a node does not answer, or with `lenient`, none does.
        """
        answers: list[Answer] = []
        failure: Unavailable | None = None
        for found in await asyncio.gather(
            *(self._ask(group, question) for group in self._groups(partitions)),
            return_exceptions=True,
        ):
            if isinstance(found, Unavailable):
                failure = found
            elif isinstance(found, BaseException):
                raise found
            else:
                answers += found
        if failure and not (lenient and answers):
            raise failure
        return answers

    async def _ask(
        self, group: list[int], question: Callable[[Redis, list[int]], Awaitable[Answer]]
    ) -> list[Answer]:
        try:
            return [await question(self._nodes[group[0]].redis, group)]
        except CONNECTION_LOST as error:
            if not await self.look_again(group[0], error):
                raise Unavailable(f"Redis: {error}") from error
        try:
            return [
                await question(self._nodes[part[0]].redis, part) for part in self._groups(group)
            ]
        except CONNECTION_LOST as error:
            raise Unavailable(f"Redis: {error}") from error

    def _groups(self, partitions: Iterable[int]) -> list[list[int]]:
        """Partitions by the node that has them."""
        groups: dict[Node, list[int]] = {}
        for partition in partitions:
            groups.setdefault(self._nodes[partition], []).append(partition)
        return list(groups.values())

    async def scan(
        self, keys: Keys, partitions: Collection[int], family: str = ""
    ) -> AsyncIterator[Page]:
        """All keys of some partitions, or those of one family; one may come twice.

        Raises `Unavailable`, also where a partition was moved meanwhile.
        """
        tags = {keys.key("meta", p).removesuffix("meta"): p for p in partitions}
        pattern = f"hf:{{{keys.partitions:x}.*}}:{family}{':' if family else ''}*"
        places = await self.places()
        for group in self._groups(partitions):
            redis, position = self._nodes[group[0]].redis, 0
            while True:
                try:
                    position, found = await redis.scan(position, match=pattern, count=SCAN_KEYS)
                except CONNECTION_LOST as error:
                    raise Unavailable(f"Redis: {error}") from error
                names = []
                for raw in found:
                    # A key's last part may hold any byte.
                    tag, brace, name = raw.decode(errors="surrogateescape").partition("}:")
                    partition = tags.get(tag + brace)
                    if partition is not None and partition in group:
                        names.append((partition, name))
                yield Page(redis, names)
                if position == 0:
                    break
        if await self.places() != places:
            raise Unavailable("a partition was moved while its keys were listed")

    async def check(self, durability: Durability) -> None:
        """Refuse servers that keep less than was asked for.

        Raises:
            WeakDurability: names each setting that is weaker.
            Unavailable: no server answers.
        """
        failure: Exception | None = None
        answered = 0
        for node in dict.fromkeys(self._nodes):
            try:
                transport = await node.connect()
                try:
                    await check_durability(transport, durability)
                finally:
                    await transport.close()
            except (*CONNECTION_LOST, Unavailable) as error:
                failure = error
            else:
                answered += 1
        if failure and not answered:
            raise Unavailable(f"Redis does not answer: {failure}") from failure

    async def close(self) -> None:
        """Drop the connections."""
        for node in dict.fromkeys(self._nodes):
            await node.close()
