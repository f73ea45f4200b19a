"""What `up` shows of itself: where things are, who may do what, how it is, what it can do."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
from collections.abc import Iterator
from importlib.metadata import version

import pytest
from prometheus_client.parser import text_string_to_metric_families

from api.app import OPERATIONS as WRITTEN
from api.openapi import openapi
from tests.helpers.client import Client
from tests.helpers.faults import frozen
from tests.helpers.load import levels_of, make_hold, make_key, put_sale, sale_body
from tests.helpers.servers import System, is_alive
from tests.helpers.stage import eventually, stage_settings

SEED = 6
OPERATIONS = {
    ("put", "/v1/sales/{sale_id}"),
    ("get", "/v1/sales"),
    ("get", "/v1/sales/{sale_id}"),
    ("get", "/v1/sales/{sale_id}/availability"),
    ("get", "/v1/sales/{sale_id}/items/{item_id}/history"),
    ("post", "/v1/bookings"),
    ("get", "/v1/bookings"),
    ("get", "/v1/bookings/{booking_id}"),
    ("post", "/v1/bookings/{booking_id}/pay"),
    ("post", "/v1/bookings/{booking_id}/extend"),
    ("post", "/v1/bookings/{booking_id}/cancel"),
    ("post", "/v1/bookings/{booking_id}/complete"),
    ("post", "/v1/bookings/{booking_id}/refund"),
    ("post", "/v1/webhooks/{gateway}"),
    ("get", "/v1/ops/backlog"),
    ("get", "/v1/ops/payments/stuck"),
    ("get", "/v1/reports/summary"),
    ("post", "/v1/webhook-endpoints"),
    ("get", "/v1/webhook-endpoints"),
}


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """With two API processes on one port."""
    directory = tmp_path_factory.mktemp("system") / "data"
    with System(directory, "--api-workers", "2") as system:
        yield system


def test_the_run_file_names_everything_and_is_its_owners_alone(system: System) -> None:
    assert system.run_file.stat().st_mode & 0o777 == 0o600
    assert system.run_file.stat().st_uid == os.getuid()
    run = system.run
    assert run.keys() == {"url", "redis_url", "database_url", "gateway_url", "tokens", "pids"}
    assert run["tokens"].keys() == {"admin", "service", "customer"}
    pids = run["pids"]
    assert pids.keys() == {"up", "redis", "postgres", "api", "worker", "gateway"}
    assert len(set(pids["api"])) == 2
    servers = [pids["redis"], pids["postgres"], pids["gateway"]]
    processes = [pids["up"], *servers, *pids["api"], *pids["worker"]]
    assert all(is_alive(pid) for pid in processes)
    assert re.fullmatch(r"http://127\.0\.0\.1:[0-9]+", run["url"])
    for url in (run["redis_url"], run["database_url"]):
        assert re.search(r":[^:@/]{16,}@127\.0\.0\.1:", url), "a password, on loopback"
    assert re.fullmatch(r"http://[^:@/]{16,}@127\.0\.0\.1:[0-9]+", run["gateway_url"]), "a key"


async def test_each_api_process_serves_alone_while_the_other_hangs(
    system: System, admin: Client
) -> None:
    await put_sale(admin, "shared", sale_body({"A": 100}))
    rng = random.Random(SEED)
    for hanging in system.pids["api"]:
        async with (
            frozen(hanging),
            Client(system.url, system.headers("service"), timeout_s=10) as client,
        ):
            held = await make_hold(rng, "shared", {"A": 1}).send(client)
            assert held.status == 201


async def test_each_token_may_do_its_own_and_no_more(system: System, admin: Client) -> None:
    await put_sale(admin, "tokens", sale_body({"A": 10}))
    hold = make_hold(random.Random(SEED), "tokens", {"A": 1}, "somebody")
    own = {**hold.body}
    del own["customer_id"]
    async with (
        Client(system.url) as nobody,
        Client(system.url, {"Authorization": "Bearer made.up.token"}) as liar,
        Client(system.url, system.headers("customer")) as customer,
        Client(system.url, system.headers("service")) as service,
    ):
        for stranger in (nobody, liar):
            refused = await stranger.post("/v1/bookings", own, key=hold.key)
            assert (refused.status, refused.code) == (401, "unauthenticated")
        for who in (customer, service):
            refused = await who.put("/v1/sales/other", sale_body({"A": 1}))
            assert (refused.status, refused.code) == (403, "forbidden")
        assert (await hold.send(customer)).code == "forbidden"
        others = (await hold.send(service)).json
        assert others["customer_id"] == "somebody"
        path = f"/v1/bookings/{others['id']}"
        assert (await customer.get(path)).code == "not_found"
        assert (await customer.post(f"{path}/cancel")).code == "not_found"
        mine = (await customer.post("/v1/bookings", own, key=hold.key)).json
        assert mine["id"] != others["id"], "a key is its customer's"
        assert (await customer.get(f"/v1/bookings/{mine['id']}")).json == mine

        async def is_listed() -> bool:
            listed = (await customer.get("/v1/bookings?sale_id=tokens")).json["bookings"]
            ids = [booking["id"] for booking in listed]
            assert ids in ([], [mine["id"]])
            return bool(ids)

        await eventually(is_listed, "PostgreSQL to have it")
        assert await levels_of(nobody, "tokens") == {"A": (8, 2, 0)}


async def test_development_tokens_are_as_many_as_asked_for_and_each_its_subjects(
    system: System, admin: Client
) -> None:
    await put_sale(admin, "crowd", sale_body({"A": 10}))
    made = await asyncio.to_thread(
        system.command, "token", "--sub", "buyer", "--count", "3", "--ttl", "60"
    )
    tokens = made.stdout.split()
    assert len(tokens) == 3, made.stderr
    rng = random.Random(SEED)
    body = {"sale_id": "crowd", "lines": [{"item_id": "A", "quantity": 1}]}
    for number, token in enumerate(tokens, start=1):
        async with Client(system.url, {"Authorization": f"Bearer {token}"}) as client:
            held = await client.post("/v1/bookings", body, key=make_key(rng))
            assert (held.status, held.json["customer_id"]) == (201, f"buyer-{number}")


async def test_the_service_describes_itself_without_a_token(system: System) -> None:
    async with Client(system.url) as nobody:
        described = (await nobody.get("/openapi.json")).json
        # Which `unit/test_openapi.py` holds against OpenAPI's own schema, for seconds.
        settings = stage_settings(system.run["redis_url"], system.run["database_url"])
        written = openapi(WRITTEN, settings, version("holdfast-reservations"))
        assert described == json.loads(written)
        assert described["openapi"].startswith("3.1")
        offered = {(method, path) for path, by in described["paths"].items() for method in by}
        assert offered >= OPERATIONS

        page = await nobody.get("/docs")
        assert page.headers["content-type"].startswith("text/html")
        fetched = re.findall(rb"""(?:src|href)=["']?(https?:)?//""", page.body)
        assert not fetched, "the page works offline"

        alive, ready = await nobody.get("/healthz"), await nobody.get("/readyz")
        assert (alive.status, ready.status, ready.json["status"]) == (200, 200, "ready")

        text = (await nobody.get("/metrics")).body.decode()
        families = {family.name for family in text_string_to_metric_families(text)}
        assert any(name.startswith("holdfast_") for name in families)


