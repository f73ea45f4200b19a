"""The adapter to the gateway in memory: what `engine.payments.stripe` is to Stripe."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from engine.payments import gateway as words
from engine.payments.gateway import (
    Authorization,
    Captured,
    Failed,
    GatewayEvent,
    Intent,
    Missing,
    Page,
    Payment,
    Reference,
    Refunded,
    Rejection,
    Step,
    Unknown,
    Voided,
)
from engine.payments.limits import GATEWAY_TIMEOUT_MS
from tests.simulation.gateway import Asked, Gateway
from tests.simulation.postgres import Gate


class GatewayClient:
    """One process's adapter. Every call is bounded in time, and tried once."""

    name = "simulator"

    def __init__(self, gateway: Gateway, gate: Gate) -> None:
        self._gateway = gateway
        self._gate = gate

    async def authorize(self, intent: Intent) -> Authorization:
        asked = Asked(Step.AUTHORIZE, intent.reference, intent)
        answer: Authorization = await self._ask(asked, lambda: self._gateway.authorize(intent))
        return answer

    async def capture(self, intent: Intent, authorization_id: str) -> Captured | Failed | Unknown:
        asked = Asked(Step.CAPTURE, intent.reference, authorization_id)
        answer: Captured | Failed | Unknown = await self._ask(
            asked, lambda: self._gateway.capture(authorization_id)
        )
        return answer

    async def void(self, reference: Reference, authorization_id: str) -> Voided | Failed | Unknown:
        asked = Asked(Step.VOID, reference, authorization_id)
        answer: Voided | Failed | Unknown = await self._ask(
            asked, lambda: self._gateway.void(authorization_id)
        )
        return answer

    async def refund(
        self, reference: Reference, authorization_id: str
    ) -> Refunded | Failed | Unknown:
        asked = Asked(Step.REFUND, reference, authorization_id)
        answer: Refunded | Failed | Unknown = await self._ask(
            asked, lambda: self._gateway.refund(authorization_id)
        )
        return answer

    async def retrieve(self, authorization_id: str) -> Payment | Missing | Unknown:
        await self._travel()
        charge = self._gateway.charges.get(authorization_id)
        await self._travel()
        return charge.payment if charge else Missing()

    async def find(self, reference: Reference) -> Page | Unknown:
        await self._travel()
        found = self._gateway.found(reference)
        await self._travel()
        return Page(found, None)

    async def list_created(
        self, since_ms: int, until_ms: int, cursor: str | None = None
    ) -> Page | Unknown:
        await self._travel()
        payments = (charge.payment for charge in self._gateway.charges.values())
        return Page(tuple(one for one in payments if since_ms <= one.created_ms < until_ms), None)

    def parse_webhook(self, body: bytes, headers: Mapping[str, str]) -> GatewayEvent | Rejection:
        """The world hands events over as they are."""
        return Rejection.BODY_INVALID

    async def close(self) -> None:
        """Nothing to close."""

    async def _travel(self) -> None:
        await self._gate.gate()
        await asyncio.sleep(self._gateway.latency_s())
        await self._gate.gate()

    async def _ask(self, asked: Asked, perform: Callable[[], Any]) -> Any:
        await self._gate.gate()
        # By the module's name for it, so that a test can plant another.
        key = words.idempotency_key(asked.reference, asked.step)
        answer = self._gateway.send(key, asked, perform)
        try:
            async with asyncio.timeout(GATEWAY_TIMEOUT_MS / 1000):
                return await answer
        except TimeoutError:
            return Unknown("timeout")
        finally:
            await self._gate.gate()
