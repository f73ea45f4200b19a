"""What goes on, and what is said, while a server is away, a partition is fenced, or all is full."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from api.app import create_app
from engine.errors import SettingsError
from tests.helpers.api import Api, hold_body, open_api
from tests.helpers.gateways import payment_settings
from tests.helpers.servers import Postgres, Valkey
from tests.helpers.stage import eventually, stage_settings

ADMIN: dict[str, Any] = {"sub": "boss", "scope": "admin"}


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    server = Valkey(tmp_path / "valkey")
    yield server
    server.close()


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[Postgres]:
    server = Postgres(tmp_path / "postgres")
    yield server
    server.close()


@pytest.fixture
async def api(redis_url: str, database_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    async with open_api(redis_url, database_url, tmp_path) as api:
        yield api


async def readiness(api: Api) -> tuple[int, Any]:
    await asyncio.sleep(0.6)  # longer than a look is good for
    answer = await api.get("/readyz", sub=None)
    return answer.status_code, answer.json()


def key() -> str:
    return str(uuid.uuid4())


async def test_postgres_away_is_a_degraded_day(
    valkey: Valkey, postgres: Postgres, tmp_path: Path
) -> None:
    async with open_api(valkey.url, postgres.fresh_database(), tmp_path) as api:
        await api.put_sale()
        assert (await readiness(api))[1]["status"] == "ready"
        await asyncio.to_thread(postgres.kill)
        booking = await api.hold()
        assert (await api.get(f"/v1/bookings/{booking['id']}")).json() == booking
        assert (await api.pay(booking["id"]))["status"] == "CONFIRMED"
        assert await api.levels() == [(9, 0, 1)]
        status, told = await readiness(api)
        assert (status, told["status"]) == (200, "degraded")
        assert told["postgres"]["status"] == "away"
        assert told["backlog"]["entries"] >= 2
        history = await api.get("/v1/bookings")
        assert (history.status_code, history.json()["code"]) == (503, "unavailable")
        other = "1" if booking["id"].endswith("0") else "0"
        absent = await api.get(f"/v1/bookings/{booking['id'][:-1]}{other}")
        assert absent.status_code == 503, "nobody can say that it is not there"
        assert (await api.get("/healthz", sub=None)).status_code == 200
        await asyncio.to_thread(postgres.start)

        async def answers_again() -> bool:
            return (await api.get("/v1/bookings")).status_code == 200

        await eventually(answers_again, "PostgreSQL is back")
        assert (await readiness(api))[1]["status"] == "ready"


async def test_redis_away_is_said_and_its_return_is_noticed(
    valkey: Valkey, postgres: Postgres, tmp_path: Path
) -> None:
    async with open_api(valkey.url, postgres.fresh_database(), tmp_path) as api:
        await api.put_sale()
        booking = await api.hold()
        used, body = key(), hold_body()
        await api.get("/v1/bookings")
        await asyncio.to_thread(valkey.kill)
        unknown = await api.post("/v1/bookings", body, key=used)
        assert (unknown.status_code, unknown.json()["code"]) == (503, "unavailable")
        assert int(unknown.headers["retry-after"]) >= 1
        status, told = await readiness(api)
        assert (status, told["status"], told["redis"]["status"]) == (503, "not_ready", "away")
        assert "127.0.0.1" not in str(told)
        listed = await api.get("/v1/bookings")
        assert listed.json()["bookings"] == [booking], "PostgreSQL still has the history"
        await asyncio.to_thread(valkey.start)

        async def holds_again() -> bool:
            return (await api.post("/v1/bookings", body, key=used)).status_code == 201

        await eventually(holds_again, "Redis is back")
        assert (await readiness(api))[1]["status"] == "ready"
        assert await api.levels() == [(8, 2, 0)]


async def test_the_application_starts_while_both_servers_are_away(
    valkey: Valkey, postgres: Postgres, tmp_path: Path
) -> None:
    database = postgres.fresh_database()
    async with open_api(valkey.url, database, tmp_path) as first:
        await first.put_sale()
        await asyncio.to_thread(valkey.kill)
        await asyncio.to_thread(postgres.kill)
        app = create_app(first.stage.settings, payment_settings())
        async with app.router.lifespan_context(app):
            second = first.over(app)
            assert (await second.get("/healthz", sub=None)).status_code == 200
            assert (await readiness(second))[0] == 503
            answer = await second.post("/v1/bookings", hold_body(), key=key())
            assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
            await asyncio.to_thread(valkey.start)

            async def is_there(name: str) -> bool:
                return bool((await readiness(second))[1][name]["status"] == "ok")

            await eventually(lambda: is_there("redis"), "Redis was found")
            # Nobody has compared it with PostgreSQL since it started: it may be an older copy.
            answer = await second.post("/v1/bookings", hold_body(), key=key())
            assert (answer.status_code, answer.json()["code"]) == (503, "fenced")
            await asyncio.to_thread(postgres.start)
            await eventually(lambda: is_there("postgres"), "PostgreSQL was found")
            assert await second.hold()


async def test_a_fenced_partition_sells_nothing_and_the_others_go_on(api: Api) -> None:
    names = {api.stage.partition(name): name for name in (f"sale-{n}" for n in range(40))}
    assert len(names) == 4
    for name in names.values():
        await api.put_sale(name)
    await api.stage.engine.journal.fence(0, "drill")
    answer = await api.post("/v1/bookings", hold_body(names[0]), key=key())
    assert (answer.status_code, answer.json()["code"]) == (503, "fenced")
    assert "retry-after" in answer.headers
    assert await api.hold(names[1])
    status, told = await readiness(api)
    assert (status, told["status"]) == (200, "degraded")
    assert told["fenced"] == [{"partition": 0, "reason": "drill"}]
    for partition in (1, 2, 3):
        await api.stage.engine.journal.fence(partition, "drill")
    status, told = await readiness(api)
    assert (status, told["status"]) == (503, "not_ready")


async def test_a_full_backlog_sheds_new_holds_and_lets_the_others_end(
    redis_url: str, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_api(redis_url, database_url, tmp_path, max_backlog_entries="3") as api:

        async def nothing(_: Any, __: int) -> int:
            return 0

        monkeypatch.setattr(type(api.stage.drain), "run_once", nothing)
        await api.put_sale()
        booking = await api.hold()
        await api.hold()
        shed = await api.post("/v1/bookings", hold_body(), key=key())
        assert (shed.status_code, shed.json()["code"]) == (503, "overloaded")
        assert (await api.pay(booking["id"]))["status"] == "CONFIRMED"
        status, told = await readiness(api)
        assert (status, told["status"]) == (200, "degraded")
        assert told["backlog"]["full_partitions"] == [api.stage.partition()]
        assert told["backlog"]["oldest_age_s"] > 0
        assert told["backlog"]["bytes"] > 0
        assert told["shedding"] == [{"partition": api.stage.partition(), "reason": "entries"}]


async def test_what_a_worker_says_sheds_new_holds_with_a_time_to_come_back(api: Api) -> None:
    await api.put_sale()
    booking = await api.hold()
    await api.stage.engine.journal.shed(api.stage.partition(), "disk", 60_000)
    shed = await api.post("/v1/bookings", hold_body(), key=key())
    assert (shed.status_code, shed.json()["code"]) == (503, "overloaded")
    assert int(shed.headers["retry-after"]) > 1
    assert (await api.pay(booking["id"]))["status"] == "CONFIRMED"
    status, told = await readiness(api)
    assert (status, told["status"]) == (200, "degraded")
    assert told["shedding"] == [{"partition": api.stage.partition(), "reason": "disk"}]


async def test_without_the_identity_services_keys_no_booking_can_be_taken(
    redis_url: str, database_url: str, tmp_path: Path
) -> None:
    async with open_api(redis_url, database_url, tmp_path) as api:
        elsewhere = stage_settings(
            redis_url, database_url, partitions="4", jwks_url=(tmp_path / "none.json").as_uri()
        )
        app = create_app(elsewhere, payment_settings())
        async with app.router.lifespan_context(app):
            second = api.over(app)
            answer = await second.post("/v1/bookings", hold_body(), key=key())
            assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
            status, told = await readiness(second)
            assert (status, told["identity"]["status"]) == (503, "away")


async def test_a_server_that_is_too_weak_ends_the_start_by_name(
    valkey: Valkey, database_url: str
) -> None:
    with redis.Redis.from_url(valkey.url) as client:
        client.config_set("appendfsync", "everysec")
    app = create_app(stage_settings(valkey.url, database_url), payment_settings())
    with pytest.raises(SettingsError, match="HOLDFAST_DURABILITY"):
        async with app.router.lifespan_context(app):
            pass
