"""The simulator as the referee: it counts every charge, and tells this host alone."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest

from engine.payments.gateway import Approved
from holdfast.simulator.serve import create_app
from holdfast.simulator.settings import SimulatorSettings
from holdfast.simulator.store import Store
from tests.helpers.gateways import API_KEY, BOOKING, Simulator, adapter, an_intent

OTHER = BOOKING[:-1] + "8"


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    headers = {"Authorization": f"Bearer {API_KEY}"}
    async with aiohttp.ClientSession(headers=headers) as opened:
        yield opened


async def test_every_charge_is_listed_and_counted(tmp_path: Path) -> None:
    simulator = Simulator(tmp_path / "books")
    with contextlib.closing(simulator):
        async with adapter(simulator.url) as gateway:
            # The same booking paid twice, as a fresh key on a retry would: one too many.
            paid = []
            for attempt in (1, 2):
                intent = an_intent(attempt=attempt)
                approved = await gateway.authorize(intent)
                assert isinstance(approved, Approved)
                await gateway.capture(intent, approved.authorization_id)
                paid.append(approved.authorization_id)
            assert simulator.totals()["duplicate_charges"] == 1
            await gateway.refund(an_intent(attempt=2).reference, paid[1])
            # Another: authorized and voided; declined; authorized and left open.
            intent = an_intent(booking_id=OTHER)
            approved = await gateway.authorize(intent)
            assert isinstance(approved, Approved)
            await gateway.void(intent.reference, approved.authorization_id)
            await gateway.authorize(
                an_intent("pm_card_chargeDeclined", booking_id=OTHER, attempt=2)
            )
            await gateway.authorize(an_intent(booking_id=OTHER, attempt=3))
        assert simulator.totals() == {
            "payment_intents": 5,
            "authorized": 4,
            "declined": 1,
            "captured": 2,
            "released": 1,
            "refunded": 1,
            "open_authorizations": 1,
            "amount_captured": 2500,
            "amount_refunded": 1250,
            "paid_bookings": 1,
            "duplicate_charges": 0,
            "open_webhooks": 0,
            "lost_webhooks": 0,
        }
        entries = simulator.charges()
    assert [
        (
            entry["booking_id"],
            entry["attempt"],
            entry["payment_intent_status"],
            entry["amount_captured"],
            entry["amount_refunded"],
            len(entry["refunds"]),
        )
        for entry in entries
    ] == [
        (BOOKING, "1", "succeeded", 1250, 0, 0),
        (BOOKING, "2", "succeeded", 1250, 1250, 1),
        (OTHER, "1", "canceled", 0, 0, 0),
        (OTHER, "2", "requires_payment_method", 0, 0, 0),
        (OTHER, "3", "requires_capture", 0, 0, 0),
    ]


@pytest.mark.parametrize("name", ["charges", "totals", "settings"])
@pytest.mark.parametrize(
    ("client", "status"),
    [
        ("127.0.0.1", 200),
        ("127.8.9.10", 200),
        ("::1", 200),
        ("::ffff:127.0.0.1", 200),
        ("192.0.2.1", 403),
        ("::ffff:192.0.2.1", 403),
        ("2001:db8::1", 403),
        ("not an address", 403),
    ],
)
async def test_the_books_are_for_this_host_alone(
    client: str, status: int, name: str, tmp_path: Path
) -> None:
    with contextlib.closing(Store(tmp_path / "books")) as store:
        application = create_app(SimulatorSettings(_env_file=None), store)
        transport = httpx.ASGITransport(application, client=(client, 50_000))
        async with httpx.AsyncClient(transport=transport, base_url="http://books") as asked:
            assert (await asked.get(f"/_simulator/{name}")).status_code == status


@pytest.mark.parametrize(
    "changes", [{"latency_ms": -1}, {"error_rate": 2}, {"no_such_fault": 1}, [], "x", {"x": {}}]
)
async def test_a_fault_that_makes_no_sense_is_refused(
    changes: Any, shared_simulator: Simulator, session: aiohttp.ClientSession
) -> None:
    address = f"{shared_simulator.url}/_simulator/settings"
    async with session.get(address) as answer:
        before = await answer.json()
    async with session.patch(address, data=json.dumps(changes)) as answer:
        assert answer.status == 400
    async with session.get(address) as answer:
        assert await answer.json() == before


BAD_REQUESTS: list[tuple[str, str, dict[str, str], int, str | None]] = [
    ("POST", "payment_intents", {"amount": "1"}, 400, "parameter_missing"),
    ("POST", "payment_intents", {"currency": "usd"}, 400, "parameter_missing"),
    (
        "POST",
        "payment_intents",
        {"amount": "1", "currency": "usd", "confirm": "true"},
        400,
        "parameter_missing",
    ),
    (
        "POST",
        "payment_intents",
        {"amount": "1", "currency": "usd", "card": "4242"},
        400,
        "parameter_unknown",
    ),
    (
        "POST",
        "payment_intents",
        {"amount": "1", "currency": "usd", "metadata": "x"},
        400,
        "parameter_invalid",
    ),
    (
        "POST",
        "payment_intents",
        {"amount": "1", "currency": "usd", "metadata[a]": "x" * 501},
        400,
        "parameter_invalid",
    ),
    (
        "POST",
        "payment_intents",
        {"amount": "1", "currency": "usd", "payment_method_types[]": "sepa_debit"},
        400,
        "parameter_invalid",
    ),
    ("POST", "payment_intents", {"a[b][c][d][e]": "x"}, 400, "parameter_invalid"),
    ("POST", "payment_intents/pi_none/capture", {}, 404, "resource_missing"),
    ("POST", "refunds", {}, 400, "parameter_missing"),
    ("POST", "refunds", {"payment_intent": "pi_none"}, 400, "resource_missing"),
    ("POST", "refunds", {"charge": "ch_none"}, 400, "resource_missing"),
    ("POST", "webhook_endpoints", {"url": "ftp://x"}, 400, "url_invalid"),
    ("GET", "payment_intents/pi_none", {}, 404, "resource_missing"),
    ("GET", "payment_intents", {"limit": "101"}, 400, "parameter_invalid_integer"),
    ("GET", "payment_intents", {"created[gte]": "now"}, 400, "parameter_invalid_integer"),
    ("GET", "payment_intents/search", {}, 400, "parameter_missing"),
    ("GET", "payment_intents/search", {"query": "amount>1"}, 400, "parameter_invalid"),
    ("GET", "refunds/re_none", {}, 404, "resource_missing"),
    ("GET", "customers", {}, 404, None),
    ("DELETE", "payment_intents", {}, 404, None),
]


@pytest.mark.parametrize(("method", "path", "fields", "status", "code"), BAD_REQUESTS)
async def test_a_bad_request_is_refused_in_stripes_words(
    method: str,
    path: str,
    fields: dict[str, str],
    status: int,
    code: str | None,
    shared_simulator: Simulator,
    session: aiohttp.ClientSession,
) -> None:
    place = {"data": fields} if method == "POST" else {"params": fields}
    async with session.request(method, f"{shared_simulator.url}/v1/{path}", **place) as answer:  # type: ignore[arg-type]
        body = await answer.json()
    assert answer.status == status
    assert body["error"]["type"] == "invalid_request_error"
    assert body["error"].get("code") == code
    assert body["error"]["message"]


async def test_a_card_number_is_neither_repeated_nor_kept(
    shared_simulator: Simulator, session: aiohttp.ClientSession
) -> None:
    number = "4242424242424242"
    form = {"amount": "1", "currency": "usd", "payment_method": number}
    async with session.post(f"{shared_simulator.url}/v1/payment_intents", data=form) as answer:
        assert answer.status == 400
        assert number not in await answer.text()
    assert number not in json.dumps(shared_simulator.charges())


@pytest.mark.parametrize("given", ["", "Bearer sk_test_other", "Basic !!", "Bearer"])
async def test_the_api_key_is_checked(given: str, shared_simulator: Simulator) -> None:
    headers = {"Authorization": given} if given else {}
    async with (
        aiohttp.ClientSession(headers=headers) as stranger,
        stranger.get(f"{shared_simulator.url}/v1/payment_intents") as answer,
    ):
        assert answer.status == 401


async def test_the_api_key_may_come_as_basic_authentication(shared_simulator: Simulator) -> None:
    # As curl -u KEY: does, in all of Stripe's examples.
    headers = {"Authorization": "Basic " + base64.b64encode(f"{API_KEY}:".encode()).decode()}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.get(f"{shared_simulator.url}/v1/payment_intents") as answer,
    ):
        assert answer.status == 200


async def test_a_refund_can_be_in_parts_and_never_more_than_was_taken(
    shared_simulator: Simulator, session: aiohttp.ClientSession
) -> None:
    intent = an_intent(attempt=77)
    async with adapter(shared_simulator.url) as gateway:
        approved = await gateway.authorize(intent)
        assert isinstance(approved, Approved)
        await gateway.capture(intent, approved.authorization_id)
    address, parent = (
        f"{shared_simulator.url}/v1/refunds",
        {"payment_intent": approved.authorization_id},
    )
    made = []
    for amount, status in (("1000", 200), ("251", 400), ("250", 200), ("1", 400)):
        async with session.post(address, data=parent | {"amount": amount}) as answer:
            assert answer.status == status, amount
            made.append((await answer.json()).get("id"))
    async with session.get(address, params=parent) as answer:
        assert [row["id"] for row in (await answer.json())["data"]] == [made[2], made[0]]
    page = parent | {"limit": "1", "starting_after": made[2]}
    async with session.get(address, params=page) as answer:
        assert [row["id"] for row in (await answer.json())["data"]] == [made[0]]
    async with session.get(f"{address}/{made[0]}") as answer:
        assert (await answer.json())["amount"] == 1000


async def test_an_intent_may_be_confirmed_after_it_was_created(
    shared_simulator: Simulator, session: aiohttp.ClientSession
) -> None:
    address = f"{shared_simulator.url}/v1/payment_intents"
    async with session.post(address, data={"amount": "70", "currency": "eur"}) as answer:
        made = await answer.json()
    assert made["status"] == "requires_payment_method"
    path = f"{address}/{made['id']}/confirm"
    async with session.post(path, data={}) as answer:
        assert answer.status == 400
    async with session.post(path, data={"payment_method": "pm_card_chargeDeclined"}) as answer:
        assert answer.status == 402
    async with session.post(path, data={"payment_method": "pm_card_mastercard"}) as answer:
        confirmed = await answer.json()
    assert confirmed["status"] == "succeeded"
    assert confirmed["amount_received"] == 70
    async with session.post(path, data={}) as answer:
        assert (await answer.json())["error"]["code"] == "payment_intent_unexpected_state"
