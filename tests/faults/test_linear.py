"""Short histories of one item, under lost requests and answers: some order of its operations, one
by one, explains all that its buyers and readers were told."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from engine import limits
from engine.engine import Engine
from engine.errors import Unavailable
from engine.scripts import load_script
from engine.types import CancelReason
from tests.helpers.engines import SEAT, gig, opened
from tests.helpers.linear import UNKNOWN, Operation, Told, is_linearizable
from tests.helpers.wire_proxy import Cut, WireProxy

HISTORIES = 40
AT_ONCE = 5
CAPACITY = 2
CLIENTS = 4
EACH = 4
"""Operations of a client, one after the other."""


class Client:
    """Does one thing after the other through an engine of its own, and writes down what it is told.

    One that is told nothing does no more about that unit: its outcome stays open.
    """

    def __init__(self, engine: Engine, proxy: WireProxy, sale_id: str, seed: str) -> None:
        self.engine, self.proxy, self.sale_id = engine, proxy, sale_id
        self.rng = random.Random(seed)
        self.name = seed.rpartition("/")[2]
        self.history: list[Operation] = []
        self.booking_id: str | None = None

    async def run(self) -> None:
        for number in range(EACH):
            if self.booking_id is None:
                who = f"{self.name}-{number}"
                await self.do("hold", who, "reserve", self.hold)
            else:
                name, script, call = self.rng.choice(
                    (
                        ("confirm", "confirm_free", self.confirm),
                        ("cancel", "cancel", self.cancel),
                    )
                )
                await self.do(name, self.who, script, call)
            if self.rng.random() < 0.5:
                await self.do("read", "", "get_sale", self.read)

    async def do(
        self, name: str, who: str, script: str, call: Callable[[str], Awaitable[Told]]
    ) -> None:
        if self.rng.random() < 0.25:
            cut = self.rng.choice((Cut.RESET_BEFORE, Cut.RESET_AFTER))
            for _ in range(self.rng.choice((1, limits.MAX_CALL_ATTEMPTS))):
                self.proxy.plan(cut, load_script(script).sha1)
        began_s = time.monotonic()
        try:
            told = await call(who)
        except Unavailable:
            told = UNKNOWN
            self.booking_id = None
        self.history.append(Operation(name, who, began_s, time.monotonic(), told))

    async def hold(self, who: str) -> Told:
        answer = await self.engine.bookings.reserve(self.sale_id, who, SEAT, "key")
        if answer.booking is None:
            return str(answer.outcome)
        self.who, self.booking_id = who, answer.booking.booking_id
        return "held"

    async def confirm(self, who: str) -> Told:
        assert self.booking_id
        answer = await self.engine.bookings.confirm(self.booking_id, who, "pay")
        # Said again with the same key it answers as first answered.
        return "confirmed" if answer.outcome in {"confirmed", "replayed"} else str(answer.outcome)

    async def cancel(self, who: str) -> Told:
        assert self.booking_id
        answer = await self.engine.bookings.cancel(self.booking_id, CancelReason.CUSTOMER, who)
        self.booking_id = None
        return "cancelled" if answer.outcome in {"cancelled", "unchanged"} else str(answer.outcome)

    async def read(self, _: str) -> Told:
        found = await self.engine.sales.availability(self.sale_id)
        assert found
        (level,) = found.items
        return level.available, level.held, level.sold


def sale_of(seed: str) -> str:
    return f"item-{seed.rpartition('/')[2]}"


async def told(engines: Sequence[Engine], proxy: WireProxy, seed: str) -> list[Operation]:
    """A history of a sale of its own."""
    sale_id = sale_of(seed)
    clients = [
        Client(engines[at % len(engines)], proxy, sale_id, f"{seed}/c{at}") for at in range(CLIENTS)
    ]
    await asyncio.gather(*(client.run() for client in clients))
    return [operation for client in clients for operation in client.history]


async def test_every_short_history_under_faults_is_explained_by_some_order(redis_url: str) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    histories = []
    seeds = [f"{seed}/{number}" for number in range(HISTORIES)]
    async with WireProxy(redis_url) as proxy, opened(proxy.url) as one, opened(proxy.url) as two:
        for at in seeds:
            await one.sales.put(replace(gig(CAPACITY), sale_id=sale_of(at)))
        for first in range(0, HISTORIES, AT_ONCE):
            some = seeds[first : first + AT_ONCE]
            histories += await asyncio.gather(*(told((one, two), proxy, at) for at in some))
    for number, history in enumerate(histories):
        assert is_linearizable(history, CAPACITY), (seed, number, history)
    unknown = sum(operation.told is UNKNOWN for history in histories for operation in history)
    print(f"{sum(map(len, histories))} operations, {unknown} of unknown outcome")
    assert unknown > HISTORIES / 4, "no answer was lost"
