"""The bank's page of 3-D Secure: a buyer, or a test, completes or fails the authentication here.

GET  /3ds/{intent}?client_secret=…    the page, with a button for each
POST the same, `outcome=complete` or `outcome=fail`: back to the shop's `return_url`
"""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Final
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from holdfast.simulator.context import Context, find_intent
from holdfast.simulator.deliverer import Deliverer
from holdfast.simulator.errors import ApiError
from holdfast.simulator.intents import authenticate_intent
from holdfast.simulator.records import PaymentIntent
from holdfast.simulator.store import Store

_OUTCOMES: Final = ("complete", "fail")
_MAX_FORM_BYTES: Final = 1024

_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>3-D Secure (simulated)</title></head>
<body><h1>3-D Secure (simulated)</h1>
<p>Payment of {amount} {currency} (in the smallest unit).</p>
<form method="post">
<button name="outcome" value="complete">Complete authentication</button>
<button name="outcome" value="fail">Fail authentication</button>
</form></body></html>
"""


class AuthenticationPage:
    """Answers requests under /3ds. Whoever has the client secret is the buyer."""

    def __init__(
        self, store: Store, deliverer: Deliverer, context: Callable[[Request], Context]
    ) -> None:
        self._store = store
        self._deliverer = deliverer
        self._context = context

    def routes(self) -> list[BaseRoute]:
        """What Starlette is to route here."""
        return [Route("/3ds/{id}", self._page, methods=["GET", "POST"])]

    async def _page(self, request: Request) -> Response:
        intent_id = request.path_params["id"]
        secret = request.query_params.get("client_secret", "")
        context = self._context(request)
        try:
            if request.method == "GET":
                with self._store.transaction():
                    intent = find_intent(context, intent_id)
                if intent.client_secret != secret:
                    return HTMLResponse("This is not the link of that payment.", 403)
                return HTMLResponse(
                    _PAGE.format(amount=intent.amount, currency=html.escape(intent.currency))
                )
            outcome = await _outcome(request)
            if outcome is None:
                return HTMLResponse("outcome must be complete or fail", 400)
            return self._act(context, intent_id, secret, succeed=outcome == "complete")
        except ApiError as refused:
            return HTMLResponse(html.escape(str(refused)), refused.status)

    def _act(self, context: Context, intent_id: str, secret: str, *, succeed: bool) -> Response:
        with self._store.transaction():
            try:
                intent = authenticate_intent(context, intent_id, secret, succeed=succeed)
            except ApiError as refused:
                if refused.status != 402:
                    raise
                succeed = False
                intent = find_intent(context, intent_id)
        self._deliverer.wake()
        if intent.return_url is None:
            return HTMLResponse("succeeded" if succeed else "failed")
        return RedirectResponse(_back(intent, succeed=succeed), 303)


async def _outcome(request: Request) -> str | None:
    """Read which button was pressed."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > _MAX_FORM_BYTES:
            return None
    found = parse_qs(body.decode("ascii", "replace")).get("outcome", [""])[0]
    return found if found in _OUTCOMES else None


def _back(intent: PaymentIntent, *, succeed: bool) -> str:
    """The shop's address with what Stripe adds: the payment, and whether it may hope."""
    parts = urlsplit(intent.return_url or "")
    added = urlencode(
        {
            "payment_intent": intent.id,
            "payment_intent_client_secret": intent.client_secret,
            "redirect_status": "succeeded" if succeed else "failed",
        }
    )
    query = f"{parts.query}&{added}" if parts.query else added
    return urlunsplit(parts._replace(query=query))
