"""What PostgreSQL says of payments is what the saga's scripts did, attempt by attempt."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import orjson
import pytest

from engine.errors import Fenced, Unavailable
from engine.outcomes import Outcome
from engine.payments.types import PaymentStatus, Step
from engine.types import Booking, CancelReason, Status
from tests.helpers.ledger import Ledger
from tests.helpers.purse import ACTION, OWNER, Purse, done


@pytest.fixture
def purse(ledger: Ledger) -> Purse:
    return Purse(ledger.engine)


async def archived(ledger: Ledger, booking: Booking) -> Booking:
    found = await ledger.reads.booking(booking.booking_id)
    assert found
    return found.booking


async def attempts(ledger: Ledger, booking: Booking) -> list[tuple[object, ...]]:
    return await ledger.rows(
        "SELECT attempt, status, step, decline_code FROM payments WHERE booking_id = $1"
        " ORDER BY attempt",
        booking.booking_id,
    )


@pytest.mark.parametrize("batches", [True, False], ids=["entry_by_entry", "at_once"])
async def test_every_state_of_a_payment_reaches_postgresql(
    batches: bool, ledger: Ledger, purse: Purse
) -> None:
    async def check(booking: Booking) -> Booking:
        if batches:
            await ledger.drain_all()
            assert await archived(ledger, booking) == booking
        return booking

    booking = await ledger.hold()
    booking = await check(await purse.begin(booking))
    booking = await check(await purse.act(booking, "pi_1"))
    assert booking.payment
    assert booking.payment.next_action == ACTION
    await purse.claim(booking)
    booking = await check(await purse.lose(booking))
    await purse.claim(booking)
    booking = await check(await purse.authorize(booking))
    booking = await check(await purse.capture(booking))
    booking = await check(await purse.refund(booking))
    await ledger.drain_all()
    assert await archived(ledger, booking) == booking
    assert booking.status is Status.CANCELLED
    assert await attempts(ledger, booking) == [(1, "REFUNDED", "none", None)]
    assert (await ledger.engine.bookings.get(booking.booking_id)).booking == booking


async def test_every_attempt_is_kept_and_the_last_one_is_the_bookings(
    ledger: Ledger, purse: Purse
) -> None:
    booking = await purse.decline(await purse.begin(await ledger.hold(), "pm_one"))
    await ledger.drain_all()
    await purse.decline(await purse.begin(booking, "pm_two"))
    paid = await purse.pay(booking)
    await ledger.drain_all()
    assert await attempts(ledger, booking) == [
        (1, "DECLINED", "none", "card_declined"),
        (2, "DECLINED", "none", "card_declined"),
        (3, "CAPTURED", "none", None),
    ]
    assert await archived(ledger, booking) == paid
    page = await ledger.reads.history("ann", 10)
    assert page.bookings == (paid,)
    assert paid.payment
    assert paid.payment.attempt == 3


async def test_a_hold_that_nobody_pays_has_no_payment(ledger: Ledger) -> None:
    booking = await ledger.hold()
    await ledger.drain_all()
    assert (await archived(ledger, booking)).payment is None
    assert await ledger.rows("SELECT * FROM payments") == []


async def test_an_attempt_is_as_of_the_bookings_last_entry_under_it(
    ledger: Ledger, purse: Purse
) -> None:
    booking = await purse.decline(await purse.begin(await ledger.hold()))
    extended = done(await ledger.engine.bookings.extend(booking.booking_id), Outcome.EXTENDED)
    await ledger.drain_all()
    rows = await ledger.rows("SELECT version, updated_ms, amount, currency, step_ms FROM payments")
    assert rows == [(extended.version, extended.updated_ms, 10_000, "USD", None)]


async def test_a_paid_booking_that_left_redis_comes_back_with_its_payment(
    ledger: Ledger, purse: Purse
) -> None:
    booking = await purse.pay(await ledger.hold())
    await ledger.drain_all()
    partition = ledger.engine.keys.partition_of_sale("concert")
    assert await ledger.engine.bookings.evict(partition, 99, 0, 10) == 1
    assert (await ledger.engine.bookings.get(booking.booking_id)).booking == booking
    refunded = await purse.refund(booking)
    assert refunded.payment
    assert booking.payment
    assert refunded.payment == replace(
        booking.payment, status=PaymentStatus.REFUNDED, step=Step.NONE
    )
    await ledger.drain_all()
    assert await archived(ledger, booking) == refunded


async def test_a_booking_lost_under_payment_is_not_brought_back(
    ledger: Ledger, purse: Purse
) -> None:
    booking = await purse.authorize(await purse.begin(await ledger.hold()))
    await ledger.drain_all()
    partition = ledger.engine.keys.partition_of_sale("concert")
    await ledger.redis.delete(ledger.engine.keys.key("booking", partition, booking.booking_id))
    with pytest.raises(Fenced, match="keys_missing"):
        await ledger.engine.payments.captured(booking, OWNER, "ch_1")


async def test_a_step_lasts_until_the_next_whatever_is_not_known_of_it(
    ledger: Ledger, purse: Purse
) -> None:
    booking = await purse.authorize(await purse.begin(await ledger.hold()))
    await ledger.drain_all()
    (begun,) = await ledger.rows("SELECT step, step_ms FROM payments")
    assert begun == ("capture", booking.updated_ms)
    await purse.claim(booking)
    lost = await purse.lose(booking)
    await ledger.drain_all()
    assert await ledger.rows("SELECT step, step_ms FROM payments") == [begun]
    await purse.claim(lost)
    await purse.capture(lost)
    await ledger.drain_all()
    assert await ledger.rows("SELECT step, step_ms FROM payments") == [("none", None)]


async def test_a_step_begins_at_the_same_time_however_the_drain_cuts(
    ledger: Ledger, purse: Purse
) -> None:
    one, two = await ledger.hold(), await ledger.hold()
    begun = await purse.begin(one)
    await ledger.drain_all()
    await purse.lose(begun)
    await asyncio.sleep(0.005)
    await purse.lose(await purse.begin(two))
    await ledger.drain_all()
    rows = await ledger.rows("SELECT booking_id, step_ms, begun_ms FROM payments")
    assert {row[0] for row in rows} == {one.booking_id, two.booking_id}
    assert all(row[1] == row[2] for row in rows)


async def test_late_money_makes_an_expired_booking_confirmed_in_postgresql_too(
    ledger: Ledger, purse: Purse
) -> None:
    begun = await purse.begin(await ledger.hold())
    partition = ledger.engine.keys.partition_of_sale("concert")
    far_ms = begun.hold_expires_ms + 10 * 3_600_000
    await ledger.set_meta(partition, "last_ms", str(far_ms))
    assert await ledger.engine.bookings.expire("concert") == 1
    await ledger.drain_all()
    assert (await archived(ledger, begun)).cancel_reason is CancelReason.EXPIRED
    answer = await ledger.engine.payments.confirm(begun, OWNER, "pi_late")
    taken = done(answer, Outcome.LATE_MONEY)
    assert taken.status is Status.CONFIRMED
    await ledger.drain_all()
    assert await archived(ledger, begun) == taken
    sale = await ledger.engine.sales.get("concert")
    assert sale
    assert (await ledger.levels())["concert"] == sale.levels


@pytest.mark.parametrize(
    "damage",
    [
        {"attempt": "1"},
        {"begun_ms": 0.5},
        {"gateway": None},
        {"next_action": "redirect"},
        {"status": "LOST"},
        {"unheard_of": 1},
    ],
)
async def test_a_payment_that_is_malformed_is_set_aside(
    damage: dict[str, object], ledger: Ledger, purse: Purse
) -> None:
    booking = await purse.begin(await ledger.hold())
    await ledger.drain_all()
    before = await attempts(ledger, booking)
    partition = ledger.engine.keys.partition_of_sale("concert")
    (text,) = await ledger.rows(
        "SELECT entry FROM journal WHERE partition = $1 ORDER BY sequence DESC LIMIT 1", partition
    )
    assert isinstance(text[0], bytes)
    entry = orjson.loads(text[0])
    entry |= {"type": "payment_unknown", "version": booking.version + 1}
    entry["payment"] |= damage
    await ledger.append(partition, orjson.dumps(entry))
    await ledger.drain_all()
    assert await ledger.rows("SELECT reason FROM quarantine") == [("unreadable",)]
    assert await attempts(ledger, booking) == before
    with pytest.raises(Unavailable, match="quarantine"):
        await archived(ledger, booking)
