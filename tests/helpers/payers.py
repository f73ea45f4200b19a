"""Buyers who pay through a system whose gateway, processes and webhooks fail, and the referee.

Each sends the same request again until it has a final answer, as the contract asks of a caller.
Some have their first card declined; some cancel in the middle and must get their money back.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
import redis.asyncio

from engine.keys import Keys
from tests.helpers import books
from tests.helpers.client import UNKNOWN, Client
from tests.helpers.load import levels_of, make_hold, make_key, put_sale, sale_body
from tests.helpers.servers import System
from tests.helpers.stage import eventually

FAULTS: Final = {
    "HOLDFAST_SIMULATOR_LATENCY_MS": "50",
    "HOLDFAST_SIMULATOR_ERROR_RATE": "0.1",
    "HOLDFAST_SIMULATOR_KEPT_ERROR_RATE": "0.03",
    "HOLDFAST_SIMULATOR_LOST_ANSWER_RATE": "0.2",
    "HOLDFAST_SIMULATOR_DUPLICATE_WEBHOOK_RATE": "0.2",
    "HOLDFAST_SIMULATOR_LATE_WEBHOOK_RATE": "0.2",
    "HOLDFAST_SIMULATOR_REORDERED_WEBHOOK_RATE": "0.1",
    "HOLDFAST_SIMULATOR_LATE_WEBHOOK_MS": "1500",
    "HOLDFAST_SIMULATOR_WEBHOOK_RETRY_MS": "200",
}
SALE: Final = "paid"
PRICE: Final = 1_999
GOOD: Final = "pm_card_visa"
BAD: Final = "pm_card_chargeDeclined"
AGAIN: Final = frozenset({UNKNOWN, 202, 429, 503})
"""Statuses after which the very same request is sent again."""
LIVE: Final = ("CONFIRMED", "CAPTURED")


@dataclass
class Buyers:
    """So many who buy a unit each, `at_once` at a time; fewer, once `stopping` is set.

    `pause_s`: the longest rest between one who is served and the next.
    """

    client: Client
    count: int
    seed: int
    at_once: int = 24
    give_up_s: float = 300.0
    pause_s: float = 0.0
    stopping: bool = False
    paid: set[str] = field(default_factory=set)
    cancelled: set[str] = field(default_factory=set)

    async def run(self) -> None:
        """Let all of them buy, and come back when each has its final answer."""
        print(f"buyers: seed {self.seed}")
        numbers = iter(range(self.count))

        async def come() -> None:
            for number in numbers:
                if self.stopping:
                    return
                rng = random.Random(f"{self.seed}/{number}")
                await self._buy(number, rng)
                await asyncio.sleep(rng.random() * self.pause_s)

        await asyncio.gather(*(come() for _ in range(self.at_once)))

    async def paid_more(self, count: int, running: asyncio.Task[None]) -> None:
        """Wait until that many further buyers have paid."""
        wanted = len(self.paid) + count

        async def have_paid() -> bool:
            if running.done():
                running.result()
            return len(self.paid) >= wanted

        await eventually(have_paid, f"{count} payments", self.give_up_s)

    async def _buy(self, number: int, rng: random.Random) -> None:
        hold = make_hold(rng, SALE, {"A": 1})
        held = await self._insist("/v1/bookings", hold.body, hold.key, {201})
        booking_id = held["id"]
        customer = {"customer_id": hold.body["customer_id"]}
        path = f"/v1/bookings/{booking_id}"
        if number % 10 == 3:
            body = {**customer, "payment_method": BAD}
            await self._insist(f"{path}/pay", body, make_key(rng), {402})
        body = {**customer, "payment_method": GOOD}
        if number % 10 != 7:
            booking = await self._insist(f"{path}/pay", body, make_key(rng), {200})
            assert (booking["status"], booking["payment"]["status"]) == LIVE
            self.paid.add(booking_id)
            return
        paying = asyncio.create_task(
            self._insist(f"{path}/pay", body, make_key(rng), {200, 409, 402})
        )
        await asyncio.sleep(rng.uniform(0, 0.4))
        booking = await self._insist(f"{path}/cancel", customer, None, {200})
        assert booking["status"] == "CANCELLED"
        await paying
        self.cancelled.add(booking_id)

    async def _insist(self, path: str, body: Any, key: str | None, final: set[int]) -> Any:
        """Send the same again until the answer is final."""
        deadline = time.monotonic() + self.give_up_s
        while True:
            answer = await self.client.post(path, body, key=key)
            if answer.status in final:
                return answer.json
            assert answer.status in AGAIN, (path, answer)
            assert time.monotonic() < deadline, (path, key, answer)
            await asyncio.sleep(0.2)


async def open_sale(admin: Client, capacity: int) -> None:
    """The sale of `Buyers`; its holds outlive everything that goes wrong."""
    body = sale_body({"A": capacity}, unit_price=PRICE, hold_seconds=3600)
    await put_sale(admin, SALE, body)


async def open_payments(system: System) -> int:
    """Payments that a worker or an API process still has to end."""
    keys = Keys(books.PARTITIONS)
    async with redis.asyncio.Redis.from_url(system.run["redis_url"]) as client:
        counts = [
            int(await client.execute_command("ZCARD", keys.key("payments", partition)))
            for partition in range(books.PARTITIONS)
        ]
    return sum(counts)


async def ask_referee(system: System, what: str) -> Any:
    """What the simulator says of itself."""
    async with httpx.AsyncClient(trust_env=False, timeout=30) as http:
        return (await http.get(f"{system.run['gateway_url']}/_simulator/{what}")).json()


async def charges_of(system: System) -> list[Any]:
    """Every charge that the gateway made."""
    charges: list[Any] = []
    cursor: str | None = ""
    while cursor is not None:
        page = await ask_referee(system, f"charges?cursor={cursor}")
        charges += page["charges"]
        cursor = page["next_cursor"]
    return charges


async def settled(system: System, timeout_s: float = 120.0) -> None:
    """Wait until no payment is open, and the gateway has told everything."""

    async def nothing_open() -> bool:
        if await open_payments(system):
            return False
        return bool((await ask_referee(system, "totals"))["open_webhooks"] == 0)

    await eventually(nothing_open, "no payment is open any more", timeout_s)


async def check(system: System, buyers: Buyers, capacity: int) -> None:
    """One capture for each paid booking and none for others; units and books in step.

    What is open ends, and the books are compared, while the gateway still fails.
    """
    await settled(system)
    charges = await charges_of(system)
    live = Counter(
        charge["booking_id"]
        for charge in charges
        if charge["captured_ms"] is not None
        and charge["amount_refunded"] < charge["amount_captured"]
    )
    assert live == Counter(buyers.paid)
    assert all(
        charge["amount_captured"] == PRICE
        for charge in charges
        if charge["booking_id"] in live and charge["captured_ms"] is not None
    )
    totals = await ask_referee(system, "totals")
    assert totals["duplicate_charges"] == 0, totals
    assert totals["open_authorizations"] == 0, totals
    assert totals["lost_webhooks"] == 0, totals
    for booking_id in sorted(buyers.paid):
        now = (await buyers.client.get(f"/v1/bookings/{booking_id}")).json
        assert (now["status"], now["payment"]["status"]) == LIVE, now
    for booking_id in sorted(buyers.cancelled):
        now = (await buyers.client.get(f"/v1/bookings/{booking_id}")).json
        assert now["status"] == "CANCELLED", now
        # Cancelled before the intent was written down, or after.
        payment = now["payment"] or {"status": "DECLINED"}
        assert payment["status"] in {"DECLINED", "VOIDED", "REFUNDED"}, now
    paid = len(buyers.paid)
    assert await levels_of(buyers.client, SALE) == {"A": (capacity - paid, 0, paid)}
    await books.drained(system)
    await books.check_levels(system, buyers.client, SALE, {"A": capacity})
    verdict = await books.check_verify(system)
    assert verdict["payments"] >= paid, verdict
