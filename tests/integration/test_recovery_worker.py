"""The worker's recovery: how much at once, what it outlives, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from engine.outcomes import Outcome
from engine.payments.gateway import Authorization, Declined, Intent
from engine.payments.limits import MAX_PAYMENTS_AT_ONCE
from engine.payments.types import PaymentStatus, Step
from engine.types import Booking, Status
from tests.helpers.gateways import Simulator, payment_settings
from tests.helpers.odd_gateway import OddGateway, instead, lost
from tests.helpers.stage import RunningWorker, eventually
from tests.helpers.till import OWNER, Till, open_till, quiet
from workers import metrics
from workers.recovery import Recovery
from workers.stuck import StuckCounter


@pytest.fixture
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    server = quiet(tmp_path_factory.mktemp("simulator"))
    yield server
    server.close()


@pytest.fixture
async def till(redis_url: str, database_url: str, simulator: Simulator) -> AsyncIterator[Till]:
    async with open_till(redis_url, database_url, simulator) as opened:
        yield opened


def worker(till: Till, log: Path) -> RunningWorker:
    return RunningWorker(till.stage.settings, log, payment_settings(till.simulator.url))


class Held:
    """The gateway, whose authorizations wait until they are let go."""

    def __init__(self, till: Till) -> None:
        self.let_go = asyncio.Event()
        self.waiting = self.most = 0
        self._gateway = till.gateway

    def __getattr__(self, name: str) -> object:
        return getattr(self._gateway, name)

    async def authorize(self, intent: Intent) -> Authorization:
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        await self.let_go.wait()
        self.waiting -= 1
        return await self._gateway.authorize(intent)


async def test_no_more_than_so_many_are_driven_at_once_and_none_is_left_out(till: Till) -> None:
    await till.put(capacity=100)
    bookings = [await till.begin(customer_id=f"c{n}") for n in range(MAX_PAYMENTS_AT_ONCE + 9)]
    await asyncio.gather(*map(till.abandon, bookings))
    gateway = Held(till)
    recovery = Recovery(till.stage.engine, till.saga_over(gateway))  # type: ignore[arg-type]
    assert await recovery.run_once() == MAX_PAYMENTS_AT_ONCE
    await eventually(lambda: _is(gateway.waiting == MAX_PAYMENTS_AT_ONCE), "all to wait")
    assert await recovery.run_once() == 0, "there is no room"
    gateway.let_go.set()

    async def are_paid() -> bool:
        return till.simulator.totals()["captured"] == len(bookings)

    await till.recover(recovery, are_paid)
    await till.rests(*bookings)
    assert gateway.most == MAX_PAYMENTS_AT_ONCE
    assert till.simulator.totals()["duplicate_charges"] == 0


async def _is(condition: bool) -> bool:
    return condition


async def test_a_payment_that_somebody_owns_is_left_to_him(till: Till) -> None:
    booking = await till.begin()
    await till.redis.zadd(payments_key(till, booking), {booking.booking_id: 0})
    recovery = Recovery(till.stage.engine, till.saga)
    assert await recovery.run_once() == 1
    await recovery.finish()
    assert till.simulator.charges() == []
    assert (await till.payment(booking)).status is PaymentStatus.AUTHORIZING
    assert await recovery.run_once() == 0, "it is looked at again when the lease has run out"


def payments_key(till: Till, booking: Booking) -> str:
    keys = till.stage.engine.keys
    return keys.key("payments", int(booking.booking_id[:3], 16))


async def test_a_gateway_that_is_away_is_asked_again_until_it_answers(till: Till) -> None:
    booking = await till.begin()
    await till.abandon(booking)
    till.simulator.stop()
    recovery = Recovery(till.stage.engine, till.saga)

    async def is_unknown() -> bool:
        return (await till.payment(booking)).status is PaymentStatus.UNKNOWN

    await till.recover(recovery, is_unknown)
    score = await till.redis.zscore(payments_key(till, booking), booking.booking_id)
    assert score, "it comes back by itself"
    till.simulator.start()

    async def is_paid() -> bool:
        await till.abandon(booking)
        return (await till.payment(booking)).status is PaymentStatus.CAPTURED

    await till.recover(recovery, is_paid)
    assert till.simulator.totals()["duplicate_charges"] == 0


async def test_the_worker_takes_over_what_a_process_left_behind(till: Till, tmp_path: Path) -> None:
    left = await till.begin()
    cancelled = await till.paid("bob")
    await till.abandon(left)
    async with worker(till, tmp_path / "log"):
        await till.rests(left)
        answer = await till.stage.engine.payments.refund(cancelled.booking_id)
        assert answer.outcome is Outcome.REFUND_BEGUN
        await till.rests(cancelled)
    assert (await till.payment(left)).status is PaymentStatus.CAPTURED
    assert (await till.payment(cancelled)).status is PaymentStatus.REFUNDED
    assert till.simulator.totals()["refunded"] == 1


async def test_a_worker_that_is_told_to_stop_lets_its_payments_end(
    till: Till, tmp_path: Path
) -> None:
    booking = await till.begin()
    till.simulator.faults(latency_ms=1_500)
    await till.abandon(booking)
    async with worker(till, tmp_path / "log") as running:
        await running.logs("worker_started")

        async def is_claimed() -> bool:
            keys = till.stage.engine.keys
            name = keys.key("lease", keys.partition_of_sale("gig"), booking.booking_id)
            return bool(await till.redis.exists(name))

        await eventually(is_claimed, "the worker to take the lease")
        assert await running.stop() == 0
    assert (await till.payment(booking)).status is PaymentStatus.CAPTURED


async def test_a_worker_that_is_killed_leaves_the_payment_to_the_next(
    till: Till, tmp_path: Path
) -> None:
    booking = await till.begin()
    till.simulator.faults(latency_ms=3_000)
    await till.abandon(booking)
    async with worker(till, tmp_path / "first") as first:
        keys = till.stage.engine.keys
        name = keys.key("lease", keys.partition_of_sale("gig"), booking.booking_id)

        async def is_claimed() -> bool:
            return bool(await till.redis.exists(name))

        await eventually(is_claimed, "the worker to take the lease")
        first.child.kill()
        assert await asyncio.to_thread(first.child.wait, 20) == -9
    assert (await till.payment(booking)).step is Step.AUTHORIZE
    till.simulator.faults(latency_ms=0)
    await till.abandon(booking)
    async with worker(till, tmp_path / "second"):
        await till.rests(booking)
    assert (await till.payment(booking)).status is PaymentStatus.CAPTURED
    assert till.simulator.totals()["duplicate_charges"] == 0


async def test_what_does_not_move_is_counted_as_stuck_and_a_buyer_who_acts_is_not(
    till: Till,
) -> None:
    counter = StuckCounter(till.stage.engine, stuck_ms=60_000, key_lifetime_ms=3_600_000)
    old, fresh = await till.begin(customer_id="ann"), await till.begin(customer_id="bob")
    acting = await till.saga.drive(await till.begin("pm_card_authenticationRequired", "eve"), OWNER)
    assert acting.payment
    assert acting.payment.status is PaymentStatus.REQUIRES_ACTION
    for booking in (old, acting):
        await till.age(booking, 61_000)
    await counter.run_once()
    assert _value(metrics.PAYMENTS_OPEN) == 3
    assert _value(metrics.PAYMENTS_STUCK) == 1
    assert counter.run_out() == []
    await till.age(fresh, 3_600_001)
    await counter.run_once()
    assert counter.run_out() == [fresh.booking_id]


def _value(gauge: object) -> float:
    return float(gauge._value.get())  # type: ignore[attr-defined]


async def test_whatever_a_gateway_says_of_a_refusal_the_journal_can_carry_it(till: Till) -> None:
    booking = await till.begin()
    words = instead(Declined('say "no"\\\n\x00é' + 200 * "x"))
    ended = await till.saga_over(OddGateway(till.gateway, {"authorize": words})).drive(
        booking, OWNER
    )
    assert ended.payment
    assert (ended.payment.status, ended.payment.step) == (PaymentStatus.DECLINED, Step.NONE)
    assert ended.payment.decline_code == "say _no_____" + 88 * "x"
    await till.stage.drain_all()
    assert await till.stage.pool.fetchval("SELECT count(*) FROM quarantine") == 0


@pytest.mark.parametrize("reason", ["status_authorizing", "unreadable"])
async def test_an_authorization_that_was_not_decided_at_first_is_looked_at_and_not_asked_for_ever(
    till: Till, reason: str
) -> None:
    booking = await till.begin()
    # What the gateway answers under a key it answers for a day, whatever became of the payment.
    saga = till.saga_over(OddGateway(till.gateway, {"authorize": lost(reason)}))
    paid = await saga.drive(booking, OWNER)
    assert paid.payment
    assert (paid.status, paid.payment.status) == (Status.CONFIRMED, PaymentStatus.CAPTURED)
    assert till.simulator.totals()["duplicate_charges"] == 0
