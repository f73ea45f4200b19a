"""The engine on a Redis Cluster: three masters, and a replica of one of them."""

from __future__ import annotations

import asyncio
import functools
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final

import pytest
from redis.crc import key_slot

from engine.engine import Engine
from engine.errors import Fenced, Unavailable
from engine.keys import Keys
from engine.outcomes import Outcome
from engine.pipeline import Replicas
from engine.settings import Durability
from engine.types import CancelReason, LineRequest
from tests.helpers.cluster import Cluster, ClusterNode
from tests.helpers.engines import PARTITIONS, SEAT, check_books, gig, opened
from tests.helpers.servers import until

KEYS: Final = Keys(PARTITIONS)
SALES: Final = tuple(
    next(name for n in range(100) if KEYS.partition_of_sale(name := f"gig-{n}") == partition)
    for partition in range(PARTITIONS)
)
"""One in each partition."""
CAREFUL: Final = {"durability": Durability.REPLICA}


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("cluster"), masters=3, replicas=1) as found:
        yield found


@pytest.fixture
def cluster(servers: Cluster) -> Cluster:
    """With nothing in it; partition 0 is on the master that has the replica."""
    servers.flush()
    servers.spread([slot_of(partition) for partition in range(PARTITIONS)])
    return servers


def slot_of(partition: int) -> int:
    return key_slot(KEYS.meta(partition))


def owner(cluster: Cluster, partition: int) -> ClusterNode:
    return cluster.owner(slot_of(partition))


async def put(engine: Engine, capacity: int = 100) -> None:
    for sale_id in SALES:
        assert (await engine.sales.put(replace(gig(capacity), sale_id=sale_id))).sale


@dataclass
class Buyers:
    """Hold in one sale, with the same key until there is an answer; every third cancels."""

    engine: Engine
    sale_id: str
    held: dict[str, str] = field(default_factory=dict)
    """Bookings by key, as answered."""
    cancelled: set[str] = field(default_factory=set)
    unavailable: int = 0
    stopping: bool = False

    async def run(self, at_once: int = 8) -> None:
        await asyncio.gather(*(self._one_by_one(n) for n in range(at_once)))

    async def _one_by_one(self, number: int) -> None:
        count = 0
        while not self.stopping:
            count += 1
            key = str(uuid.uuid4())
            booking_id = await self.hold(f"customer-{number}", key)
            self.held[key] = booking_id
            if count % 3 == 0:
                await self._cancel(booking_id)
                self.cancelled.add(booking_id)

    async def hold(self, customer_id: str, key: str) -> str:
        while True:
            try:
                answer = await self.engine.bookings.reserve(self.sale_id, customer_id, SEAT, key)
            except Unavailable:
                self.unavailable += 1
                continue
            assert answer.outcome in (Outcome.HELD, Outcome.REPLAYED)
            assert answer.booking
            return answer.booking.booking_id

    async def _cancel(self, booking_id: str) -> None:
        while True:
            try:
                await self.engine.bookings.cancel(booking_id, CancelReason.CUSTOMER)
            except Unavailable:
                self.unavailable += 1
            else:
                return

    async def check(self, *, engine: Engine | None = None) -> None:
        """What was answered is in the books, once, and nothing else is."""
        engine = engine or self.engine
        state = await check_books(engine, [self.sale_id])
        assert state.bookings.keys() == set(self.held.values())
        assert len(set(self.held.values())) == len(self.held)
        ended = {name for name, one in state.bookings.items() if one.status == "CANCELLED"}
        assert ended == self.cancelled
        level = state.sales[self.sale_id].levels["seat"]
        assert (level.held, level.sold) == (len(self.held) - len(self.cancelled), 0)


async def test_partitions_on_different_masters_sell_together(cluster: Cluster) -> None:
    assert len({owner(cluster, p).port for p in range(PARTITIONS)}) == 3
    async with opened(cluster.url) as engine:
        await put(engine)
        calls = [
            engine.bookings.reserve(sale_id, f"customer-{n}", [LineRequest("seat", 2)], str(n))
            for n in range(30)
            for sale_id in SALES
        ]
        answers = await asyncio.gather(*calls)
        assert {answer.outcome for answer in answers} == {Outcome.HELD}
        await check_books(engine, SALES)
        statuses = await engine.journal.statuses()
        assert [(one.partition, one.sequence) for one in statuses] == [
            (partition, 31) for partition in range(PARTITIONS)
        ]
        found = [one async for page in engine.audit.bookings() for one in page]
        assert {one.booking_id for one in found} == {
            answer.booking.booking_id for answer in answers if answer.booking
        }
        await engine.ping()


async def test_a_script_of_a_slot_that_moves_writes_nothing_and_runs_once_it_has_moved(
    cluster: Cluster,
) -> None:
    async with opened(cluster.url) as engine:
        await put(engine)
        held = (await engine.bookings.reserve(SALES[0], "ann", SEAT, "key")).booking
        assert held
        source = owner(cluster, 0)
        target = next(node for node in cluster.masters_now() if node is not source)
        cluster.begin_move(slot_of(0), source, target)
        # What a cancel takes a hold out of, after it has written its entry.
        cluster.move_keys(source, target, KEYS.key("deadlines", 0, SALES[0]))
        with pytest.raises(Unavailable):
            await engine.bookings.cancel(held.booking_id, CancelReason.CUSTOMER)
        assert source.ask("XLEN", KEYS.key("journal", 0)) == 2
        # Of those on the way, and those that wait for it, nothing may be believed.
        with pytest.raises(Unavailable):
            await engine.bookings.reserve(SALES[0], "ann", SEAT, "key")
        other = (await engine.bookings.reserve(SALES[-1], "bob", SEAT, "key")).outcome
        assert other is Outcome.HELD
        cluster.move_rest(slot_of(0), source, target)
        with pytest.raises(Unavailable):
            await engine.bookings.reserve(SALES[0], "ann", SEAT, "key")
        cluster.end_move(slot_of(0), target)
        again = await engine.bookings.reserve(SALES[0], "ann", SEAT, "key")
        assert again.outcome is Outcome.REPLAYED
        assert again.booking
        assert again.booking.booking_id == held.booking_id
        cancelled = await engine.bookings.cancel(held.booking_id, CancelReason.CUSTOMER)
        assert cancelled.outcome is Outcome.CANCELLED
        await check_books(engine, SALES)


