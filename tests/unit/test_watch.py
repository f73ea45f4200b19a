"""The watch asks for new holds to be shed before a server fails, and only then."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest

from engine import limits
from engine.errors import Fenced
from engine.journal_status import JournalStatus
from engine.limits import SHED_TTL_MS
from engine.pressure import Marks, Memory, marks_of
from tests.helpers.engines import options
from tests.helpers.stage import stage_settings
from workers.watch import Watch


class Usage(NamedTuple):
    """What `shutil.disk_usage` answers."""

    total: int
    used: int
    free: int


class Redis:
    """An engine as far as the watch looks at one, with two partitions."""

    def __init__(self) -> None:
        self.marks = Marks(max_bytes=1_000)
        self.used = Memory(0, 0)
        self.other: Memory | None = None
        """Of another server, that has partition 1."""
        self.lacking_bytes = [0, 0]
        self.shed_by: list[tuple[int, str, int]] = []
        self.fenced: set[int] = set()
        self.journal = self

    async def statuses(self, *, lenient: bool) -> list[JournalStatus]:
        assert lenient, "a node away must not keep the others from being watched"
        return [
            JournalStatus(at, 1, 9, 9, None, 9, 1, None, lacking)
            for at, lacking in enumerate(self.lacking_bytes)
        ]

    async def memory(self) -> dict[int, Memory]:
        return {0: self.used, 1: self.other or self.used}

    async def shed(self, partition: int, reason: str, ttl_ms: int) -> None:
        if partition in self.fenced:
            raise Fenced(partition, "drill")
        self.shed_by.append((partition, reason, ttl_ms))


@pytest.fixture
def redis() -> Redis:
    return Redis()


def watching(redis: Any, **settings: str) -> Watch:
    return Watch(redis, stage_settings("redis://x", "postgresql://x", **settings))


async def test_while_there_is_room_nothing_is_shed(redis: Redis, tmp_path: Path) -> None:
    redis.used = Memory(899, 1_000)
    redis.lacking_bytes = [499, 500]
    found = watching(redis, watch_disk=str(tmp_path), min_free_bytes="0")
    assert await found.run_once() == 0
    assert redis.shed_by == []


@pytest.mark.parametrize(
    ("used", "lacking", "free", "reason"),
    [
        (Memory(900, 1_000), [0, 0], 100, "memory"),
        (Memory(0, 0), [500, 500], 100, "backlog"),
        (Memory(0, 0), [0, 0], 99, "disk"),
        (Memory(900, 1_000), [500, 500], 99, "disk"),
    ],
)
async def test_what_runs_short_sheds_new_holds_of_all_partitions(
    used: Memory,
    lacking: list[int],
    free: int,
    reason: str,
    redis: Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(1_000, 1_000 - free, free))
    redis.used, redis.lacking_bytes = used, lacking
    found = watching(redis, watch_disk="/disk", min_free_bytes="100")
    await found.run_once()
    assert redis.shed_by == [(0, reason, SHED_TTL_MS), (1, reason, SHED_TTL_MS)]
    redis.used, redis.lacking_bytes, redis.shed_by = Memory(0, 0), [0, 0], []
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(1_000, 0, 1_000))
    await found.run_once()
    assert redis.shed_by == [], "its word runs out by itself"


async def test_a_server_that_is_nearly_full_sheds_its_own_partitions(redis: Redis) -> None:
    redis.used, redis.other = Memory(0, 1_000), Memory(900, 1_000)
    found = watching(redis)
    await found.run_once()
    assert redis.shed_by == [(1, "memory", SHED_TTL_MS)]
    redis.lacking_bytes = [0, 1_000]
    await found.run_once()
    assert redis.shed_by[1:] == [(0, "backlog", SHED_TTL_MS), (1, "memory", SHED_TTL_MS)]


async def test_a_fenced_partition_does_not_keep_the_others_from_being_shed(redis: Redis) -> None:
    redis.lacking_bytes, redis.fenced = [0, 2_000], {0}
    await watching(redis).run_once()
    assert redis.shed_by == [(1, "backlog", SHED_TTL_MS)]


def test_the_bytes_of_the_marks_go_by_the_setting_then_the_server_then_a_bound() -> None:
    given = options("redis://x", max_backlog_bytes=7, max_backlog_age_ms=5_000)
    assert marks_of(given, [Memory(0, 4_000)]) == Marks(limits.MAX_BACKLOG_ENTRIES, 7, 5_000)
    assert marks_of(options("redis://x"), [Memory(0, 4_000)]).max_bytes == 1_000
    servers = [Memory(0, 8_000), Memory(0, 4_000), Memory(0, 0)]
    assert marks_of(options("redis://x"), servers).max_bytes == 1_000
    assert marks_of(options("redis://x"), [Memory(0, 0)]).max_bytes == limits.MAX_BACKLOG_BYTES
