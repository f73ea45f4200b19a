"""Events, and to whom they are owed: written in the transaction of what they tell of.

So is what goes wrong with each delivery (late, doubled, held back): drawn when it is owed, and
kept, so that a restart changes none of it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from random import SystemRandom
from typing import Any, Final

import orjson

from holdfast.simulator.records import API_VERSION, Endpoint, new_id
from holdfast.simulator.settings import Faults
from holdfast.simulator.store import Store

MAX_DELIVERY_AGE_MS: Final = 3 * 24 * 3600 * 1000
"""Stripe gives up after three days: https://docs.stripe.com/webhooks#automatic-retries."""
_DUPLICATE_WITHIN_MS: Final = 500


def now_ms() -> int:
    """The simulator's clock."""
    return time.time_ns() // 1_000_000


class Chance:
    """Draws faults.

    From the system's randomness: a seed would not repeat a run, since the requests of concurrent
    clients arrive in an order of their own.
    """

    def __init__(self) -> None:
        self._random = SystemRandom()

    def strikes(self, rate: float) -> bool:
        """Whether something that happens at this rate happens now."""
        return rate > 0 and self._random.random() < rate

    def below(self, bound: int) -> int:
        """A number from 0 to bound - 1."""
        return self._random.randrange(bound)


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event owed to an endpoint. `failures` counts those that were not answered 2xx."""

    number: int
    payment_intent: str
    failures: int
    url: str
    secret: str
    created_ms: int
    body: bytes


class Events:
    """The journal of events, and the deliveries that are open."""

    def __init__(self, store: Store, faults: Faults) -> None:
        self._store = store
        self._chance = Chance()
        self.faults = faults
        """Read at every event, so that they can be changed while it runs."""

    def append(self, event_type: str, subject: dict[str, Any], intent_id: str) -> None:
        """Write an event, and a delivery of it for every endpoint that wants its type."""
        created_ms = now_ms()
        event = {
            "id": (event_id := new_id("evt_")),
            "object": "event",
            "api_version": API_VERSION,
            "created": created_ms // 1000,
            "data": {"object": subject},
            "livemode": False,
            "pending_webhooks": 1,
            "request": {"id": None, "idempotency_key": None},
            "type": event_type,
        }
        sql = self._store.sql
        number = sql.execute(
            "INSERT INTO events (id, payment_intent, created_ms, body) VALUES (?, ?, ?, ?)",
            (event_id, intent_id, created_ms, orjson.dumps(event)),
        ).lastrowid
        for endpoint in self._endpoints():
            if "*" not in endpoint.enabled_events and event_type not in endpoint.enabled_events:
                continue
            for due_ms, held in self._times(created_ms):
                sql.execute(
                    "INSERT INTO deliveries (event, endpoint, payment_intent, due_ms, held)"
                    " VALUES (?, ?, ?, ?, ?)",
                    (number, endpoint.id, intent_id, due_ms, held),
                )

    def _endpoints(self) -> list[Endpoint]:
        rows = self._store.sql.execute(
            "SELECT document FROM objects WHERE kind = ? ORDER BY number", (Endpoint.kind,)
        )
        return [Endpoint(**orjson.loads(row[0])) for row in rows]

    def _times(self, created_ms: int) -> list[tuple[int, bool]]:
        """When to send an event, each time that it is sent, and whether it waits for the next."""
        faults = self.faults
        first = (created_ms, False)
        if self._chance.strikes(faults.reordered_webhook_rate):
            first = (created_ms + faults.late_webhook_ms, True)
        elif self._chance.strikes(faults.late_webhook_rate):
            first = (created_ms + faults.late_webhook_ms, False)
        if self._chance.strikes(faults.duplicate_webhook_rate):
            return [first, (first[0] + self._chance.below(_DUPLICATE_WITHIN_MS), False)]
        return [first]

    def due(self, at_ms: int, limit: int) -> list[Delivery]:
        """The deliveries to send now, the oldest event first."""
        rows = self._store.sql.execute(
            "SELECT d.number, d.payment_intent, d.failures, o.document, e.created_ms, e.body"
            " FROM deliveries d JOIN events e ON e.number = d.event"
            " JOIN objects o ON o.id = d.endpoint"
            " WHERE d.state = 'open' AND d.due_ms <= ? ORDER BY d.number LIMIT ?",
            (at_ms, limit),
        )
        found = []
        for number, intent_id, failures, document, created_ms, body in rows:
            endpoint = Endpoint(**orjson.loads(document))
            found.append(
                Delivery(
                    number, intent_id, failures, endpoint.url, endpoint.secret, created_ms, body
                )
            )
        return found

    def next_due_ms(self) -> int | None:
        """When the next open delivery is to be sent."""
        row = self._store.sql.execute(
            "SELECT min(due_ms) FROM deliveries WHERE state = 'open'"
        ).fetchone()
        return None if row[0] is None else int(row[0])

    def open_count(self) -> int:
        """How many deliveries are still owed."""
        row = self._store.sql.execute(
            "SELECT count(*) FROM deliveries WHERE state = 'open'"
        ).fetchone()
        return int(row[0])

    def delivered(self, delivery: Delivery) -> None:
        """Note a 2xx; what was held back until after this event may go."""
        self._store.sql.execute(
            "UPDATE deliveries SET state = 'done' WHERE number = ?", (delivery.number,)
        )
        self._store.sql.execute(
            "UPDATE deliveries SET due_ms = ?, held = 0"
            " WHERE held AND payment_intent = ? AND number < ?",
            (now_ms(), delivery.payment_intent, delivery.number),
        )

    def failed(self, delivery: Delivery) -> None:
        """Note a failure: again later, each time after twice the wait, for three days."""
        at_ms = now_ms()
        wait_ms = self.faults.webhook_retry_ms << min(delivery.failures, 16)
        gives_up = at_ms + wait_ms > delivery.created_ms + MAX_DELIVERY_AGE_MS
        self._store.sql.execute(
            "UPDATE deliveries SET failures = failures + 1, due_ms = ?, state = ? WHERE number = ?",
            (at_ms + wait_ms, "given up" if gives_up else "open", delivery.number),
        )
