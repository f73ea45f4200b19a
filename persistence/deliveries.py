"""Deliveries: what is due at the places that events go to, claimed, sent by others, and ended here.

A claim is a lease: who does not end it in time has lost it, and the event is sent again under the
same id. Of a subject's events that wait for one place only the first can be claimed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from engine.limits import (
    DELIVERIES_KEPT_S,
    DELIVERY_LEASE_MS,
    MAX_PRUNED_DELIVERIES,
    PARKED_KEPT_S,
)
from persistence.endpoints import ENDPOINT_PREFIX
from persistence.outbox import Outgoing
from persistence.pool import Pool, affected, connection
from persistence.queries import query


class State(StrEnum):
    """Where a delivery stands."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    PARKED = "parked"


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event that was claimed for one place."""

    delivery_id: int
    destination: str
    subject: str
    event: Outgoing
    attempts: int
    """This one counts too."""
    body: bytes | None
    """Of a test event, which no entry tells."""
    contact: bytes | None
    """The encrypted contact of the booking, where the place is a channel to people."""
    tried_s: float
    """Since the first attempt."""


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of a delivery. `again_s` is when to try again, where it waits on."""

    delivery_id: int
    state: State
    again_s: float = 0.0
    status: int | None = None
    detail: str | None = None
    excerpt: str | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """A webhook endpoint that is sent to. Its secrets are encrypted; the old one may be none."""

    endpoint_id: str
    url: str
    secret: bytes
    old_secret: bytes | None
    failing_s: float | None
    """Since when it fails; None while it does not."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits or is parked at a place."""

    destination: str
    state: State
    deliveries: int
    oldest_s: float


@dataclass(frozen=True, slots=True)
class SaleNames:
    """How a sale and its items are called; `sale` empty where PostgreSQL lacks it."""

    sale: str
    items: Mapping[str, str]


class Deliveries:
    """Deliveries over a pool. All raise `Unavailable` where PostgreSQL is away."""

    def __init__(self, pool: Pool, channels: Sequence[str] = ()) -> None:
        self._pool = pool
        self._channels = list(channels)

    async def targets(self) -> list[Target]:
        """The webhook endpoints that are sent to."""
        async with connection(self._pool) as taken:
            rows = await taken.fetch(query("live_endpoints"))
        return [Target(*row) for row in rows]

    async def claim(self, rooms: Mapping[str, int]) -> list[Delivery]:
        """Lease what is due.

        Args:
            rooms: by place, how many at most.
        """
        async with connection(self._pool) as taken:
            rows = await taken.fetch(
                query("claim_deliveries"),
                list(rooms.keys()),
                list(rooms.values()),
                DELIVERY_LEASE_MS / 1000,
                self._channels,
            )
        return [
            Delivery(
                delivery_id=row["delivery_id"],
                destination=row["destination"],
                subject=row["subject"],
                event=Outgoing(
                    row["event_id"],
                    row["type"],
                    row["subject_sequence"],
                    row["partition"],
                    row["sequence"],
                    row["entry"],
                ),
                attempts=row["attempts"],
                body=row["body"],
                contact=row["ciphertext"],
                tried_s=row["tried_s"],
            )
            for row in rows
        ]

    async def finish(self, ended: Sequence[Ended], nobody: Sequence[int] = ()) -> None:
        """Note what became of deliveries; forget those for which there was nobody to send to."""
        rows = [
            (one.delivery_id, one.state, one.again_s, one.status, one.detail, one.excerpt)
            for one in ended
        ]
        # Each for itself: what is left of a note that breaks off is sent again.
        async with connection(self._pool) as taken:
            if rows:
                await taken.execute(query("finish_deliveries"), *zip(*rows, strict=True))
            if nobody:
                await taken.execute(query("forget_deliveries"), nobody)

    async def fails(self, destinations: Iterable[str]) -> None:
        """Note that these places fail since now, if that was not known."""
        async with connection(self._pool) as taken:
            await taken.execute(query("endpoint_fails"), list(destinations))

    async def answers(self, destinations: Iterable[str]) -> None:
        """Note that these places take deliveries again: what waits for them is tried at once."""
        names = list(destinations)
        async with connection(self._pool) as taken, taken.transaction():
            await taken.execute(query("endpoint_answers"), names)
            await taken.execute(query("hasten_deliveries"), names)

    async def disable(self, endpoint_id: str, reason: str) -> bool:
        """Stop sending to an endpoint, and park what waits; False where that was so before."""
        async with connection(self._pool) as taken, taken.transaction():
            if await taken.fetchval(query("disable_endpoint"), endpoint_id, reason) is None:
                return False
            detail = f"the endpoint was disabled: {reason}"
            await taken.execute(query("park_waiting"), endpoint_id, detail)
            return True

    async def park_strays(self, waiting: Iterable[Waiting]) -> int:
        """Park what waits for endpoints that are disabled or deleted; answers how many.

        Dealt out just then, or sent again by somebody since: nobody would ever take it.
        """
        names = {one.destination for one in waiting if one.state is State.WAITING}
        endpoints = {name for name in names if name.startswith(ENDPOINT_PREFIX)}
        if not endpoints:
            return 0
        strays = endpoints - {target.endpoint_id for target in await self.targets()}
        if not strays:
            return 0
        async with connection(self._pool) as taken:
            return affected(await taken.execute(query("park_strays"), list(strays)))

    async def sale_names(self, sale_id: str) -> SaleNames:
        """How a sale and its items are called."""
        async with connection(self._pool) as taken:
            rows = await taken.fetch(query("sale_names"), sale_id)
        items = {row["item_id"]: row["item_name"] for row in rows if row["item_name"]}
        return SaleNames(rows[0]["sale_name"] if rows else "", items)

    async def prune(self) -> int:
        """Delete some of what ended long ago; answers how many."""
        async with connection(self._pool) as taken:
            status = await taken.execute(
                query("prune_deliveries"),
                float(DELIVERIES_KEPT_S),
                float(PARKED_KEPT_S),
                MAX_PRUNED_DELIVERIES,
            )
        return affected(status)

    async def waiting(self) -> list[Waiting]:
        """What waits and what is parked, by place."""
        async with connection(self._pool) as taken:
            rows = await taken.fetch(query("waiting_deliveries"))
        return [Waiting(row[0], State(row[1]), row[2], row[3]) for row in rows]
