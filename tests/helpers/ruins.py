"""Books with something of everything in them, what may happen to their Redis, and what is left."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import redis.asyncio

from engine.bookings import Answer
from engine.outcomes import Outcome
from engine.payments.limits import PAYMENT_GRACE_MS
from engine.types import (
    Booking,
    CancelReason,
    Contact,
    ItemDefinition,
    LineRequest,
    SaleDefinition,
)
from persistence.drain import Drain
from tests.helpers.purse import Purse
from tests.helpers.stage import Stage, stage, stage_settings
from workers import verify
from workers.rebuild import rebuild_partitions, rebuild_sale
from workers.rebuild_told import Result

SALE: Final = "concert"
CAP: Final = 4
HOLD_MS: Final = 60_000
CONTACT: Final = Contact("ann@example.com", None)
NOT_COMPARED: Final = frozenset({"meta", "journal", "finished", "lease", "tombstone", "rate"})
"""What a rebuild does not bring back as it was; `payments` is looked at apart."""


def concert(*, sale_id: str = SALE, seats: int = 40) -> SaleDefinition:
    """A sale of seats for money and stands for nothing, with a cap on customers."""
    return SaleDefinition(
        sale_id,
        "Concert",
        (ItemDefinition("seat", "Seat", seats, 5_000), ItemDefinition("stand", "S", 9, 0, 3)),
        hold_ms=HOLD_MS,
        max_units_per_customer=CAP,
    )


@dataclass(slots=True)
class Ruins:
    """A sale of a partition, with bookings of every kind, and tests that break its Redis."""

    on: Stage
    redis: Any
    purse: Purse
    bookings: dict[str, Booking]
    keys_of: dict[str, str]
    """Idempotency keys by the names of the bookings that were held under them."""

    @property
    def partition(self) -> int:
        """Where the sale lives."""
        return self.on.partition(SALE)

    def key(self, family: str, *parts: str) -> str:
        """A key of that partition."""
        return self.on.engine.keys.key(family, self.partition, *parts)

    async def hold(
        self, name: str, customer_id: str, item_id: str = "seat", quantity: int = 1, **more: Any
    ) -> Booking:
        """Hold units under a name, and a key to be sent again."""
        self.keys_of.setdefault(name, str(uuid.uuid4()))
        answer = await self.send(name, customer_id, item_id, quantity, **more)
        assert answer.outcome is Outcome.HELD, answer
        assert answer.booking
        self.bookings[name] = answer.booking
        return answer.booking

    async def send(
        self, name: str, customer_id: str, item_id: str = "seat", quantity: int = 1, **more: Any
    ) -> Answer:
        """Send the request of that name, again or for the first time."""
        return await self.on.engine.bookings.reserve(
            SALE, customer_id, [LineRequest(item_id, quantity)], self.keys_of[name], **more
        )

    async def furnish(self) -> None:
        """A hold, an extended one, one with a contact, free and paid ones, open payments, ends."""
        await self.on.engine.sales.put(concert())
        engine, purse = self.on.engine, self.purse
        await self.hold("held", "ann", contact=CONTACT)
        await self.hold("extended", "bob")
        await engine.bookings.extend(self.bookings["extended"].booking_id)
        await self.on.confirm(await self.hold("free", "cid", "stand", 2))
        await purse.pay(await self.hold("paid", "dan", quantity=2))
        self.bookings["authorizing"] = await purse.begin(await self.hold("authorizing", "eve"))
        await purse.authorize(await purse.begin(await self.hold("capturing", "fay")))
        await purse.decline(await purse.begin(await self.hold("declined", "gus")))
        await purse.lose(await purse.begin(await self.hold("unknown", "hal")))
        refunded = await self.hold("refunding", "ivy")
        await purse.pay(refunded)
        await engine.bookings.cancel(refunded.booking_id, CancelReason.CUSTOMER)
        gone = await self.hold("gone", "jim")
        await engine.bookings.cancel(gone.booking_id, CancelReason.OPERATOR)

    async def dump(self) -> dict[str, Any]:
        """What the partition holds, by key, as far as a rebuild brings it back as it was."""
        found: dict[str, Any] = {}
        prefix = self.key("meta").removesuffix("meta")
        async for raw in self.redis.scan_iter(f"{prefix}*", count=1000):
            name = raw.decode().removeprefix(prefix)
            if name.partition(":")[0] not in NOT_COMPARED:
                found[name] = await self._read(raw)
        return found

    async def _read(self, raw: bytes) -> Any:
        match await self.redis.type(raw):
            case b"hash":
                fields = await self.redis.hgetall(raw)
                # A definition's operation is in no journal; empty text is a field that is gone.
                return {
                    name: value
                    for name, value in fields.items()
                    if value
                    and name not in {b"operation", b"outcome", b"snapshot"}
                    and (name, value) != (b"warned", b"0")
                }
            case b"zset":
                return dict(await self.redis.zrange(raw, 0, -1, withscores=True))
            case _:
                return await self.redis.get(raw)

    async def rebuild(self, **options: Any) -> Result:
        """Rebuild as the command does; nothing may be refused."""
        result = await self.try_to_rebuild(**options)
        assert not result.refused, result.refused
        return result

    async def try_to_rebuild(self, **options: Any) -> Result:
        """The same where something may be refused."""
        return await rebuild_partitions(
            self.on.engine, self.on.pool, **{"grace_ms": PAYMENT_GRACE_MS, **options}
        )

    async def drain(self) -> None:
        """Take everything over, as a worker that has just started."""
        drain = Drain(self.on.pool, self.on.engine)
        for partition in range(len(self.on.engine.partitions)):
            while await drain.run_once(partition):
                pass

    async def rebuild_sale(self, sale_id: str = SALE, **options: Any) -> Result:
        """Rebuild one sale as the command does; it may be refused."""
        return await rebuild_sale(
            self.on.engine, self.on.pool, sale_id, **{"grace_ms": PAYMENT_GRACE_MS, **options}
        )

    async def check_equal(self) -> None:
        """`holdfast verify` finds nothing."""
        await self.drain()
        report = await verify.compare(self.on.settings)
        assert report.differences == []


@asynccontextmanager
async def open_ruins(redis_url: str, database_url: str) -> AsyncIterator[Ruins]:
    """Books on empty servers, and nothing in them yet."""
    async with (
        stage(stage_settings(redis_url, database_url, partitions="4")) as on,
        redis.asyncio.Redis.from_url(redis_url) as client,
    ):
        yield Ruins(on, client, Purse(on.engine), {}, {})
