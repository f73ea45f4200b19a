"""The payment gateway away for longer than every hold and its grace: ten minutes, in short.

Holds under payment end by themselves, their units are for sale again, and once the gateway is back
each charge that it made meanwhile, or makes late, is used or returned.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.helpers import books, payers
from tests.helpers.client import Answer, Client
from tests.helpers.faults import frozen, kept_down
from tests.helpers.load import levels_of, make_hold, make_key, put_sale, sale_body
from tests.helpers.servers import System
from tests.helpers.stage import eventually

BUYERS = 4
"""Of each sale, and as many units."""
PRICE = 1_999
SHORT = {
    "HOLDFAST_PAYMENT_GRACE_MS": "1000",
    "HOLDFAST_PAYMENT_STUCK_MS": "1000",
    "HOLDFAST_PAY_DEADLINE_MS": "500",
    "HOLDFAST_GATEWAY_TIMEOUT_MS": "1000",
}
HOLD_SECONDS = 3


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """One whose clocks of payments are short."""
    with System(tmp_path_factory.mktemp("system") / "data", **SHORT) as running:
        yield running


@dataclass
class Buyer:
    """Holds a unit and pays for it."""

    service: Client
    booking_id: str
    customer: dict[str, str]
    key: str

    async def pay(self) -> Answer:
        """Send the same request, each time."""
        body = {**self.customer, "payment_method": payers.GOOD}
        return await self.service.post(f"/v1/bookings/{self.booking_id}/pay", body, key=self.key)

    async def booking(self) -> Any:
        """The booking as it is now."""
        return (await self.service.get(f"/v1/bookings/{self.booking_id}")).json


async def buyer_of(service: Client, sale_id: str, rng: random.Random) -> Buyer:
    """A buyer with a hold."""
    hold = make_hold(rng, sale_id, {"A": 1})
    held = await hold.send(service)
    assert held.status == 201, held
    customer = {"customer_id": hold.body["customer_id"]}
    return Buyer(service, held.json["id"], customer, make_key(rng))


def frozen_gateway(system: System) -> AbstractAsyncContextManager[None]:
    """It takes requests, and carries them out when it goes on."""
    return frozen(system.pids["gateway"])


def killed_gateway(system: System) -> AbstractAsyncContextManager[None]:
    """Nobody listens on its port."""
    return kept_down(system, "gateway")


AWAY = {"frozen": frozen_gateway, "killed": killed_gateway}


@pytest.mark.parametrize("how", AWAY)
async def test_stock_is_not_locked_and_each_charge_is_used_or_returned_in_the_end(
    system: System, admin: Client, service: Client, how: str
) -> None:
    rng = random.Random(how)
    kept, withdrawn, before = (f"{how}-{name}" for name in ("kept", "withdrawn", "before"))
    terms = sale_body({"A": BUYERS}, unit_price=PRICE, hold_seconds=HOLD_SECONDS)
    for sale_id in (kept, withdrawn, before):
        await put_sale(admin, sale_id, terms)
    paid = await buyer_of(service, before, rng)
    assert (await paid.pay()).status == 200
    async with AWAY[how](system):
        waiting = {
            sale_id: await asyncio.gather(*(wait(service, sale_id, rng) for _ in range(BUYERS)))
            for sale_id in (kept, withdrawn)
        }
        everybody = [buyer for buyers in waiting.values() for buyer in buyers]
        cancelled = await service.post(f"/v1/bookings/{paid.booking_id}/cancel", paid.customer)
        assert cancelled.json["payment"]["status"] == "REFUNDING"

        async def units_are_back() -> bool:
            levels = [await levels_of(service, sale_id) for sale_id in (kept, withdrawn, before)]
            return levels == [{"A": (BUYERS, 0, 0)}] * 3

        await eventually(units_are_back, "all holds to have ended", 60)
        ended = [await buyer.booking() for buyer in everybody]
        assert {(one["status"], one["cancel_reason"]) for one in ended} == {
            ("CANCELLED", "expired")
        }
        await eventually(lambda: are_stuck(admin, [*everybody, paid]), "all to show as stuck", 60)
        # Late money finds no unit there.
        answer = await admin.put(
            f"/v1/sales/{withdrawn}", {**terms, "items": [{**terms["items"][0], "capacity": 0}]}
        )
        assert answer.status == 200, answer
        assert await payers.open_payments(system) == len(everybody) + 1
    await payers.settled(system)
    ends = Counter[tuple[str, str, str]]()
    for sale_id, buyers in waiting.items():
        for buyer in buyers:
            booking = await buyer.booking()
            ends[sale_id, booking["status"], booking["payment"]["status"]] += 1
    assert ends == {
        (kept, "CONFIRMED", "CAPTURED"): BUYERS,
        (withdrawn, "CANCELLED", "VOIDED"): BUYERS,
    }
    assert (await paid.booking())["payment"]["status"] == "REFUNDED"
    assert [await levels_of(service, name) for name in (kept, withdrawn, before)] == [
        {"A": (0, 0, BUYERS)},
        {"A": (0, 0, 0)},
        {"A": (BUYERS, 0, 0)},
    ]
    for buyer in waiting[kept]:
        again = await buyer.pay()
        assert (again.status, again.json["payment"]["status"]) == (200, "CAPTURED")
    await check_charges(system, {buyer.booking_id for buyer in waiting[kept]})
    await books.drained(system)
    await books.check_verify(system)


async def wait(service: Client, sale_id: str, rng: random.Random) -> Buyer:
    """A buyer who has sent the request to pay, and is told to wait."""
    buyer = await buyer_of(service, sale_id, rng)
    answer = await buyer.pay()
    assert answer.status == 202, answer
    return buyer


async def are_stuck(admin: Client, buyers: list[Buyer]) -> bool:
    """Whether operators are shown the payments of all of them."""
    shown = (await admin.get("/v1/ops/payments/stuck?limit=100")).json["payments"]
    stuck = {payment["booking"]["id"] for payment in shown}
    return {buyer.booking_id for buyer in buyers} <= stuck


async def check_charges(system: System, bought: set[str]) -> None:
    """No money that nobody counts on, and each sold booking's once."""
    totals = await payers.ask_referee(system, "totals")
    assert (totals["duplicate_charges"], totals["open_authorizations"]) == (0, 0), totals
    taken = Counter(
        charge["booking_id"]
        for charge in await payers.charges_of(system)
        if charge["amount_captured"] > charge["amount_refunded"]
    )
    assert {name: taken[name] for name in bought} == dict.fromkeys(bought, 1)
