"""What the saga's scripts keep beside the journal: leases, when to look again, events, answers."""

from __future__ import annotations

import time
from typing import Any

import pytest

from engine.limits import IDEMPOTENCY_TTL_MS
from engine.model import (
    BeginPayment,
    Cancel,
    ClaimPayment,
    Expire,
    PaymentFailed,
    PaymentUnknown,
    Refund,
    Refunded,
    RequireAction,
    Voided,
)
from engine.outcomes import Outcome
from engine.payments.limits import (
    MAX_PAYMENT_RETRY_MS,
    PAYMENT_GRACE_MS,
    PAYMENT_LEASE_MS,
    PAYMENT_POLL_MS,
)
from engine.payments.types import Payment, PaymentStatus, Step
from engine.types import Booking
from tests.helpers.scripted import START_MS, ScriptedPartition
from tests.lua.paid import look_ms, nudge, payment_of
from tests.stories.paying import ACTION, CAPTURE, CONFIRM, begin
from tests.stories.story import CUSTOMER, HOLD_MS, hold, put, sale


def due(partition: ScriptedPartition, limit: int = 10) -> list[bytes]:
    found: list[bytes] = partition.raw("due_payments", limit)[2]
    return found


def lease(partition: ScriptedPartition) -> Any:
    return partition.client.get(partition.key("lease", "b1"))


def test_an_intent_is_whole_before_anything_is_asked(partition: ScriptedPartition) -> None:
    partition.perform(put(sale("P:3:500")))
    partition.perform(hold("b1", "P:2"))
    wanted = begin(method="pm_x", return_url="https://example.com/back?a=1", gateway="stripe")
    begun = partition.perform(wanted).booking
    assert payment_of(begun) == Payment(
        status=PaymentStatus.AUTHORIZING,
        step=Step.AUTHORIZE,
        attempt=1,
        gateway="stripe",
        method="pm_x",
        return_url="https://example.com/back?a=1",
        key="k1",
        fingerprint="f",
        begun_ms=START_MS,
        authorization_id=None,
        capture_id=None,
        decline_code=None,
        next_action=None,
    )
    assert partition.entries()[-1].booking == begun
    assert partition.check().bookings["b1"] == begun


def test_a_lease_ends_by_itself_and_is_taken_by_another(paying: ScriptedPartition) -> None:
    assert paying.raw("claim_payment", "b1", "worker", 60_000)[0] == b"lease_lost"
    assert paying.raw("claim_payment", "b1", "api", 20)[0] == b"done"
    deadline = time.monotonic() + 20
    while paying.raw("claim_payment", "b1", "worker", 60_000)[0] != b"done":
        assert time.monotonic() < deadline, "a lease of 20 ms is still there"
        time.sleep(0.01)
    assert lease(paying) == b"worker"
    assert paying.raw("claim_payment", "b1", "api", 60_000)[0] == b"lease_lost"
    assert paying.perform(CONFIRM).outcome is Outcome.LEASE_LOST


def test_a_lease_that_is_begun_is_bounded_and_its_owner_lengthens_it(
    paying: ScriptedPartition,
) -> None:
    assert lease(paying) == b"api"
    assert 0 < paying.client.pttl(paying.key("lease", "b1")) <= PAYMENT_LEASE_MS
    paying.raw("claim_payment", "b1", "api", 10 * PAYMENT_LEASE_MS)
    assert paying.client.pttl(paying.key("lease", "b1")) > PAYMENT_LEASE_MS


def test_a_payment_comes_to_a_worker_when_its_lease_is_over(paying: ScriptedPartition) -> None:
    assert look_ms(paying) == PAYMENT_LEASE_MS
    paying.move_clock(START_MS + PAYMENT_LEASE_MS - 1)
    assert due(paying) == []
    paying.move_clock(START_MS + PAYMENT_LEASE_MS)
    assert due(paying) == [b"b1"]
    # Who has it still speaks to the gateway: looked at again when that is over.
    paying.perform(ClaimPayment("b1", "worker"))
    assert due(paying) == []
    paying.end_lease("b1")
    paying.perform(ClaimPayment("b1", "worker"))
    assert look_ms(paying) == 2 * PAYMENT_LEASE_MS


