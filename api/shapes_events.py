"""The shapes of answers about webhook endpoints and deliveries, and what fills them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NotRequired, cast

from typing_extensions import TypedDict

from engine.shown import Moment
from engine.times import rfc3339
from persistence.endpoints import DeliveryPage, LoggedDelivery, WebhookEndpoint


class EndpointShown(TypedDict):
    """A webhook endpoint. `secret` is there only in the answer that made it."""

    id: str
    url: str
    events: list[str]
    enabled: bool
    disabled_at: Moment | None
    disabled_reason: Literal["admin", "gone", "failing"] | None
    failing_since: Moment | None
    created_at: Moment
    updated_at: Moment
    secret: NotRequired[str]


class EndpointList(TypedDict):
    """All webhook endpoints, the oldest first."""

    endpoints: list[EndpointShown]


class DeliveryShown(TypedDict):
    """An event on its way to one place: how often it was tried, and what the place said last.

    `subject` and `sequence` are the event's: the booking, and its number among its events.
    """

    id: str
    destination: str
    event_id: str
    type: str
    subject: str
    sequence: int
    state: Literal["waiting", "delivered", "parked"]
    attempts: int
    created_at: Moment
    next_attempt_at: Moment | None
    ended_at: Moment | None
    response_status: int | None
    response_excerpt: str | None
    error: str | None


class DeliveriesPage(TypedDict):
    """Deliveries, newest first."""

    deliveries: list[DeliveryShown]
    next_cursor: str | None


class Retried(TypedDict):
    """How many deliveries will be tried anew."""

    retried: int


def _moment(ms: int | None) -> Moment | None:
    return None if ms is None else rfc3339(ms)


def show_endpoint(endpoint: WebhookEndpoint, secret: str | None = None) -> EndpointShown:
    """A webhook endpoint; with its secret where that is new."""
    shown: EndpointShown = {
        "id": endpoint.endpoint_id,
        "url": endpoint.url,
        "events": list(endpoint.events),
        "enabled": endpoint.enabled,
        "disabled_at": _moment(endpoint.disabled_ms),
        "disabled_reason": cast(
            Literal["admin", "gone", "failing"] | None, endpoint.disabled_reason
        ),
        "failing_since": _moment(endpoint.failing_since_ms),
        "created_at": rfc3339(endpoint.created_ms),
        "updated_at": rfc3339(endpoint.updated_ms),
    }
    if secret is not None:
        shown["secret"] = secret
    return shown


def show_endpoints(endpoints: Iterable[WebhookEndpoint]) -> EndpointList:
    """All webhook endpoints."""
    return {"endpoints": [show_endpoint(endpoint) for endpoint in endpoints]}


def show_delivery(delivery: LoggedDelivery) -> DeliveryShown:
    """A delivery."""
    waits = delivery.state == "waiting"
    return {
        "id": str(delivery.delivery_id),
        "destination": delivery.destination,
        "event_id": delivery.event_id,
        "type": delivery.type,
        "subject": delivery.subject,
        "sequence": delivery.subject_sequence,
        "state": cast(Literal["waiting", "delivered", "parked"], delivery.state),
        "attempts": delivery.attempts,
        "created_at": rfc3339(delivery.dealt_ms),
        "next_attempt_at": rfc3339(delivery.next_ms) if waits else None,
        "ended_at": _moment(delivery.ended_ms),
        "response_status": delivery.status,
        "response_excerpt": delivery.excerpt,
        "error": delivery.detail,
    }


def show_deliveries(page: DeliveryPage) -> DeliveriesPage:
    """A page of deliveries."""
    return {
        "deliveries": [show_delivery(delivery) for delivery in page.deliveries],
        "next_cursor": page.next_cursor,
    }
