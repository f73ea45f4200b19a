"""The sweeper and a payment race for the last second of a hold: one of them has it, and knows."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass, field

from redis.asyncio import Redis

from engine.engine import Engine
from engine.journal import parse_entry
from engine.limits import MAX_INTEGER
from engine.outcomes import Outcome
from engine.payments.books import PaymentRequest
from engine.payments.gateway import Approved, Captured, Intent, Reference, Voided
from engine.payments.limits import PAYMENT_GRACE_MS
from engine.payments.saga import Saga
from engine.types import Booking, ItemDefinition, LineRequest, SaleDefinition
from tests.helpers.engines import PARTITIONS, check_books, opened
from workers.sweeper import Sweeper

RACES = 1_000
AT_ONCE = 50
PAYERS = 8
HOLD_MS = 3_600_000
OWNER = "the-payment"
ENDS = {
    "confirmed": ("CONFIRMED", "CAPTURED", (0, 0, 1)),
    "expired": ("CANCELLED", "VOIDED", (1, 0, 0)),
}
"""By the entry that decided: how the booking, its payment and its sale's only unit end."""


@dataclass
class Gateway:
    """Answers at once, and counts what it did by the booking's id."""

    name: str = "simulator"
    captured: Counter[str] = field(default_factory=Counter)
    voided: Counter[str] = field(default_factory=Counter)

    async def authorize(self, intent: Intent) -> Approved:
        return Approved(intent.reference.booking_id, intent.amount, intent.currency, None)

    async def capture(self, intent: Intent, authorization_id: str) -> Captured:
        self.captured[intent.reference.booking_id] += 1
        return Captured(authorization_id, "ch_1", intent.amount, intent.currency)

    async def void(self, reference: Reference, authorization_id: str) -> Voided:
        self.voided[reference.booking_id] += 1
        return Voided(authorization_id)


async def begin(engine: Engine, sale_id: str, closes_ms: int) -> Booking:
    """A hold under payment, of the only unit of a sale that closes before the hold ends.

    So late money takes nothing again, and whoever comes first has decided for good.
    """
    item = ItemDefinition("seat", "Seat", 1, unit_price=100)
    await engine.sales.put(
        SaleDefinition(sale_id, "Sale", (item,), closes_ms=closes_ms, hold_ms=HOLD_MS)
    )
    held = await engine.bookings.reserve(sale_id, "ann", [LineRequest("seat", 1)], "hold")
    assert held.booking, held
    request = PaymentRequest(held.booking.booking_id, "ann", "pay", "pm_card_visa")
    begun = await engine.payments.begin(request, "f" * 32, OWNER)
    assert begun.outcome is Outcome.BEGUN
    assert begun.booking
    return begun.booking


async def test_of_the_sweeper_and_a_payment_exactly_one_has_the_hold(redis_url: str) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    gateway = Gateway()
    bookings: list[Booking] = []
    async with (
        opened(redis_url, max_backlog_age_ms=MAX_INTEGER) as paying,
        opened(redis_url) as sweeping,
        Redis.from_url(redis_url) as redis,
    ):
        saga, sweeper = Saga(paying.payments, gateway), Sweeper(sweeping, 0)  # type: ignore[arg-type]
        clock_ms = time.time_ns() // 1_000_000
        for first in range(0, RACES, AT_ONCE):
            names = [f"sale-{number}" for number in range(first, first + AT_ONCE)]
            held = await asyncio.gather(
                *(begin(paying, name, clock_ms + HOLD_MS // 2) for name in names)
            )
            bookings += held
            # The last second is over for all of them; nobody has looked yet.
            clock_ms = max(booking.hold_expires_ms for booking in held) + PAYMENT_GRACE_MS
            for partition in range(PARTITIONS):
                meta = paying.keys.meta(partition).decode()
                await redis.execute_command("HSET", meta, "last_ms", str(clock_ms))
            waiting = rng.sample(held, len(held))

            async def pay(waiting: list[Booking] = waiting) -> None:
                while waiting:
                    await saga.drive(waiting.pop(), OWNER)

            async def sweep(waiting: list[Booking] = waiting) -> None:
                while await sweeper.run_once() or waiting:
                    pass

            racers = [sweep, *(pay for _ in range(PAYERS))]
            rng.shuffle(racers)
            await asyncio.gather(*(race() for race in racers))

        wins = Counter[str]()
        told = await decided(paying)
        for number, booking in enumerate(bookings):
            name = booking.booking_id
            (winner,) = told[name]
            wins[winner] += 1
            found = (await paying.bookings.get(name)).booking
            sale = await paying.sales.get(f"sale-{number}")
            assert found
            assert found.payment
            assert sale
            (level,) = sale.levels
            levels = (level.available, level.held, level.sold)
            assert (found.status, found.payment.status, levels) == ENDS[winner]
            done = (gateway.captured[name], gateway.voided[name])
            assert done == ((1, 0) if winner == "confirmed" else (0, 1))
        print(dict(wins))
        assert min(wins["confirmed"], wins["expired"]) >= 100, wins
        assert wins.total() == RACES
        # Each partition's fold, through one of its sales.
        await check_books(
            paying, [*{booking.booking_id[:3]: booking.sale_id for booking in bookings}.values()]
        )


async def decided(engine: Engine) -> dict[str, list[str]]:
    """By booking: the entries that gave its unit to the payment or back to the sale."""
    found: dict[str, list[str]] = {}
    for partition in range(PARTITIONS):
        for entry in (await engine.journal.read(partition, 1, 100_000)).entries:
            read = parse_entry(entry.sequence, entry.text)
            if read.booking is not None and read.type in ENDS:
                found.setdefault(read.booking.booking_id, []).append(read.type)
    return found
