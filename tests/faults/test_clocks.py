"""The clock of the hosts of API and worker is an hour wrong: Redis's clock alone decides."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from engine.types import CancelReason
from holdfast.embedded.process import free_port
from tests.helpers.client import Client
from tests.helpers.engines import replayed
from tests.helpers.identity import AUDIENCE, ISSUER, Identity
from tests.helpers.load import levels_of, make_hold, make_key, put_sale, sale_body
from tests.helpers.shifted_clock import shifted
from tests.helpers.stage import RunningWorker, eventually, stage, stage_settings
from workers import verify

HOUR_S = 3600
SALE = "clocks"


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


async def check_windows(admin: Client) -> None:
    """A sale opens and closes by Redis's clock, whatever the hour is here."""
    rng = random.Random(15)
    await put_sale(admin, "later", sale_body({"A": 5}, opens_at=in_minutes(30)))
    await put_sale(admin, "still", sale_body({"A": 5}, closes_at=in_minutes(30)))
    early = await make_hold(rng, "later", {"A": 1}).send(admin)
    assert (early.status, early.code) == (409, "sale_not_open")
    assert (await make_hold(rng, "still", {"A": 1}).send(admin)).status == 201


@pytest.mark.parametrize("ahead_s", [HOUR_S, -HOUR_S], ids=["ahead", "behind"])
async def test_a_wrong_clock_expires_nothing_early_or_late_and_releases_nothing_twice(
    redis_url: str, database_url: str, tmp_path: Path, ahead_s: int
) -> None:
    identity = Identity(tmp_path / "jwks.json")
    settings = stage_settings(
        redis_url,
        database_url,
        partitions="4",
        jwks_url=identity.url,
        jwt_issuer=ISSUER,
        jwt_audience=AUDIENCE,
    )
    # Whose clock is right for whom is not asked here: a token that lives on both.
    token = identity.token("boss", "bookings bookings:any admin", exp=int(time.time()) + 3 * HOUR_S)
    port = free_port()
    api = shifted(ahead_s, "api", "--port", str(port))
    async with (
        stage(settings) as on,
        RunningWorker(settings, tmp_path / "api.log", command=api) as serving,
        RunningWorker(settings, tmp_path / "worker.log", command=shifted(ahead_s, "worker")),
        Client(f"http://127.0.0.1:{port}", {"Authorization": f"Bearer {token}"}) as client,
        Redis.from_url(redis_url) as redis,
    ):

        async def redis_ms() -> int:
            seconds, micros = await redis.time()
            return int(seconds) * 1000 + int(micros) // 1000

        async def serves() -> bool:
            assert serving.child.poll() is None, serving.log.read_text()
            return (await client.get("/readyz")).status == 200

        await eventually(serves, "the API to serve", 60)
        await check_windows(client)
        await put_sale(client, SALE, sale_body({"A": 5}, hold_seconds=4))
        rng, before_ms = random.Random(15), await redis_ms()
        held: list[Any] = []
        for _ in range(5):
            answer = await make_hold(rng, SALE, {"A": 1}).send(client)
            assert answer.status == 201
            held.append(answer.json)
        late = make_hold(rng, SALE, {"A": 3})
        assert (await late.send(client)).code == "sold_out"
        customer = {"customer_id": held[0]["customer_id"]}
        paid = await client.post(f"/v1/bookings/{held[0]['id']}/pay", customer, key=make_key(rng))
        assert paid.status == 200, paid
        after_ms = await redis_ms()
        for booking in held:
            created_ms = milliseconds(booking["created_at"])
            assert before_ms <= created_ms <= after_ms, "by the clock of this host"
            assert milliseconds(booking["hold_expires_at"]) == created_ms + 4_000
            # An id carries the host's own time, and nothing goes by it: the clock was wrong.
            wrong_by_ms = id_ms(booking["id"]) - created_ms
            assert abs(wrong_by_ms - ahead_s * 1000) < HOUR_S * 1000 / 2

        async def are_given_back() -> bool:
            return await on.levels(SALE) == (4, 0, 1)

        await eventually(are_given_back, "the sweeper")
        assert (await late.send(client)).status == 201
        assert await levels_of(client, SALE) == {"A": (1, 3, 1)}
        state = await replayed(on.engine, on.partition(SALE))
        entries = (await on.engine.journal.read(on.partition(SALE), 1, 1_000)).entries
        expired = [entry for entry in entries if b'"type":"expired"' in entry.text]
        assert len(expired) == 4
        for booking in held[1:]:
            ended = state.bookings[booking["id"]]
            assert ended.cancel_reason is CancelReason.EXPIRED
            assert ended.updated_ms >= ended.hold_expires_ms, "early"
        await on.drained()
        assert (await verify.compare(settings)).differences == []
