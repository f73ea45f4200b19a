"""Buyers that never rest: seeded load on a system, of which everything is known afterwards.

Each buyer does one thing after the other, so that what its bookings must be is known. A request
whose outcome is not known (no answer, 503) is sent again as it was, with the same key, until it is:
that is what the contract asks of a caller.
"""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

from tests.helpers.client import UNKNOWN, Answer, Client

AGAIN: Final = frozenset({UNKNOWN, 429, 503})
"""Statuses after which the very same request is sent again."""
CONFIRMED, CANCELLED, PENDING = "CONFIRMED", "CANCELLED", "PENDING"


def sale_body(capacities: Mapping[str, int], *, unit_price: int = 0, **fields: Any) -> Any:
    """A sale; without a price its bookings can be confirmed without a payment."""
    items = [
        {"id": item, "name": f"Item {item}", "capacity": capacity, "unit_price": unit_price}
        for item, capacity in capacities.items()
    ]
    return {"name": "A sale", "hold_seconds": 3600, "items": items, **fields}


def items_of(capacities: Mapping[str, Mapping[str, int]]) -> dict[str, list[str]]:
    """The items of each sale, in order."""
    return {sale_id: sorted(by_item) for sale_id, by_item in capacities.items()}


async def put_sales(
    admin: Client, capacities: Mapping[str, Mapping[str, int]], **fields: Any
) -> None:
    """Create sales of items that cost nothing."""
    for sale_id, by_item in capacities.items():
        await put_sale(admin, sale_id, sale_body(by_item, **fields))


async def put_sale(admin: Client, sale_id: str, body: Any) -> None:
    """Create a sale that must not exist yet."""
    answer = await admin.put(f"/v1/sales/{sale_id}", body)
    assert answer.status == 201, answer


async def levels_of(client: Client, sale_id: str) -> dict[str, tuple[int, int, int]]:
    """Available, held and sold by item, as fresh as can be; their sum is the capacity."""
    answer = await client.get(f"/v1/sales/{sale_id}/availability?fresh=1")
    assert answer.status == 200, answer
    levels = {}
    for item in answer.json["items"]:
        levels[item["item_id"]] = (item["available"], item["held"], item["sold"])
        assert sum(levels[item["item_id"]]) == item["capacity"], item
    return levels


def make_key(rng: random.Random) -> str:
    """A UUID of version 4 that a seed decides."""
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


@dataclass(frozen=True, slots=True)
class Hold:
    """A request for a booking, ready to be sent as often as need be."""

    key: str
    body: Any

    async def send(self, client: Client, **options: Any) -> Answer:
        """Send it once."""
        return await client.post("/v1/bookings", self.body, key=self.key, **options)


def make_hold(
    rng: random.Random, sale_id: str, lines: Mapping[str, int], customer_id: str | None = None
) -> Hold:
    """A hold of some quantities by item, for a customer of its own if none is named."""
    customer = customer_id or f"customer-{rng.getrandbits(48):012x}"
    asked = [{"item_id": item, "quantity": quantity} for item, quantity in lines.items()]
    return Hold(make_key(rng), {"sale_id": sale_id, "customer_id": customer, "lines": asked})


@dataclass(slots=True)
class Tracked:
    """A booking, and what it must be: its status as the last answer said."""

    booking_id: str
    hold: Hold
    first_body: bytes
    status: str = PENDING

    @property
    def customer(self) -> dict[str, str]:
        """Whom a trusted caller names."""
        return {"customer_id": self.hold.body["customer_id"]}

    @property
    def query(self) -> str:
        """The same, for a GET."""
        return f"customer_id={self.hold.body['customer_id']}"