def test_what_waits_is_looked_at_again_in_its_time_and_belongs_to_nobody(
    paying: ScriptedPartition,
) -> None:
    paying.perform(RequireAction("b1", "api", 1, "pi_1", ACTION))
    assert (look_ms(paying), lease(paying)) == (PAYMENT_POLL_MS, None)
    paying.perform(ClaimPayment("b1", "worker"))
    paying.perform(PaymentUnknown("b1", "worker", 1, Step.AUTHORIZE))
    assert (look_ms(paying), lease(paying)) == (MAX_PAYMENT_RETRY_MS, None)


def test_the_longest_waiting_payments_come_first_and_in_slices(
    partition: ScriptedPartition,
) -> None:
    partition.perform(put(sale("P:9:500")))
    for at in range(3):
        partition.move_clock(START_MS + at)
        partition.perform(hold(f"b{at}", "P:1"))
        partition.perform(begin(booking_id=f"b{at}"))
    partition.move_clock(START_MS + 2 + PAYMENT_LEASE_MS)
    assert due(partition, 2) == [b"b0", b"b1"]
    assert due(partition) == [b"b0", b"b1", b"b2"]


@pytest.mark.parametrize("end", ["captured", "declined", "voided", "refunded"])
def test_a_payment_at_rest_is_nobodys_and_comes_to_no_worker(
    end: str, paying: ScriptedPartition
) -> None:
    match end:
        case "captured":
            paying.perform(CONFIRM)
            paying.perform(CAPTURE)
        case "declined":
            paying.perform(PaymentFailed("b1", "api", 1, "x"))
        case "voided":
            paying.perform(CONFIRM)
            paying.perform(Cancel("b1", CUSTOMER))
            paying.perform(Voided("b1", "api", 1))
        case "refunded":
            paying.perform(CONFIRM)
            paying.perform(CAPTURE)
            paying.perform(Refund("b1"))
            paying.perform(ClaimPayment("b1", "api"))
            paying.perform(Refunded("b1", "api", 1))
    assert (look_ms(paying), lease(paying)) == (None, None)
    paying.check()


@pytest.mark.parametrize("captured", [True, False])
def test_a_cancel_brings_a_worker_at_once(captured: bool, paying: ScriptedPartition) -> None:
    paying.perform(CONFIRM)
    if captured:
        paying.perform(CAPTURE)
    paying.move_clock(START_MS + 5)
    paying.perform(Cancel("b1", CUSTOMER))
    assert look_ms(paying) == 5


def test_a_refund_brings_a_worker_at_once(paying: ScriptedPartition) -> None:
    paying.perform(CONFIRM)
    paying.perform(CAPTURE)
    paying.move_clock(START_MS + 5)
    paying.perform(Refund("b1"))
    assert look_ms(paying) == 5


@pytest.mark.parametrize("final", ["captured", "declined", "voided"])
def test_a_final_answer_is_kept_for_its_key_as_it_was_given(
    final: str, paying: ScriptedPartition
) -> None:
    match final:
        case "captured":
            paying.perform(CONFIRM)
            answer = paying.perform(CAPTURE).booking
        case "declined":
            answer = paying.perform(PaymentFailed("b1", "api", 1, "insufficient_funds")).booking
            assert payment_of(answer).decline_code == "insufficient_funds"
        case _:
            paying.perform(Cancel("b1", CUSTOMER))
            paying.perform(CONFIRM)
            answer = paying.perform(Voided("b1", "api", 1)).booking
    key = paying.key("idempotency", "pay", "b1", "k1", "ann")
    assert 0 < paying.client.pttl(key) <= IDEMPOTENCY_TTL_MS
    paying.move_clock(START_MS + 10 * HOLD_MS)
    paying.perform(Expire("gig"))
    again = paying.perform(begin())
    assert (again.outcome, again.booking) == (Outcome.REPLAYED, answer)


