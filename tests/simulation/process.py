"""A process of the product, built of its real rooms; only what leaves the process is simulated.

`engine.calls.Caller`, `Bookings`, `PaymentBooks`, `Journal`, `Saga`, `Cashier`, `Recovery`,
`Sweeper`, `Drain` and `Undecided` are the product's own. A process that was killed never comes past
`gate` again, so that whatever its coroutines still do, nobody notices; one that is stopped comes
past it late.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Any, Final, cast

from engine.bookings import Bookings
from engine.calls import Caller
from engine.crypto import Vault
from engine.engine import Engine
from engine.errors import Unavailable
from engine.expiring import Expiring
from engine.journal import Journal
from engine.journal_status import JournalStatus
from engine.keys import Keys
from engine.limits import CALL_TIMEOUT_MS
from engine.nodes import Nodes
from engine.partitions import Partitions
from engine.payments.books import PaymentBooks, PaymentOptions
from engine.payments.cashier import Cashier
from engine.payments.saga import Saga
from engine.pipeline import Argument, Pipeline
from engine.pressure import Marks
from engine.sales import Sales
from engine.scripts import Script
from engine.types import Floor
from persistence.drain import Drain
from persistence.pool import Pool
from persistence.reads import Reads
from persistence.reconciling import Reconciling
from tests.helpers.fake import DATA_KEY, node_over
from tests.simulation.clock import host_offset_ms
from tests.simulation.gateway import Gateway
from tests.simulation.gateway_client import GatewayClient
from tests.simulation.network import Network
from tests.simulation.postgres import Postgres, Session
from tests.simulation.redis import RUN_ID
from workers.reconciler import Reconciler
from workers.recovery import Recovery
from workers.sweeper import Sweeper
from workers.undecided import Undecided
from workers.warner import Warner

VAULT: Final = Vault((DATA_KEY,))
WARNING_MS: Final = 12_000
"""Longer than one sale's holds live, and shorter than the other's."""
SETTLED_MS: Final = 75_000
"""Lease, gateway time-out and a margin, as `workers.main` has it."""


class Host:
    """Where a process runs: it can die, stop for a while, and have a clock of its own."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True
        self.offset_ms = [0]
        self._paused_until_s = -math.inf
        self._tasks: set[asyncio.Task[Any]] = set()
        self._over = False

    async def gate(self) -> None:
        """Whatever reaches out of the process, or into it, comes past here."""
        loop = asyncio.get_running_loop()
        while not self._over:
            if not self.alive:
                await loop.create_future()
            left_s = self._paused_until_s - loop.time()
            if left_s <= 0:
                return
            await asyncio.sleep(left_s)
        raise asyncio.CancelledError

    def pause(self, seconds: float) -> None:
        """SIGSTOP, and some time later SIGCONT."""
        now_s = asyncio.get_running_loop().time()
        self._paused_until_s = max(self._paused_until_s, now_s + seconds)

    def resume(self) -> None:
        """SIGCONT."""
        self._paused_until_s = -math.inf

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Begin something in this process."""
        context = copy_context()
        context.run(host_offset_ms.set, self.offset_ms)
        task = asyncio.get_running_loop().create_task(work, context=context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    @property
    def busy(self) -> bool:
        """Whether something that was begun has not ended."""
        return bool(self._tasks)

    def end(self) -> None:
        """The run is over: nothing here waits for anything any more."""
        self._over = True


class Link:
    """A process's connection to Redis, in the place of `engine.pipeline.Pipeline`."""

    def __init__(self, host: Host, network: Network, keys: Keys) -> None:
        self._host = host
        self._network = network
        self._partitions = {keys.meta(number): number for number in range(keys.partitions)}
        self._losses = 0
        self.on_reconnect: Callable[[], Coroutine[Any, Any, None]] | None = None
        self.floor: Callable[[int], Floor] = lambda _: Floor(0, 0)
        """What this process was told of a partition by PostgreSQL."""
        self.told: dict[tuple[int, int], int] = {}
        """The last sequence by partition and generation that this process was answered with."""

    async def run(self, script: Script, key: bytes, args: Iterable[Argument]) -> Any:
        """Run a script; raises `Unavailable`."""
        await self._host.gate()
        if self._losses < self._network.losses:
            self._losses = self._network.losses
            if self.on_reconnect is not None:
                await self.on_reconnect()
        partition = self._partitions[key]
        sent, floor = tuple(args), self.floor(partition)
        place = (partition, int(sent[0]))
        knew = self.told.get(place, 0)
        if floor.generation == place[1]:
            knew = max(knew, floor.sequence)
        answer = self._network.send(self._host.name, partition, script, sent, knew)
        try:
            async with asyncio.timeout(CALL_TIMEOUT_MS / 1000):
                raw: list[Any] = await answer
        except TimeoutError as error:
            raise Unavailable("Redis: no answer") from error
        finally:
            await self._host.gate()
        if raw[0] != b"fenced":
            self.told[place] = max(raw[1], self.told.get(place, 0))
        return raw


