"""arq's settings: what its traps would make of a queue that others rely on."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import httpx
import orjson
import pytest
from arq.connections import ArqRedis
from arq.jobs import deserialize_job_raw, serialize_job, serialize_result
from arq.worker import Worker
from redis.asyncio.sentinel import SentinelConnectionPool

from engine.errors import SettingsError
from engine.limits import DATABASE_DRAIN_TIMEOUT_MS, QUEUE_TIMEOUT_MS, SLICE_MS, TICK_S
from holdfast.embedded.process import free_port
from workers import metrics
from workers.hands import Hands
from workers.loops import Loop
from workers.settings import LOOPS, WorkerSettings, arq_worker, queue_pool, ticks


async def nothing() -> int:
    return 0


def hands_of(pool: ArqRedis) -> Hands:
    return Hands((Loop(name, nothing, idle_min_ms=1, idle_max_ms=1) for name in LOOPS), pool)


def worker_of(pool: ArqRedis) -> Worker:
    return arq_worker(pool, hands_of(pool))


async def test_every_loop_has_a_tick_and_no_result_or_id_is_kept() -> None:
    worker = worker_of(queue_pool("redis://nowhere:1"))
    assert {job.name for job in worker.cron_jobs} == set(LOOPS)
    for job in worker.cron_jobs:
        assert job.keep_result_s == 0
        assert job.max_tries == 1
        assert job.job_id is None, "an id of ours would block until its result ends"
        assert job.unique, "one worker takes each tick"
        assert job.run_at_startup
        assert job.timeout_s is not None
        longest_ms = SLICE_MS + DATABASE_DRAIN_TIMEOUT_MS
        assert job.timeout_s * 1000 > longest_ms, "a slice ends by itself, not by force"
    assert worker.keep_result_s == 0
    assert worker.timezone is UTC


def test_ticks_come_evenly() -> None:
    for job in ticks():
        due = datetime(2026, 11, 22, 23, 59, 57, 900_000, tzinfo=UTC)
        times = []
        for _ in range(70):
            job.calculate_next(due)
            assert job.next_run
            due = job.next_run
            times.append(due)
        gaps = {after - before for before, after in pairwise(times)}
        assert gaps == {timedelta(seconds=TICK_S)}


def test_ticks_of_two_workers_do_not_share_what_they_remember() -> None:
    first, second = ticks(), ticks()
    first[0].calculate_next(datetime.now(UTC))
    assert second[0].next_run is None


def test_jobs_and_results_are_json() -> None:
    dump, load = WorkerSettings.job_serializer, WorkerSettings.job_deserializer
    job = serialize_job("drain", (), {}, None, 1_700_000_000_000, serializer=dump)
    assert orjson.loads(job)["f"] == "drain"
    assert list(deserialize_job_raw(job, deserializer=load)) == ["drain", [], {}, None, 17 * 10**11]
    failed = serialize_result(
        "drain", (), {}, 1, 0, False, ValueError("no"), 0, 0, "drain", "q", job_id="1",
        serializer=dump,
    )  # fmt: skip
    assert failed is not None
    assert orjson.loads(failed)["r"] == "ValueError('no')"


@pytest.mark.parametrize(
    "url",
    [
        "redis://:secret@host:6380/3",
        "rediss://user:secret@host/1",
        "unix:///run/redis.sock?db=2",
        "redis+sentinel://:secret@one:26379,two:26379/main?db=4",
    ],
)
def test_every_kind_of_redis_url_makes_a_queue_whose_waits_are_bounded(url: str) -> None:
    pool = queue_pool(url)
    assert isinstance(pool, ArqRedis)
    arguments = pool.connection_pool.connection_kwargs
    assert arguments["socket_timeout"] == QUEUE_TIMEOUT_MS / 1000
    assert arguments.get("password") == (None if url.startswith("unix") else "secret")
    assert isinstance(pool.connection_pool, SentinelConnectionPool) == ("sentinel" in url)


async def test_a_loop_whose_queue_does_not_answer_is_worked_at_all_the_same() -> None:
    calls = 0
    enough = asyncio.Event()

    async def work() -> int:
        nonlocal calls
        calls += 1
        if calls == 3:
            enough.set()
        return 0

    # Nothing listens on port 1.
    loop = Loop("drain", work, idle_min_ms=1, idle_max_ms=1)
    hands = Hands((loop,), queue_pool("redis://127.0.0.1:1"))
    watching = asyncio.create_task(hands.watch())
    async with asyncio.timeout(20):
        await enough.wait()
    hands.stop()
    await watching


def test_a_worker_alone_serves_its_numbers_and_names_a_port_that_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    port = free_port()
    with metrics.served(port):
        said = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text
        assert "holdfast_expired_holds_total" in said
        with (
            pytest.raises(SettingsError, match=f"HOLDFAST_METRICS_PORT: {port}"),
            metrics.served(port),
        ):
            pass
    with metrics.served(None):
        pass
