"""The engine: everything that sells stock, without HTTP and without PostgreSQL.

async with await Engine.open(EngineOptions(redis_url=…, data_keys=(…,))) as engine:
    answer = await engine.bookings.reserve("gig", "ann", [LineRequest("seat", 2)], key)
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

from redis.asyncio import Redis

from engine.archive import Archive
from engine.audit import Audit
from engine.bookings import Bookings
from engine.calls import Caller
from engine.cluster import ClusterNodes, split_cluster
from engine.connections import CONNECTION_LOST, client, connector
from engine.crypto import Vault
from engine.errors import Unavailable
from engine.expiring import Expiring
from engine.journal import Journal
from engine.keys import Keys
from engine.limits import FLOORS_FRESH_MS, FLOORS_TIMEOUT_MS
from engine.nodes import Answer, Node, Nodes
from engine.partitions import FloorSource, Partitions
from engine.payments.books import PaymentBooks, PaymentOptions
from engine.pipeline import Pipeline, Replicas
from engine.pressure import Marks, Memory, marks_of, read_memory
from engine.rate_limit import RateLimiter
from engine.restore import Restore
from engine.sales import Sales
from engine.settings import Durability, EngineOptions, is_cluster


class Engine:
    """Sales, bookings and journal over one Redis. Open it with `Engine.open`."""

    def __init__(
        self,
        options: EngineOptions,
        archive: Archive | None,
        floors: FloorSource | None,
        payments: PaymentOptions,
    ) -> None:
        self.keys = Keys(options.partitions)
        self.partitions = Partitions(options.partitions)
        self.vault = Vault(options.data_keys)
        self._options = options
        self._floors = floors
        self._floors_known = False
        self._refreshing: asyncio.Task[None] | None = None
        self._refreshed_at = float("-inf")
        self._nodes = nodes_of(options, self.keys, self.refresh_floors)
        caller = Caller(self._nodes, self.keys, self.partitions, self.refresh_floors)
        self.sales = Sales(caller, self.keys, archive)
        self.bookings = Bookings(
            caller,
            self.keys,
            self.vault,
            options.rate_limit,
            Marks(options.max_backlog_entries),
            archive,
        )
        self.expiring = Expiring(caller)
        self.payments = PaymentBooks(caller, self.keys, self.bookings, payments)
        self.rate_limit = RateLimiter(caller, options.rate_limit)
        self.journal = Journal(caller, self.keys, self.partitions, self._nodes)
        self.audit = Audit(caller, self.keys, self._nodes)
        self.restore = Restore(caller, self.keys, self._nodes)

    @classmethod
    async def open(
        cls,
        options: EngineOptions,
        *,
        archive: Archive | None = None,
        floors: FloorSource | None = None,
        payments: PaymentOptions | None = None,
    ) -> Engine:
        """Connect, refuse a server that is too weak, learn where the partitions stand.

        Args:
            archive: finds bookings that have left Redis.
            floors: asks PostgreSQL how far each partition must be. Without it, what Redis says of
                itself is believed; while it is away, only by a server that somebody has compared
                with it since the server started: any other may be an older copy.

        Raises:
            WeakDurability: the server keeps less than `options.durability` promises.
            Unavailable: Redis does not answer.
        """
        engine = cls(options, archive, floors, payments or PaymentOptions())
        try:
            await engine._nodes.find()
            await engine._nodes.check(options.durability)
            engine.bookings.marks = marks_of(options, (await engine.memory()).values())
            await engine.refresh_floors()
            await engine._believe_redis()
        except CONNECTION_LOST as error:
            await engine.close()
            raise Unavailable(f"Redis does not answer: {error}") from error
        except BaseException:
            await engine.close()
            raise
        return engine

    async def initialise(self) -> None:
        """First start of every partition, for those who embed the engine without PostgreSQL.

        Not after a loss of Redis's data: it would open an emptied sale for selling again.
        """
        for partition in range(len(self.partitions)):
            await self.journal.initialise(partition)

    async def refresh_floors(self) -> None:
        """Ask PostgreSQL for the floors; while it is away, what was known stays known.

        So does it where PostgreSQL is silent for `FLOORS_TIMEOUT_MS`: a frozen one is as good as
        away, and calls wait for this before they have a connection.
        """
        if self._floors is None:
            return
        now = asyncio.get_running_loop().time()
        if self._refreshing is None or self._refreshing.done():
            if now - self._refreshed_at < FLOORS_FRESH_MS / 1000:
                return
            self._refreshed_at = now
            self._refreshing = asyncio.create_task(self._refresh())
        left_s = self._refreshed_at + FLOORS_TIMEOUT_MS / 1000 - now
        refreshing = self._refreshing
        # What it answers later is noted all the same.
        await asyncio.wait((refreshing,), timeout=max(left_s, 0))
        if refreshing.done():
            refreshing.result()

    async def _refresh(self) -> None:
        assert self._floors is not None
        try:
            floors = await self._floors()
        except Unavailable:
            return
        self._floors_known = True
        for partition, floor in floors.items():
            if partition < len(self.partitions):
                self.partitions.observe(partition, floor.generation, floor.sequence)

    async def _run_ids(self) -> dict[int, str]:
        """The run id of the server that answers, by partition."""

        async def read(redis: Redis) -> str:
            run_id: str = (await redis.info("server"))["run_id"]
            return run_id

        return await self._of_servers(read)

    async def _believe_redis(self) -> None:
        """Take from Redis where the partitions stand of which nobody else told anything."""
        run_ids = None
        if self._floors is not None and not self._floors_known:
            run_ids = await self._run_ids()
        for status in await self.journal.statuses(lenient=True):
            unknown = self.partitions.floor(status.partition).generation == 0
            believed = run_ids is None or status.server == run_ids.get(status.partition, "")
            if unknown and believed and status.generation is not None:
                self.partitions.observe(status.partition, status.generation, status.sequence)

    @property
    def marks(self) -> Marks:
        """From where on new holds are shed."""
        return self.bookings.marks

    async def memory(self) -> dict[int, Memory]:
        """What the server of each partition uses and may use. Raises `Unavailable`."""
        return await self._of_servers(read_memory)

    async def _of_servers(
        self, question: Callable[[Redis], Awaitable[Answer]]
    ) -> dict[int, Answer]:
        """Ask each server that answers; by partition."""

        async def ask(redis: Redis, group: list[int]) -> dict[int, Answer]:
            return dict.fromkeys(group, await question(redis))

        found = await self._nodes.ask_each(range(len(self.partitions)), ask, lenient=True)
        return {partition: answer for group in found for partition, answer in group.items()}

    async def ping(self) -> None:
        """Raises `Unavailable` where Redis does not answer."""
        everywhere = range(len(self.partitions))
        assert all(await self._nodes.ask_each(everywhere, lambda redis, _: redis.ping()))

    async def close(self) -> None:
        """Drop the connections."""
        await self._nodes.close()
        if self._refreshing is not None:
            await asyncio.gather(self._refreshing, return_exceptions=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()


def nodes_of(
    options: EngineOptions, keys: Keys, on_reconnect: Callable[[], Awaitable[None]]
) -> Nodes:
    """What the options' URL names, not connected yet."""
    replicas = None
    if options.durability is Durability.REPLICA:
        replicas = Replicas(options.min_replicas)

    def node(url: str) -> Node:
        connect = connector(url)
        pipeline = Pipeline(connect, replicas=replicas, on_reconnect=on_reconnect)
        return Node(connect, pipeline, client(url))

    url = options.redis_url
    if not is_cluster(url):
        return Nodes([node(url)] * keys.partitions)
    seeds, url_of = split_cluster(url)
    return ClusterNodes(seeds, keys, lambda address: node(url_of(address)), on_reconnect)
