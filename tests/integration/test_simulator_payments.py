"""The Stripe adapter against the simulator over HTTP: every way a payment can go."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import AsyncIterator

import pytest

from engine.payments.gateway import (
    Approved,
    Captured,
    Declined,
    Failed,
    GatewayStatus,
    Missing,
    Page,
    Payment,
    Reference,
    Refunded,
    Unknown,
    Voided,
)
from engine.payments.stripe import StripeGateway
from tests.helpers.gateways import BOOKING, Simulator, adapter, an_intent

DAY_MS = 86_400_000


@pytest.fixture
async def gateway(shared_simulator: Simulator) -> AsyncIterator[StripeGateway]:
    async with adapter(shared_simulator.url) as opened:
        yield opened


async def test_a_payment_is_authorized_captured_and_refunded(gateway: StripeGateway) -> None:
    intent = an_intent(attempt=1)
    approved = await gateway.authorize(intent)
    assert isinstance(approved, Approved)
    assert (approved.amount, approved.currency) == (1250, "USD")
    held = await gateway.retrieve(approved.authorization_id)
    assert isinstance(held, Payment)
    assert held.status is GatewayStatus.AUTHORIZED
    assert held.reference == intent.reference
    assert approved.capture_before_ms
    assert 6 * DAY_MS < approved.capture_before_ms - held.created_ms <= 7 * DAY_MS + 1000

    captured = await gateway.capture(intent, approved.authorization_id)
    assert isinstance(captured, Captured)
    assert (captured.amount, captured.currency) == (1250, "USD")
    assert await gateway.capture(intent, approved.authorization_id) == captured

    refunded = await gateway.refund(intent.reference, approved.authorization_id)
    assert isinstance(refunded, Refunded)
    assert (refunded.amount, refunded.currency) == (1250, "USD")
    assert await gateway.refund(intent.reference, approved.authorization_id) == refunded
    # Another key, as an operator's by hand would be: refused, looked at, and the same refund.
    other = Reference(BOOKING, 99)
    assert await gateway.refund(other, approved.authorization_id) == refunded
    after = await gateway.retrieve(approved.authorization_id)
    assert isinstance(after, Payment)
    assert after.status is GatewayStatus.REFUNDED
    assert after.capture_id == captured.capture_id


async def test_an_authorization_is_voided_and_cannot_be_captured_then(
    gateway: StripeGateway,
) -> None:
    intent = an_intent(attempt=2)
    approved = await gateway.authorize(intent)
    assert isinstance(approved, Approved)
    voided = Voided(approved.authorization_id)
    assert await gateway.void(intent.reference, approved.authorization_id) == voided
    assert await gateway.void(Reference(BOOKING, 98), approved.authorization_id) == voided
    assert await gateway.capture(intent, approved.authorization_id) == Failed(
        "payment_intent_unexpected_state", GatewayStatus.VOIDED
    )
    assert await gateway.refund(intent.reference, approved.authorization_id) == Failed(
        "charge_not_captured", GatewayStatus.VOIDED
    )


async def test_what_is_captured_cannot_be_voided(gateway: StripeGateway) -> None:
    intent = an_intent(attempt=3)
    approved = await gateway.authorize(intent)
    assert isinstance(approved, Approved)
    assert isinstance(await gateway.capture(intent, approved.authorization_id), Captured)
    assert await gateway.void(intent.reference, approved.authorization_id) == Failed(
        "payment_intent_unexpected_state", GatewayStatus.CAPTURED
    )


@pytest.mark.parametrize(
    ("payment_method", "code"),
    [
        ("pm_card_chargeDeclined", "generic_decline"),
        ("pm_card_visa_chargeDeclined", "generic_decline"),
        ("pm_card_chargeDeclinedInsufficientFunds", "insufficient_funds"),
        ("pm_card_chargeDeclinedExpiredCard", "expired_card"),
        ("pm_card_chargeDeclinedIncorrectCvc", "incorrect_cvc"),
        ("pm_card_chargeDeclinedProcessingError", "processing_error"),
        ("pm_card_chargeDeclinedLostCard", "lost_card"),
        ("pm_card_chargeDeclinedStolenCard", "stolen_card"),
    ],
)
async def test_a_declined_card_holds_nothing_and_stays_declined(
    payment_method: str, code: str, gateway: StripeGateway, shared_simulator: Simulator
) -> None:
    booking_id = f"00f01JDC6W2Q9{zlib.crc32(payment_method.encode()):016d}"
    intent = an_intent(payment_method, booking_id=booking_id)
    declined = await gateway.authorize(intent)
    assert isinstance(declined, Declined)
    assert declined.code == code
    assert await gateway.authorize(intent) == declined
    found = await gateway.find(intent.reference)
    assert isinstance(found, Page)
    assert [payment.status for payment in found.payments] == [GatewayStatus.DECLINED]
    assert found.payments[0].decline_code == code
    charges = [entry for entry in shared_simulator.charges() if entry["booking_id"] == booking_id]
    assert [(entry["status"], entry["amount_captured"]) for entry in charges] == [("failed", 0)]


@pytest.mark.parametrize(
    ("currency", "amount"), [("JPY", 500), ("ISK", 5), ("KWD", 5120), ("MGA", 700)]
)
async def test_amounts_come_back_in_our_own_minor_unit(
    currency: str, amount: int, gateway: StripeGateway
) -> None:
    intent = an_intent(attempt=40 + amount, currency=currency, amount=amount)
    approved = await gateway.authorize(intent)
    assert isinstance(approved, Approved)
    assert (approved.amount, approved.currency) == (amount, currency)
    captured = await gateway.capture(intent, approved.authorization_id)
    assert isinstance(captured, Captured)
    assert captured.amount == amount


async def test_a_request_that_makes_no_sense_fails_and_does_nothing(
    gateway: StripeGateway, shared_simulator: Simulator
) -> None:
    before = shared_simulator.totals()["payment_intents"]
    unknown_card = an_intent("pm_card_of_nobody", attempt=5)
    assert await gateway.authorize(unknown_card) == Failed("resource_missing")
    too_much = an_intent(amount=10**8, attempt=6)
    assert await gateway.authorize(too_much) == Failed("amount_too_large")
    assert shared_simulator.totals()["payment_intents"] == before
    nothing = an_intent(attempt=61)
    assert await gateway.capture(nothing, "pi_none") == Failed("resource_missing")
    assert await gateway.void(nothing.reference, "pi_none") == Failed("resource_missing")
    assert await gateway.retrieve("pi_none") == Missing()


async def test_a_wrong_api_key_leaves_the_outcome_open(shared_simulator: Simulator) -> None:
    async with adapter(shared_simulator.url, stripe_api_key="sk_test_wrong") as stranger:
        assert await stranger.authorize(an_intent(attempt=7)) == Unknown("unauthenticated")


async def test_a_capture_that_is_refused_for_good_can_be_voided(gateway: StripeGateway) -> None:
    intent = an_intent("pm_card_captureRefused", attempt=8)
    approved = await gateway.authorize(intent)
    assert isinstance(approved, Approved)
    refused = Failed("charge_expired_for_capture", GatewayStatus.AUTHORIZED)
    assert await gateway.capture(intent, approved.authorization_id) == refused
    assert await gateway.capture(intent, approved.authorization_id) == refused
    voided = await gateway.void(intent.reference, approved.authorization_id)
    assert voided == Voided(approved.authorization_id)


async def test_an_authorization_that_ran_out_is_cancelled_by_the_gateway(
    tmp_path: object, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("short")
    simulator = Simulator(directory, {"AUTHORIZATION_LIFETIME_MS": "1"})
    with contextlib.closing(simulator):
        async with adapter(simulator.url) as gateway:
            intent = an_intent()
            approved = await gateway.authorize(intent)
            assert isinstance(approved, Approved)
            assert await gateway.capture(intent, approved.authorization_id) == Failed(
                "payment_intent_unexpected_state", GatewayStatus.VOIDED
            )
        assert simulator.totals()["open_authorizations"] == 0


async def test_payments_are_found_by_our_reference_alone(gateway: StripeGateway) -> None:
    booking_id = BOOKING[:-1] + "8"
    for attempt, payment_method in enumerate(("pm_card_chargeDeclined", "pm_card_visa"), start=1):
        await gateway.authorize(an_intent(payment_method, booking_id=booking_id, attempt=attempt))
    for attempt, status in ((1, GatewayStatus.DECLINED), (2, GatewayStatus.AUTHORIZED)):
        reference = Reference(booking_id, attempt)
        found = await gateway.find(reference)
        assert isinstance(found, Page)
        assert [payment.status for payment in found.payments] == [status]
        assert found.payments[0].reference == reference
    assert await gateway.find(Reference(booking_id, 3)) == Page((), None)


async def test_all_payments_of_a_window_are_listed_page_by_page(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    simulator = Simulator(tmp_path_factory.mktemp("listed"))
    made = {}
    with contextlib.closing(simulator):
        async with adapter(simulator.url) as gateway:
            for attempt in range(1, 251):
                approved = await gateway.authorize(an_intent(attempt=attempt))
                assert isinstance(approved, Approved)
                made[approved.authorization_id] = attempt
            pages, cursor = 0, None
            listed: list[Payment] = []
            while cursor is not None or not pages:
                page = await gateway.list_created(0, 1 << 42, cursor)
                assert isinstance(page, Page)
                listed += page.payments
                pages, cursor = pages + 1, page.next_cursor
            assert pages == 3
            assert {
                payment.authorization_id: payment.reference and payment.reference.attempt
                for payment in listed
            } == made
            assert len(listed) == len(made)
            times = [payment.created_ms for payment in listed]
            assert times == sorted(times, reverse=True)
            assert await gateway.list_created(0, times[-1]) == Page((), None)
            assert await gateway.list_created(times[0] + 1000, 1 << 42) == Page((), None)
