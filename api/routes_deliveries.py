"""Deliveries: what was sent where, what became of it, and sending it again."""

from __future__ import annotations

import time
from typing import Final

from api.call import Call, Reply, json_reply
from api.operations import ADMINS, DELIVERY, ENDPOINT, Answered, Operation
from api.paging import bad_cursor
from api.problems import Problem
from api.routes_endpoints import TAG, absent
from api.schemas import Nothing
from api.schemas_events import DeliveriesQuery, LogQuery, ParkedAsked
from api.shapes_events import (
    DeliveriesPage,
    DeliveryShown,
    Retried,
    show_deliveries,
    show_delivery,
)
from engine.limits import MAX_RETRIED_DELIVERIES
from persistence.endpoints import LoggedDelivery
from persistence.reads import InvalidCursor


async def _page(call: Call, destination: str | None, query: LogQuery) -> Reply:
    try:
        page = await call.parts.endpoints.deliveries(
            destination, query.state, query.limit, query.cursor
        )
    except InvalidCursor:
        raise bad_cursor() from None
    return json_reply(200, show_deliveries(page))


def _accepted(delivery: LoggedDelivery | None) -> Reply:
    if delivery is None:
        raise Problem("not_found", "There is no such delivery.")
    return json_reply(202, show_delivery(delivery))


async def list_endpoint_deliveries(call: Call) -> Reply:
    """The log of an endpoint, newest first."""
    endpoint_id = call.path["endpoint_id"]
    if await call.parts.endpoints.get(endpoint_id) is None:
        raise absent()
    return await _page(call, endpoint_id, call.query)


async def redeliver(call: Call) -> Reply:
    """Send an event to an endpoint once more."""
    return _accepted(
        await call.parts.endpoints.deliver_again(
            int(call.path["delivery_id"]), call.path["endpoint_id"]
        )
    )


async def test_endpoint(call: Call) -> Reply:
    """Send an endpoint an event that says nothing."""
    sent = await call.parts.endpoints.test(call.path["endpoint_id"], time.time_ns() // 1_000_000)
    if sent is None:
        raise absent()
    return _accepted(sent)


async def list_deliveries(call: Call) -> Reply:
    """Deliveries to wherever, newest first."""
    query: DeliveriesQuery = call.query
    return await _page(call, query.destination, query)


async def retry_delivery(call: Call) -> Reply:
    """Send an event once more to where it was to go."""
    return _accepted(await call.parts.endpoints.deliver_again(int(call.path["delivery_id"])))


async def retry_parked(call: Call) -> Reply:
    """Send everything that is parked at one place."""
    body: ParkedAsked = call.body
    retried: Retried = {"retried": await call.parts.endpoints.retry_parked(body.destination)}
    return json_reply(202, retried)


_AGAIN: Final = (
    "The event goes to the end of the place's queue, under the id it always had, and shows there "
    "as a delivery of its own. One that waits anyway is answered as it is."
)

OPERATIONS: Final = (
    Operation(
        name="listWebhookDeliveries",
        method="GET",
        path="/v1/webhook-endpoints/{endpoint_id}/deliveries",
        tag=TAG,
        summary="What was sent to a webhook endpoint, newest first",
        handler=list_endpoint_deliveries,
        scopes=ADMINS,
        path_ids={"endpoint_id": ENDPOINT},
        query=LogQuery,
        answers={200: Answered(about="A page of deliveries.", shape=DeliveriesPage)},
    ),
    Operation(
        name="redeliverWebhook",
        method="POST",
        path="/v1/webhook-endpoints/{endpoint_id}/deliveries/{delivery_id}/redeliver",
        tag=TAG,
        summary="Send an event to a webhook endpoint once more",
        about=_AGAIN,
        handler=redeliver,
        scopes=ADMINS,
        path_ids={"endpoint_id": ENDPOINT, "delivery_id": DELIVERY},
        body=Nothing,
        answers={202: Answered(about="It will be sent.", shape=DeliveryShown)},
    ),
    Operation(
        name="testWebhookEndpoint",
        method="POST",
        path="/v1/webhook-endpoints/{endpoint_id}/test",
        tag=TAG,
        summary="Send a test event to a webhook endpoint",
        about="An event of type `webhook.test` with empty `data`, whatever the filters are.",
        handler=test_endpoint,
        scopes=ADMINS,
        path_ids={"endpoint_id": ENDPOINT},
        body=Nothing,
        answers={202: Answered(about="It will be sent.", shape=DeliveryShown)},
    ),
    Operation(
        name="listDeliveries",
        method="GET",
        path="/v1/ops/deliveries",
        tag="operations",
        summary="Events on their way, and those that were parked",
        about="To webhooks, people and the stream; `state=parked` are those that were given up.",
        handler=list_deliveries,
        scopes=ADMINS,
        query=DeliveriesQuery,
        answers={200: Answered(about="A page of deliveries.", shape=DeliveriesPage)},
    ),
    Operation(
        name="retryDelivery",
        method="POST",
        path="/v1/ops/deliveries/{delivery_id}/retry",
        tag="operations",
        summary="Send an event once more",
        about=_AGAIN,
        handler=retry_delivery,
        scopes=ADMINS,
        path_ids={"delivery_id": DELIVERY},
        body=Nothing,
        answers={202: Answered(about="It will be sent.", shape=DeliveryShown)},
    ),
    Operation(
        name="retryParkedDeliveries",
        method="POST",
        path="/v1/ops/deliveries/retry",
        tag="operations",
        summary="Send everything that was given up at one place",
        about=(
            "After the place has been mended: the deliveries wait again, where they were in the "
            f"order of their subjects, each under the id it had. At most {MAX_RETRIED_DELIVERIES} "
            "a call, the oldest first; 0 says that there are no more."
        ),
        handler=retry_parked,
        scopes=ADMINS,
        body=ParkedAsked,
        body_required=True,
        answers={202: Answered(about="They will be sent.", shape=Retried)},
    ),
)
