"""The API with a payment gateway: the simulator behind a fault proxy, and its webhooks coming in.

No worker runs: `work` does what one would, when a test says so.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
import httpx
from aiohttp import web

from engine.payments.saga import Saga
from engine.payments.settings import PaymentSettings
from engine.payments.stripe import StripeGateway
from holdfast.embedded.process import free_port
from tests.helpers.api import ITEM, Api, open_api
from tests.helpers.fault_proxy import FaultProxy
from tests.helpers.gateways import (
    API_KEY,
    WEBHOOK_SECRET,
    Simulator,
    listening,
    payment_settings,
)
from tests.helpers.stage import eventually
from workers.recovery import Recovery

PRICE: Final = 250
VISA: Final = "pm_card_visa"
DECLINED: Final = "pm_card_chargeDeclined"
ASKS_BUYER: Final = "pm_card_authenticationRequired"
OPERATOR: Final = {"sub": "boss", "scope": "admin"}
WEBHOOKS: Final = "/v1/webhooks/simulator"


class CallingSimulator(Simulator):
    """A simulator whose webhooks go to a port that a test may listen on."""

    def __init__(self, directory: Path) -> None:
        self.webhook_port = free_port()
        variables = {
            "WEBHOOK_URL": f"http://127.0.0.1:{self.webhook_port}/webhook",
            "WEBHOOK_SECRET": WEBHOOK_SECRET,
            "WEBHOOK_RETRY_MS": "50",
        }
        super().__init__(directory, variables)


@dataclass
class Shop:
    """Buyers, their bookings and their payments."""

    api: Api
    simulator: CallingSimulator
    proxy: FaultProxy
    settings: PaymentSettings
    recovery: Recovery
    webhooks: list[tuple[bytes, dict[str, str], httpx.Response]] = field(default_factory=list)
    """What the gateway told, and what it was answered."""

    async def hold(self, quantity: int = 1, *, sub: str = "ann") -> Any:
        """Hold seats that cost money."""
        return await self.api.hold(quantity=quantity, sub=sub)

    async def pay(
        self, booking_id: str, method: str | None = VISA, *, key: str | None = None, **more: Any
    ) -> httpx.Response:
        """Send a pay request, under a fresh key if none is given."""
        body = {} if method is None else {"payment_method": method}
        used = key or str(uuid.uuid4())
        return await self.api.post(f"/v1/bookings/{booking_id}/pay", body, key=used, **more)

    async def paid(self, *, sub: str = "ann") -> Any:
        """A booking that is paid."""
        booking = await self.hold(sub=sub)
        answer = await self.pay(booking["id"], sub=sub)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def read(self, booking_id: str) -> Any:
        """A booking as it is now."""
        answer = await self.api.get(f"/v1/bookings/{booking_id}", scope="bookings:any")
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def work(self) -> None:
        """What a worker does, until nothing is due."""
        while await self.recovery.run_once():
            await self.recovery.finish()

    async def due(self) -> list[str]:
        """Bookings that a worker shall look at now."""
        payments = self.api.stage.engine.payments
        partitions = range(len(self.api.stage.engine.partitions))
        found = await asyncio.gather(*(payments.due(partition, 100) for partition in partitions))
        return [booking_id for names in found for booking_id in names]

    async def charges(self, booking_id: str) -> list[dict[str, Any]]:
        """What the gateway has charged for a booking."""
        found = await asyncio.to_thread(self.simulator.charges)
        return [charge for charge in found if charge["booking_id"] == booking_id]

    async def told(self) -> None:
        """Wait until every webhook of the gateway was answered 200."""

        async def nothing_owed() -> bool:
            return (await asyncio.to_thread(self.simulator.totals))["open_webhooks"] == 0

        await eventually(nothing_owed, "the webhooks are taken")

    def webhook_of(self, booking_id: str) -> tuple[bytes, dict[str, str], httpx.Response]:
        """The last webhook about a booking."""
        return next(told for told in reversed(self.webhooks) if booking_id.encode() in told[0])

    async def act(self, booking: Any, outcome: str = "complete") -> None:
        """Do as the buyer on the bank's page: `complete` or `fail` the authentication."""
        payment = booking["payment"]
        action = payment["next_action"]
        secret = action.get("client_secret")
        page = f"{self.simulator.url}/3ds/{payment['authorization_id']}?client_secret={secret}"
        async with (
            aiohttp.ClientSession() as browser,
            browser.post(
                action.get("url") or page, data={"outcome": outcome}, allow_redirects=False
            ) as done,
        ):
            assert done.status in {200, 303}, await done.text()

    async def _take(self, request: web.Request) -> web.Response:
        """Pass a webhook on to the API, and hold its answer against the contract."""
        body = await request.read()
        headers = {name.lower(): text for name, text in request.headers.items()}
        answer = await self.tell(body, headers["stripe-signature"])
        self.webhooks.append((body, headers, answer))
        return web.Response(status=answer.status_code)

    async def tell(self, body: bytes, signature: str | None) -> httpx.Response:
        """Send a webhook, as the gateway or as somebody else."""
        headers = {"stripe-signature": signature} if signature is not None else {}
        return await self.api.post(WEBHOOKS, sub=None, content=body, headers=headers)


@asynccontextmanager
async def open_shop(
    redis_url: str,
    database_url: str,
    directory: Path,
    simulator: CallingSimulator,
    **changes: Any,
) -> AsyncIterator[Shop]:
    """An API, on a simulator, with a sale `gig` whose seats cost money.

    Args:
        changes: to the payment settings.
    """
    async with FaultProxy(simulator.url, keeps_keys=True).serve() as proxy:
        settings = payment_settings(proxy.url, stripe_api_key=API_KEY, **changes)
        async with open_api(redis_url, database_url, directory, payments=settings) as api:
            gateway = await StripeGateway.open(settings)
            engine = api.stage.engine
            recovery = Recovery(engine, Saga(engine.payments, gateway))
            shop = Shop(api, simulator, proxy, settings, recovery)
            webhooks = web.Application()
            webhooks.router.add_post("/webhook", shop._take)
            await api.put_sale(items=[{**ITEM, "unit_price": PRICE}])
            try:
                async with listening(webhooks, simulator.webhook_port):
                    yield shop
            finally:
                await recovery.finish()
                await gateway.close()
