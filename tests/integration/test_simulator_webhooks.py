"""The simulator's webhooks: signed, tried again, and as late, doubled and out of order as asked."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from engine.payments.gateway import (
    Approved,
    EventType,
    GatewayEvent,
    GatewayStatus,
    Rejection,
    RequiresAction,
)
from engine.payments.settings import INSTALLATION
from engine.payments.stripe import StripeGateway
from engine.payments.stripe_webhooks import parse_webhook
from holdfast.embedded.process import free_port
from tests.helpers.gateways import API_KEY, WEBHOOK_SECRET, Receiver, Simulator, adapter, an_intent
from tests.helpers.servers import until


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver().serve() as served:
        yield served


@pytest.fixture
def simulator(tmp_path: Path, receiver: Receiver) -> Iterator[Simulator]:
    variables = {
        "WEBHOOK_URL": receiver.url,
        "WEBHOOK_SECRET": WEBHOOK_SECRET,
        "WEBHOOK_RETRY_MS": "50",
    }
    server = Simulator(tmp_path / "simulator", variables)
    with contextlib.closing(server):
        yield server


@pytest.fixture
async def gateway(simulator: Simulator) -> AsyncIterator[StripeGateway]:
    async with adapter(simulator.url) as opened:
        yield opened


async def settled(simulator: Simulator) -> None:
    """Wait until nothing is owed any more."""
    for _ in range(2_000):
        if (await asyncio.to_thread(simulator.totals))["open_webhooks"] == 0:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("webhooks are still owed")


async def test_a_payments_events_arrive_signed_and_in_order(
    gateway: StripeGateway, simulator: Simulator, receiver: Receiver
) -> None:
    intent = an_intent()
    approved = await gateway.authorize(intent)
    assert isinstance(approved, Approved)
    await gateway.capture(intent, approved.authorization_id)
    await gateway.refund(intent.reference, approved.authorization_id)
    await settled(simulator)
    events = [gateway.parse_webhook(body, headers) for body, headers in receiver.received]
    read = [event for event in events if isinstance(event, GatewayEvent)]
    assert [event.type for event in read] == [
        EventType.AUTHORIZED,
        EventType.CAPTURED,
        EventType.REFUNDED,
    ]
    for event in read:
        assert event.payment
        assert event.payment.reference == intent.reference
        assert event.payment.authorization_id == approved.authorization_id
        assert (event.payment.amount, event.payment.currency) == (1250, "USD")
    assert len(set(receiver.ids)) == 3


async def test_every_ending_has_its_event(
    gateway: StripeGateway, simulator: Simulator, receiver: Receiver
) -> None:
    await gateway.authorize(an_intent("pm_card_chargeDeclined", attempt=1))
    approved = await gateway.authorize(an_intent(attempt=2))
    assert isinstance(approved, Approved)
    await gateway.void(an_intent(attempt=2).reference, approved.authorization_id)
    await gateway.authorize(an_intent("pm_card_authenticationRequired", attempt=3))
    await settled(simulator)
    found = {}
    for body, headers in receiver.received:
        event = gateway.parse_webhook(body, headers)
        assert isinstance(event, GatewayEvent)
        assert event.payment
        found[event.type] = event.payment.status
    assert found == {
        EventType.DECLINED: GatewayStatus.DECLINED,
        EventType.AUTHORIZED: GatewayStatus.AUTHORIZED,
        EventType.VOIDED: GatewayStatus.VOIDED,
        EventType.REQUIRES_ACTION: GatewayStatus.REQUIRES_ACTION,
    }


async def test_the_outcome_of_3d_secure_arrives(
    gateway: StripeGateway, simulator: Simulator, receiver: Receiver
) -> None:
    intent = an_intent("pm_card_authenticationRequired", return_url="http://shop.invalid/")
    waiting = await gateway.authorize(intent)
    assert isinstance(waiting, RequiresAction)
    assert waiting.next_action.url
    async with (
        aiohttp.ClientSession() as browser,
        browser.post(
            waiting.next_action.url, data={"outcome": "complete"}, allow_redirects=False
        ) as done,
    ):
        assert done.status == 303
    await settled(simulator)
    assert receiver.types == [
        "payment_intent.requires_action",
        "payment_intent.amount_capturable_updated",
    ]


async def test_another_secret_does_not_open_it(
    gateway: StripeGateway, simulator: Simulator, receiver: Receiver
) -> None:
    await gateway.authorize(an_intent())
    await settled(simulator)
    body, headers = receiver.received[0]
    assert (
        parse_webhook(body, headers, ["whsec_another"], INSTALLATION) is Rejection.SIGNATURE_INVALID
    )
    assert (
        parse_webhook(body + b" ", headers, [WEBHOOK_SECRET], INSTALLATION)
        is Rejection.SIGNATURE_INVALID
    )


async def test_a_delivery_is_tried_again_until_it_is_answered_well(
    gateway: StripeGateway, simulator: Simulator, receiver: Receiver
) -> None:
    receiver.answers = [500, 302, 404]
    await gateway.authorize(an_intent())
    await settled(simulator)
    assert len(receiver.received) == 4
    assert len(set(receiver.ids)) == 1
    assert all(
        isinstance(gateway.parse_webhook(body, headers), GatewayEvent)
        for body, headers in receiver.received
    )
    assert simulator.totals()["lost_webhooks"] == 0


async def test_doubled_events_come_twice_with_one_id(
    gateway: StripeGateway, simulator: Simulator, receiver: Receiver
) -> None:
    simulator.faults(duplicate_webhook_rate=1)
    await gateway.authorize(an_intent())
    await settled(simulator)
    assert len(receiver.received) == 2
    assert len(set(receiver.ids)) == 1


async def test_a_late_event_comes_when_it_is_due(
    gateway: StripeGateway, simulator: Simulator, receiver: Receiver
) -> None:
    simulator.faults(late_webhook_rate=1, late_webhook_ms=3_600_000)
    late = await gateway.authorize(an_intent(attempt=1))
    simulator.faults(late_webhook_rate=0)
    prompt = await gateway.authorize(an_intent(attempt=2))
    assert isinstance(late, Approved)
    assert isinstance(prompt, Approved)
    await until(lambda: len(receiver.received) == 1, "the prompt event")
    subject: dict[str, Any] = json.loads(receiver.received[0][0])["data"]["object"]
    assert subject["id"] == prompt.authorization_id
    assert simulator.totals()["open_webhooks"] == 1
    simulator.faults(late_webhook_rate=1, late_webhook_ms=1)
    await gateway.authorize(an_intent(attempt=3))
    await until(lambda: len(receiver.received) == 2, "an event that is late by a millisecond")


async def test_a_reordered_event_comes_after_the_next_one(
    gateway: StripeGateway, simulator: Simulator, receiver: Receiver
) -> None:
    simulator.faults(reordered_webhook_rate=1, late_webhook_ms=3_600_000)
    intent = an_intent()
    approved = await gateway.authorize(intent)
    assert isinstance(approved, Approved)
    simulator.faults(reordered_webhook_rate=0)
    await gateway.capture(intent, approved.authorization_id)
    await settled(simulator)
    assert receiver.types == [
        "payment_intent.succeeded",
        "payment_intent.amount_capturable_updated",
    ]


async def test_what_is_owed_is_sent_after_a_kill(tmp_path: Path) -> None:
    port = free_port()
    variables = {
        "WEBHOOK_URL": f"http://127.0.0.1:{port}/webhook",
        "WEBHOOK_SECRET": WEBHOOK_SECRET,
        "WEBHOOK_RETRY_MS": "50",
    }
    simulator = Simulator(tmp_path / "owing", variables)
    with contextlib.closing(simulator):
        async with adapter(simulator.url) as gateway:
            assert isinstance(await gateway.authorize(an_intent()), Approved)
        simulator.kill()
        async with Receiver().serve(port) as receiver:
            simulator.start()
            await settled(simulator)
            assert receiver.types == ["payment_intent.amount_capturable_updated"]


async def test_an_endpoint_is_registered_and_gets_what_it_asked_for(
    simulator: Simulator, gateway: StripeGateway, receiver: Receiver
) -> None:
    headers = {"Authorization": f"Bearer {API_KEY}"}
    address = f"{simulator.url}/v1/webhook_endpoints"
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        Receiver().serve() as second,
    ):
        form = {"url": second.url, "enabled_events[0]": "payment_intent.canceled"}
        async with session.post(address, data=form) as answer:
            made = await answer.json()
        async with session.get(address) as answer:
            listed = await answer.json()
        assert {entry["id"] for entry in listed["data"]} == {made["id"], "we_settings"}
        assert all("secret" not in entry for entry in listed["data"])
        approved = await gateway.authorize(an_intent())
        assert isinstance(approved, Approved)
        await gateway.void(an_intent().reference, approved.authorization_id)
        await settled(simulator)
        assert second.types == ["payment_intent.canceled"]
        assert len(receiver.received) == 2
        body, sent = second.received[0]
        assert isinstance(parse_webhook(body, sent, [made["secret"]], INSTALLATION), GatewayEvent)
        async with session.delete(f"{address}/{made['id']}") as answer:
            assert (await answer.json())["deleted"] is True
        async with session.delete(f"{address}/{made['id']}") as answer:
            assert answer.status == 404
