"""Webhook endpoints: where events of ours are sent."""

from __future__ import annotations

from typing import Final

from api.call import NO_CONTENT, Call, Reply, json_reply
from api.operations import ADMINS, ENDPOINT, Answered, Operation
from api.problems import Fault, Problem, invalid
from api.schemas_events import EndpointChanged, EndpointMade, is_private_address
from api.shapes_events import EndpointList, EndpointShown, show_endpoint, show_endpoints
from engine.limits import MAX_WEBHOOK_ENDPOINTS

TAG: Final = "webhooks"


def absent() -> Problem:
    """There is no such endpoint."""
    return Problem("not_found", "There is no such webhook endpoint.")


def _check_url(call: Call, url: str | None) -> None:
    if url and is_private_address(url) and not call.parts.settings.webhook_allow_private:
        raise invalid(
            "The URL leads where webhooks do not go.", [Fault("url", "not a public address")]
        )


async def create_endpoint(call: Call) -> Reply:
    """Add an endpoint; the answer is the only one that tells its secret."""
    body: EndpointMade = call.body
    _check_url(call, body.url)
    made = await call.parts.endpoints.create(body.url, body.events)
    if made is None:
        raise Problem("invalid_state", f"There are {MAX_WEBHOOK_ENDPOINTS} endpoints already.")
    return json_reply(201, show_endpoint(*made))


async def list_endpoints(call: Call) -> Reply:
    """All endpoints."""
    return json_reply(200, show_endpoints(await call.parts.endpoints.list()))


async def get_endpoint(call: Call) -> Reply:
    """One endpoint."""
    found = await call.parts.endpoints.get(call.path["endpoint_id"])
    if found is None:
        raise absent()
    return json_reply(200, show_endpoint(found))


async def change_endpoint(call: Call) -> Reply:
    """Change what the body names."""
    body: EndpointChanged = call.body
    _check_url(call, body.url)
    changed = await call.parts.endpoints.change(
        call.path["endpoint_id"],
        url=body.url,
        events=body.events,
        enabled=body.enabled,
        rotate_secret=body.rotate_secret,
    )
    if changed is None:
        raise absent()
    return json_reply(200, show_endpoint(*changed))


async def delete_endpoint(call: Call) -> Reply:
    """Delete an endpoint with its log."""
    if not await call.parts.endpoints.delete(call.path["endpoint_id"]):
        raise absent()
    return Reply(NO_CONTENT, b"")


OPERATIONS: Final = (
    Operation(
        name="createWebhookEndpoint",
        method="POST",
        path="/v1/webhook-endpoints",
        tag=TAG,
        summary="Have events sent to a URL",
        about=(
            "Events are CloudEvents in JSON, signed as Standard Webhooks says, in order for each "
            "booking, at least once. `secret` is told in this answer and in no other."
        ),
        handler=create_endpoint,
        scopes=ADMINS,
        body=EndpointMade,
        body_required=True,
        answers={201: Answered(about="The endpoint, with its secret.", shape=EndpointShown)},
        codes=frozenset({"invalid_state"}),
    ),
    Operation(
        name="listWebhookEndpoints",
        method="GET",
        path="/v1/webhook-endpoints",
        tag=TAG,
        summary="All webhook endpoints",
        handler=list_endpoints,
        scopes=ADMINS,
        answers={200: Answered(about="The endpoints, the oldest first.", shape=EndpointList)},
    ),
    Operation(
        name="getWebhookEndpoint",
        method="GET",
        path="/v1/webhook-endpoints/{endpoint_id}",
        tag=TAG,
        summary="A webhook endpoint",
        handler=get_endpoint,
        scopes=ADMINS,
        path_ids={"endpoint_id": ENDPOINT},
        answers={200: Answered(about="The endpoint.", shape=EndpointShown)},
    ),
    Operation(
        name="changeWebhookEndpoint",
        method="PATCH",
        path="/v1/webhook-endpoints/{endpoint_id}",
        tag=TAG,
        summary="Change a webhook endpoint, or its secret",
        about=(
            "What the body leaves out stays. With `rotate_secret` the answer tells a new secret, "
            "and for a day deliveries are signed with both. `enabled` false keeps what waits, and "
            "true lets it go."
        ),
        handler=change_endpoint,
        scopes=ADMINS,
        path_ids={"endpoint_id": ENDPOINT},
        body=EndpointChanged,
        body_required=True,
        answers={200: Answered(about="The endpoint as changed.", shape=EndpointShown)},
    ),
    Operation(
        name="deleteWebhookEndpoint",
        method="DELETE",
        path="/v1/webhook-endpoints/{endpoint_id}",
        tag=TAG,
        summary="Delete a webhook endpoint with its log",
        handler=delete_endpoint,
        scopes=ADMINS,
        path_ids={"endpoint_id": ENDPOINT},
        answers={204: Answered(about="It is gone.", shape=None)},
    ),
)
