"""The paths that are asked most lead, without the routes, where the routes lead."""

from __future__ import annotations

from typing import Any, cast

import pytest
from starlette.routing import Match, Route
from starlette.types import Receive, Scope, Send

from api.app import OPERATIONS
from api.endpoint import Endpoint
from api.shortcuts import Shortcuts


async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
    raise AssertionError("nobody calls it")


OFTEN = sorted({operation.path for operation in OPERATIONS if operation.often})


def test_what_a_rush_asks_has_shortcuts() -> None:
    assert OFTEN == [
        "/v1/bookings",
        "/v1/bookings/{booking_id}",
        "/v1/sales/{sale_id}/availability",
    ]


@pytest.mark.parametrize(
    "path",
    [
        "/v1/bookings",
        "/v1/bookings/",
        "/v1/bookings/x",
        "/v1/bookings/x/",
        "/v1/bookings/x/pay",
        "/v1/bookings/a b",
        "/v1/bookings/é\n",
        "/v1/bookingsx",
        "/v1/sales/gig/availability",
        "/v1/sales//availability",
        "/v1/sales/availability",
        "/v1/sales/a/b/availability",
        "/v1/sales/gig/availability/",
        "/v1/sales/gig",
        "/",
        "",
    ],
)
def test_a_shortcut_finds_what_its_route_finds(path: str) -> None:
    scope: dict[str, Any] = {"type": "http", "method": "GET", "path": path, "root_path": ""}
    routed = None
    for template in OFTEN:
        match, child = Route(template, endpoint, methods=["GET"]).matches(scope)
        if match is Match.FULL:
            routed = child["path_params"]
    found = Shortcuts(dict.fromkeys(OFTEN, cast("Endpoint", endpoint))).find(scope)
    assert (found is not None) is (routed is not None)
    assert scope.get("path_params") == routed
