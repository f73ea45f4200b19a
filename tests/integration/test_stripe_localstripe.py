"""The Stripe adapter against localstripe, a Stripe that nobody here wrote, behind a fault proxy.

What localstripe has not (search, a window of time, `capture_before`, 3-D Secure by redirection,
idempotency keys) is tested against the simulator; the keys are kept by the proxy. Its cards for
3-D Secure have numbers only, no names: a test tells them to localstripe itself, as a buyer's
browser would tell Stripe, and the adapter never sees one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from engine.payments.gateway import (
    Approved,
    Captured,
    Declined,
    EventType,
    Failed,
    GatewayEvent,
    GatewayStatus,
    Payment,
    Reference,
    Refunded,
    Rejection,
    RequiresAction,
    Unknown,
    Voided,
)
from engine.payments.settings import INSTALLATION
from engine.payments.stripe import StripeGateway
from engine.payments.stripe_webhooks import parse_webhook
from tests.helpers.fault_proxy import FaultProxy
from tests.helpers.gateways import (
    BOOKING,
    WEBHOOK_SECRET,
    Receiver,
    adapter,
    an_intent,
    payments_of,
)
from tests.helpers.servers import until

INTENTS = "/v1/payment_intents"


@pytest.fixture
async def gateway(proxy: FaultProxy) -> AsyncIterator[StripeGateway]:
    async with adapter(proxy.url, gateway="stripe") as opened:
        yield opened


async def card(direct: aiohttp.ClientSession, number: str) -> str:
    """A payment method that does what localstripe says of this number."""
    form = {
        "type": "card",
        "card[number]": number,
        "card[exp_month]": "12",
        "card[exp_year]": "2030",
        "card[cvc]": "123",
    }
    async with direct.post("/v1/payment_methods", data=form) as answer:
        return str((await answer.json())["id"])


async def test_a_payment_is_authorized_captured_and_refunded(
    gateway: StripeGateway, direct: aiohttp.ClientSession
) -> None:
    intent = an_intent(attempt=1)
    approved = await gateway.authorize(intent)
    assert isinstance(approved, Approved)
    assert (approved.amount, approved.currency) == (1250, "USD")
    held = await gateway.retrieve(approved.authorization_id)
    assert isinstance(held, Payment)
    assert (held.status, held.amount_captured) == (GatewayStatus.AUTHORIZED, 0)
    assert held.reference == intent.reference

    captured = await gateway.capture(intent, approved.authorization_id)
    assert isinstance(captured, Captured)
    assert (captured.amount, captured.currency) == (1250, "USD")
    refunded = await gateway.refund(intent.reference, approved.authorization_id)
    assert isinstance(refunded, Refunded)
    assert refunded.amount == 1250
    after = await gateway.retrieve(approved.authorization_id)
    assert isinstance(after, Payment)
    assert after.status is GatewayStatus.REFUNDED
    (made,) = await payments_of(direct, intent.reference)
    assert made["latest_charge"]["amount_refunded"] == 1250


async def test_a_declined_card_holds_nothing(
    gateway: StripeGateway, direct: aiohttp.ClientSession
) -> None:
    intent = an_intent("pm_card_chargeCustomerFail", attempt=2)
    declined = await gateway.authorize(intent)
    assert declined == Declined("card_declined")
    assert await gateway.authorize(intent) == declined
    (made,) = await payments_of(direct, intent.reference)
    payment = await gateway.retrieve(made["id"])
    assert isinstance(payment, Payment)
    assert (payment.status, payment.decline_code) == (GatewayStatus.DECLINED, "card_declined")


async def test_an_authorization_is_voided(gateway: StripeGateway) -> None:
    intent = an_intent(attempt=3)
    approved = await gateway.authorize(intent)
    assert isinstance(approved, Approved)
    voided = Voided(approved.authorization_id)
    assert await gateway.void(intent.reference, approved.authorization_id) == voided
    # Under another key localstripe refuses; the payment itself says that it is voided.
    other = Reference(BOOKING, 103)
    assert await gateway.void(other, approved.authorization_id) == voided


async def test_what_was_voided_is_not_captured_even_where_the_gateway_would(
    gateway: StripeGateway,
) -> None:
    intent = an_intent(attempt=4)
    approved = await gateway.authorize(intent)
    assert isinstance(approved, Approved)
    await gateway.void(intent.reference, approved.authorization_id)
    # localstripe lets this pass and answers 200 with a payment that is still cancelled.
    captured = await gateway.capture(intent, approved.authorization_id)
    assert captured == Unknown("status_voided")


async def test_what_is_captured_is_not_voided(gateway: StripeGateway) -> None:
    intent = an_intent(attempt=5)
    approved = await gateway.authorize(intent)
    assert isinstance(approved, Approved)
    captured = await gateway.capture(intent, approved.authorization_id)
    refused = Failed("invalid_request", GatewayStatus.CAPTURED)
    assert await gateway.void(intent.reference, approved.authorization_id) == refused
    assert await gateway.capture(an_intent(attempt=105), approved.authorization_id) == captured


async def test_a_card_that_needs_3d_secure_asks_the_buyer_to_act(
    gateway: StripeGateway, direct: aiohttp.ClientSession
) -> None:
    intent = an_intent(await card(direct, "4000002760003184"), attempt=6)
    waiting = await gateway.authorize(intent)
    assert isinstance(waiting, RequiresAction)
    assert waiting.next_action.type == "use_stripe_sdk"
    secret = waiting.next_action.client_secret
    path = f"{INTENTS}/{waiting.authorization_id}/_authenticate"
    async with direct.post(path, data={"client_secret": secret, "success": "true"}) as answer:
        assert answer.status == 200
    now = await gateway.retrieve(waiting.authorization_id)
    assert isinstance(now, Payment)
    assert now.status is GatewayStatus.AUTHORIZED
    assert isinstance(await gateway.capture(intent, waiting.authorization_id), Captured)


async def test_what_it_does_not_speak_is_unknown(gateway: StripeGateway) -> None:
    assert isinstance(await gateway.list_created(0, 1 << 42), Unknown)
    assert isinstance(await gateway.find(an_intent().reference), Unknown)
    # Its 404 does not say `resource_missing`, so it is not believed.
    assert await gateway.retrieve("pi_none") == Unknown("invalid_request")


async def test_its_webhooks_are_read_by_the_adapter(
    gateway: StripeGateway, direct: aiohttp.ClientSession
) -> None:
    receiver = Receiver()

    def told() -> dict[Reference, tuple[EventType, GatewayStatus, int, str]]:
        found: dict[Reference, tuple[EventType, GatewayStatus, int, str]] = {}
        for body, headers in receiver.received:
            event = gateway.parse_webhook(body, headers)
            assert isinstance(event, GatewayEvent), body
            payment = event.payment
            if payment is not None and payment.reference is not None:
                what = (event.type, payment.status, payment.amount, payment.currency)
                found[payment.reference] = what
        return found

    async with receiver.serve():
        terms = {"url": receiver.url, "secret": WEBHOOK_SECRET}
        async with direct.post("/_config/webhooks/tests", json=terms) as answer:
            assert answer.status == 200
        intent = an_intent(attempt=13)
        approved = await gateway.authorize(intent)
        assert isinstance(approved, Approved)
        await gateway.capture(intent, approved.authorization_id)
        declined = an_intent("pm_card_chargeCustomerFail", attempt=14)
        await gateway.authorize(declined)
        # Those of the tests before still come in between: each is sent a second late.
        await until(lambda: {intent.reference, declined.reference} <= set(told()), "both events")
    assert told()[intent.reference] == (EventType.CAPTURED, GatewayStatus.CAPTURED, 1250, "USD")
    assert told()[declined.reference][:2] == (EventType.DECLINED, GatewayStatus.DECLINED)
    for body, headers in receiver.received:
        assert (
            parse_webhook(body, headers, ["whsec_x"], INSTALLATION) is Rejection.SIGNATURE_INVALID
        )
