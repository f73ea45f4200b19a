"""The reconciler on real servers: what becomes of charges that our books do not have."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest

from engine.payments.gateway import Approved, Page, Reference
from engine.payments.intents import intent_of, now_ms
from engine.payments.types import PaymentStatus
from engine.types import Status
from persistence.pool import create_pool
from persistence.reconciling import Reconciling
from tests.helpers.gateways import Simulator, adapter
from tests.helpers.reconciling import (
    a_stray,
    authorized,
    captured,
    differences,
    look_at_once,
    look_through,
    position_of,
    reconciler_of,
    returned,
    turn,
)
from tests.helpers.till import OWNER, Till, open_till, quiet
from workers.replay import Report
from workers.verify_gateway import GatewayComparison


@pytest.fixture
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    server = quiet(tmp_path_factory.mktemp("simulator"))
    yield server
    server.close()


@pytest.fixture
async def till(redis_url: str, database_url: str, simulator: Simulator) -> AsyncIterator[Till]:
    async with open_till(redis_url, database_url, simulator) as opened:
        yield opened


async def test_an_authorization_without_our_record_is_voided_once(till: Till) -> None:
    await authorized(till, a_stray(till))
    before = returned("voided")
    assert till.simulator.totals()["open_authorizations"] == 1
    both = [reconciler_of(till) for _ in range(2)]

    async def is_void() -> bool:
        await both[1].run_once()
        return till.simulator.totals()["open_authorizations"] == 0

    await turn(both[0], is_void, "the orphan to be voided")
    for one in both:
        await look_through(till, one)
    assert till.simulator.totals()["released"] == 1
    assert differences() == 0
    assert returned("voided") > before


async def test_captured_money_without_our_record_is_refunded_once(till: Till) -> None:
    await captured(till, a_stray(till))
    before = returned("refunded")
    both = [reconciler_of(till) for _ in range(2)]

    async def is_back() -> bool:
        await both[1].run_once()
        return till.simulator.totals()["refunded"] == 1

    await turn(both[0], is_back, "the orphan to be refunded")
    for one in both:
        await look_through(till, one)
    totals = till.simulator.totals()
    assert totals["amount_refunded"] == totals["amount_captured"] == 1250
    assert differences() == 0
    assert returned("refunded") > before


async def test_a_refund_whose_answer_is_lost_is_made_once_and_counted_once(till: Till) -> None:
    await captured(till, a_stray(till))
    before = returned("refunded")
    reconciler = reconciler_of(till)
    till.simulator.faults(lost_answer_rate=0.5)

    async def is_counted() -> bool:
        if till.simulator.totals()["refunded"]:
            till.simulator.faults(lost_answer_rate=0)
        return returned("refunded") > before

    await turn(reconciler, is_counted, "the orphan to be refunded")
    await look_through(till, reconciler)
    assert returned("refunded") == before + 1
    assert till.simulator.totals()["amount_refunded"] == 1250


async def test_money_of_an_attempt_that_was_given_up_is_given_back(till: Till) -> None:
    booking = await till.begin("pm_card_chargeDeclined")
    booking = await till.saga.drive(booking, OWNER)
    assert booking.payment
    assert booking.payment.status is PaymentStatus.DECLINED
    # A process that slept since before the attempt ended, on a gateway that forgot its key.
    late = replace(intent_of(booking), payment_method="pm_card_visa")
    await till.gateway.authorize(replace(late, reference=Reference(booking.booking_id, 2)))
    reconciler = reconciler_of(till)

    async def is_void() -> bool:
        return till.simulator.totals()["released"] == 1

    await turn(reconciler, is_void, "the late authorization to be voided")
    assert (await till.booking(booking)).status is Status.PENDING, "the hold is the buyer's still"


async def test_money_that_may_still_be_under_way_is_left_alone(till: Till) -> None:
    await authorized(till, a_stray(till))
    reconciler = reconciler_of(till, settled_ms=3_600_000)
    for _ in range(3):
        await reconciler.run_once()
    assert till.simulator.totals()["open_authorizations"] == 1
    assert differences() == 0


async def test_what_the_saga_is_at_is_left_to_it_and_settles(till: Till) -> None:
    booking = await till.begin()
    await till.authorize(booking)
    reconciler = reconciler_of(till)
    await look_at_once(reconciler)
    assert till.simulator.totals()["open_authorizations"] == 1
    assert differences() == 0
    begun = await position_of(till)
    assert (await till.saga.drive(booking, OWNER)).status is Status.CONFIRMED
    await look_through(till, reconciler)
    assert await position_of(till) > begun
    assert differences() == 0


async def test_paid_refunded_and_cancelled_bookings_agree(till: Till) -> None:
    kept, given_back = await till.paid("ann"), await till.paid("bob")
    answer = await till.stage.engine.payments.refund(given_back.booking_id)
    assert answer.booking
    await till.abandon(given_back)
    claim = await till.stage.engine.payments.claim(given_back.booking_id, OWNER)
    assert claim.booking
    refunded = await till.saga.drive(claim.booking, OWNER)
    assert refunded.payment
    assert refunded.payment.status is PaymentStatus.REFUNDED
    await look_through(till, reconciler_of(till))
    assert differences() == 0
    assert (await till.payment(kept)).status is PaymentStatus.CAPTURED
    totals = till.simulator.totals()
    assert (totals["captured"], totals["refunded"]) == (2, 1)


async def test_a_paid_booking_that_the_gateway_does_not_know_is_a_difference(
    till: Till, tmp_path_factory: pytest.TempPathFactory
) -> None:
    await till.paid()
    await till.stage.drain_all()
    emptied = quiet(tmp_path_factory.mktemp("emptied"))
    try:
        async with adapter(emptied.url) as gateway:
            reconciler = reconciler_of(till, gateway=gateway)

            async def is_missed() -> bool:
                return differences("missing") == 1

            await turn(reconciler, is_missed, "the missing charge to be seen")
    finally:
        emptied.close()


async def test_money_that_somebody_else_gave_back_stays_a_difference(till: Till) -> None:
    booking = await till.paid()
    assert booking.payment
    assert booking.payment.authorization_id
    await till.gateway.refund(Reference(booking.booking_id, 1), booking.payment.authorization_id)
    reconciler = reconciler_of(till)

    async def is_seen() -> bool:
        return differences("differs") == 1

    await turn(reconciler, is_seen, "the refund to be seen")
    assert (await till.booking(booking)).status is Status.CONFIRMED, "an operator decides"


async def test_a_new_process_goes_on_where_the_last_one_was(till: Till) -> None:
    await till.paid()
    await look_through(till, reconciler_of(till))
    noted = await position_of(till)
    fresh = reconciler_of(till)
    await fresh.run_once()
    assert fresh._begun_at_ms >= noted
    assert await position_of(till) >= noted


async def test_while_nobody_says_what_is_ours_nothing_is_given_back(till: Till) -> None:
    await authorized(till, a_stray(till))
    away = await create_pool("postgresql://nobody@127.0.0.1:1/nothing")
    try:
        reconciler = reconciler_of(till, books=Reconciling(away))

        async def is_seen() -> bool:
            return differences("orphan") == 1

        await turn(reconciler, is_seen, "the orphan to be seen")
        assert till.simulator.totals()["open_authorizations"] == 1
        reconciler._books = Reconciling(till.stage.pool)

        async def is_void() -> bool:
            return till.simulator.totals()["open_authorizations"] == 0

        await turn(reconciler, is_void, "the orphan to be voided")
    finally:
        await away.close()


async def test_charges_of_another_installation_are_none_of_ours(till: Till) -> None:
    stray = a_stray(till)
    paid = await till.paid()
    async with adapter(till.simulator.url, installation="theirs") as theirs:
        answer = await theirs.authorize(stray)
        assert isinstance(answer, Approved)
        for one, found in ((theirs, 1), (till.gateway, 0)):
            page = await one.find(stray.reference)
            assert isinstance(page, Page)
            assert len(page.payments) == found
        await look_through(till, reconciler_of(till))
    totals = till.simulator.totals()
    assert (totals["open_authorizations"], totals["captured"], totals["refunded"]) == (1, 1, 0)
    assert await till.payment(paid) == paid.payment
    report = Report()
    await GatewayComparison(till.stage.engine, till.gateway, report).compare(0)
    assert report.differences == []


async def test_charges_from_before_the_installation_are_none_of_ours(till: Till) -> None:
    await authorized(till, a_stray(till))
    await till.stage.pool.execute("UPDATE installation SET created_at = now() + interval '1 hour'")
    reconciler = reconciler_of(till)
    await look_at_once(reconciler)
    assert till.simulator.totals()["open_authorizations"] == 1


async def test_a_clock_that_was_ahead_hides_no_charge(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    reconciler = reconciler_of(till)
    with monkeypatch.context() as patch:
        patch.setattr("workers.reconciler.now_ms", lambda: now_ms() + 3_600_000)
        await look_through(till, reconciler)
    assert await position_of(till) > now_ms() + 3_000_000
    # The process goes on with the right time, and so does one that begins where it was.
    for released, one in enumerate((reconciler, reconciler_of(till)), start=1):
        await authorized(till, a_stray(till))
        await asyncio.sleep(1.1)

        async def is_void(count: int = released) -> bool:
            return till.simulator.totals()["released"] == count

        await turn(one, is_void, "the orphan to be voided")
