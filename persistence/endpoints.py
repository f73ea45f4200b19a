"""Webhook endpoints and the log of deliveries, for those who administer them.

All raise `Unavailable` where PostgreSQL is away.
"""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import asyncpg
import orjson

from engine.crypto import Vault
from engine.limits import (
    MAX_RETRIED_DELIVERIES,
    MAX_WEBHOOK_ENDPOINTS,
    OLD_SECRET_S,
    WEBHOOK_SECRET_BYTES,
)
from engine.times import rfc3339
from persistence.cursors import delivery_cursor, read_delivery_cursor
from persistence.pool import Pool, affected, connection
from persistence.queries import query

ENDPOINT_PREFIX: Final = "whe_"
SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - what secrets begin with
TEST_TYPE: Final = "webhook.test"
"""Of the event that `test` sends; no filter keeps it out."""


@dataclass(frozen=True, slots=True)
class WebhookEndpoint:
    """An endpoint as it stands, without its secret. Times are milliseconds since the epoch."""

    endpoint_id: str
    url: str
    events: tuple[str, ...]
    enabled: bool
    disabled_ms: int | None
    disabled_reason: str | None
    failing_since_ms: int | None
    created_ms: int
    updated_ms: int


@dataclass(frozen=True, slots=True)
class LoggedDelivery:
    """A delivery as the log has it."""

    delivery_id: int
    destination: str
    event_id: str
    type: str
    subject: str
    subject_sequence: int
    state: str
    attempts: int
    dealt_ms: int
    next_ms: int
    ended_ms: int | None
    status: int | None
    detail: str | None
    excerpt: str | None


@dataclass(frozen=True, slots=True)
class DeliveryPage:
    """Deliveries, newest first; `next_cursor` None where there are no more."""

    deliveries: tuple[LoggedDelivery, ...]
    next_cursor: str | None


def like(pattern: str) -> str:
    """A filter's pattern, where `*` is any text, as LIKE reads it."""
    return pattern.replace("\\", r"\\").replace("_", r"\_").replace("%", r"\%").replace("*", "%")


def wanted(patterns: Sequence[str], event_type: str) -> bool:
    """Whether a filter lets an event through."""
    return any(
        re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), event_type) for pattern in patterns
    )


