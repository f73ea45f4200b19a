"""Redis dies, comes back, or comes back as something else."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import redis

from engine import limits
from engine.engine import Engine
from engine.errors import Fenced, Unavailable
from engine.outcomes import Outcome
from engine.types import Booking, Floor
from tests.helpers.engines import PARTITIONS, SEAT, check_books, gig, opened, options
from tests.helpers.servers import Valkey


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Valkey]:
    """A server of the test's own, to be killed and changed."""
    found = Valkey(tmp_path / "valkey")
    yield found
    found.close()


async def buy(
    engine: Engine, at: int, acknowledged: dict[int, Booking], enough: asyncio.Event
) -> None:
    """Send one request, with one key, until it is answered; tell when 200 were."""
    while at not in acknowledged:
        try:
            answer = await engine.bookings.reserve("gig", f"buyer-{at}", SEAT, f"key-{at}")
        except Unavailable:
            await asyncio.sleep(0.02)
            continue
        assert answer.booking
        acknowledged[at] = answer.booking
        if len(acknowledged) >= 200:
            enough.set()


async def test_what_was_acknowledged_survives_a_kill_and_nothing_is_doubled(
    server: Valkey,
) -> None:
    async with opened(server.url) as engine:
        await engine.sales.put(gig(2_000))
        acknowledged: dict[int, Booking] = {}
        enough = asyncio.Event()
        buyers = [asyncio.create_task(buy(engine, at, acknowledged, enough)) for at in range(2_000)]
        await enough.wait()
        server.kill()
        before = dict(acknowledged)
        assert 200 <= len(before) < 2_000, "the kill came in the middle"
        await asyncio.to_thread(server.start)
        for booking in before.values():
            assert (await engine.bookings.get(booking.booking_id)).booking == booking
        await asyncio.gather(*buyers)
        state = await check_books(engine)
        assert {booking.booking_id for booking in acknowledged.values()} == set(state.bookings)
        assert state.sales["gig"].levels["seat"].held == 2_000


async def test_a_restart_keeps_every_sale_and_booking(server: Valkey) -> None:
    async with opened(server.url) as engine:
        await engine.sales.put(gig())
        held = await engine.bookings.reserve("gig", "ann", SEAT, "key")
        sale = await engine.sales.get("gig")
    server.stop()
    server.start()
    async with opened(server.url) as engine:
        assert await engine.sales.get("gig") == sale
        again = await engine.bookings.reserve("gig", "ann", SEAT, "key")
        assert (again.outcome, again.booking) == (Outcome.REPLAYED, held.booking)


class TestPutBack:
    """A copy from earlier is put in the place of the data."""

    @staticmethod
    async def sell(engine: Engine, customer_id: str) -> None:
        assert (await engine.bookings.reserve("gig", customer_id, SEAT, "key")).booking

    @staticmethod
    async def put_back(server: Valkey, engine: Engine, tmp_path: Path) -> None:
        """Copy the data, sell something, and put the copy back."""
        data, copy = tmp_path / "valkey" / "appendonlydir", tmp_path / "copy"
        await TestPutBack.sell(engine, "ann")
        server.stop()
        shutil.copytree(data, copy)
        server.start()
        await TestPutBack.sell(engine, "bob")
        server.stop()
        shutil.rmtree(data)
        shutil.copytree(copy, data)
        server.start()

    async def test_who_saw_more_refuses_and_closes_it_for_everybody(
        self, server: Valkey, tmp_path: Path
    ) -> None:
        async with opened(server.url) as witness:
            await witness.sales.put(gig())
            await self.put_back(server, witness, tmp_path)
            async with opened(server.url) as newcomer:
                with pytest.raises(Fenced, match="sequence"):
                    await self.sell(witness, "cat")
                with pytest.raises(Fenced, match="sequence_lost"):
                    await self.sell(newcomer, "cat")
                partition = witness.keys.partition_of_sale("gig")
                status = await newcomer.journal.status(partition)
                assert (status.fenced, status.sequence) == ("sequence_lost", 2)

    async def test_who_starts_later_is_told_by_postgresql(
        self, server: Valkey, tmp_path: Path
    ) -> None:
        async with opened(server.url) as engine:
            await engine.sales.put(gig())
            await self.put_back(server, engine, tmp_path)
            partition = engine.keys.partition_of_sale("gig")

        async def floors() -> Mapping[int, Floor]:
            return {at: Floor(1, 3 if at == partition else 0) for at in range(PARTITIONS)}

        async with opened(server.url, floors=floors) as engine:
            with pytest.raises(Fenced, match="sequence"):
                await self.sell(engine, "cat")


