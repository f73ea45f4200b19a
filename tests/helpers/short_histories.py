"""Short histories of one item over HTTP, while connections are cut and Redis stands still."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from tests.helpers.client import UNKNOWN as NO_ANSWER
from tests.helpers.client import Answer, Client, History
from tests.helpers.fault_proxy import FaultProxy, Kind
from tests.helpers.faults import frozen
from tests.helpers.linearizable import UNKNOWN, order_of
from tests.helpers.load import make_hold, make_key, put_sale, sale_body
from tests.helpers.one_item import OneItem, calls_of
from tests.helpers.servers import System

CAPACITY: Final = 2
CALLERS: Final = 4
EACH: Final = 4
"""What a caller does, one after the other."""
CUT_OF_TEN: Final = 3
FROZEN_S: Final = 0.25
HANGS_UP_S: Final = 0.15
"""A caller that hangs up while Redis stands still: what it asked happens afterwards."""


@dataclass(slots=True)
class Histories:
    """Makes histories and checks each. `unknown` counts calls without an answer."""

    system: System
    seed: int
    count: int = 0
    calls: int = 0
    unknown: int = 0
    faults: Counter[str] = field(default_factory=Counter)

    async def make(self, how_many: int, *, freeze_every: int) -> None:
        """Make some histories on items of their own; fails at the first that no order explains.

        Args:
            freeze_every: in one of so many Redis is stopped in the middle.
        """
        print(f"short histories: seed {self.seed}, {how_many}")
        url, headers = self.system.url, self.system.headers("service")
        proxy = FaultProxy(url, keeps_keys=False, upstream_keeps_keys=True)
        async with proxy.serve(), Client(url, self.system.headers("admin")) as admin:
            for number in range(how_many):
                sale_id = f"short-{self.seed}-{number}"
                await put_sale(admin, sale_id, sale_body({"A": CAPACITY}))
                # One client for all, so that the history is one.
                async with Client(proxy.url, headers) as client:
                    await self._make(sale_id, client, proxy, freeze=number % freeze_every == 0)
                    self._check(sale_id, client.history)

    async def _make(self, sale_id: str, client: Client, proxy: FaultProxy, *, freeze: bool) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(CALLERS):
                caller = _Caller(sale_id, client, proxy, self.faults, freeze=freeze)
                group.create_task(caller.run(random.Random(f"{sale_id}/{number}")))
            if freeze:
                await asyncio.sleep(0.01)
                async with frozen(self.system.pids["redis"]):
                    self.faults["redis frozen"] += 1
                    await asyncio.sleep(FROZEN_S)
        # What was on its way when its caller hung up has happened or never will, for a last look.
        await client.get(f"/v1/sales/{sale_id}/availability?fresh=1")

    def _check(self, sale_id: str, history: History) -> None:
        assert not history.surprises(), history.surprises()
        calls = calls_of(history)
        self.count += 1
        self.calls += len(calls)
        self.unknown += sum(call.told == UNKNOWN for call in calls)
        told = "\n".join(map(str, sorted(calls, key=lambda call: call.began_s)))
        assert order_of(calls, OneItem(CAPACITY)), f"{sale_id}: no order explains\n{told}"


@dataclass(slots=True)
class _Caller:
    """Does one thing after the other, and the same once more where it was told nothing."""

    sale_id: str
    client: Client
    proxy: FaultProxy
    faults: Counter[str]
    freeze: bool

    async def run(self, rng: random.Random) -> None:
        booking_id, customer = "", {}
        hold = make_hold(rng, self.sale_id, {"A": rng.choice((1, 1, 2))})
        for _ in range(EACH):
            what = rng.choice(("extend", "cancel", "cancel", "pay", "pay", "again", "read"))
            if not booking_id or what == "again":
                answer = await self._send(rng, "/v1/bookings", hold.body, hold.key)
                if answer.status == 201:
                    booking_id = answer.json["id"]
                    customer = {"customer_id": hold.body["customer_id"]}
                elif answer.status == 409:
                    hold = make_hold(rng, self.sale_id, {"A": 1})
            elif what == "read":
                await self._send(rng, f"/v1/sales/{self.sale_id}/availability?fresh=1", None, None)
            else:
                key = make_key(rng) if what == "pay" else None
                await self._send(rng, f"/v1/bookings/{booking_id}/{what}", customer, key)

    async def _send(self, rng: random.Random, path: str, body: object, key: str | None) -> Answer:
        """Send a request, perhaps through a fault; once more where no answer comes."""
        for _ in range(2):
            if rng.randrange(10) < CUT_OF_TEN:
                kind = rng.choice((Kind.DROP_REQUEST, Kind.DROP_ANSWER))
                self.proxy.plan(kind)
                self.faults[kind.value] += 1
            hangs_up = self.freeze and rng.random() < 0.5
            answer = await self.client.request(
                "GET" if body is None else "POST",
                path,
                body,
                key=key,
                abandon_after_s=HANGS_UP_S if hangs_up else None,
            )
            if answer.status != NO_ANSWER:
                break
        return answer
