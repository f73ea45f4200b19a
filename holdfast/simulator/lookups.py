"""Reads: retrieve, list by time of creation, search by metadata; and the webhook endpoints."""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import urlsplit

from holdfast.simulator.context import Context, find_intent, show
from holdfast.simulator.errors import invalid, missing
from holdfast.simulator.parameters import Parameters
from holdfast.simulator.records import (
    Charge,
    Endpoint,
    PaymentIntent,
    Refund,
    new_id,
    show_endpoint,
    show_intent,
    show_refund,
)
from holdfast.simulator.store import Window

MAX_PAGE_ROWS: Final = 100
_CLAUSE: Final = re.compile(r"""^\s*metadata\[(["'])([\w .-]+)\1\]\s*:\s*(["'])([^"']*)\3\s*$""")


def retrieve_intent(context: Context, parameters: Parameters, intent_id: str) -> dict[str, Any]:
    """GET /v1/payment_intents/{intent}."""
    parameters.finish()
    return show(context, find_intent(context, intent_id), parameters)


def list_intents(context: Context, parameters: Parameters) -> dict[str, Any]:
    """GET /v1/payment_intents."""
    window = _window(parameters)
    parameters.finish()
    rows = context.store.newest(PaymentIntent, window)
    return _page("list", "/v1/payment_intents", _shown(context, parameters, rows), window)


def search_intents(context: Context, parameters: Parameters, search_lag_ms: int) -> dict[str, Any]:
    """GET /v1/payment_intents/search: clauses on metadata, joined by AND."""
    query = parameters.required_text("query")
    window = Window(
        until_ms=context.now_ms - search_lag_ms + 1,
        after=parameters.text("page"),
        limit=parameters.integer("limit", 1, MAX_PAGE_ROWS) or 10,
    )
    parameters.finish()
    wanted: dict[str, str] = {}
    for clause in re.split(r"\sAND\s", query):
        found = _CLAUSE.match(clause)
        if not found:
            raise invalid(
                'Only clauses like metadata["name"]:"value", joined by AND, are understood here',
                "parameter_invalid",
                "query",
            )
        wanted[found[2]] = found[4]
    rows = context.store.search(wanted, window)
    page = _page(
        "search_result", "/v1/payment_intents/search", _shown(context, parameters, rows), window
    )
    return {**page, "next_page": page["data"][-1]["id"] if page["has_more"] else None}


def retrieve_refund(context: Context, parameters: Parameters, refund_id: str) -> dict[str, Any]:
    """GET /v1/refunds/{id}."""
    parameters.finish()
    refund = context.store.get(Refund, refund_id)
    if refund is None:
        raise missing("refund", refund_id, "id")
    return show_refund(refund)


def list_refunds(context: Context, parameters: Parameters) -> dict[str, Any]:
    """GET /v1/refunds, of one payment or of all."""
    window = _window(parameters)
    intent_id, charge_id = parameters.text("payment_intent"), parameters.text("charge")
    parameters.finish()
    if intent_id is None and charge_id is None:
        rows = context.store.newest(Refund, window)
    else:
        charge = context.store.get(Charge, charge_id) if charge_id else None
        parent = intent_id or (charge.payment_intent if charge else "")
        rows = context.store.children(Refund, parent)[::-1]
        ids = [row.id for row in rows]
        start = ids.index(window.after) + 1 if window.after in ids else 0
        rows = rows[start : start + window.limit + 1]
    return _page("list", "/v1/refunds", [show_refund(row) for row in rows], window)


def create_endpoint(context: Context, parameters: Parameters) -> dict[str, Any]:
    """POST /v1/webhook_endpoints."""
    url = parameters.required_text("url")
    enabled_events = parameters.texts("enabled_events") or ["*"]
    parameters.finish()
    if urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).hostname:
        raise invalid("Invalid URL", "url_invalid", "url")
    endpoint = Endpoint(
        new_id("we_"), context.now_ms, url, new_id("whsec_"), sorted(set(enabled_events))
    )
    context.store.put(endpoint)
    return show_endpoint(endpoint, secret=True)


def list_endpoints(context: Context, parameters: Parameters) -> dict[str, Any]:
    """GET /v1/webhook_endpoints."""
    window = _window(parameters)
    parameters.finish()
    rows = [show_endpoint(row) for row in context.store.newest(Endpoint, window)]
    return _page("list", "/v1/webhook_endpoints", rows, window)


def delete_endpoint(context: Context, parameters: Parameters, endpoint_id: str) -> dict[str, Any]:
    """DELETE /v1/webhook_endpoints/{id}. What it is still owed is not sent."""
    parameters.finish()
    if context.store.get(Endpoint, endpoint_id) is None:
        raise missing("webhook endpoint", endpoint_id, "id")
    context.store.remove(endpoint_id)
    context.store.sql.execute(
        "UPDATE deliveries SET state = 'given up' WHERE endpoint = ? AND state = 'open'",
        (endpoint_id,),
    )
    return {"id": endpoint_id, "object": "webhook_endpoint", "deleted": True}


def _window(parameters: Parameters) -> Window:
    """Read `created` (bounds in seconds), `limit` and `starting_after`."""
    created = parameters.table("created")
    since_ms, until_ms = 0, 1 << 62
    for bound, text in created.items():
        if bound not in {"gt", "gte", "lt", "lte"} or not text.isdecimal() or len(text) > 11:
            raise invalid("Invalid timestamp", "parameter_invalid_integer", f"created[{bound}]")
        time_s = int(text) + (bound in {"gt", "lte"})
        if bound in {"gt", "gte"}:
            since_ms = time_s * 1000
        else:
            until_ms = time_s * 1000
    limit = parameters.integer("limit", 1, MAX_PAGE_ROWS) or 10
    return Window(since_ms, until_ms, parameters.text("starting_after"), limit)


def _shown(
    context: Context, parameters: Parameters, rows: list[PaymentIntent]
) -> list[dict[str, Any]]:
    """Show intents, with their charges where `data.latest_charge` is to be expanded."""
    expand = [path.removeprefix("data.") for path in parameters.expand if path.startswith("data.")]
    shown = []
    for row in rows:
        charge = context.store.get(Charge, row.latest_charge) if row.latest_charge else None
        shown.append(show_intent(row, charge, expand))
    return shown


def _page(kind: str, url: str, rows: list[dict[str, Any]], window: Window) -> dict[str, Any]:
    """A list as Stripe answers it; `rows` has one too many where there is more."""
    return {
        "object": kind,
        "url": url,
        "has_more": len(rows) > window.limit,
        "data": rows[: window.limit],
    }