@dataclass(slots=True)
class Load:
    """Buyers on some sales; a context manager: they buy inside, and have all finished outside.

    Args:
        client: acts for every customer (`bookings:any`).
        items: the items of each sale, without a price.
        buyers: how many at once.
        pause_s: a buyer's longest rest between two requests; the load is set by it.
        give_up_s: how long the same request is sent again before the test fails.
        expires: whether the sales' holds may come to their deadline.
    """

    client: Client
    items: Mapping[str, Sequence[str]]
    seed: int
    buyers: int = 12
    pause_s: float = 0.05
    give_up_s: float = 60.0
    expires: bool = False
    tracked: list[Tracked] = field(default_factory=list)
    given_up: list[str] = field(default_factory=list)
    resent: int = 0
    _stopping: bool = False
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        print(f"load: seed {self.seed}")
        for number in range(self.buyers):
            rng = random.Random(f"{self.seed}/{number}")
            self._tasks.append(asyncio.create_task(self._buy(rng)))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping = True
        await asyncio.gather(*self._tasks)

    async def held_more(self, count: int, timeout_s: float = 60.0) -> None:
        """Wait until that many further bookings have been answered 201."""
        wanted, deadline = len(self.tracked) + count, time.monotonic() + timeout_s
        while len(self.tracked) < wanted:
            assert time.monotonic() < deadline, f"no {count} holds in {timeout_s} s"
            for task in self._tasks:
                if task.done():
                    task.result()
            await asyncio.sleep(0.01)

    async def _buy(self, rng: random.Random) -> None:
        own: list[Tracked] = []
        while not self._stopping:
            if not own or rng.random() < 0.6:
                await self._hold(rng, own)
            else:
                await self._act(rng, own)
            await asyncio.sleep(rng.random() * self.pause_s)

    async def _hold(self, rng: random.Random, own: list[Tracked]) -> None:
        sale_id = rng.choice(sorted(self.items))
        items = rng.sample(self.items[sale_id], rng.randint(1, min(3, len(self.items[sale_id]))))
        hold = make_hold(rng, sale_id, {item: rng.randint(1, 2) for item in items})
        if booking := await self.hold(hold):
            own.append(booking)

    async def hold(self, hold: Hold) -> Tracked | None:
        """Hold, whatever became of it before, and remember it if it is held."""
        answer = await self._insist("/v1/bookings", hold.body, hold.key)
        if answer.status != 201:
            return None
        self.tracked.append(Tracked(answer.json["id"], hold, answer.body))
        return self.tracked[-1]

    async def _act(self, rng: random.Random, own: list[Tracked]) -> None:
        """Do something to a booking of one's own; one that is done with is let go."""
        booking = rng.choice(own)
        what = rng.choices(("again", "read", "extend", "confirm", "cancel"), (2, 2, 1, 2, 2))[0]
        path = f"/v1/bookings/{booking.booking_id}"
        if what == "again":
            answer = await self._insist("/v1/bookings", booking.hold.body, booking.hold.key)
            expected = (answer.status, answer.body) == (201, booking.first_body)
            assert expected or answer.status in AGAIN, (booking, answer)
        elif what == "read":
            answer = await self.client.get(f"{path}?{booking.query}")
            possible = {booking.status, CANCELLED} if self.expires else {booking.status}
            assert answer.status in AGAIN or answer.json["status"] in possible, answer
        elif what == "extend":
            await self._insist(f"{path}/extend", booking.customer, None)
        elif what == "confirm":
            answer = await self._insist(f"{path}/pay", booking.customer, make_key(rng))
            if answer.status == 200:
                booking.status = CONFIRMED
            elif answer.status == 409 and self.expires:
                booking.status = CANCELLED
            own.remove(booking)
        else:
            answer = await self._insist(f"{path}/cancel", booking.customer, None)
            booking.status = CANCELLED if answer.status == 200 else booking.status
            own.remove(booking)

    async def _insist(self, path: str, body: Any, key: str | None) -> Answer:
        """Send the same again until the outcome is known."""
        deadline = time.monotonic() + self.give_up_s
        wait_s = 0.02
        while True:
            answer = await self.client.post(path, body, key=key)
            if answer.status not in AGAIN:
                return answer
            if time.monotonic() > deadline:
                self.given_up.append(f"{path} {key}: {answer.status} {answer.code}")
                return answer
            self.resent += 1
            await asyncio.sleep(wait_s)
            wait_s = min(0.5, wait_s * 2)
