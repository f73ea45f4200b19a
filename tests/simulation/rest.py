"""The end of a run: faults are over, everybody works until nothing is left, and the books agree."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from engine.errors import Fenced
from engine.journal import parse_entry
from engine.model import is_paying
from engine.payments.gateway import GatewayStatus
from engine.payments.types import PaymentStatus
from engine.types import Booking, Status
from tests.simulation.buyers import SALES
from tests.simulation.gateway import KEY_LIFETIME_MS
from tests.simulation.process import SETTLED_MS

if TYPE_CHECKING:
    from tests.simulation.process import Process
    from tests.simulation.world import World

ROUNDS: Final = 120
RECONCILER_PIECES: Final = 60
LONGEST_WAIT_MS: Final = 330_000
"""More than the saga's longest back-off."""
_EMPTY: Final = {GatewayStatus.DECLINED, GatewayStatus.VOIDED, GatewayStatus.REFUNDED}


async def settle(world: World) -> None:
    """Mend what is broken, and let everybody work until nothing is left to do."""
    world.note("everything is mended")
    world.network.heal()
    world.postgres.heal()
    world.gateway.heal()
    world.redis.offset_ms = 0
    for process in world.processes:
        process.host.resume()
        process.host.offset_ms[0] = 0
    await _speak(world)
    for number in range(ROUNDS):
        process = world.processes[number % len(world.processes)]
        await _reopen(world, process)
        for request in world.buyers.unanswered_in(world.open_partitions()):
            world.ask(request, number)
        await _work(world, process)
        if world.auditor.broken:
            return
        if world.at_rest():
            # Who was stopped until now may know more than everybody else.
            await _speak(world)
        if world.at_rest():
            await _reconcile(world, process)
            return
        await asyncio.sleep(_until_next_s(world))
        if number >= 15 and number % 15 == 0 and _only_unknown(world):
            await asyncio.sleep(KEY_LIFETIME_MS / 1000)
    world.auditor.fail(f"no rest after {ROUNDS} rounds: {_left(world)}")


async def _speak(world: World) -> None:
    """Whoever has seen more than Redis has now says so by his next call."""
    for process in world.processes:
        await process.ready
        for sale in SALES:
            await world.guarded(lambda p=process, s=sale: p.engine.bookings.expire(s.sale_id))  # type: ignore[misc]


async def _reopen(world: World, operator: Process) -> None:
    """Closed partitions sell nothing, and have lost something; then they are rebuilt."""
    closed = set(range(len(world.redis.images))) - set(world.open_partitions())
    if not closed:
        return
    for partition in closed:
        image = world.redis.images[partition]
        wanted = partition in world.auditor.damaged or (image and image.fenced == "rebuilding")
        if not wanted:
            world.auditor.fail(f"partition {partition} is closed, and lost nothing")
    images = world.redis.images
    # One that PostgreSQL has at an older generation is closed when a drain finds it out.
    shut = {at for at in closed if (image := images[at]) is None or image.fenced}
    await _sells_nothing(world, shut)
    for partition in sorted(closed):
        await world.rebuild(partition, operator)


async def _work(world: World, process: Process) -> None:
    """One turn of a worker's loops."""
    await process.ready
    await world.guarded(process.sweeper.run_once)
    await world.guarded(process.recovery.run_once)
    world.outside.run_out[:] = _paying(world)
    await world.guarded(lambda: process.undecided.run_once(world.outside.run_out))
    for partition in world.open_partitions():
        while process.host.alive:
            before = world.postgres.tables[partition].sequence
            await world.guarded(lambda at=partition: process.drain.run_once(at))  # type: ignore[misc]
            if world.postgres.tables[partition].sequence == before:
                break


async def _reconcile(world: World, process: Process) -> None:
    """Let every charge settle; what is then left of the reconciler's work is a difference."""
    reconciler = process.reconciler
    # The second time the gateway has forgotten the errors that it kept.
    for wait_s in (2 * SETTLED_MS / 1000, KEY_LIFETIME_MS / 1000):
        await asyncio.sleep(wait_s)
        for _ in range(RECONCILER_PIECES):
            await world.guarded(reconciler.run_once)
            come_ms = world.loop.now_ms() - 2 * SETTLED_MS
            if reconciler._frontier_ms > come_ms and not reconciler._unsettled:
                break
            await asyncio.sleep(5)
        if not reconciler._unsettled:
            break
    left, missing = dict(reconciler._unsettled), reconciler._captures.missing
    # A refund that Redis lost with its last entries is for an operator to see to, and shown to him.
    if (left or missing) and not world.auditor.damaged:
        world.auditor.fail(f"the reconciler finds {left}, and {missing} captures missing")


def _paying(world: World) -> list[str]:
    return [name for name, booking in world.bookings().items() if is_paying(booking)]


def _only_unknown(world: World) -> bool:
    """Whether an error that the gateway keeps is all that is left; it forgets it in the end."""
    left = [one.payment for one in world.bookings().values() if is_paying(one)]
    return bool(left) and all(one and one.status is PaymentStatus.UNKNOWN for one in left)


