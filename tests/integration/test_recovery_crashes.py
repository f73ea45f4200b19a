"""Payments whose process ended between two steps: a worker brings each to its one ending."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from engine.payments.gateway import Captured, Intent
from engine.payments.gateway import Unknown as GatewayUnknown
from engine.payments.intents import intent_of
from engine.payments.stripe import StripeGateway
from engine.payments.types import PaymentStatus, Step
from engine.types import Booking, CancelReason, Status
from tests.helpers.gateways import Simulator
from tests.helpers.till import OWNER, Till, open_till, quiet
from workers.recovery import Recovery


@pytest.fixture
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    server = quiet(tmp_path_factory.mktemp("simulator"))
    yield server
    server.close()


@pytest.fixture
async def till(redis_url: str, database_url: str, simulator: Simulator) -> AsyncIterator[Till]:
    async with open_till(redis_url, database_url, simulator) as opened:
        yield opened


async def recovered(till: Till, booking: Booking) -> Booking:
    """Let the lease run out, and a worker work until the payment rests."""
    await till.abandon(booking)
    recovery = Recovery(till.stage.engine, till.saga)

    async def is_at_rest() -> bool:
        return (await till.payment(booking)).step is Step.NONE

    await till.recover(recovery, is_at_rest)
    return await till.booking(booking)


def counts(till: Till, *names: str) -> list[int]:
    totals = till.simulator.totals()
    return [totals[name] for name in names]


async def test_an_intent_that_never_left_is_carried_out(till: Till) -> None:
    booking = await till.begin()
    assert till.simulator.charges() == []
    booking = await recovered(till, booking)
    assert (booking.status, booking.payment and booking.payment.status) == (
        Status.CONFIRMED,
        PaymentStatus.CAPTURED,
    )
    assert counts(till, "captured", "duplicate_charges") == [1, 0]
    assert await till.stage.levels() == (9, 0, 1)


async def test_an_authorization_that_nobody_recorded_is_the_one_that_is_captured(
    till: Till,
) -> None:
    booking = await till.begin()
    authorization_id = await till.authorize(booking)
    booking = await recovered(till, booking)
    assert booking.payment
    assert booking.payment.authorization_id == authorization_id
    assert counts(till, "payment_intents", "captured") == [1, 1]


async def test_a_capture_that_nobody_recorded_is_recorded(till: Till) -> None:
    booking = await till.begin()
    answer = await till.stage.engine.payments.confirm(booking, OWNER, await till.authorize(booking))
    assert answer.booking
    assert answer.booking.payment
    captured = await till.gateway.capture(
        intent_of(booking), answer.booking.payment.authorization_id or ""
    )
    assert isinstance(captured, Captured)
    booking = await recovered(till, booking)
    assert booking.payment
    assert booking.payment.capture_id == captured.capture_id
    assert counts(till, "captured", "duplicate_charges") == [1, 0]


async def test_a_refused_capture_gives_the_stock_back_once_and_voids(till: Till) -> None:
    booking = await recovered(till, await till.begin("pm_card_captureRefused"))
    assert (booking.status, booking.cancel_reason) == (
        Status.CANCELLED,
        CancelReason.PAYMENT_FAILED,
    )
    assert booking.payment
    assert booking.payment.status is PaymentStatus.VOIDED
    assert counts(till, "captured", "open_authorizations", "released") == [0, 0, 1]
    assert await till.stage.levels() == (10, 0, 0)


async def test_a_hold_cancelled_under_payment_is_voided(till: Till) -> None:
    booking = await till.begin()
    await till.authorize(booking)
    await till.stage.engine.bookings.cancel(booking.booking_id, CancelReason.CUSTOMER)
    assert await till.stage.levels() == (10, 0, 0)
    booking = await recovered(till, booking)
    assert (booking.status, booking.payment and booking.payment.status) == (
        Status.CANCELLED,
        PaymentStatus.VOIDED,
    )
    assert counts(till, "captured", "open_authorizations") == [0, 0]
    assert await till.stage.levels() == (10, 0, 0)


async def test_a_paid_booking_that_is_cancelled_is_refunded(till: Till) -> None:
    booking = await till.paid()
    await till.stage.engine.bookings.cancel(booking.booking_id, CancelReason.CUSTOMER)
    booking = await recovered(till, booking)
    assert booking.payment
    assert booking.payment.status is PaymentStatus.REFUNDED
    assert counts(till, "captured", "refunded") == [1, 1]
    assert await till.stage.levels() == (10, 0, 0)


class CancelsBetween:
    """The gateway, and a customer who cancels between the capture and its record."""

    def __init__(self, till: Till, *, answer_lost: bool) -> None:
        self.fired = 0
        self._till = till
        self._answer_lost = answer_lost

    def __getattr__(self, name: str) -> object:
        return getattr(self._till.gateway, name)

    async def capture(self, intent: Intent, authorization_id: str) -> object:
        answer = await self._till.gateway.capture(intent, authorization_id)
        await self._till.stage.engine.bookings.cancel(
            intent.reference.booking_id, CancelReason.CUSTOMER
        )
        self.fired += 1
        return GatewayUnknown("connection") if self._answer_lost else answer


@pytest.mark.parametrize("answer_lost", [False, True])
async def test_a_cancel_between_the_capture_and_its_record_gives_the_money_back(
    till: Till, answer_lost: bool
) -> None:
    booking = await till.begin()
    gateway = CancelsBetween(till, answer_lost=answer_lost)
    # The owner itself goes on with what is asked now: nobody has to wait for its lease.
    ended = await till.saga_over(gateway).drive(booking, OWNER)  # type: ignore[arg-type]
    assert gateway.fired == 1
    assert ended.payment
    assert (ended.status, ended.payment.status) == (Status.CANCELLED, PaymentStatus.REFUNDED)
    assert counts(till, "captured", "refunded") == [1, 1]
    assert await till.stage.levels() == (10, 0, 0)


async def test_money_that_comes_after_the_hold_takes_stock_where_there_is_some(
    till: Till,
) -> None:
    booking = await till.begin()
    await till.authorize(booking)
    await expire(till, booking)
    assert await till.stage.levels() == (10, 0, 0)
    booking = await recovered(till, booking)
    assert booking.payment
    assert (booking.status, booking.payment.status) == (Status.CONFIRMED, PaymentStatus.CAPTURED)
    assert await till.stage.levels() == (9, 0, 1)


async def test_money_that_comes_when_the_stock_is_gone_is_voided(till: Till) -> None:
    booking = await till.begin()
    await till.authorize(booking)
    await expire(till, booking)
    await till.stage.hold("bob", 10)
    booking = await recovered(till, booking)
    assert booking.payment
    assert (booking.status, booking.payment.status) == (Status.CANCELLED, PaymentStatus.VOIDED)
    assert counts(till, "captured", "open_authorizations") == [0, 0]
    assert await till.stage.levels() == (0, 10, 0)


async def expire(till: Till, booking: Booking) -> None:
    """Let the hold's grace be over now."""
    keys = till.stage.engine.keys
    partition = keys.partition_of_sale("gig")
    await till.redis.zadd(keys.key("deadlines", partition, "gig"), {booking.booking_id: 1})
    await till.redis.zadd(keys.key("due", partition), {"gig": 1})
    assert await till.stage.engine.bookings.sweep(partition, 10) == 1
    assert (await till.booking(booking)).cancel_reason is CancelReason.EXPIRED