@dataclass(frozen=True, slots=True)
class SessionPool:
    """What a process takes its connections from."""

    server: Postgres
    host: Host

    @asynccontextmanager
    async def acquire(self, *, timeout: float) -> AsyncIterator[Session]:
        """A connection."""
        await self.host.gate()
        if asyncio.get_running_loop().time() < self.server.down_until_s:
            await asyncio.sleep(self.server.latency())
            raise ConnectionRefusedError("PostgreSQL is away")
        yield Session(self.server, self.host)


class JournalOf(Journal):
    """The journal's operations; what goes past the scripts asks the server in memory."""

    def __init__(
        self, caller: Caller, keys: Keys, partitions: Partitions, host: Host, network: Network
    ) -> None:
        super().__init__(caller, keys, partitions, cast(Any, None))
        self._host = host
        self._network = network

    async def statuses(
        self, partitions: Sequence[int] | None = None, *, lenient: bool = False
    ) -> list[JournalStatus]:
        await self._host.gate()
        chosen = range(self._keys.partitions) if partitions is None else partitions
        statuses = await self._network.statuses(chosen)
        await self._host.gate()
        return statuses


class EngineOf(Engine):
    """The engine's rooms over a link; what is here asks PostgreSQL and Redis at the start."""

    def __init__(self, host: Host, network: Network, pool: Pool, partitions: int) -> None:
        self.keys = Keys(partitions)
        self.partitions = Partitions(partitions)
        self.vault = VAULT
        self._floors = Reads(pool).cursors
        self._floors_known = False
        self._refreshing = None
        self._refreshed_at = -math.inf
        self.link = Link(host, network, self.keys)
        self.link.on_reconnect = self.refresh_floors
        self.link.floor = self.partitions.floor
        nodes = Nodes([node_over(cast(Pipeline, self.link))] * partitions)
        caller = Caller(nodes, self.keys, self.partitions, self.refresh_floors)
        self.sales = Sales(caller, self.keys)
        self.bookings = Bookings(caller, self.keys, self.vault, None, Marks(), None)
        self.payments = PaymentBooks(caller, self.keys, self.bookings, PaymentOptions())
        self.expiring = Expiring(caller)
        self.journal = JournalOf(caller, self.keys, self.partitions, host, network)

    async def _run_ids(self) -> dict[int, str]:
        return dict.fromkeys(range(len(self.partitions)), RUN_ID)

    async def learn(self) -> None:
        """What `Engine.open` does with its connections."""
        await self.refresh_floors()
        while True:
            try:
                await self._believe_redis()
            except Unavailable:
                await asyncio.sleep(1)
            else:
                return


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What lies outside of processes."""

    partitions: int
    network: Network
    postgres: Postgres
    gateway: Gateway
    run_out: list[str] = field(default_factory=list)
    """Bookings with an open payment: for `Undecided`, which looks itself whose key has run out."""


class Process:
    """An API process and a worker in one: every one of them can do everything."""

    def __init__(self, name: str, outside: Surroundings) -> None:
        self.host = Host(name)
        self.pool = SessionPool(outside.postgres, self.host)
        pool = cast(Pool, self.pool)
        self.engine = EngineOf(self.host, outside.network, pool, outside.partitions)
        self.gateway = GatewayClient(outside.gateway, self.host)
        self.saga = Saga(self.engine.payments, self.gateway)
        self.cashier = Cashier(self.engine.payments, self.engine.bookings, self.saga, VAULT)
        self.recovery = Recovery(self.engine, self.saga)
        self.sweeper = Sweeper(self.engine, 1_000)
        self.warner = Warner(self.engine, WARNING_MS)
        self.undecided = Undecided(self.engine, self.gateway, self.saga, SETTLED_MS)
        self.reconciler = Reconciler(
            self.engine,
            self.gateway,
            Reconciling(pool),
            self.undecided,
            lambda: outside.run_out,
            settled_ms=SETTLED_MS,
        )
        self.drain = Drain(
            pool, self.engine, batch_entries=5, clock=asyncio.get_running_loop().time
        )
        self.ready = self.host.spawn(self.engine.learn())
