"""Reconcilers that tests turn by hand, and strays for them to find."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from engine.keys import new_booking_id
from engine.payments.gateway import Approved, Captured, Gateway, Intent
from engine.payments.saga import Saga
from persistence.reconciling import Reconciling
from tests.helpers.gateways import an_intent
from tests.helpers.stage import eventually
from tests.helpers.till import Till
from workers import metrics
from workers.reconciler import Reconciler
from workers.undecided import Undecided


def nobody() -> Sequence[str]:
    """No authorization whose key has run out."""
    return ()


def reconciler_of(
    till: Till,
    *,
    gateway: Gateway | None = None,
    books: Reconciling | None = None,
    saga: Saga | None = None,
    run_out: Callable[[], Sequence[str]] = nobody,
    settled_ms: int = 0,
) -> Reconciler:
    """A reconciler for which nothing young is under way, unless told."""
    gateway, engine = gateway or till.gateway, till.stage.engine
    undecided = Undecided(engine, gateway, saga or till.saga, settled_ms)
    books = books or Reconciling(till.stage.pool)
    return Reconciler(engine, gateway, books, undecided, run_out, settled_ms=settled_ms)


async def turn(reconciler: Reconciler, until: Callable[[], Awaitable[bool]], what: str) -> None:
    """Have a worker's loop turn until something is so."""

    async def turned() -> bool:
        await reconciler.run_once()
        return await until()

    await eventually(turned, what)


async def look_through(till: Till, reconciler: Reconciler) -> None:
    """Let it look at everything that there is now, and note how far it is."""
    await till.stage.drain_all()
    before = await position_of(till)
    # The gateway knows its charges by the second: what it made in this one is listed in the next.
    await asyncio.sleep(1.1)

    async def is_further() -> bool:
        now = await position_of(till)
        return now > before or differences() > 0

    for _ in range(2):
        await turn(reconciler, is_further, "the reconciler to have looked through")


async def position_of(till: Till) -> int:
    """How far it has noted that everything has settled."""
    found = await Reconciling(till.stage.pool).position(till.gateway.name)
    assert found
    return found.checked_until_ms


def differences(verdict: str | None = None) -> int:
    """What the gauge shows."""
    verdicts = [verdict] if verdict else ["orphan", "differs", "missing"]
    return int(sum(metrics.DIFFERENCES.labels(one)._value.get() for one in verdicts))


def returned(how: str) -> int:
    """How much money it has given back by now."""
    return int(metrics.RETURNED.labels(how)._value.get())


def a_stray(till: Till, attempt: int = 1) -> Intent:
    """What no booking of ours asks for."""
    partition = till.stage.engine.keys.partition_of_sale("gig")
    return an_intent(booking_id=new_booking_id(partition), attempt=attempt)


async def authorized(till: Till, intent: Intent) -> str:
    """Authorize an intent at the gateway."""
    answer = await till.gateway.authorize(intent)
    assert isinstance(answer, Approved)
    return answer.authorization_id


async def captured(till: Till, intent: Intent) -> None:
    """Authorize and capture an intent at the gateway."""
    answer = await till.gateway.capture(intent, await authorized(till, intent))
    assert isinstance(answer, Captured)


async def look_at_once(reconciler: Reconciler) -> None:
    """Let it look some times at what there is, whether that settles or not."""
    await asyncio.sleep(1.1)
    for _ in range(3):
        await reconciler.run_once()
