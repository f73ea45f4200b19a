"""A Stripe that answers what a test wrote down, for the adapter and Stripe's library to read."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

from tests.helpers.gateways import BOOKING

CHARGE: dict[str, Any] = {
    "id": "ch_1",
    "object": "charge",
    "amount_refunded": 0,
    "captured": False,
    "payment_method_details": {"card": {"capture_before": 1_800_000_000}},
}
INTENT: dict[str, Any] = {
    "id": "pi_1",
    "object": "payment_intent",
    "amount": 1250,
    "amount_received": 0,
    "client_secret": "pi_1_secret_2",
    "created": 1_790_000_000,
    "currency": "usd",
    "latest_charge": CHARGE,
    "metadata": {"installation": "holdfast", "booking_id": BOOKING, "attempt": "1"},
    "status": "requires_capture",
}
REFUND: dict[str, Any] = {
    "id": "re_1",
    "object": "refund",
    "amount": 1250,
    "currency": "usd",
    "status": "succeeded",
}
CAPTURED = INTENT | {"status": "succeeded", "amount_received": 1250}
REFUNDED = CAPTURED | {"latest_charge": CHARGE | {"amount_refunded": 1250}}
CANCELED = INTENT | {"status": "canceled"}


def error(status: int, **fields: Any) -> tuple[int, Any]:
    """An error of Stripe's."""
    return status, {"error": {"message": "no", **fields}}


class Script:
    """Answers each path with what is next for it: status and JSON, raw bytes, or None for a cut."""

    def __init__(self, *answers: tuple[int, Any] | bytes | None) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, str]] = []
        self.keys: list[str | None] = []

    async def answer(self, request: web.Request) -> web.Response:
        await request.read()
        self.asked.append((request.method, request.path))
        self.keys.append(request.headers.get("Idempotency-Key"))
        answer = self.answers.pop(0)
        if answer is None:
            assert request.transport
            request.transport.abort()
            return web.Response()
        if isinstance(answer, bytes):
            return web.Response(body=answer, content_type="application/json")
        status, body = answer
        return web.Response(
            status=status, body=json.dumps(body).encode(), content_type="application/json"
        )

    @property
    def application(self) -> web.Application:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self.answer)
        return application
