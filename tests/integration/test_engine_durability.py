"""What must hold before a change is acknowledged: a strong server, and replicas that have it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
import redis

import engine.engine
from engine.engine import Engine
from engine.errors import Overloaded, Unavailable, WeakDurability
from engine.outcomes import Outcome
from engine.pipeline import Replicas
from engine.settings import Durability
from engine.types import CancelReason
from tests.helpers.engines import SEAT, check_books, gig, opened, options
from tests.helpers.servers import Valkey, wait_for
from tests.helpers.wire_proxy import WireProxy

WEAKER = {
    "appendonly": "no",
    "appendfsync": "everysec",
    "no-appendfsync-on-rewrite": "yes",
    "maxmemory-policy": "allkeys-lru",
    "maxmemory": "0",
}


@pytest.fixture(scope="module")
def weak(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """A server of its own, whose settings a test may weaken."""
    server = Valkey(tmp_path_factory.mktemp("weak"))
    yield server
    server.close()


@pytest.mark.parametrize("name", WEAKER)
async def test_a_server_that_keeps_less_is_refused(name: str, weak: Valkey) -> None:
    with redis.Redis.from_url(weak.url) as client:
        strong = client.config_get(name)[name]
        client.config_set(name, WEAKER[name])
        try:
            for durability in (Durability.FSYNC, Durability.REPLICA):
                with pytest.raises(WeakDurability, match=f"HOLDFAST_DURABILITY.*{name}"):
                    await Engine.open(options(weak.url, durability=durability))
            async with opened(weak.url, durability=Durability.MEMORY) as careless:
                assert (await careless.sales.put(gig())).sale
        finally:
            client.config_set(name, strong)
    async with opened(weak.url):
        pass


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="does not answer"):
        await Engine.open(options("redis://127.0.0.1:1/0"))


async def test_a_primary_that_is_made_a_replica_is_left_for_the_new_one(tmp_path: Path) -> None:
    """By hand, or by who serves the name: without Sentinel nobody ends its clients' connections."""
    with contextlib.ExitStack() as servers:
        first, second = (Valkey(tmp_path / name) for name in ("first", "second"))
        for server in (first, second):
            servers.callback(server.close)
        old, new = (
            servers.enter_context(redis.Redis.from_url(server.url)) for server in (first, second)
        )
        for client, other in ((old, second), (new, first)):
            client.config_set("primaryauth", str(urlsplit(other.url).password))
        name = WireProxy(first.url)
        # Who goes by the name has one password for both.
        new.execute_command("ACL", "SETUSER", "default", f">{urlsplit(first.url).password}")
        async with name, opened(name.url) as found:
            await found.sales.put(gig())
            follow(new, first)
            wait_for(lambda: new.info("replication")["master_link_status"] == "up", "it follows")
            new.replicaof("NO", "ONE")
            follow(old, second)
            name.lead_to(second.url)
            held = await found.bookings.reserve("gig", "ann", SEAT, "key")
            assert held.outcome is Outcome.HELD
            partition = found.keys.partition_of_sale("gig")
            assert held.booking
            assert new.exists(found.keys.key("booking", partition, held.booking.booking_id))


def follow(client: redis.Redis, primary: Valkey) -> None:
    address = urlsplit(primary.url)
    client.replicaof(str(address.hostname), str(address.port))


class TestReplica:
    """Durability `replica`, with a real one that can be frozen."""

    @pytest.fixture(scope="class")
    @staticmethod
    def primary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
        server = Valkey(tmp_path_factory.mktemp("primary"))
        yield server
        server.close()

    @pytest.fixture(scope="class")
    @staticmethod
    def replica(primary: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
        server = Valkey(tmp_path_factory.mktemp("replica"))
        address = urlsplit(primary.url)
        with redis.Redis.from_url(server.url) as client, redis.Redis.from_url(primary.url) as first:
            client.config_set("primaryauth", str(address.password))
            client.replicaof(str(address.hostname), str(address.port))
            wait_for(
                lambda: first.info("replication").get("slave0", {}).get("state") == "online",
                "the replica follows",
            )
        yield server
        server.close()

    @pytest_asyncio.fixture
    async def pair(
        self, primary: Valkey, replica: Valkey, monkeypatch: pytest.MonkeyPatch
    ) -> AsyncIterator[Engine]:
        """An engine that waits for the replica, though not as long as in earnest."""
        monkeypatch.setattr(engine.engine, "Replicas", functools.partial(Replicas, timeout_ms=500))
        primary.flush()
        async with opened(primary.url, durability=Durability.REPLICA) as found:
            await found.sales.put(gig())
            yield found
            replica.resume()

    async def test_what_is_acknowledged_is_on_the_replica(
        self, pair: Engine, replica: Valkey
    ) -> None:
        held = (await pair.bookings.reserve("gig", "ann", SEAT, "key")).booking
        assert held
        partition = pair.keys.partition_of_sale("gig")
        with redis.Redis.from_url(replica.url) as client:
            assert client.exists(pair.keys.key("booking", partition, held.booking_id))

    async def test_without_its_replica_nothing_is_acknowledged_also_no_replay(
        self, pair: Engine, replica: Valkey
    ) -> None:
        bookings, partition = pair.bookings, pair.keys.partition_of_sale("gig")
        first = (await bookings.reserve("gig", "ann", SEAT, "one")).booking
        assert first
        replica.pause()
        calls = (
            bookings.reserve("gig", "bob", SEAT, "two"),
            bookings.reserve("gig", "ann", SEAT, "one"),
            bookings.cancel(first.booking_id, CancelReason.CUSTOMER),
            pair.journal.read(partition, 1, 100),
        )
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(result) for result in results] == [Unavailable] * len(calls)
        replica.resume()
        again = await bookings.reserve("gig", "bob", SEAT, "two")
        assert again.outcome in (Outcome.HELD, Outcome.REPLAYED)
        cancelled = (await bookings.cancel(first.booking_id, CancelReason.OPERATOR)).booking
        assert cancelled
        assert cancelled.cancel_reason is CancelReason.CUSTOMER
        state = await check_books(pair)
        assert len(state.bookings) == 2

    async def test_a_replay_alone_is_not_acknowledged_by_the_writes_of_others(
        self, pair: Engine, replica: Valkey
    ) -> None:
        await pair.bookings.reserve("gig", "ann", SEAT, "one")
        replica.pause()
        for _ in range(2):
            with pytest.raises(Unavailable):
                await pair.bookings.reserve("gig", "ann", SEAT, "one")

    async def test_a_full_memory_can_still_acknowledge_what_frees_stock(
        self, pair: Engine, primary: Valkey
    ) -> None:
        held = (await pair.bookings.reserve("gig", "ann", SEAT, "one")).booking
        assert held
        with redis.Redis.from_url(primary.url) as client:
            limit = client.config_get("maxmemory")["maxmemory"]
            client.config_set("maxmemory", 1024 * 1024)
            try:
                with pytest.raises(Overloaded, match="memory"):
                    await pair.bookings.reserve("gig", "bob", SEAT, "two")
                cancelled = await pair.bookings.cancel(held.booking_id, CancelReason.CUSTOMER)
            finally:
                client.config_set("maxmemory", limit)
        assert cancelled.outcome is Outcome.CANCELLED
