"""What the gateway tells: believed only if it is signed, in time and agrees; counted once."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path
from typing import Any

import orjson
import pytest

from engine.payments.limits import MAX_WEBHOOK_BYTES
from holdfast.simulator.deliverer import signature_header
from tests.helpers.api import refused
from tests.helpers.gateways import WEBHOOK_SECRET
from tests.helpers.servers import Valkey
from tests.helpers.shop import ASKS_BUYER, CallingSimulator, Shop, open_shop
from tests.helpers.stage import eventually

HOUR_S = 3600


async def waiting_event(shop: Shop) -> tuple[Any, Any]:
    """A booking whose buyer has acted, as the gateway told it; no worker has looked yet."""
    booking = await shop.hold()
    answer = await shop.pay(booking["id"], ASKS_BUYER)
    assert answer.status_code == 202
    await shop.act(answer.json())
    await shop.told()
    return booking, orjson.loads(shop.webhook_of(booking["id"])[0])


def signed(event: Any, secret: str = WEBHOOK_SECRET, age_s: int = 0) -> tuple[bytes, str]:
    """The body of an event, and its signature."""
    body = orjson.dumps(event)
    return body, signature_header(body, secret, int(time.time()) - age_s)


def changed(event: Any, event_id: str, **fields: Any) -> Any:
    """Another event about the same payment, which says something else."""
    payment = {**event["data"]["object"], **fields}
    return {**event, "id": event_id, "data": {**event["data"], "object": payment}}


async def test_what_is_forged_stale_or_unreadable_is_not_believed(shop: Shop) -> None:
    _, event = await waiting_event(shop)
    body, signature = signed({**event, "id": "evt_new"})
    before = await shop.api.sequences()
    for sent, why in (
        (shop.tell(body, None), "signature_missing"),
        (shop.tell(body, "t=1,v1=0"), "signature_invalid"),
        (shop.tell(body + b" ", signature), "signature_invalid"),
        (shop.tell(*signed(event, "whsec_of_somebody_else")), "signature_invalid"),
        (shop.tell(*signed(event, age_s=HOUR_S)), "signature_stale"),
        (shop.tell(*signed(["no event"])), "body_invalid"),
        (shop.tell(b"", signature_header(b"", WEBHOOK_SECRET, int(time.time()))), "body_invalid"),
    ):
        answer = await sent
        refused(answer, 400, "invalid_request")
        assert why in answer.text
    refused(await shop.tell(b" " * (MAX_WEBHOOK_BYTES + 1), signature), 413, "body_too_large")
    elsewhere = {"sub": None, "content": body, "headers": {"stripe-signature": signature}}
    refused(await shop.api.post("/v1/webhooks/paypal", **elsewhere), 404, "not_found")
    assert await shop.api.sequences() == before
    # What those were refused for is still news.
    assert (await shop.tell(body, signature)).json() == {"taken": True}


async def test_an_event_counts_once_however_often_it_comes(shop: Shop) -> None:
    booking, event = await waiting_event(shop)
    assert await shop.due() == [booking["id"]]
    await shop.work()
    paid = await shop.read(booking["id"])
    assert paid["payment"]["status"] == "CAPTURED"
    for age_s in (0, 60):
        again = await shop.tell(*signed(event, age_s=age_s))
        assert (again.status_code, again.json()) == (200, {"taken": False})
    assert await shop.due() == []
    assert await shop.read(booking["id"]) == paid
    assert len(await shop.charges(booking["id"])) == 1


async def test_an_event_moves_nothing_by_itself(shop: Shop) -> None:
    booking = await shop.hold()
    answer = await shop.pay(booking["id"], ASKS_BUYER)
    await shop.told()
    asked = orjson.loads(shop.webhook_of(booking["id"])[0])
    # Signed by the gateway, and not true: the buyer has not acted.
    lie = changed(asked, "evt_early", status="requires_capture", amount_capturable=250)
    told = await shop.tell(*signed({**lie, "type": "payment_intent.amount_capturable_updated"}))
    assert told.json() == {"taken": True}
    await shop.work()
    assert (await shop.read(booking["id"]))["payment"]["status"] == "REQUIRES_ACTION"
    assert answer.json()["payment"]["authorization_id"] == asked["data"]["object"]["id"]


@pytest.mark.parametrize(
    "fields",
    [
        {"amount": 1},
        {"currency": "eur"},
        {"metadata": {"booking_id": "00001KA0000000000000000000000"}},
        {"metadata": {"attempt": "2"}},
        {"metadata": {"installation": "theirs"}},
        {"metadata": {"installation": ""}},
    ],
)
async def test_an_event_about_what_was_not_asked_for_has_no_effect(fields: Any, shop: Shop) -> None:
    booking = await shop.hold()
    waiting = await shop.pay(booking["id"], ASKS_BUYER)
    assert waiting.status_code == 202
    await shop.told()
    await shop.work()
    event = orjson.loads(shop.webhook_of(booking["id"])[0])
    if "metadata" in fields:
        fields = {"metadata": {**event["data"]["object"]["metadata"], **fields["metadata"]}}
    before = await shop.api.sequences()
    answer = await shop.tell(*signed(changed(event, "evt_other", **fields)))
    assert (answer.status_code, answer.json()) == (200, {"taken": False})
    assert await shop.api.sequences() == before


async def test_an_event_that_could_not_be_noted_is_news_when_it_comes_again(
    database_url: str, tmp_path: Path, calling_simulator: CallingSimulator
) -> None:
    valkey = Valkey(tmp_path / "valkey")
    with contextlib.closing(valkey):
        async with open_shop(valkey.url, database_url, tmp_path, calling_simulator) as shop:
            booking = await shop.hold()
            waiting = await shop.pay(booking["id"], ASKS_BUYER)
            await shop.told()
            before = len(shop.webhooks)
            await asyncio.to_thread(valkey.kill)
            await shop.act(waiting.json())

            async def was_refused() -> bool:
                return len(shop.webhooks) > before

            await eventually(was_refused, "a webhook while Redis is away")
            refused(shop.webhooks[before][2], 503, "unavailable")
            await asyncio.to_thread(valkey.start)
            await shop.told()
            assert shop.webhook_of(booking["id"])[2].json() == {"taken": True}
            await shop.work()
            assert (await shop.read(booking["id"]))["payment"]["status"] == "CAPTURED"


async def test_late_and_reordered_events_leave_a_settled_booking_as_it_is(shop: Shop) -> None:
    booking = await shop.paid()
    await shop.told()
    mine = [told for told in shop.webhooks if booking["id"].encode() in told[0]]
    assert len(mine) >= 2
    before = await shop.api.sequences()
    for number, (body, _, _) in enumerate(reversed(mine)):
        event = {**orjson.loads(body), "id": f"evt_late_{number}"}
        assert (await shop.tell(*signed(event))).status_code == 200
    await shop.work()
    assert await shop.api.sequences() == before
    assert await shop.read(booking["id"]) == booking
