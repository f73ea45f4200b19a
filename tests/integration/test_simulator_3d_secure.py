"""3-D Secure: the buyer acts on the bank's page, and the payment goes on from there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest

from engine.payments.gateway import (
    Captured,
    GatewayStatus,
    Payment,
    RequiresAction,
    Voided,
)
from engine.payments.stripe import StripeGateway
from tests.helpers.gateways import Simulator, adapter, an_intent

BACK = "https://shop.example/back?from=bank"


@pytest.fixture
async def gateway(shared_simulator: Simulator) -> AsyncIterator[StripeGateway]:
    async with adapter(shared_simulator.url) as opened:
        yield opened


async def test_the_buyer_completes_3d_secure_on_the_banks_page(gateway: StripeGateway) -> None:
    intent = an_intent("pm_card_authenticationRequired", attempt=9, return_url=BACK)
    waiting = await gateway.authorize(intent)
    assert isinstance(waiting, RequiresAction)
    assert waiting.next_action.type == "redirect_to_url"
    assert waiting.next_action.client_secret is None
    page = waiting.next_action.url
    assert page
    async with aiohttp.ClientSession() as browser:
        async with browser.get(page) as shown:
            assert shown.status == 200
            assert "Complete authentication" in await shown.text()
        async with browser.get(page + "x") as shown:
            assert shown.status == 403
        async with browser.post(page, data={"outcome": "perhaps"}) as shown:
            assert shown.status == 400
        still = await gateway.retrieve(waiting.authorization_id)
        assert isinstance(still, Payment)
        assert still.status is GatewayStatus.REQUIRES_ACTION
        async with browser.post(page, data={"outcome": "complete"}, allow_redirects=False) as done:
            assert done.status == 303
            location = urlsplit(done.headers["Location"])
        async with browser.post(page, data={"outcome": "fail"}) as again:
            assert again.status == 400
    assert location.netloc == "shop.example"
    query = parse_qs(location.query)
    assert query["from"] == ["bank"]
    assert query["payment_intent"] == [waiting.authorization_id]
    assert query["redirect_status"] == ["succeeded"]
    # The key still answers as it first did; how the payment stands, only the payment tells.
    assert await gateway.authorize(intent) == waiting
    now = await gateway.retrieve(waiting.authorization_id)
    assert isinstance(now, Payment)
    assert now.status is GatewayStatus.AUTHORIZED
    assert isinstance(await gateway.capture(intent, waiting.authorization_id), Captured)


@pytest.mark.parametrize(
    ("payment_method", "outcome", "code"),
    [
        ("pm_card_authenticationRequired", "fail", "payment_intent_authentication_failure"),
        (
            "pm_card_authenticationRequiredChargeDeclinedInsufficientFunds",
            "complete",
            "insufficient_funds",
        ),
    ],
)
async def test_3d_secure_ends_in_a_decline(
    payment_method: str, outcome: str, code: str, gateway: StripeGateway
) -> None:
    intent = an_intent(payment_method, attempt=10 + len(outcome), return_url=BACK)
    waiting = await gateway.authorize(intent)
    assert isinstance(waiting, RequiresAction)
    assert waiting.next_action.url
    async with (
        aiohttp.ClientSession() as browser,
        browser.post(
            waiting.next_action.url, data={"outcome": outcome}, allow_redirects=False
        ) as done,
    ):
        assert parse_qs(urlsplit(done.headers["Location"]).query)["redirect_status"] == ["failed"]
    now = await gateway.retrieve(waiting.authorization_id)
    assert isinstance(now, Payment)
    assert (now.status, now.decline_code) == (GatewayStatus.DECLINED, code)
    # Given up for good: whoever still has the link finds it closed.
    voided = await gateway.void(intent.reference, waiting.authorization_id)
    assert voided == Voided(waiting.authorization_id)


async def test_without_a_return_address_the_action_is_for_the_gateways_script(
    gateway: StripeGateway,
) -> None:
    waiting = await gateway.authorize(an_intent("pm_card_threeDSecureRequired", attempt=20))
    assert isinstance(waiting, RequiresAction)
    assert waiting.next_action.type == "use_stripe_sdk"
    assert waiting.next_action.url is None
    secret = waiting.next_action.client_secret
    assert secret
    assert secret.startswith(f"{waiting.authorization_id}_secret_")
