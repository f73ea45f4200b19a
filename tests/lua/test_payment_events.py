"""Webhooks that wake a payment, and bookings with a payment that leave Redis and come back."""

from __future__ import annotations

from typing import Any

import pytest

from engine.archive import payment_fields
from engine.limits import TOMBSTONE_TTL_MS
from engine.model import Cancel, ClaimPayment, PaymentFailed, Refund, Voided
from engine.outcomes import Outcome
from engine.types import Booking, Status, pack_lines
from tests.helpers.scripted import START_MS, ScriptedPartition
from tests.lua.paid import look_ms, nudge, payment_of
from tests.stories.paying import CAPTURE, CONFIRM, begin
from tests.stories.story import CUSTOMER, hold, levels_of, put, sale


def evict(partition: ScriptedPartition) -> int:
    return int(partition.raw("evict", 10_000, 0, 100, TOMBSTONE_TTL_MS)[2])


def test_a_webhook_brings_a_worker_at_once_and_counts_once(paying: ScriptedPartition) -> None:
    before = paying.books()
    paying.move_clock(START_MS + 7)
    assert nudge(paying, "evt_1") == b"done"
    assert look_ms(paying) == 7
    paying.perform(ClaimPayment("b1", "api"))
    waits = look_ms(paying)
    assert nudge(paying, "evt_1") == b"unchanged"
    assert look_ms(paying) == waits
    assert nudge(paying, "evt_2") == b"done"
    assert look_ms(paying) == 7
    ttl_ms = paying.client.pttl(paying.key("event", "simulator", "evt_1"))
    assert 0 < ttl_ms <= 60_000
    # It moves nothing but the time of the next look.
    after = {name: found for name, found in paying.books().items() if ":event:" not in name}
    before[paying.meta.decode()] = after[paying.meta.decode()]
    assert after == before


@pytest.mark.parametrize(
    "told",
    [{"amount": 999}, {"currency": "EUR"}, {"amount": 1_000, "currency": ""}, {"attempt": 2}],
)
def test_a_webhook_that_tells_of_what_was_not_asked_is_not_taken(
    told: dict[str, Any], paying: ScriptedPartition
) -> None:
    before = paying.dump()
    assert nudge(paying, "evt_1", **told) == b"moved_on"
    assert paying.dump() == before
    assert nudge(paying, "evt_1") == b"done"


def test_a_webhook_for_what_is_not_there_or_not_paid_leaves_no_mark(
    partition: ScriptedPartition,
) -> None:
    partition.perform(put(sale("P:3:500")))
    partition.perform(hold("b1", "P:2"))
    before = partition.dump()
    assert nudge(partition, "evt_1", booking_id="b9") == b"absent"
    assert nudge(partition, "evt_1") == b"moved_on"
    assert partition.dump() == before


def test_a_webhook_that_comes_after_the_end_wakes_nobody(paying: ScriptedPartition) -> None:
    paying.perform(CONFIRM)
    paying.perform(CAPTURE)
    assert nudge(paying, "evt_1") == b"done"
    assert look_ms(paying) is None
    paying.check()


def test_a_webhook_of_an_attempt_that_failed_wakes_nobody_and_counts_once(
    paying: ScriptedPartition,
) -> None:
    paying.perform(PaymentFailed("b1", "api", 1, "declined"))
    paying.perform(begin("k2"))
    waits = look_ms(paying)
    paying.move_clock(START_MS + 7)
    assert nudge(paying, "evt_1", attempt=1) == b"done"
    assert nudge(paying, "evt_1", attempt=1) == b"unchanged"
    assert look_ms(paying) == waits
    assert nudge(paying, "evt_2", attempt=2) == b"done"
    assert look_ms(paying) == 7


def test_a_booking_whose_payment_is_open_does_not_leave(paying: ScriptedPartition) -> None:
    paying.perform(CONFIRM)
    assert evict(paying) == 0
    paying.perform(Cancel("b1", CUSTOMER))
    assert evict(paying) == 0
    paying.check()
    paying.perform(Voided("b1", "api", 1))
    assert evict(paying) == 1


def test_an_open_payment_at_the_head_of_the_line_does_not_hold_up_others(
    paying: ScriptedPartition,
) -> None:
    paying.perform(CONFIRM)
    paying.move_clock(START_MS + 1)
    paying.perform(hold("b2", "P:1"))
    paying.perform(Cancel("b2", CUSTOMER))
    paying.move_clock(START_MS + 2)
    left = [int(paying.raw("evict", 10_000, 1, 1, TOMBSTONE_TTL_MS)[2]) for _ in range(2)]
    assert left == [0, 1]


def test_nothing_is_claimed_of_a_booking_that_left(paying: ScriptedPartition) -> None:
    paying.perform(CONFIRM)
    paying.perform(CAPTURE)
    evict(paying)
    paying.client.zadd(paying.key("payments"), {"b1": START_MS})
    assert paying.raw("claim_payment", "b1", "worker", 60_000)[0] == b"evicted"
    assert look_ms(paying) is None
    assert nudge(paying, "evt_1") == b"evicted"


def test_a_booking_comes_back_with_its_payment_and_can_be_refunded(
    paying: ScriptedPartition,
) -> None:
    paying.perform(CONFIRM)
    booking = paying.perform(CAPTURE).booking
    assert booking
    evict(paying)
    fields: dict[str, str | int] = {
        "sale_id": booking.sale_id,
        "customer_id": booking.customer_id,
        "status": booking.status,
        "lines": pack_lines(booking.lines),
        "amount": booking.amount,
        "currency": booking.currency,
        "hold_expires_ms": booking.hold_expires_ms,
        "deadline_ms": booking.hold_expires_ms,
        "created_ms": booking.created_ms,
        "updated_ms": booking.updated_ms,
        "extended": int(booking.extended),
        **payment_fields(payment_of(booking)),
    }
    flat = [part for pair in fields.items() for part in pair]
    assert paying.raw("load", "b1", booking.version, b"", 9, *flat)[0] == b"done"
    assert Booking.from_json(paying.raw("get_booking", "b1", "ann")[2]) == booking
    refund = paying.perform(Refund("b1"))
    assert refund.outcome is Outcome.REFUND_BEGUN
    assert refund.booking
    assert refund.booking.status is Status.CANCELLED
    assert payment_of(refund.booking).capture_id == "ch_1"
    assert paying.levels("gig") == levels_of("P:3:0:0")
    paying.check()