async def test_a_slot_moved_key_by_key_under_load_loses_and_doubles_nothing(
    cluster: Cluster,
) -> None:
    async with opened(cluster.url) as engine:
        await put(engine, capacity=100_000)
        moved, stays = Buyers(engine, SALES[1]), Buyers(engine, SALES[3])
        loads = asyncio.gather(moved.run(), stays.run())
        await until(lambda: len(moved.held) > 50, "there is something to move")
        source = owner(cluster, 1)
        target = next(
            node for node in cluster.masters_now() if node not in (source, owner(cluster, 3))
        )
        cluster.begin_move(slot_of(1), source, target)
        await until(lambda: moved.unavailable > 0, "buyers are turned away")
        before = len(stays.held)
        assert await asyncio.to_thread(cluster.move_rest, slot_of(1), source, target) > 50
        await until(lambda: len(stays.held) > before, "others buy meanwhile")
        cluster.end_move(slot_of(1), target)
        at = len(moved.held)
        await until(lambda: len(moved.held) > at + 50, "buyers are served at the new place")
        moved.stopping = stays.stopping = True
        await loads
        await moved.check()
        await stays.check()


@pytest.mark.parametrize("fault", ["kill", "pause"])
async def test_a_master_lost_under_load_is_followed_by_its_replica_and_others_go_on(
    cluster: Cluster, fault: str
) -> None:
    on, apart = 0, 1
    master = owner(cluster, on)
    replica = cluster.replica_of(master)
    async with (
        opened(cluster.url) as engine,
        await Engine.open(engine._options.model_copy(update=CAREFUL)) as careful,
    ):
        await put(engine, capacity=100_000)
        buyers = Buyers(careful, SALES[on])
        load = asyncio.create_task(buyers.run())
        await until(lambda: len(buyers.held) > 50, "the sale is under way")
        getattr(master, fault)()
        others = Buyers(engine, SALES[apart])
        for number in range(20):
            others.held[str(number)] = await others.hold("ann", str(number))
        assert others.unavailable == 0
        at = len(buyers.held)
        await until(lambda: replica in cluster.masters_now(), "the replica takes over")
        # Without a replica of its own it can acknowledge nothing in this mode. One that was
        # frozen first does what it was sent before: answered to nobody, and lost with it.
        master.start() if fault == "kill" else master.resume()
        await until(lambda: len(buyers.held) > at + 50, "buyers are served by the new master")
        buyers.stopping = True
        await load
        assert buyers.unavailable or fault == "pause"
        await buyers.check(engine=engine)
        await others.check()


async def test_a_replica_that_lacks_the_tail_is_fenced_and_others_go_on(cluster: Cluster) -> None:
    on, apart = 0, 1
    master = owner(cluster, on)
    replica = cluster.replica_of(master)
    async with opened(cluster.url) as engine:
        await put(engine)
        assert (await engine.bookings.reserve(SALES[on], "ann", SEAT, "a")).booking
        password = replica.ask("CONFIG GET", "primaryauth")[1]
        replica.ask("CONFIG SET", "primaryauth", "wrong")
        master.ask("CLIENT KILL TYPE REPLICA")
        assert (await engine.bookings.reserve(SALES[on], "bob", SEAT, "b")).booking
        master.kill()
        async with await Engine.open(engine._options) as newcomer:
            assert (await newcomer.bookings.reserve(SALES[apart], "eve", SEAT, "e")).booking
            there = {one.partition for one in await newcomer.journal.statuses(lenient=True)}
            assert apart in there
            assert on not in there
            with pytest.raises(Unavailable):
                await newcomer.journal.statuses()
        replica.ask("CONFIG SET", "primaryauth", password)
        replica.ask("CLUSTER FAILOVER TAKEOVER")
        with pytest.raises(Fenced, match="sequence"):
            await Buyers(engine, SALES[on]).hold("cid", "c")
        assert (await engine.bookings.reserve(SALES[apart], "ann", SEAT, "a")).booking
        await check_books(engine, [SALES[apart]])
        # And it is closed for everybody, also for one who has seen nothing.
        async with await Engine.open(engine._options) as other:
            with pytest.raises(Fenced, match="sequence_lost"):
                await other.bookings.reserve(SALES[on], "dan", SEAT, "d")
    master.start()


async def test_what_a_replica_must_have_is_waited_for_on_the_node_of_the_partition(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    on, apart = 0, 1
    async with opened(cluster.url) as engine:
        await put(engine)
    options = engine._options.model_copy(update=CAREFUL)
    async with await Engine.open(options) as careful:
        answer = await careful.bookings.reserve(SALES[on], "ann", SEAT, "a")
        assert answer.outcome is Outcome.HELD
    # The word of a replica that is not there need not be waited for that long.
    monkeypatch.setattr("engine.engine.Replicas", functools.partial(Replicas, timeout_ms=200))
    async with await Engine.open(options) as careful:
        with pytest.raises(Unavailable, match="0 of 1 replicas"):
            await careful.bookings.reserve(SALES[apart], "ann", SEAT, "a")
