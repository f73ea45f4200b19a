"""The Stripe adapter against localstripe, a Stripe that nobody here wrote, behind a fault proxy.

What localstripe has not (search, a window of time, `capture_before`, 3-D Secure by redirection,
idempotency keys) is tested against the simulator; the keys are kept by the proxy. Its cards for
3-D Secure have numbers only, no names: a test tells them to localstripe itself, as a buyer's
browser would tell Stripe, and the adapter never sees one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

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
    Missing,
    Payment,
    Reference,
    Refunded,
    Rejection,
    RequiresAction,
    Unknown,
    Voided,
)
from engine.payments.stripe import StripeGateway
from engine.payments.stripe_webhooks import parse_webhook
from tests.helpers.fault_proxy import FaultProxy, Kind
from tests.helpers.gateways import (
    API_KEY,
    BOOKING,
    WEBHOOK_SECRET,
    LocalStripe,
    Receiver,
    adapter,
    an_intent,
)
from tests.helpers.servers import until

INTENTS = "/v1/payment_intents"


@pytest.fixture(scope="module")
def localstripe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStripe]:
    server = LocalStripe(tmp_path_factory.mktemp("localstripe"))
    with contextlib.closing(server):
        yield server


@pytest.fixture
async def proxy(localstripe: LocalStripe) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(localstripe.url, keeps_keys=True).serve() as served:
        yield served


@pytest.fixture
async def gateway(proxy: FaultProxy) -> AsyncIterator[StripeGateway]:
    async with adapter(proxy.url, gateway="stripe") as opened:
        yield opened


@pytest.fixture
async def direct(localstripe: LocalStripe) -> AsyncIterator[aiohttp.ClientSession]:
    """Asks localstripe itself, as the tests' other side."""
    headers = {"Authorization": f"Bearer {API_KEY}"}
    async with aiohttp.ClientSession(localstripe.url, headers=headers) as session:
        yield session


async def made_of(direct: aiohttp.ClientSession, reference: Reference) -> list[dict[str, Any]]:
    """The payments that localstripe has of an attempt."""
    async with direct.get(INTENTS, params={"limit": "1000"}) as answer:
        rows: list[dict[str, Any]] = (await answer.json())["data"]
    wanted = {"booking_id": reference.booking_id, "attempt": str(reference.attempt)}
    return [row for row in rows if row["metadata"] == wanted]


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
    (made,) = await made_of(direct, intent.reference)
    assert made["latest_charge"]["amount_refunded"] == 1250


async def test_a_declined_card_holds_nothing(
    gateway: StripeGateway, direct: aiohttp.ClientSession
) -> None:
    intent = an_intent("pm_card_chargeCustomerFail", attempt=2)
    declined = await gateway.authorize(intent)
    assert declined == Declined("card_declined")
    assert await gateway.authorize(intent) == declined
    (made,) = await made_of(direct, intent.reference)
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
    assert await gateway.void(intent.reference, approved.authorization_id) == Failed(
        "invalid_request", GatewayStatus.CAPTURED
    )
    again = await gateway.capture(an_intent(attempt=105), approved.authorization_id)
    assert again == captured


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


async def test_a_lost_answer_is_made_definite_by_the_same_key(
    gateway: StripeGateway, proxy: FaultProxy, direct: aiohttp.ClientSession
) -> None:
    intent = an_intent(attempt=7)
    lost = proxy.plan(Kind.DROP_ANSWER, INTENTS)
    assert await gateway.authorize(intent) == Unknown("connection")
    assert lost.fired.is_set()
    approved = await gateway.authorize(intent)
    assert isinstance(approved, Approved)

    lost = proxy.plan(Kind.DROP_ANSWER, "/capture")
    assert await gateway.capture(intent, approved.authorization_id) == Unknown("connection")
    assert lost.fired.is_set()
    assert isinstance(await gateway.capture(intent, approved.authorization_id), Captured)

    lost = proxy.plan(Kind.DROP_ANSWER, "/refunds")
    assert await gateway.refund(intent.reference, approved.authorization_id) == Unknown(
        "connection"
    )
    assert lost.fired.is_set()
    assert isinstance(await gateway.refund(intent.reference, approved.authorization_id), Refunded)
    (made,) = await made_of(direct, intent.reference)
    assert made["latest_charge"]["amount_refunded"] == 1250
    assert [path.rpartition("/")[2] for _, path in proxy.upstream_requests] == [
        "payment_intents",
        "capture",
        "refunds",
    ]


