"""URLs of Redis, and what a server must keep for the durability that is asked for."""

from __future__ import annotations

from typing import Any

import pytest
from redis.exceptions import ResponseError

from engine.connections import Command, check_durability, connector
from engine.errors import SettingsError, Unavailable, WeakDurability
from engine.settings import Durability
from tests.helpers.wire import CUT, Wire

STRONG = {
    "appendonly": "yes",
    "appendfsync": "always",
    "no-appendfsync-on-rewrite": "no",
    "maxmemory-policy": "noeviction",
    "maxmemory": "1073741824",
}


async def check(durability: Durability, **differs: str) -> list[list[Command]]:
    """Check a server with these settings; return what it was asked."""
    found = STRONG | {name.replace("_", "-"): value for name, value in differs.items()}

    def answer(command: Command) -> Any:
        name = str(command[2])
        return [name.encode(), found[name].encode()]

    wire = Wire(answer)
    await check_durability(await wire.connect(), durability)
    return wire.exchanges


@pytest.mark.parametrize("durability", [Durability.FSYNC, Durability.REPLICA])
async def test_a_strong_server_is_taken(durability: Durability) -> None:
    assert len(await check(durability)) == 1


@pytest.mark.parametrize("durability", [Durability.FSYNC, Durability.REPLICA])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("appendonly", "no"),
        ("appendfsync", "everysec"),
        ("no-appendfsync-on-rewrite", "yes"),
        ("maxmemory-policy", "allkeys-lru"),
        ("maxmemory", "0"),
    ],
)
async def test_a_weak_server_is_refused_by_what_is_weak(
    name: str, value: str, durability: Durability
) -> None:
    with pytest.raises(WeakDurability, match=f"^HOLDFAST_DURABILITY: .*{name}") as refused:
        await check(durability, **{name: value})
    others = STRONG.keys() - {name}
    assert not any(f"{other} is" in str(refused.value) for other in others)


async def test_all_that_is_weak_is_named_at_once() -> None:
    with pytest.raises(WeakDurability, match=r"appendonly is no.*maxmemory is not set"):
        await check(Durability.FSYNC, appendonly="no", maxmemory="0")


async def test_memory_asks_nothing() -> None:
    assert await check(Durability.MEMORY, appendonly="no") == []


async def test_a_server_that_does_not_tell_its_settings_is_refused() -> None:
    answers: tuple[Any, ...] = (ResponseError("unknown command 'CONFIG'"), [])
    for answer in answers:
        wire = Wire(lambda _command, said=answer: said)  # type: ignore[misc]
        with pytest.raises(WeakDurability, match="does not tell its configuration"):
            await check_durability(await wire.connect(), Durability.FSYNC)


async def test_a_server_that_does_not_answer_is_unavailable() -> None:
    wire = Wire()
    wire.fails = CUT
    with pytest.raises(Unavailable, match="does not answer"):
        await check_durability(await wire.connect(), Durability.FSYNC)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("redis+sentinel://host/service", "`host` must be host:port"),
        ("redis+sentinel://host:26379,:1/service", "`:1` must be host:port"),
        ("redis+sentinel://host:26379", "service's name is missing"),
    ],
)
def test_a_bad_sentinel_url_is_refused_by_what_is_bad(url: str, message: str) -> None:
    with pytest.raises(SettingsError, match=f"^HOLDFAST_REDIS_URL: .*{message}"):
        connector(url)


@pytest.mark.parametrize(
    "url",
    [
        "redis://user:secret@host:6379/1",
        "rediss://host:6379/0",
        "unix:///run/redis.sock",
        "redis+sentinel://user:secret@one:26379,two:26380/holdfast?db=1",
    ],
)
def test_a_connection_is_opened_when_it_is_needed_and_not_before(url: str) -> None:
    assert callable(connector(url))
