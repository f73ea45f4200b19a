"""Whatever keys a Redis has lost: the first call that needs them is fenced; a rebuild heals it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from engine.engine import Engine
from engine.errors import Fenced, Unavailable
from engine.limits import FLOORS_FRESH_MS
from engine.outcomes import Outcome
from engine.settings import EngineOptions
from engine.types import CancelReason, LineRequest
from tests.helpers.ruins import SALE, Ruins, concert, open_ruins
from tests.integration.test_rebuild import kept


@pytest.fixture
async def ruins(redis_url: str, database_url: str) -> AsyncIterator[Ruins]:
    async with open_ruins(redis_url, database_url) as opened:
        await opened.furnish()
        yield opened


async def hold(ruins: Ruins) -> None:
    await ruins.hold("refused", "kim")


async def put(ruins: Ruins) -> None:
    await ruins.on.engine.sales.put(concert(seats=41))


async def read(ruins: Ruins) -> None:
    await ruins.on.engine.sales.get(SALE)


async def cancel(ruins: Ruins) -> None:
    await ruins.on.engine.bookings.cancel(ruins.bookings["held"].booking_id, CancelReason.CUSTOMER)


async def extend(ruins: Ruins) -> None:
    await ruins.on.engine.bookings.extend(ruins.bookings["held"].booking_id)


async def confirm(ruins: Ruins) -> None:
    await ruins.purse.claim(ruins.bookings["authorizing"])
    await ruins.purse.authorize(ruins.bookings["authorizing"])


async def sweep(ruins: Ruins) -> None:
    last_ms = ruins.bookings["held"].hold_expires_ms
    await ruins.redis.hset(ruins.key("meta"), "last_ms", last_ms)
    await ruins.on.engine.bookings.sweep(ruins.partition, 10)


@dataclass(frozen=True, slots=True)
class Loss:
    """A key that is gone, what somebody does then, and what he is told."""

    family: str
    parts: tuple[str, ...]
    act: Callable[[Ruins], Awaitable[None]]
    reason: str = "keys_missing"


LOSSES = (
    Loss("meta", (), hold, "meta_missing"),
    Loss("journal", (), hold, "journal_missing"),
    Loss("journal", (), cancel, "journal_missing"),
    Loss("journal", (), confirm, "journal_missing"),
    Loss("stock", (SALE,), hold),
    Loss("stock", (SALE,), put),
    Loss("stock", (SALE,), read),
    Loss("stock", (SALE,), cancel),
    Loss("stock", (SALE,), confirm),
    Loss("sale", (SALE,), hold),
    Loss("sale", (SALE,), put),
    Loss("sale", (SALE,), read),
    Loss("sale", (SALE,), extend),
    Loss("customers", (SALE,), hold),
    Loss("booking", ("held",), extend),
    Loss("booking", ("held",), cancel),
)


async def left(ruins: Ruins) -> dict[str, Any]:
    """What lies in Redis, but for when a worker looks at payments."""
    found = await ruins.dump()
    found["payments"] = set(found["payments"])
    return found


async def check(ruins: Ruins, loss: Loss) -> None:
    """Lose it, be told, find nothing else changed, rebuild, find everything back."""
    await ruins.drain()
    before = kept(await left(ruins))
    parts = tuple(
        ruins.bookings[part].booking_id if loss.family == "booking" else part for part in loss.parts
    )
    assert await ruins.redis.delete(ruins.key(loss.family, *parts)) == 1
    broken = await left(ruins)
    tip = await ruins.redis.xrevrange(ruins.key("journal"), count=1)
    for _ in range(2):
        with pytest.raises(Fenced, match=loss.reason):
            await loss.act(ruins)
    assert await left(ruins) == broken, loss
    assert await ruins.redis.xrevrange(ruins.key("journal"), count=1) == tip
    if loss.act is not read:
        told = (await ruins.on.engine.journal.status(ruins.partition)).fenced
        assert told == (None if loss.reason == "meta_missing" else loss.reason), loss
    await ruins.rebuild(partition=ruins.partition)
    assert kept(await left(ruins)) == before, loss


async def test_what_is_lost_is_noticed_before_anything_is_sold_on_it(ruins: Ruins) -> None:
    for loss in LOSSES:
        await check(ruins, loss)
    await ruins.hold("sold", "kim")
    await ruins.check_equal()


async def test_units_that_no_deadline_would_give_back_are_noticed_when_they_are_missed(
    ruins: Ruins,
) -> None:
    sale = await ruins.on.engine.sales.get(SALE)
    assert sale
    taken = sale.levels[0].held + sale.levels[0].sold
    await ruins.on.engine.sales.put(concert(seats=taken))
    await check(ruins, Loss("deadlines", (SALE,), hold))
    ruins.keys_of["late"] = "k"
    assert (await ruins.send("late", "kim")).outcome is Outcome.SOLD_OUT


async def test_a_lost_booking_behind_its_deadline_is_noticed_by_the_sweeper(ruins: Ruins) -> None:
    await check(ruins, Loss("booking", ("held",), sweep))


async def test_the_first_hold_of_a_sale_with_a_cap_is_no_loss(ruins: Ruins) -> None:
    answer: Any = await ruins.on.engine.sales.put(concert(sale_id="another"))
    assert answer.outcome is Outcome.CREATED
    assert answer.sale.definition.max_units_per_customer
    held = await ruins.on.hold("kim", sale_id="another")
    await ruins.on.engine.bookings.cancel(held.booking_id, CancelReason.CUSTOMER)
    await ruins.on.hold("kim", sale_id="another")


async def away() -> Any:
    raise Unavailable("PostgreSQL is away")


async def test_a_new_process_believes_a_server_that_was_compared_while_postgresql_is_away(
    ruins: Ruins,
) -> None:
    await ruins.drain()
    server = (await ruins.redis.info("server"))["run_id"]
    status = await ruins.on.engine.journal.status(ruins.partition)
    assert status.server == server
    options = EngineOptions.of(ruins.on.settings)
    async with await Engine.open(options, floors=away) as started:
        sold = await started.bookings.reserve(SALE, "kim", [LineRequest("seat", 1)], "k1")
        assert sold.outcome is Outcome.HELD


@pytest.mark.parametrize("compared", ["another-server", None])
async def test_a_new_process_sells_nothing_on_what_may_be_an_older_copy(
    compared: str | None, ruins: Ruins
) -> None:
    """With PostgreSQL away, nobody can tell whether it is one."""
    await ruins.drain()
    if compared:
        await ruins.redis.hset(ruins.key("meta"), "server", compared)
    else:
        await ruins.redis.hdel(ruins.key("meta"), "server")
    answers: list[Any] = [None, None]

    async def back_later() -> Any:
        if answers:
            answers.pop()
            raise Unavailable("PostgreSQL is away")
        return await ruins.on.reads.cursors()

    options = EngineOptions.of(ruins.on.settings)
    before = await ruins.dump()
    async with await Engine.open(options, floors=back_later) as started:
        await asyncio.sleep(FLOORS_FRESH_MS / 1000)
        with pytest.raises(Fenced, match="meta_missing"):
            await started.bookings.reserve(SALE, "kim", [LineRequest("seat", 1)], "k1")
        assert await ruins.dump() == before
        await asyncio.sleep(FLOORS_FRESH_MS / 1000)
        sold = await started.bookings.reserve(SALE, "kim", [LineRequest("seat", 1)], "k1")
        assert sold.outcome is Outcome.HELD