@pytest.mark.parametrize("open_at", ["authorize", "action", "capture"])
def test_an_answer_that_is_not_final_is_not_kept(open_at: str, paying: ScriptedPartition) -> None:
    if open_at == "action":
        paying.perform(RequireAction("b1", "api", 1, "pi_1", ACTION))
    elif open_at == "capture":
        paying.perform(CONFIRM)
    assert not paying.client.exists(paying.key("idempotency", "pay", "b1", "k1", "ann"))
    assert paying.perform(begin()).outcome is Outcome.JOINED


def test_what_the_buyer_has_to_do_comes_back_as_it_was_told(paying: ScriptedPartition) -> None:
    action = '{"type":"use_stripe_sdk","client_secret":"pi_1_secret_\\"é\\u0000"}'
    told = paying.perform(RequireAction("b1", "api", 1, "pi_1", action)).booking
    assert payment_of(told).next_action == {
        "type": "use_stripe_sdk",
        "client_secret": 'pi_1_secret_"é\0',
    }
    assert Booking.from_json(paying.raw("get_booking", "b1", "")[2]) == told
    assert paying.check().bookings["b1"] == told
    paying.perform(ClaimPayment("b1", "api"))
    assert payment_of(paying.perform(CONFIRM).booking).next_action is None


def test_the_largest_amount_is_paid_to_the_unit(partition: ScriptedPartition) -> None:
    partition.perform(put(sale(f"P:1:{2**53 - 1}")))
    partition.perform(hold("b1", "P:1"))
    partition.perform(BeginPayment("b1", "ann", "k1", "f", "api"))
    confirmed = partition.perform(CONFIRM).booking
    assert confirmed
    assert confirmed.amount == 2**53 - 1
    assert nudge(partition, "evt", amount=2**53 - 1) == b"done"
    assert nudge(partition, "evt_2", amount=2**53 - 2) == b"moved_on"
    partition.check()


def test_a_hold_under_payment_reads_as_due_at_the_end_of_its_grace(
    paying: ScriptedPartition,
) -> None:
    paying.move_clock(START_MS + HOLD_MS + PAYMENT_GRACE_MS - 1)
    assert paying.raw("get_booking", "b1", "")[3] == 0
    assert paying.raw("get_sale", "gig", 10)[8] == []
    paying.move_clock(START_MS + HOLD_MS + PAYMENT_GRACE_MS)
    assert paying.raw("get_booking", "b1", "")[3] == 1
    assert paying.raw("get_sale", "gig", 10)[8] == [b"P:2:500"]
    paying.perform(PaymentFailed("b1", "api", 1, "x"))
    assert paying.raw("due", 10)[2] == [b"gig"]


def test_a_hold_from_before_there_were_payments_can_be_paid_and_expires(
    partition: ScriptedPartition,
) -> None:
    partition.perform(put(sale("P:3:500")))
    for booking_id in ("b1", "b2"):
        partition.perform(hold(booking_id, "P:1"))
        partition.client.hdel(partition.key("booking", booking_id), "deadline_ms")
    assert partition.perform(begin()).outcome is Outcome.BEGUN
    assert partition.perform(CONFIRM).outcome is Outcome.CONFIRMED
    partition.move_clock(START_MS + HOLD_MS)
    assert partition.raw("get_booking", "b2", "")[3] == 1
    assert partition.perform(Cancel("b2", CUSTOMER)).outcome is Outcome.CANCELLED
    partition.check()


def test_payments_of_a_frozen_sale_keep_no_others_waiting(partition: ScriptedPartition) -> None:
    partition.perform(put(sale("P:9:500")))
    partition.perform(put(sale("P:9:500", sale_id="other"), "put-2"))
    for number in range(1, 6):
        partition.perform(hold(f"b{number}", "P:1", f"c{number}"))
        partition.perform(begin("k1", booking_id=f"b{number}", customer_id=f"c{number}"))
    partition.perform(hold("b6", "P:1", "c6", sale_id="other"))
    partition.perform(begin("k1", booking_id="b6", customer_id="c6"))
    partition.client.zadd(
        partition.key("payments"), {f"b{n}": START_MS - 9 + n for n in range(1, 7)}
    )
    assert due(partition, 2) == [b"b1", b"b2"]
    partition.raw("freeze_sale", "gig", "token-1")
    assert due(partition, 2) == [b"b6"]
