"""The API's application in the test's own process, on real servers, with a drain running.

Every answer that it gives is compared with `/openapi.json`, so that each test of the API is also a
test that what is written there is what the server does.
"""

from __future__ import annotations

import asyncio
import dataclasses
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from starlette.applications import Starlette

from api.app import create_app
from engine.errors import HoldfastError
from engine.payments.settings import PaymentSettings
from engine.tasks import end_tasks
from tests.helpers.contract import Contract
from tests.helpers.gateways import payment_settings
from tests.helpers.identity import AUDIENCE, ISSUER, Identity
from tests.helpers.stage import Stage, stage, stage_settings

DRAIN_INTERVAL_S = 0.02

ITEM = {"id": "A", "name": "Seat", "capacity": 10, "unit_price": 0}
SALE = {"name": "Gig", "items": [ITEM]}


ALL_SCOPES = "bookings bookings:any admin"


def fresh_key() -> str:
    """An Idempotency-Key."""
    return str(uuid.uuid4())


def refused(answer: httpx.Response, status: int, code: str, *paths: str) -> None:
    """Fail where an answer is not this problem, with these paths if any are given."""
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    if paths:
        found = [fault["path"] for fault in answer.json()["errors"]]
        assert found == list(paths), answer.text


def hold_body(sale_id: str = "gig", quantity: int = 1, **more: Any) -> dict[str, Any]:
    """A body for `POST /v1/bookings`."""
    return {"sale_id": sale_id, "lines": [{"item_id": "A", "quantity": quantity}], **more}


@dataclass
class Api:
    """Asks the application as this or that caller."""

    app: Starlette
    stage: Stage
    identity: Identity
    http: httpx.AsyncClient
    contract: Contract
    _tokens: dict[tuple[str, str], str] = field(default_factory=dict)

    def bearer(self, sub: str, scope: str) -> dict[str, str]:
        """The header of a token."""
        if (sub, scope) not in self._tokens:
            self._tokens[sub, scope] = self.identity.token(sub, scope)
        return {"Authorization": f"Bearer {self._tokens[sub, scope]}"}

    def over(self, app: Starlette) -> Api:
        """The same stage and callers, and another application on it."""
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        http = httpx.AsyncClient(transport=transport, base_url="http://test")
        return dataclasses.replace(self, app=app, http=http)

    async def ask(
        self,
        method: str,
        path: str,
        json: Any = None,
        *,
        sub: str | None = "ann",
        scope: str = "bookings",
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        content: Any = None,
    ) -> httpx.Response:
        """Send a request and hold its answer against the contract.

        Args:
            sub: None sends no token.
            json: the body; `content` is one that is sent as it is.
        """
        sent = {**(self.bearer(sub, scope) if sub else {}), **(headers or {})}
        if key is not None:
            sent["Idempotency-Key"] = key
        answer = await self.http.request(method, path, headers=sent, json=json, content=content)
        self.contract.check(method, path, answer)
        return answer

    async def get(self, path: str, **options: Any) -> httpx.Response:
        """Send a GET."""
        return await self.ask("GET", path, **options)

    async def post(self, path: str, json: Any = None, **options: Any) -> httpx.Response:
        """Send a POST."""
        return await self.ask("POST", path, json, **options)

    async def put_sale(self, sale_id: str = "gig", **changes: Any) -> Any:
        """Put a sale of ten free seats, or another."""
        body = {**SALE, **changes}
        answer = await self.ask("PUT", f"/v1/sales/{sale_id}", body, sub="boss", scope="admin")
        assert answer.status_code in {200, 201}, answer.text
        return answer.json()

    async def hold(
        self, sale_id: str = "gig", quantity: int = 1, *, sub: str = "ann", **more: Any
    ) -> Any:
        """Hold seats with a fresh key."""
        body = hold_body(sale_id, quantity, **more)
        answer = await self.post("/v1/bookings", body, key=str(uuid.uuid4()), sub=sub)
        assert answer.status_code == 201, answer.text
        return answer.json()

    async def pay(self, booking_id: str, *, sub: str = "ann") -> Any:
        """Confirm a free booking with a fresh key."""
        path = f"/v1/bookings/{booking_id}/pay"
        answer = await self.post(path, key=str(uuid.uuid4()), sub=sub)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def levels(self, sale_id: str = "gig") -> list[tuple[int, int, int]]:
        """Available, held and sold of each item, from a fresh read."""
        answer = await self.get(f"/v1/sales/{sale_id}/availability?fresh=1")
        return [(item["available"], item["held"], item["sold"]) for item in answer.json()["items"]]

    async def drained(self) -> None:
        """Wait until PostgreSQL has everything: longer than a request waits for that."""
        tips = await self.sequences()
        assert await self.stage.reads.reached(tips, 60_000)

    async def sequences(self) -> dict[int, int]:
        """How far each partition's journal is: unmoved means that nothing changed."""
        statuses = await self.stage.engine.journal.statuses()
        return {status.partition: status.sequence for status in statuses}


@asynccontextmanager
async def open_api(
    redis_url: str,
    database_url: str,
    directory: Path,
    *,
    payments: PaymentSettings | None = None,
    **more: Any,
) -> AsyncIterator[Api]:
    """Tables, partitions, an identity service, the application in its lifespan, a drain.

    Without `payments` it has a gateway that never answers, for tests that pay nothing.
    """
    identity = Identity(directory / "jwks.json")
    more.setdefault("partitions", "4")
    settings = stage_settings(
        redis_url,
        database_url,
        jwks_url=identity.url,
        jwt_issuer=ISSUER,
        jwt_audience=AUDIENCE,
        **more,
    )
    async with stage(settings) as on:
        app = create_app(settings, payments or payment_settings())
        async with app.router.lifespan_context(app):
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
                document = (await http.get("/openapi.json")).json()
                draining = asyncio.create_task(_keep_draining(on))
                try:
                    yield Api(app, on, identity, http, Contract(document))
                finally:
                    await end_tasks((draining,))


async def _keep_draining(on: Stage) -> None:
    while True:
        with suppress(HoldfastError):
            await on.drain_all()
        await asyncio.sleep(DRAIN_INTERVAL_S)
