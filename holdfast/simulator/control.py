"""What Stripe does not have: the books of the referee, and the faults, for this host alone.

    GET   /_simulator/health     whether it answers
    GET   /_simulator/charges    every charge with its capture and refunds, oldest first, by page
    GET   /_simulator/totals     the same, counted, and what is still owed
    GET   /_simulator/settings   the faults
    PATCH /_simulator/settings   changes some of them, from the next request on

Amounts are as Stripe writes them.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable
from typing import Any, Final

import orjson
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from holdfast.simulator.deliverer import Deliverer
from holdfast.simulator.events import Events
from holdfast.simulator.records import Charge, PaymentIntent, Refund
from holdfast.simulator.settings import Faults
from holdfast.simulator.store import Store

MAX_CHARGES: Final = 1_000

_TOTALS: Final = """
WITH charges AS (
    SELECT json_extract(document, '$.status') AS status,
           json_extract(document, '$.metadata.booking_id') AS booking_id,
           json_extract(document, '$.captured_ms') AS captured_ms,
           json_extract(document, '$.released_ms') AS released_ms,
           json_extract(document, '$.amount_captured') AS amount_captured,
           json_extract(document, '$.amount_refunded') AS amount_refunded
    FROM objects WHERE kind = 'charge'
), paid AS (
    SELECT booking_id, count(*) AS times FROM charges
    WHERE captured_ms IS NOT NULL AND amount_refunded < amount_captured AND booking_id IS NOT NULL
    GROUP BY booking_id
)
SELECT
    (SELECT count(*) FROM objects WHERE kind = 'payment_intent') AS payment_intents,
    count(*) FILTER (WHERE status = 'succeeded') AS authorized,
    count(*) FILTER (WHERE status = 'failed') AS declined,
    count(*) FILTER (WHERE captured_ms IS NOT NULL) AS captured,
    count(*) FILTER (WHERE released_ms IS NOT NULL) AS released,
    count(*) FILTER (WHERE captured_ms IS NOT NULL AND amount_refunded >= amount_captured)
        AS refunded,
    count(*) FILTER (WHERE status = 'succeeded' AND captured_ms IS NULL AND released_ms IS NULL)
        AS open_authorizations,
    ifnull(sum(amount_captured), 0) AS amount_captured,
    ifnull(sum(amount_refunded), 0) AS amount_refunded,
    (SELECT count(*) FROM paid) AS paid_bookings,
    (SELECT ifnull(sum(times - 1), 0) FROM paid) AS duplicate_charges,
    (SELECT count(*) FROM deliveries WHERE state = 'open') AS open_webhooks,
    (SELECT count(*) FROM deliveries WHERE state = 'given up') AS lost_webhooks
FROM charges
"""
"""`duplicate_charges`: captures beyond a booking's first, as far as they were not given back."""


class Control:
    """Answers requests under /_simulator."""

    def __init__(self, store: Store, events: Events, deliverer: Deliverer) -> None:
        self._store = store
        self._events = events
        self._deliverer = deliverer

    def routes(self) -> list[BaseRoute]:
        """What Starlette is to route here."""
        return [
            Route("/_simulator/health", _health),
            Route("/_simulator/charges", _local(self._charges)),
            Route("/_simulator/totals", _local(self._totals)),
            Route("/_simulator/settings", _local(self._settings), methods=["GET", "PATCH"]),
        ]

    async def _charges(self, request: Request) -> Response:
        """A page of charges after `cursor`, the id of the last one of the page before."""
        rows = self._store.sql.execute(
            "SELECT document FROM objects WHERE kind = 'charge'"
            " AND number > ifnull((SELECT number FROM objects WHERE id = ?), 0)"
            " ORDER BY number LIMIT ?",
            (request.query_params.get("cursor"), MAX_CHARGES),
        ).fetchall()
        charges = [self._entry(Charge(**orjson.loads(row[0]))) for row in rows]
        cursor = charges[-1]["id"] if len(charges) == MAX_CHARGES else None
        return JSONResponse({"charges": charges, "next_cursor": cursor})

    def _entry(self, charge: Charge) -> dict[str, Any]:
        intent = self._store.get(PaymentIntent, charge.payment_intent)
        refunds = [
            {"id": refund.id, "amount": refund.amount, "created_ms": refund.created_ms}
            for refund in self._store.children(Refund, charge.payment_intent)
            if refund.charge == charge.id
        ]
        return {
            "id": charge.id,
            "payment_intent": charge.payment_intent,
            "payment_intent_status": intent.status if intent else None,
            "booking_id": charge.metadata.get("booking_id"),
            "attempt": charge.metadata.get("attempt"),
            "amount": charge.amount,
            "currency": charge.currency,
            "created_ms": charge.created_ms,
            "status": charge.status,
            "failure_code": charge.failure_code,
            "captured_ms": charge.captured_ms,
            "amount_captured": charge.amount_captured,
            "released_ms": charge.released_ms,
            "amount_refunded": charge.amount_refunded,
            "refunds": refunds,
        }

    async def _totals(self, _: Request) -> Response:
        found = self._store.sql.execute(_TOTALS)
        names = [column[0] for column in found.description]
        return JSONResponse(dict(zip(names, found.fetchone(), strict=True)))

    async def _settings(self, request: Request) -> Response:
        if request.method == "PATCH":
            try:
                changes = orjson.loads(await request.body())
                self._events.faults = Faults(**{**self._events.faults.model_dump(), **changes})
            except (ValidationError, ValueError, TypeError) as refused:
                return JSONResponse({"detail": str(refused)}, 400)
            self._deliverer.wake()
        return JSONResponse(self._events.faults.model_dump())


Endpoint = Callable[[Request], Awaitable[Response]]


async def _health(_: Request) -> Response:
    return JSONResponse({"status": "ok"})


def _local(endpoint: Endpoint) -> Endpoint:
    """Answer this host only.

    A page in a browser on it is kept out too: it may not send PATCH across origins, nor read.
    """

    async def guarded(request: Request) -> Response:
        try:
            address = ipaddress.ip_address(request.client.host if request.client else "")
        except ValueError:
            return Response(status_code=403)
        mapped = getattr(address, "ipv4_mapped", None)
        if not (mapped or address).is_loopback:
            return Response(status_code=403)
        return await endpoint(request)

    return guarded
