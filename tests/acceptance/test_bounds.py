"""Numbers at their bounds come back to the unit, wherever they have been; past them, nothing does.

2^53 - 1 is the largest integer that Lua's doubles and JSON readers keep exact; each neighbour
would show if a number had been a float, or a string of fourteen digits, on its way.
"""

from __future__ import annotations

import random

import asyncpg
import pytest

from tests.helpers import books
from tests.helpers.client import Client
from tests.helpers.load import levels_of, make_hold, make_key, put_sale, sale_body
from tests.helpers.servers import System

SEED = 5
MOST = 2**53 - 1


@pytest.fixture(scope="module")
def system(shared_system: System) -> System:
    """One with other modules: nothing here breaks it."""
    return shared_system


async def test_totals_and_levels_at_the_bound_come_back_to_the_unit(
    system: System, admin: Client, service: Client
) -> None:
    body = sale_body({"A": MOST, "B": MOST - 1}, max_units_per_customer=MOST)
    for item, unit_price in zip(body["items"], (MOST, 3), strict=True):
        item |= {"unit_price": unit_price, "max_per_booking": MOST}
    await put_sale(admin, "bound", body)
    sale = (await service.get("/v1/sales/bound")).json
    assert [item["capacity"] for item in sale["items"]] == [MOST, MOST - 1]
    assert [item["max_per_booking"] for item in sale["items"]] == [MOST, MOST]
    assert sale["max_units_per_customer"] == MOST

    rng = random.Random(SEED)
    dear = await make_hold(rng, "bound", {"A": 1}, "rich").send(service)
    assert dear.json["total"] == {"amount": MOST, "currency": "USD"}
    assert f'"amount":{MOST}'.encode() in dear.body.replace(b" ", b"")
    cheap = await make_hold(rng, "bound", {"B": 1000}, "rich").send(service)
    assert cheap.json["total"]["amount"] == 3000
    levels = {"A": (MOST - 1, 1, 0), "B": (MOST - 1001, 1000, 0)}
    assert await levels_of(service, "bound") == levels

    await books.drained(system)
    capacities = {"A": MOST, "B": MOST - 1}
    assert await books.check_levels(system, service, "bound", capacities) == levels
    for answer in (
        await service.get(f"/v1/bookings/{dear.json['id']}?customer_id=rich"),
        await service.get("/v1/bookings?customer_id=rich&sale_id=bound"),
    ):
        booking = answer.json["bookings"][1] if "bookings" in answer.json else answer.json
        assert booking == dear.json
    connection = await asyncpg.connect(system.run["database_url"])
    try:
        amount = await connection.fetchval(
            "SELECT amount FROM bookings WHERE booking_id = $1", dear.json["id"]
        )
    finally:
        await connection.close()
    assert amount == MOST
    changes = (await admin.get("/v1/sales/bound/items/A/history")).json["changes"]
    assert [tuple(change["deltas"].values()) for change in changes] == [(-1, 1, 0), (MOST, 0, 0)]
    assert [change["levels"]["available"] for change in changes] == [MOST - 1, MOST]

    given_back = await service.post(
        f"/v1/bookings/{cheap.json['id']}/cancel", {"customer_id": "rich"}
    )
    assert given_back.json["status"] == "CANCELLED"
    assert (await levels_of(service, "bound"))["B"] == (MOST - 1, 0, 0)
    await books.check_verify(system)


async def test_one_past_a_bound_is_refused_and_changes_nothing(
    admin: Client, service: Client
) -> None:
    body = sale_body({"A": MOST}, unit_price=MOST)
    await put_sale(admin, "past", body)
    item = body["items"][0]
    for wrong in ({"capacity": MOST + 1}, {"unit_price": MOST + 1}, {"capacity": 1.5}):
        answer = await admin.put("/v1/sales/past", {**body, "items": [{**item, **wrong}]})
        assert answer.code == "invalid_request", wrong
        (path,) = (fault["path"] for fault in answer.json["errors"])
        assert path == f"items.0.{next(iter(wrong))}"
    rng = random.Random(SEED)
    too_dear = await make_hold(rng, "past", {"A": 2}).send(service)
    assert too_dear.code == "invalid_request"
    for lines in (
        [],
        [{"item_id": "A", "quantity": 0}],
        [{"item_id": "A", "quantity": 1001}],
        [{"item_id": "A", "quantity": 1.0}],
        [{"item_id": "A", "quantity": True}],
        [{"item_id": "A", "quantity": 1}] * 51,
        [{"item_id": "A" * 65, "quantity": 1}],
    ):
        wrong_hold = {"sale_id": "past", "customer_id": "c", "lines": lines}
        answer = await service.post("/v1/bookings", wrong_hold, key=make_key(rng))
        assert answer.code == "invalid_request", lines
    assert await levels_of(service, "past") == {"A": (MOST, 0, 0)}


async def test_the_largest_cart_is_held_and_counted_whole(
    system: System, admin: Client, service: Client
) -> None:
    capacities = {f"item-{number}": 1000 for number in range(50)}
    await put_sale(admin, "largest", sale_body(capacities, unit_price=7))
    held = await make_hold(random.Random(SEED), "largest", capacities).send(service)
    assert held.status == 201
    assert held.json["total"]["amount"] == 50 * 1000 * 7
    assert [line["quantity"] for line in held.json["lines"]] == [1000] * 50
    await books.drained(system)
    levels = await books.check_levels(system, service, "largest", capacities)
    assert levels == dict.fromkeys(capacities, (0, 1000, 0))