@pytest.mark.parametrize("step", ["authorize", "capture", "void", "refund"])
async def test_a_failure_that_is_answered_for_ever_under_its_key_is_looked_behind(
    till: Till, step: str
) -> None:
    booking = await till.begin()
    bookings = till.stage.engine.bookings
    if step == "capture":
        gateway = FailsOnce(till, "capture")
    elif step == "refund":
        booking = await till.saga.drive(booking, OWNER)
        await bookings.cancel(booking.booking_id, CancelReason.OPERATOR)
        gateway = FailsOnce(till, "refund")
    elif step == "void":
        await till.authorize(booking)
        await bookings.cancel(booking.booking_id, CancelReason.CUSTOMER)
        gateway = FailsOnce(till, "void")
    else:
        gateway = FailsOnce(till, "authorize")
    await till.abandon(booking)
    recovery = Recovery(till.stage.engine, till.saga_over(gateway))  # type: ignore[arg-type]

    async def is_at_rest() -> bool:
        await till.abandon(booking)
        return (await till.payment(booking)).step is Step.NONE

    await till.recover(recovery, is_at_rest)
    assert gateway.fired >= 1
    wanted = {
        "authorize": PaymentStatus.CAPTURED,
        "capture": PaymentStatus.CAPTURED,
        "void": PaymentStatus.VOIDED,
        "refund": PaymentStatus.REFUNDED,
    }
    assert (await till.payment(booking)).status is wanted[step]
    assert counts(till, "duplicate_charges", "open_authorizations") == [0, 0]


class FailsOnce:
    """The gateway, which carries one kind of request out and answers 500 for ever after."""

    def __init__(self, till: Till, name: str) -> None:
        self.fired = 0
        self._simulator, self._gateway, self._name = till.simulator, till.gateway, name

    def __getattr__(self, name: str) -> object:
        if name != self._name:
            return getattr(self._gateway, name)

        async def failing(*arguments: object) -> object:
            self._simulator.faults(kept_error_rate=1)
            answer = await getattr(StripeGateway, name)(self._gateway, *arguments)
            self._simulator.faults(kept_error_rate=0)
            assert isinstance(answer, GatewayUnknown)
            self.fired += 1
            return answer

        return failing
