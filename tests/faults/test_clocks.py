"""The clock of the hosts of API and worker is an hour wrong: Redis's clock alone decides."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from engine.settings import Settings
from engine.types import CancelReason
from holdfast.embedded.process import free_port
from tests.helpers.client import Client
from tests.helpers.engines import replayed
from tests.helpers.identity import AUDIENCE, ISSUER, Identity
from tests.helpers.load import levels_of, make_hold, make_key, put_sale, sale_body
from tests.helpers.shifted_clock import shifted
from tests.helpers.stage import RunningWorker, Stage, eventually, stage, stage_settings
from workers import verify

HOUR_S = 3600
HOLD_S = 6
"""Longer than all is held and refused in, on a busy machine."""


def in_minutes(minutes: int) -> str:
    """A time as the API wants it, by the clock of this host, which is Redis's."""
    at = datetime.now(UTC) + timedelta(minutes=minutes)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def milliseconds(moment: str) -> int:
    return round(datetime.fromisoformat(moment).timestamp() * 1000)


def id_ms(booking_id: str) -> int:
    """The time in a booking's id: a partition, then a ULID in Crockford's base 32."""
    number = 0
    for char in booking_id[3:13]:
        number = number * 32 + "0123456789ABCDEFGHJKMNPQRSTVWXYZ".index(char)
    return number


@asynccontextmanager
async def host(settings: Settings, ahead_s: int, logs: Path, token: str) -> AsyncIterator[Client]:
    """An API and a worker on a host whose clock is wrong, and somebody who asks that API."""
    port = free_port()
    api = shifted(ahead_s, "api", "--port", str(port))
    async with (
        RunningWorker(settings, logs / f"api{ahead_s}.log", command=api) as serving,
        RunningWorker(settings, logs / f"worker{ahead_s}.log", command=shifted(ahead_s, "worker")),
        Client(f"http://127.0.0.1:{port}", {"Authorization": f"Bearer {token}"}) as client,
    ):

        async def serves() -> bool:
            assert serving.child.poll() is None, serving.log.read_text()
            return (await client.get("/readyz")).status == 200

        await eventually(serves, "the API to serve", 60)
        yield client


async def check_windows(client: Client, name: str) -> None:
    """A sale opens and closes by Redis's clock, whatever the hour is there."""
    rng, later, still = random.Random(name), f"later-{name}", f"still-{name}"
    await put_sale(client, later, sale_body({"A": 5}, opens_at=in_minutes(30)))
    await put_sale(client, still, sale_body({"A": 5}, closes_at=in_minutes(30)))
    early = await make_hold(rng, later, {"A": 1}).send(client)
    assert (early.status, early.code) == (409, "sale_not_open")
    assert (await make_hold(rng, still, {"A": 1}).send(client)).status == 201


async def check_deadlines(on: Stage, redis: Any, client: Client, name: str, ahead_s: int) -> None:
    """Holds made there end neither early nor late, and their units come back once."""

    async def redis_ms() -> int:
        seconds, micros = await redis.time()
        return int(seconds) * 1000 + int(micros) // 1000

    await put_sale(client, name, sale_body({"A": 5}, hold_seconds=HOLD_S))
    rng, before_ms = random.Random(name), await redis_ms()
    answers = [await make_hold(rng, name, {"A": 1}).send(client) for _ in range(5)]
    assert {answer.status for answer in answers} == {201}
    held = [answer.json for answer in answers]
    late = make_hold(rng, name, {"A": 3})
    assert (await late.send(client)).code == "sold_out"
    customer = {"customer_id": held[0]["customer_id"]}
    paid = await client.post(f"/v1/bookings/{held[0]['id']}/pay", customer, key=make_key(rng))
    assert paid.status == 200, paid
    after_ms = await redis_ms()
    for booking in held:
        created_ms = milliseconds(booking["created_at"])
        assert before_ms <= created_ms <= after_ms, "by the clock of that host"
        assert milliseconds(booking["hold_expires_at"]) == created_ms + HOLD_S * 1000
        # An id carries the host's own time, and nothing goes by it: the clock was wrong.
        wrong_by_ms = id_ms(booking["id"]) - created_ms
        assert abs(wrong_by_ms - ahead_s * 1000) < HOUR_S * 1000 / 2
    await on.is_at((4, 0, 1), name)
    assert (await late.send(client)).status == 201
    assert await levels_of(client, name) == {"A": (1, 3, 1)}
    state = await replayed(on.engine, on.partition(name))
    ended = [state.bookings[booking["id"]] for booking in held[1:]]
    assert {booking.cancel_reason for booking in ended} == {CancelReason.EXPIRED}
    assert all(booking.updated_ms >= booking.hold_expires_ms for booking in ended), "early"
    entries = (await on.engine.journal.read(on.partition(name), 1, 1_000)).entries
    mine = [entry.text for entry in entries if f'"sale_id":"{name}"'.encode() in entry.text]
    assert sum(b'"type":"expired"' in text for text in mine) == 4


async def test_wrong_clocks_expire_nothing_early_or_late_and_release_nothing_twice(
    redis_url: str, database_url: str, tmp_path: Path
) -> None:
    """Two hosts, two hours apart, whose workers sweep what either has sold."""
    identity = Identity(tmp_path / "jwks.json")
    settings = stage_settings(
        redis_url,
        database_url,
        partitions="4",
        jwks_url=identity.url,
        jwt_issuer=ISSUER,
        jwt_audience=AUDIENCE,
    )
    # Whose tokens have ended by whose clock is not asked here: one that lives on both.
    token = identity.token("boss", "bookings bookings:any admin", exp=int(time.time()) + 3 * HOUR_S)
    async with (
        stage(settings) as on,
        host(settings, HOUR_S, tmp_path, token) as ahead,
        host(settings, -HOUR_S, tmp_path, token) as behind,
        Redis.from_url(redis_url) as redis,
    ):
        await check_windows(ahead, "ahead")
        await check_windows(behind, "behind")
        await asyncio.gather(
            check_deadlines(on, redis, ahead, "ahead", HOUR_S),
            check_deadlines(on, redis, behind, "behind", -HOUR_S),
        )
        await on.drained()
        assert (await verify.compare(settings)).differences == []
