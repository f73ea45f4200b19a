"""A partition that cannot be trusted sells nothing and says so; its neighbours go on selling."""

from __future__ import annotations

import asyncio
import random
import subprocess
from collections.abc import Callable

import pytest
import redis

from engine.keys import Keys
from holdfast.embedded.process import free_port
from tests.helpers import books
from tests.helpers.client import Client
from tests.helpers.fences import backlog_fences, check_nothing_is_sold, sale_in, told_by_readyz
from tests.helpers.load import make_hold, put_sale, sale_body
from tests.helpers.servers import System, clean_environment, holdfast

KEYS = Keys(books.PARTITIONS)
STOCK = {"A": 10}

Break = Callable[[redis.Redis, str], object]


def delete_meta(client: redis.Redis, meta: str) -> object:
    return client.delete(meta)


def raise_generation(client: redis.Redis, meta: str) -> object:
    return client.hincrby(meta, "generation", 1)


def lower_generation(client: redis.Redis, meta: str) -> object:
    return client.hincrby(meta, "generation", -1)


def lower_sequence(client: redis.Redis, meta: str) -> object:
    return client.hincrby(meta, "sequence", -1)


def lose_everything(client: redis.Redis, meta: str) -> object:
    names: list[bytes] = list(client.scan_iter(meta.removesuffix("meta") + "*"))
    return client.delete(*names)


BROKEN = {
    "a deleted meta key": (1, delete_meta),
    "a generation too high": (2, raise_generation),
    "a generation too low": (3, lower_generation),
    "a sequence gone back": (4, lower_sequence),
    "a partition emptied": (5, lose_everything),
}


@pytest.mark.parametrize("what", BROKEN)
async def test_a_broken_partition_is_fenced_and_the_others_sell(
    system: System, admin: Client, service: Client, what: str
) -> None:
    partition, damage = BROKEN[what]
    broken, sound = sale_in(KEYS, partition), sale_in(KEYS, 0, what)
    rng = random.Random(what)
    for sale_id in (broken, sound):
        await put_sale(admin, sale_id, sale_body(STOCK))
        assert (await make_hold(rng, sale_id, {"A": 1}).send(service)).status == 201
    await books.drained(system, [partition, 0])
    with redis.Redis.from_url(system.run["redis_url"]) as client:
        damage(client, KEYS.meta(partition).decode())

    await check_nothing_is_sold(system, service, broken, STOCK, {"A": (9, 1, 0)})
    readiness = await told_by_readyz(system)
    assert partition in {part["partition"] for part in readiness["fenced"]}
    assert readiness["status"] == "degraded"
    assert partition in await backlog_fences(system)

    again = make_hold(rng, sound, {"A": 1})
    assert (await again.send(service)).status == 201
    assert await books.in_redis(system, sound) == {"A": (8, 2, 0)}


async def test_a_rebuild_opens_what_was_broken_and_leaves_the_others_alone(
    system: System, admin: Client, service: Client
) -> None:
    """After the ones above, on what they have broken."""
    broken = [partition for partition, _ in BROKEN.values()]
    assert await backlog_fences(system) == set(broken)
    exit_code, told = await books.run(system, "rebuild")
    assert (exit_code, told["refused"]) == (0, [])
    assert [part["partition"] for part in told["partitions"]] == broken
    assert await backlog_fences(system) == set()
    for partition in broken:
        sale_id = sale_in(KEYS, partition)
        assert await books.in_redis(system, sale_id) == {"A": (9, 1, 0)}
        again = make_hold(random.Random(partition), sale_id, {"A": 1})
        assert (await again.send(service)).status == 201
        await books.drained(system, [partition])
        assert await books.check_levels(system, service, sale_id, STOCK) == {"A": (8, 2, 0)}
    await books.check_verify(system)


async def test_a_process_with_another_number_of_partitions_sells_nothing(
    system: System, admin: Client, service: Client
) -> None:
    await put_sale(admin, "counted", sale_body(STOCK))
    # Not a new number of the whole installation: one process, on the same servers, set up wrongly.
    # It would be refused at its start if it could ask PostgreSQL.
    nowhere = f"postgresql://nobody@127.0.0.1:{free_port()}/none"
    wrongly = {"HOLDFAST_PARTITIONS": "8", "HOLDFAST_DATABASE_URL": nowhere}
    settings = {**books.settings(system), **wrongly}
    port = free_port()
    api = await asyncio.create_subprocess_exec(
        *holdfast("api", "--port", str(port)),
        env=clean_environment(settings),
        stdin=subprocess.DEVNULL,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        async with Client(url, system.headers("service")) as wrong:
            while (ready := await wrong.get("/readyz")).status == 0:
                assert api.returncode is None
                await asyncio.sleep(0.05)
            assert (ready.status, ready.json["status"]) == (503, "not_ready")
            assert len(ready.json["fenced"]) == ready.json["partitions"] == 8
            for sale_id in ("counted", "elsewhere"):
                answer = await make_hold(random.Random(8), sale_id, {"A": 1}).send(wrong)
                assert (answer.status, answer.code) == (503, "fenced")
        async with Client(url, system.headers("admin")) as wrong:
            refused = await wrong.put("/v1/sales/counted-8", sale_body(STOCK))
            assert (refused.status, refused.code) == (503, "fenced")
    finally:
        api.terminate()
        await api.wait()
    assert await books.in_redis(system, "counted") == {"A": (10, 0, 0)}


async def test_up_refuses_another_number_of_partitions_by_the_settings_name(
    system: System,
) -> None:
    """Last in this module: it stops the system."""
    assert system.stop() == 0
    system.environment["HOLDFAST_PARTITIONS"] = "8"
    try:
        refused = system.command("up", "--port", "0")
    finally:
        del system.environment["HOLDFAST_PARTITIONS"]
    assert refused.returncode == 2
    assert "HOLDFAST_PARTITIONS" in refused.stderr
    assert not system.run_file.exists()
