"""Durability `replica`: no answer before enough replicas have it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from redis.exceptions import ResponseError

from engine.errors import Unavailable
from engine.pipeline import Pipeline, Replicas
from engine.scripts import load_script
from tests.helpers.wire import META, Wire, call, done

READ = load_script("get_booking")


@pytest_asyncio.fixture
async def pipeline(wire: Wire) -> AsyncIterator[Pipeline]:
    found = Pipeline(wire.connect, replicas=Replicas(1, timeout_ms=70))
    yield found
    with contextlib.suppress(Unavailable):
        await found.close()


async def test_a_batch_is_written_to_and_waited_for_once(pipeline: Pipeline, wire: Wire) -> None:
    await asyncio.gather(call(pipeline), call(pipeline))
    beat = load_script("beat")
    assert [len(batch) for batch in wire.exchanges] == [2, 2]
    assert wire.exchanges[1] == [("EVAL", beat.text, 1, META), ("WAIT", 1, 70)]


async def test_too_few_replicas_make_the_batch_unknown(pipeline: Pipeline, wire: Wire) -> None:
    wire.answer = lambda command: 0 if command[0] == "WAIT" else done(command)
    with pytest.raises(Unavailable, match="0 of 1 replicas"):
        await call(pipeline)
    assert wire.closed == 1


async def test_a_beat_that_was_not_written_makes_the_batch_unknown(
    pipeline: Pipeline, wire: Wire
) -> None:
    wire.answer = lambda command: ResponseError("no") if command[0] == "EVAL" else done(command)
    with pytest.raises(Unavailable, match="beat was not written"):
        await call(pipeline)


async def test_a_wait_that_was_refused_makes_the_batch_unknown(
    pipeline: Pipeline, wire: Wire
) -> None:
    wire.answer = lambda command: ResponseError("no") if command[0] == "WAIT" else done(command)
    with pytest.raises(Unavailable):
        await call(pipeline)


async def test_reads_do_not_wait(pipeline: Pipeline, wire: Wire) -> None:
    await pipeline.run(READ, META, (1, 0, "b", ""))
    assert len(wire.exchanges) == 1


async def test_the_drain_reads_only_what_replicas_have(pipeline: Pipeline, wire: Wire) -> None:
    await pipeline.run(load_script("read_journal"), META, (1, 0, 1, 10))
    assert wire.exchanges[1][1][0] == "WAIT"