async def test_every_answer_carries_a_request_id_and_every_error_is_a_problem(
    system: System, service: Client
) -> None:
    rng = random.Random(SEED)
    hold = make_hold(rng, "nowhere", {"A": 1})
    named = {"X-Request-ID": "mine-1"}
    for answer, status, code in (
        (await hold.send(service, headers=named), 404, "unknown_sale"),
        (await service.get("/v1/nothing", headers=named), 404, "not_found"),
        (
            await service.post("/v1/bookings", hold.body, headers=named),
            400,
            "idempotency_key_missing",
        ),
        (
            await service.post("/v1/bookings", hold.body, key="1", headers=named),
            400,
            "idempotency_key_invalid",
        ),
        (
            await service.post("/v1/bookings", b"{", key=hold.key, headers=named),
            400,
            "invalid_request",
        ),
        (
            await service.post("/v1/bookings", b" " * 70_000, key=hold.key, headers=named),
            413,
            "body_too_large",
        ),
        (
            await service.post(
                "/v1/bookings",
                hold.body,
                key=hold.key,
                headers={**named, "Content-Type": "text/plain"},
            ),
            415,
            "unsupported_media_type",
        ),
    ):
        assert (answer.status, answer.code) == (status, code)
        assert answer.headers["x-request-id"] == answer.json["request_id"] == "mine-1"
        assert answer.json.keys() >= {"type", "title", "status", "detail", "code", "request_id"}
    made = await service.get("/healthz", headers={"X-Request-ID": "not sane"})
    assert re.fullmatch(r"[A-Za-z0-9._-]{8,}", made.headers["x-request-id"])