async def test_a_lost_request_did_nothing_and_may_be_sent_again(
    gateway: StripeGateway, proxy: FaultProxy, direct: aiohttp.ClientSession
) -> None:
    intent = an_intent(attempt=8)
    lost = proxy.plan(Kind.DROP_REQUEST)
    assert await gateway.authorize(intent) == Unknown("connection")
    assert lost.fired.is_set()
    assert await made_of(direct, intent.reference) == []
    assert isinstance(await gateway.authorize(intent), Approved)
    assert len(await made_of(direct, intent.reference)) == 1


@pytest.mark.parametrize("kind", [Kind.HOLD_REQUEST, Kind.HOLD_ANSWER])
async def test_a_second_sender_meets_the_first_one_under_way(
    kind: Kind, gateway: StripeGateway, proxy: FaultProxy, direct: aiohttp.ClientSession
) -> None:
    intent = an_intent(attempt=9 if kind is Kind.HOLD_REQUEST else 10)
    held = proxy.plan(kind)
    first = asyncio.create_task(gateway.authorize(intent))
    await held.fired.wait()
    if kind is Kind.HOLD_ANSWER:
        await until(lambda: bool(proxy.upstream_requests), "the request was passed on")
    second = await gateway.authorize(intent)
    held.release()
    approved = await first
    assert isinstance(approved, Approved)
    if kind is Kind.HOLD_REQUEST:
        assert second == Unknown("idempotency_key_in_use")
    else:
        assert second in {approved, Unknown("idempotency_key_in_use")}
    assert await gateway.authorize(intent) == approved
    assert len(await made_of(direct, intent.reference)) == 1


async def test_a_time_out_while_the_gateway_works_is_unknown_and_then_definite(
    proxy: FaultProxy, direct: aiohttp.ClientSession
) -> None:
    intent = an_intent(attempt=11)
    held = proxy.plan(Kind.HOLD_ANSWER)
    async with adapter(proxy.url, gateway="stripe", gateway_timeout_ms=200) as hasty:
        assert await hasty.authorize(intent) == Unknown("timeout")
    assert held.fired.is_set()
    held.release()
    async with adapter(proxy.url, gateway="stripe") as patient:
        assert isinstance(await patient.authorize(intent), Approved)
    assert len(await made_of(direct, intent.reference)) == 1


async def test_another_amount_under_the_same_key_leaves_the_outcome_open(
    gateway: StripeGateway, direct: aiohttp.ClientSession
) -> None:
    assert isinstance(await gateway.authorize(an_intent(attempt=12)), Approved)
    changed = an_intent(attempt=12, amount=1251)
    assert await gateway.authorize(changed) == Unknown("idempotency_mismatch")
    assert len(await made_of(direct, changed.reference)) == 1


async def test_the_window_and_the_search_that_it_lacks_are_unknown(gateway: StripeGateway) -> None:
    listed = await gateway.list_created(0, 1 << 42)
    assert isinstance(listed, Unknown)
    found = await gateway.find(an_intent().reference)
    assert isinstance(found, Unknown)


async def test_an_unknown_payment_is_missing_or_unknown(gateway: StripeGateway) -> None:
    # localstripe's 404 does not say `resource_missing`, so it is not believed.
    found = await gateway.retrieve("pi_none")
    assert found == Unknown("invalid_request")
    assert not isinstance(found, Missing)


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
        assert parse_webhook(body, headers, ["whsec_x"]) is Rejection.SIGNATURE_INVALID
