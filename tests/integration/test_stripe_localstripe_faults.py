"""The Stripe adapter against localstripe while requests, answers and time are lost in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

from engine.payments.gateway import (
    Approved,
    Captured,
    Refunded,
    Unknown,
)
from engine.payments.stripe import StripeGateway
from tests.helpers.fault_proxy import FaultProxy, Kind
from tests.helpers.gateways import (
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
    (made,) = await payments_of(direct, intent.reference)
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
    assert await payments_of(direct, intent.reference) == []
    assert isinstance(await gateway.authorize(intent), Approved)
    assert len(await payments_of(direct, intent.reference)) == 1


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
    assert len(await payments_of(direct, intent.reference)) == 1


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
    assert len(await payments_of(direct, intent.reference)) == 1


async def test_another_amount_under_the_same_key_leaves_the_outcome_open(
    gateway: StripeGateway, direct: aiohttp.ClientSession
) -> None:
    assert isinstance(await gateway.authorize(an_intent(attempt=12)), Approved)
    changed = an_intent(attempt=12, amount=1251)
    assert await gateway.authorize(changed) == Unknown("idempotency_mismatch")
    assert len(await payments_of(direct, changed.reference)) == 1
