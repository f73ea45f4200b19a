"""A hold that nobody confirmed gives its units back, whether or not a worker is there to do it."""

from __future__ import annotations

import asyncio
import random
import time
from datetime import datetime

import pytest

from tests.helpers import books
from tests.helpers.client import Answer, Client
from tests.helpers.faults import frozen
from tests.helpers.load import levels_of, make_hold, make_key, put_sale, sale_body
from tests.helpers.servers import System

SEED = 3


@pytest.fixture(scope="module")
def system(shared_system: System) -> System:
    """One with other modules: nothing here breaks it."""
    return shared_system


async def until_due(held: Answer) -> None:
    """Sleep until the deadline of a hold has passed."""
    deadline = datetime.fromisoformat(held.json["hold_expires_at"]).timestamp()
    await asyncio.sleep(deadline + 0.02 - time.time())


async def test_a_hold_of_two_seconds_is_swept_soon_after_its_deadline(
    system: System, admin: Client, service: Client
) -> None:
    await put_sale(admin, "swept", sale_body({"A": 5}, hold_seconds=2))
    held = await make_hold(random.Random(SEED), "swept", {"A": 5}).send(service)
    assert held.status == 201
    assert await levels_of(service, "swept") == {"A": (0, 5, 0)}
    await until_due(held)
    due_s = time.monotonic()
    # Redis itself, which no question about this sale has reminded of what is due.
    while await books.in_redis(system, "swept") != {"A": (5, 0, 0)}:
        assert time.monotonic() < due_s + 10, "nobody sweeps"
        await asyncio.sleep(0.02)
    print(f"swept {time.monotonic() - due_s:.2f} s after the deadline")
    customer = held.json["customer_id"]
    now = await service.get(f"/v1/bookings/{held.json['id']}?customer_id={customer}")
    assert (now.json["status"], now.json["cancel_reason"]) == ("CANCELLED", "expired")
    await books.drained(system)
    changes = await admin.get("/v1/sales/swept/items/A/history")
    assert [change["type"] for change in changes.json["changes"]] == ["expired", "held", "sale_put"]


async def test_without_a_sweeper_a_due_hold_goes_to_the_next_buyer_at_once(
    system: System, admin: Client, service: Client
) -> None:
    await put_sale(admin, "unswept", sale_body({"A": 5}, hold_seconds=2))
    rng = random.Random(SEED)
    async with frozen(*system.pids["worker"]):
        held = await make_hold(rng, "unswept", {"A": 5}).send(service)
        assert held.status == 201
        refused = await make_hold(rng, "unswept", {"A": 1}).send(service)
        assert refused.code == "sold_out"
        await until_due(held)
        assert await books.in_redis(system, "unswept") == {"A": (0, 5, 0)}, "nobody swept"
        # What is due counts as available, and is.
        assert await levels_of(service, "unswept") == {"A": (5, 0, 0)}
        bought = await make_hold(rng, "unswept", {"A": 5}).send(service)
        assert bought.status == 201
        late = await service.post(
            f"/v1/bookings/{held.json['id']}/extend", {"customer_id": held.json["customer_id"]}
        )
        assert late.code == "hold_expired"
    confirmed = await service.post(
        f"/v1/bookings/{bought.json['id']}/pay",
        {"customer_id": bought.json["customer_id"]},
        key=make_key(rng),
    )
    assert (confirmed.status, confirmed.json["status"]) == (200, "CONFIRMED")
    await books.drained(system)
    assert await books.check_levels(system, service, "unswept", {"A": 5}) == {"A": (0, 0, 5)}
