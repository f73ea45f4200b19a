"""What leaves a whole system: mail, webhooks and the stream, also when a worker dies."""

from __future__ import annotations

import asyncio
import os
import signal
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import httpx
import orjson
import pytest
from aiohttp import web
from redis.asyncio import Redis

from tests.helpers.servers import System
from tests.helpers.smtp_server import MailServer, mail_server
from tests.helpers.stage import eventually
from tests.helpers.subscriber import Subscriber, subscriber

PAID = [
    "booking.held",
    "payment.begun",
    "payment.authorized",
    "payment.captured",
    "booking.confirmed",
]


@pytest.fixture(scope="module")
def mail(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MailServer]:
    with mail_server(tmp_path_factory.mktemp("smtp") / "taken.jsonl") as started:
        yield started


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory, mail: MailServer) -> Iterator[System]:
    """With a mail server and a stream."""
    variables = {"HOLDFAST_SMTP_URL": mail.url, "HOLDFAST_EVENT_STREAM_ENTRIES": "1000"}
    with System(tmp_path_factory.mktemp("system") / "data", **variables) as running:
        yield running


@pytest.fixture
async def shop(system: System) -> AsyncIterator[httpx.AsyncClient]:
    headers = system.headers("admin")
    async with httpx.AsyncClient(base_url=system.url, headers=headers, timeout=30) as client:
        sale = {
            "name": "Gig",
            "items": [{"id": "A", "name": "Seat", "capacity": 50, "unit_price": 4_200}],
        }
        assert (await client.put("/v1/sales/gig", json=sale)).status_code in {200, 201}
        yield client


async def subscribe(shop: httpx.AsyncClient, to: Subscriber, *events: str) -> None:
    made = await shop.post("/v1/webhook-endpoints", json={"url": to.url, "events": list(events)})
    assert made.status_code == 201, made.text
    to.secrets = [made.json()["secret"]]


async def hold(system: System, shop: httpx.AsyncClient, email: str) -> Any:
    answer = await shop.post(
        "/v1/bookings",
        json={
            "sale_id": "gig",
            "lines": [{"item_id": "A", "quantity": 1}],
            "contact": {"email": email},
            "customer_id": "ann",
        },
        headers={**system.headers("service"), "Idempotency-Key": str(uuid.uuid4())},
    )
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_a_buyer_who_pays_gets_one_mail_and_others_every_event_in_order(
    system: System, shop: httpx.AsyncClient, mail: MailServer
) -> None:
    async with subscriber() as partner:
        await subscribe(shop, partner, "booking.*", "payment.*")
        booking = await hold(system, shop, "buyer@example.com")
        paid = await shop.post(
            f"/v1/bookings/{booking['id']}/pay",
            json={"payment_method": "pm_card_visa"},
            headers={**system.headers("service"), "Idempotency-Key": str(uuid.uuid4())},
        )
        assert (paid.status_code, paid.json()["status"]) == (200, "CONFIRMED"), paid.text
        await partner.until(lambda: len(partner.taken) == len(PAID))
        assert [event["type"] for event in partner.taken] == PAID
        assert [event["sequence"] for event in partner.taken] == [1, 2, 3, 4, 5]
        assert partner.taken[-1]["data"] == paid.json(), "as the buyer was told"

    async def is_mailed() -> bool:
        return len(mail.messages()) == 1

    await eventually(is_mailed, "the confirmation to be mailed")
    (message,) = mail.messages()
    assert message["to"] == ["buyer@example.com"]
    assert message["subject"] == "Your booking for Gig is confirmed"
    assert "1 x Seat  42.00 USD" in message["text"]

    async with Redis.from_url(system.run["redis_url"]) as redis:

        async def on_the_stream() -> list[str]:
            found = await redis.xrange("holdfast:events")
            events = [orjson.loads(fields[b"event"]) for _, fields in found]
            return [one["type"] for one in events if one["subject"] == booking["id"]]

        async def is_streamed() -> bool:
            return len(await on_the_stream()) == len(PAID)

        await eventually(is_streamed, "the events to be on the stream")
        assert await on_the_stream() == PAID


async def test_what_a_worker_had_sent_when_it_was_killed_is_sent_again_under_the_same_id(
    system: System, shop: httpx.AsyncClient
) -> None:
    killed: list[int] = []

    async def kill_the_sender(_request: web.Request) -> web.Response:
        if not killed:
            # It has sent, and cannot note it any more: the answer finds nobody.
            killed.append(system.pids["worker"][0])
            os.kill(killed[0], signal.SIGKILL)
            await asyncio.sleep(0.1)
        return web.Response(status=200)

    async with subscriber() as partner:
        partner.answer = kill_the_sender
        await subscribe(shop, partner, "booking.held")
        booking = await hold(system, shop, "other@example.com")
        await partner.until(lambda: bool(partner.seen))

        async def is_replaced() -> bool:
            return bool(system.pids["worker"]) and system.pids["worker"][0] != killed[0]

        await eventually(is_replaced, "the worker to be started again")
        # Not to wait until the lease of the dead runs out.
        database = await asyncpg.connect(system.run["database_url"])
        try:
            await database.execute("UPDATE deliveries SET leased_until = now()")
        finally:
            await database.close()
        await partner.until(lambda: len(partner.taken) >= 2)
    assert partner.seen[0] == partner.seen[1]
    assert partner.taken[0] == partner.taken[1]
    assert partner.taken[0]["subject"] == booking["id"]
