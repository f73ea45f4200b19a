"""Webhook endpoints over HTTP: made, read, changed, tested, deleted, and their deliveries."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from api.app import create_app
from persistence.pool import create_pool
from tests.helpers.api import Api, open_api, refused
from tests.helpers.gateways import payment_settings

ADMIN: dict[str, Any] = {"sub": "boss", "scope": "admin"}
PATH = "/v1/webhook-endpoints"
HOOK = {"url": "https://partner.example/hook", "events": ["booking.*", "payment.captured"]}


@pytest.fixture
async def api(redis_url: str, database_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    async with open_api(redis_url, database_url, tmp_path) as api:
        yield api


async def made(api: Api, **changes: Any) -> Any:
    answer = await api.post(PATH, {**HOOK, **changes}, **ADMIN)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_an_endpoint_is_made_read_changed_and_deleted(api: Api) -> None:
    endpoint = await made(api)
    secret = endpoint.pop("secret")
    Webhook(secret)
    assert (endpoint["url"], endpoint["events"]) == (HOOK["url"], HOOK["events"])
    assert (endpoint["enabled"], endpoint["disabled_at"]) == (True, None)
    path = f"{PATH}/{endpoint['id']}"
    assert (await api.get(path, **ADMIN)).json() == endpoint, "the secret is told once"
    assert (await api.get(PATH, **ADMIN)).json() == {"endpoints": [endpoint]}
    stored = await api.stage.pool.fetchval("SELECT secret FROM webhook_endpoints")
    assert secret.encode() not in stored, "and kept encrypted"

    changed = (await api.ask("PATCH", path, {"events": ["*"], "enabled": False}, **ADMIN)).json()
    assert (changed["events"], changed["enabled"]) == (["*"], False)
    assert (changed["disabled_reason"], changed["url"]) == ("admin", HOOK["url"])
    assert "secret" not in changed
    rotated = (
        await api.ask("PATCH", path, {"rotate_secret": True, "enabled": True}, **ADMIN)
    ).json()
    assert rotated["secret"] != secret
    assert (rotated["enabled"], rotated["disabled_at"]) == (True, None)

    assert (await api.ask("DELETE", path, **ADMIN)).status_code == 204
    for method in ("GET", "DELETE"):
        refused(await api.ask(method, path, **ADMIN), 404, "not_found")
    refused(await api.ask("PATCH", path, {}, **ADMIN), 404, "not_found")


async def test_what_an_administrator_is_told_of_an_endpoint_waits_for_the_disk(api: Api) -> None:
    pools = {"api": api.app.state.parts.endpoints._pool}
    async with await create_pool(api.stage.settings.database_url, may_repeat=True) as relay:
        pools["relay"] = relay
        found = {
            name: await pool.fetchval("SHOW synchronous_commit") for name, pool in pools.items()
        }
    assert found == {"api": "on", "relay": "off"}


REFUSED: tuple[tuple[dict[str, Any], str], ...] = (
    ({"url": "ftp://partner.example/"}, "url"),
    ({"url": "https://user:secret@partner.example/"}, "url"),
    ({"url": "https://partner.example/#here"}, "url"),
    ({"url": "https://partner.example:99999/"}, "url"),
    ({"url": "https:///nowhere"}, "url"),
    ({"url": "http://127.0.0.1/"}, "url"),
    ({"url": "http://[::ffff:10.0.0.1]/"}, "url"),
    ({"url": "http://169.254.169.254/latest"}, "url"),
    ({"url": "http://localhost/"}, "url"),
    ({"events": []}, "events"),
    ({"events": ["booking.*", "booking.lost"]}, "events.1"),
    ({"events": ["Booking.*"]}, "events.0"),
    ({"secret": "mine"}, "secret"),
)


async def test_an_endpoint_that_cannot_be_is_refused(api: Api) -> None:
    for changes, path in REFUSED:
        refused(await api.post(PATH, {**HOOK, **changes}, **ADMIN), 400, "invalid_request", path)


async def test_private_addresses_are_for_development(api: Api) -> None:
    settings = api.stage.settings.model_copy(update={"webhook_allow_private": True})
    app = create_app(settings, payment_settings())
    async with app.router.lifespan_context(app):
        await made(api.over(app), url="http://127.0.0.1:8000/hook")


async def test_only_an_admin_sees_endpoints(api: Api) -> None:
    for method, path in (("GET", PATH), ("POST", PATH), ("GET", "/v1/ops/deliveries")):
        refused(await api.ask(method, path, HOOK if method == "POST" else None), 403, "forbidden")


async def test_deliveries_are_listed_tested_and_sent_again(api: Api) -> None:
    endpoint = await made(api)
    path = f"{PATH}/{endpoint['id']}"
    test = (await api.post(f"{path}/test", **ADMIN)).json()
    assert (test["type"], test["state"], test["attempts"]) == ("webhook.test", "waiting", 0)
    again = f"{path}/deliveries/{test['id']}/redeliver"
    assert (await api.post(again, **ADMIN)).json() == test, "it waits anyway"
    await api.stage.pool.execute(
        "UPDATE deliveries SET state = 'parked', ended_at = now(), attempts = 3, status = 503,"
        " excerpt = 'busy', detail = 'answered 503'"
    )
    page = (await api.get(f"{path}/deliveries?state=parked", **ADMIN)).json()
    assert page["next_cursor"] is None
    (parked,) = page["deliveries"]
    assert (parked["response_status"], parked["response_excerpt"]) == (503, "busy")
    assert (parked["error"], parked["next_attempt_at"]) == ("answered 503", None)
    resent = (await api.post(again, **ADMIN)).json()
    assert (resent["event_id"], resent["state"]) == (test["event_id"], "waiting")
    assert resent["id"] != test["id"]
    first = (await api.get(f"{path}/deliveries?limit=1", **ADMIN)).json()
    assert [one["id"] for one in first["deliveries"]] == [resent["id"]]
    rest = await api.get(f"{path}/deliveries?cursor={first['next_cursor']}", **ADMIN)
    assert [one["id"] for one in rest.json()["deliveries"]] == [test["id"]]
    everywhere = await api.get(f"/v1/ops/deliveries?destination={endpoint['id']}", **ADMIN)
    assert len(everywhere.json()["deliveries"]) == 2
    retried = await api.post(f"/v1/ops/deliveries/{test['id']}/retry", **ADMIN)
    assert retried.json()["event_id"] == test["event_id"]
    for count in (1, 0):
        place = {"destination": endpoint["id"]}
        answer = await api.post("/v1/ops/deliveries/retry", place, **ADMIN)
        assert (answer.status_code, answer.json()) == (202, {"retried": count})
    refused(await api.post("/v1/ops/deliveries/retry", {}, **ADMIN), 400, "invalid_request")

    other = await made(api)
    refused(
        await api.post(f"{PATH}/{other['id']}/deliveries/{test['id']}/redeliver", **ADMIN),
        404,
        "not_found",
    )
    nowhere = f"{PATH}/whe_{'0' * 24}"
    for answer in (
        await api.post(f"{nowhere}/test", **ADMIN),
        await api.get(f"{nowhere}/deliveries", **ADMIN),
        await api.post("/v1/ops/deliveries/999999/retry", **ADMIN),
    ):
        refused(answer, 404, "not_found")
    refused(
        await api.get(f"{path}/deliveries?cursor=abc", **ADMIN), 400, "invalid_request", "cursor"
    )