def _until_next_s(world: World) -> float:
    """Until the next time at which something is due."""
    now_ms = world.redis.now_ms()
    due = [now_ms + LONGEST_WAIT_MS]
    for partition in world.open_partitions():
        image = world.redis.images[partition]
        assert image
        due += image.payments.values()
        due += [
            image.state.deadline_ms(one)
            for one in image.state.bookings.values()
            if one.status is Status.PENDING
        ]
    return max(2_000, min(due) - now_ms + 1) / 1000


def _left(world: World) -> list[object]:
    busy = [process.host.name for process in world.processes if process.host.busy]
    live = [one for one in world.bookings().values() if is_paying(one)]
    return [busy, live, world.buyers.unanswered_in(world.open_partitions())]


async def check_rest(world: World) -> None:
    """Everything rests: compare all books with each other, and with what was told."""
    auditor = world.auditor
    await _speak(world)
    for partition in world.open_partitions():
        image, tables = world.redis.images[partition], world.postgres.tables[partition]
        assert image
        folded = auditor.folded(tables)
        if folded is None or folded != image.state:
            auditor.fail(f"partition {partition}: the journal tells {folded}, not {image.state}")
        for sale_id, put in image.state.sales.items():
            held = {at.item_id: at.held for at in put.levels.values() if at.held}
            if held:
                auditor.fail(f"{sale_id}: locked for good: {held}")
    if len(world.open_partitions()) < len(world.redis.images):
        auditor.fail("a partition that was rebuilt is closed again")
    bookings = world.bookings()
    for booking in bookings.values():
        _check_paid(world, booking)
    _check_charges(world, bookings)
    world.buyers.check(bookings, _survivors(world))


def _survivors(world: World) -> dict[tuple[str, int], Booking]:
    """Bookings by id and version, as both journals have them in the end."""
    entries = [
        parse_entry(at, row["entry"])
        for tables in world.postgres.tables.values()
        for at, row in tables.journal.items()
    ]
    found = (entry.booking for entry in entries if entry.booking)
    return {(booking.booking_id, booking.version): booking for booking in found}


async def _sells_nothing(world: World, closed: set[int]) -> None:
    """A closed partition refuses everybody."""
    for sale in SALES:
        process = world.processes[0]
        partition = process.engine.keys.partition_of_sale(sale.sale_id)
        if partition not in closed:
            continue
        before = world.redis.images[partition]
        try:
            request = world.buyers.hold(0, SALES.index(sale))
            await process.engine.bookings.reserve(sale.sale_id, "ann", request.lines, request.key)
        except Fenced:
            outcome = "refused"
        else:
            outcome = "answered"
        after = world.redis.images[partition]
        if before and after and after.generation == before.generation:
            unchanged = after.entries == before.entries
        else:
            # Only another operator's rebuild, which ended meanwhile, may have opened it.
            unchanged = before is after or (after is not None and after.generation > 1)
            outcome = "refused"
        if outcome != "refused" or not unchanged:
            world.auditor.fail(f"closed partition {partition} sold something")


def _check_paid(world: World, booking: Booking) -> None:
    """Nothing is sold that is not paid."""
    payment = booking.payment
    sold = booking.status in {Status.CONFIRMED, Status.COMPLETED}
    if sold and booking.amount > 0:
        given_back = booking.status is Status.COMPLETED and payment is not None
        wanted = {PaymentStatus.CAPTURED} | ({PaymentStatus.REFUNDED} if given_back else set())
        if payment is None or payment.status not in wanted:
            world.auditor.fail(f"confirmed and not paid: {booking}")


def _check_charges(world: World, bookings: dict[str, Booking]) -> None:
    """Every charge is what its booking says, and holds no money otherwise.

    Also in a partition that lost entries and did not notice: the reconciler gives back what of it
    nobody has a use for.
    """
    open_now = world.open_partitions()
    for charge in world.gateway.charges.values():
        reference, status = charge.payment.reference, charge.payment.status
        assert reference
        if int(reference.booking_id[:3], 16) not in open_now:
            continue
        booking = bookings.get(reference.booking_id)
        payment = booking.payment if booking else None
        mine = payment is not None and payment.attempt == reference.attempt
        paid = mine and payment is not None and payment.status is PaymentStatus.CAPTURED
        damaged = int(reference.booking_id[:3], 16) in world.auditor.damaged
        if damaged and paid and status is GatewayStatus.REFUNDED:
            continue
        if (status is GatewayStatus.CAPTURED) != paid or (not paid and status not in _EMPTY):
            world.auditor.fail(f"{charge} beside {booking}")
    captures: dict[str, int] = {}
    for charge in world.gateway.charges.values():
        if charge.captures and charge.payment.reference:
            name = charge.payment.reference.booking_id
            captures[name] = captures.get(name, 0) + charge.captures
    for name, count in captures.items():
        if count > 1:
            world.auditor.fail(f"{name} was captured {count} times")
