"""The simulator's adapter with odd answers: what a gateway can do that the simulator does not."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from engine.payments.gateway import (
    Authorization,
    Captured,
    Failed,
    Intent,
    Missing,
    Page,
    Payment,
    Reference,
    Refunded,
    Unknown,
    Voided,
)
from engine.payments.stripe import StripeGateway

Call = Callable[[], Awaitable[Any]]
Oddity = Callable[[Call], Awaitable[Any]]


def lost(reason: str = "timeout") -> Oddity:
    """The gateway does it, and its answer does not come, or is an error."""

    async def odd(call: Call) -> Any:
        await call()
        return Unknown(reason)

    return odd


def instead(answer: Any) -> Oddity:
    """The gateway never hears of it."""

    async def odd(_: Call) -> Any:
        return answer

    return odd


def seen_as(**changes: Any) -> Oddity:
    """The gateway's answer says something else."""

    async def odd(call: Call) -> Any:
        return dataclasses.replace(await call(), **changes)

    return odd


class OddGateway:
    """The simulator, with oddities by the names of its methods."""

    name = "simulator"

    def __init__(self, real: StripeGateway, odd: Mapping[str, Oddity]) -> None:
        self._real = real
        self._odd = odd
        self.list_created = real.list_created
        self.parse_webhook = real.parse_webhook
        self.close = real.close

    async def _ask(self, name: str, call: Call) -> Any:
        odd = self._odd.get(name)
        return await (odd(call) if odd else call())

    async def authorize(self, intent: Intent) -> Authorization:
        answer: Authorization = await self._ask("authorize", lambda: self._real.authorize(intent))
        return answer

    async def capture(self, intent: Intent, authorization_id: str) -> Captured | Failed | Unknown:
        answer: Captured | Failed | Unknown = await self._ask(
            "capture", lambda: self._real.capture(intent, authorization_id)
        )
        return answer

    async def void(self, reference: Reference, authorization_id: str) -> Voided | Failed | Unknown:
        answer: Voided | Failed | Unknown = await self._ask(
            "void", lambda: self._real.void(reference, authorization_id)
        )
        return answer

    async def refund(
        self, reference: Reference, authorization_id: str
    ) -> Refunded | Failed | Unknown:
        answer: Refunded | Failed | Unknown = await self._ask(
            "refund", lambda: self._real.refund(reference, authorization_id)
        )
        return answer

    async def retrieve(self, authorization_id: str) -> Payment | Missing | Unknown:
        answer: Payment | Missing | Unknown = await self._ask(
            "retrieve", lambda: self._real.retrieve(authorization_id)
        )
        return answer

    async def find(self, reference: Reference) -> Page | Unknown:
        answer: Page | Unknown = await self._ask("find", lambda: self._real.find(reference))
        return answer