class Endpoints:
    """Webhook endpoints over a pool; `vault` encrypts their secrets."""

    def __init__(self, pool: Pool, vault: Vault, source: str) -> None:
        self._pool = pool
        self._vault = vault
        self._source = source

    async def create(self, url: str, events: Sequence[str]) -> tuple[WebhookEndpoint, str] | None:
        """Add an endpoint; with its secret, which is not told again. None: there are too many."""
        secret = _new_secret()
        async with connection(self._pool) as taken:
            row = await taken.fetchrow(
                query("insert_endpoint"),
                ENDPOINT_PREFIX + secrets.token_hex(12),
                url,
                list(events),
                [like(pattern) for pattern in events],
                self._vault.seal(secret.encode()),
                MAX_WEBHOOK_ENDPOINTS,
            )
        return (_endpoint_of(row), secret) if row else None

    async def get(self, endpoint_id: str) -> WebhookEndpoint | None:
        """An endpoint."""
        async with connection(self._pool) as taken:
            row = await taken.fetchrow(query("endpoint"), endpoint_id)
        return _endpoint_of(row) if row else None

    async def list(self) -> list[WebhookEndpoint]:
        """All endpoints, the oldest first; there are `MAX_WEBHOOK_ENDPOINTS` at most."""
        async with connection(self._pool) as taken:
            rows = await taken.fetch(query("endpoints"))
        return [_endpoint_of(row) for row in rows]

    async def change(
        self,
        endpoint_id: str,
        *,
        url: str | None = None,
        events: Sequence[str] | None = None,
        enabled: bool | None = None,
        rotate_secret: bool = False,
    ) -> tuple[WebhookEndpoint, str | None] | None:
        """Change what is given; with the new secret where it is rotated. None: there is none.

        The secret before signs too for `OLD_SECRET_S`.
        """
        secret = _new_secret() if rotate_secret else None
        async with connection(self._pool) as taken:
            row = await taken.fetchrow(
                query("change_endpoint"),
                endpoint_id,
                url,
                None if events is None else list(events),
                None if events is None else [like(pattern) for pattern in events],
                enabled,
                self._vault.seal(secret.encode()) if secret else None,
                float(OLD_SECRET_S),
            )
        return (_endpoint_of(row), secret) if row else None

    async def delete(self, endpoint_id: str) -> bool:
        """Delete an endpoint with its log; False where there is none."""
        async with connection(self._pool) as taken, taken.transaction():
            if await taken.fetchval(query("delete_endpoint"), endpoint_id) is None:
                return False
            await taken.execute(query("delete_deliveries"), endpoint_id)
            return True

    async def deliveries(
        self, destination: str | None, state: str | None, limit: int, cursor: str | None
    ) -> DeliveryPage:
        """A page of deliveries, newest first: of one place or all, in one state or all.

        Raises:
            InvalidCursor: no page of deliveries ended with this cursor.
        """
        before = read_delivery_cursor(cursor) if cursor else 2**63 - 1
        async with connection(self._pool) as taken:
            rows = await taken.fetch(query("delivery_log"), before, destination, state, limit + 1)
        found = tuple(_delivery_of(row) for row in rows[:limit])
        more = len(rows) > limit
        return DeliveryPage(found, delivery_cursor(found[-1].delivery_id) if more else None)

    async def deliver_again(
        self, delivery_id: int, destination: str | None = None
    ) -> LoggedDelivery | None:
        """Send an event once more, behind what waits at its place; None where there is none.

        One that waits anyway is answered as it is.
        """
        async with connection(self._pool) as taken:
            row = await taken.fetchrow(query("deliver_again"), delivery_id, destination)
            if row is None:
                row = await taken.fetchrow(query("delivery"), delivery_id, destination)
        return _delivery_of(row) if row else None

    async def retry_parked(self, destination: str) -> int:
        """Have all that is parked at a place tried anew, in its order; answers how many.

        At most `MAX_RETRIED_DELIVERIES` a call, the oldest first.
        """
        async with connection(self._pool) as taken:
            status = await taken.execute(query("retry_parked"), destination, MAX_RETRIED_DELIVERIES)
        return affected(status)

    async def test(self, endpoint_id: str, now_ms: int) -> LoggedDelivery | None:
        """Send an endpoint an event that says nothing; None where there is no such endpoint."""
        if await self.get(endpoint_id) is None:
            return None
        event_id = f"test-{secrets.token_hex(12)}"
        body = {
            "specversion": "1.0",
            "id": event_id,
            "source": self._source,
            "type": TEST_TYPE,
            "subject": endpoint_id,
            "time": rfc3339(now_ms),
            "sequence": 1,
            "data": {},
        }
        async with connection(self._pool) as taken:
            row = await taken.fetchrow(
                query("insert_test_delivery"),
                endpoint_id,
                event_id,
                TEST_TYPE,
                # Not the endpoint: a test waits for no other.
                event_id,
                orjson.dumps(body),
            )
        assert row, "an INSERT answers its row"
        return _delivery_of(row)


def _new_secret() -> str:
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(WEBHOOK_SECRET_BYTES)).decode()


def _ms(moment: datetime | None) -> int | None:
    return None if moment is None else _at(moment)


def _at(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _endpoint_of(row: asyncpg.Record) -> WebhookEndpoint:
    return WebhookEndpoint(
        endpoint_id=row["endpoint_id"],
        url=row["url"],
        events=tuple(row["events"]),
        enabled=row["enabled"],
        disabled_ms=_ms(row["disabled_at"]),
        disabled_reason=row["disabled_reason"],
        failing_since_ms=_ms(row["failing_since"]),
        created_ms=_at(row["created_at"]),
        updated_ms=_at(row["updated_at"]),
    )


def _delivery_of(row: asyncpg.Record) -> LoggedDelivery:
    return LoggedDelivery(
        delivery_id=row["delivery_id"],
        destination=row["destination"],
        event_id=row["event_id"],
        type=row["type"],
        subject=row["subject"],
        subject_sequence=row["subject_sequence"],
        state=row["state"],
        attempts=row["attempts"],
        dealt_ms=_at(row["dealt_at"]),
        next_ms=_at(row["next_at"]),
        ended_ms=_ms(row["ended_at"]),
        status=row["status"],
        detail=row["detail"],
        excerpt=row["excerpt"],
    )