async def test_a_deleted_meta_is_a_fence_and_sells_nothing(redis_url: str) -> None:
    async with opened(redis_url) as engine:
        await engine.sales.put(gig())
        partition = engine.keys.partition_of_sale("gig")
        with redis.Redis.from_url(redis_url) as client:
            client.delete(engine.keys.meta(partition).decode())
        with pytest.raises(Fenced, match="meta_missing"):
            await engine.bookings.reserve("gig", "ann", SEAT, "key")
        with pytest.raises(Fenced, match="meta_missing"):
            await engine.journal.initialise(partition)
        assert (await engine.journal.status(partition)).generation is None


async def test_another_number_of_partitions_is_a_fence(redis_url: str) -> None:
    async with opened(redis_url) as engine:
        await engine.sales.put(gig())
    async with await Engine.open(options(redis_url, partitions=PARTITIONS + 1)) as other:
        for call in (
            other.sales.get("gig"),
            other.sales.put(gig()),
            other.bookings.reserve("gig", "ann", SEAT, "key"),
        ):
            with pytest.raises(Fenced, match="meta_missing"):
                await call


async def test_an_emptied_redis_is_a_fence_for_who_knew_it(server: Valkey) -> None:
    async with opened(server.url) as engine:
        await engine.sales.put(gig())
        server.flush()
        for call in (
            engine.bookings.reserve("gig", "ann", SEAT, "key"),
            engine.sales.put(gig()),
        ):
            with pytest.raises(Fenced, match="meta_missing"):
                await call


async def test_a_redis_that_hangs_is_unavailable_and_then_found_again(
    server: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(server.url) as engine:
        await engine.sales.put(gig())
        for name in ("engine.pipeline", "engine.calls"):
            monkeypatch.setattr(f"{name}.CALL_TIMEOUT_MS", 200)
        server.pause()
        with pytest.raises(Unavailable):
            await engine.bookings.reserve("gig", "ann", SEAT, "key")
        monkeypatch.undo()
        server.resume()
        answer = await engine.bookings.reserve("gig", "ann", SEAT, "key")
        assert answer.outcome in (Outcome.HELD, Outcome.REPLAYED)
        state = await check_books(engine)
        assert len(state.bookings) == 1


async def test_postgresql_is_asked_again_after_a_reconnect(server: Valkey) -> None:
    asked = 0

    async def floors() -> Mapping[int, Floor]:
        nonlocal asked
        asked += 1
        if asked > 1:
            raise Unavailable("PostgreSQL is away")
        return {}

    async with opened(server.url, floors=floors) as engine:
        await engine.sales.put(gig())
        server.kill()
        await asyncio.to_thread(server.start)
        await asyncio.sleep(0.2)
        for _ in range(8):
            assert await engine.sales.get("gig")
        # By whoever reconnects first; again where the next link opens later than that is fresh.
        assert 2 <= asked <= 1 + limits.MAX_BATCHES_IN_FLIGHT


async def test_a_postgresql_that_is_silent_keeps_no_call_from_a_new_connection(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    thawed = asyncio.Event()
    thawed.set()

    async def floors() -> Mapping[int, Floor]:
        await thawed.wait()
        return {}

    async with opened(redis_url, floors=floors) as engine:
        await engine.sales.put(gig(1_000))
        monkeypatch.setattr("engine.engine.FLOORS_TIMEOUT_MS", 200)
        monkeypatch.setattr("engine.engine.FLOORS_FRESH_MS", 0)
        thawed.clear()
        with redis.Redis.from_url(redis_url) as client:
            client.client_kill_filter(_type="normal", skipme=True)
        try:
            async with asyncio.timeout(limits.CALL_TIMEOUT_MS / 1000):
                for number in range(2 * limits.MAX_BATCHES_IN_FLIGHT):
                    held = await engine.bookings.reserve("gig", "ann", SEAT, f"key-{number}")
                    assert held.outcome is Outcome.HELD
        finally:
            thawed.set()


async def test_an_engine_without_redis_says_that_it_is_unavailable(server: Valkey) -> None:
    async with opened(server.url) as engine:
        await engine.ping()
        server.stop()
        for call in (
            engine.ping(),
            engine.journal.statuses(),
            engine.journal.contacts(0, ["b"]),
            engine.sales.get("gig"),
        ):
            with pytest.raises(Unavailable):
                await call
