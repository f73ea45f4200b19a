"""The calls of one tick leave in one write, and whoever fails fails alone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from redis.exceptions import NoScriptError, ReadOnlyError, ResponseError

import engine.pipeline
from engine.connections import Command
from engine.errors import Overloaded, Unavailable
from engine.limits import MAX_BATCHES_IN_FLIGHT, MAX_CALLS_PER_BATCH
from engine.pipeline import Pipeline
from engine.scripts import load_script
from tests.helpers.wire import CANCEL, CUT, META, Wire, call, done, open_all, settle

READ = load_script("get_booking")


async def test_calls_of_one_tick_leave_in_one_exchange(pipeline: Pipeline, wire: Wire) -> None:
    replies = await asyncio.gather(*(call(pipeline, f"c{at}") for at in range(20)))
    assert [reply[2] for reply in replies] == [f"c{at}" for at in range(20)]
    assert [len(batch) for batch in wire.exchanges] == [20]
    assert wire.exchanges[0][0] == ("EVALSHA", CANCEL.sha1, 1, META, 1, 0, "c0")


async def test_a_batch_has_a_bound(pipeline: Pipeline, wire: Wire) -> None:
    await asyncio.gather(*(call(pipeline) for _ in range(MAX_CALLS_PER_BATCH + 1)))
    assert sorted(len(batch) for batch in wire.exchanges) == [1, MAX_CALLS_PER_BATCH]


async def test_batches_in_flight_have_a_bound_and_what_comes_meanwhile_forms_the_next(
    pipeline: Pipeline, wire: Wire
) -> None:
    wire.open.clear()
    calls = []
    for _ in range(MAX_BATCHES_IN_FLIGHT + 3):
        calls.append(call(pipeline))
        await settle()
    assert [len(batch) for batch in wire.exchanges] == [1] * MAX_BATCHES_IN_FLIGHT
    wire.open.set()
    await asyncio.gather(*calls)
    assert [len(batch) for batch in wire.exchanges] == [1] * MAX_BATCHES_IN_FLIGHT + [3]
    assert wire.opened == MAX_BATCHES_IN_FLIGHT


async def test_a_lost_connection_fails_its_callers_and_nobody_after(
    wire: Wire,
) -> None:
    reconnects = 0

    async def on_reconnect() -> None:
        nonlocal reconnects
        reconnects += 1

    pipeline = Pipeline(wire.connect, on_reconnect=on_reconnect)
    await call(pipeline)
    wire.fails = CUT
    results = await asyncio.gather(call(pipeline), call(pipeline), return_exceptions=True)
    assert [type(result) for result in results] == [Unavailable, Unavailable]
    wire.fails = None
    for _ in range(MAX_BATCHES_IN_FLIGHT):
        assert (await call(pipeline))[0] == b"done"
    # One that was lost, and three that nobody had needed before: the server may be another now.
    assert (wire.closed, reconnects) == (1, MAX_BATCHES_IN_FLIGHT)
    await pipeline.close()
    assert wire.closed == wire.opened


async def test_a_call_is_spelled_only_when_its_connection_is_there(wire: Wire) -> None:
    seen = [5]

    async def on_reconnect() -> None:
        seen[0] = 9

    pipeline = Pipeline(wire.connect, on_reconnect=on_reconnect)
    await call(pipeline)
    wire.fails = CUT
    with pytest.raises(Unavailable):
        await call(pipeline)
    wire.fails = None

    class Seen:
        def __iter__(self) -> Iterator[str | int]:
            return iter((1, seen[0], "c"))

    for _ in range(MAX_BATCHES_IN_FLIGHT):
        await pipeline.run(CANCEL, META, Seen())
    # PostgreSQL was asked while the first of them waited for its connection.
    assert [batch[0][5] for batch in wire.exchanges[2:]] == [9] * MAX_BATCHES_IN_FLIGHT
    await pipeline.close()


async def test_a_server_that_was_started_again_costs_one_failure_and_not_one_a_connection(
    pipeline: Pipeline, wire: Wire
) -> None:
    await open_all(pipeline, wire)
    wire.restart()
    with pytest.raises(Unavailable):
        await call(pipeline)
    for _ in range(2 * MAX_BATCHES_IN_FLIGHT):
        assert (await call(pipeline))[0] == b"done"
    assert (wire.opened, wire.closed) == (2 * MAX_BATCHES_IN_FLIGHT, MAX_BATCHES_IN_FLIGHT)


async def test_a_connection_to_a_server_that_was_made_a_replica_is_given_up(
    pipeline: Pipeline, wire: Wire
) -> None:
    await open_all(pipeline, wire)
    demoted = ReadOnlyError("You can't write against a read only replica.")
    wire.answer = lambda command: demoted if command[-1] == "x" else done(command)
    told = await asyncio.gather(call(pipeline), call(pipeline, "y"), return_exceptions=True)
    assert told[0] is demoted
    assert not isinstance(told[1], BaseException), "what was answered is answered"
    assert wire.closed == 1
    wire.answer = done
    for _ in range(MAX_BATCHES_IN_FLIGHT):
        await call(pipeline)
    # The others lead there as well.
    assert (wire.opened, wire.closed) == (2 * MAX_BATCHES_IN_FLIGHT, MAX_BATCHES_IN_FLIGHT)


async def test_a_server_that_is_away_is_unavailable_and_found_again(
    pipeline: Pipeline, wire: Wire
) -> None:
    wire.refuses = True
    for _ in range(MAX_BATCHES_IN_FLIGHT + 1):
        with pytest.raises(Unavailable, match="nobody listens"):
            await call(pipeline)
    wire.refuses = False
    assert (await call(pipeline))[0] == b"done"


async def test_no_answer_in_time_is_unknown_and_its_connection_serves_nobody_else(
    pipeline: Pipeline, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine.pipeline, "CALL_TIMEOUT_MS", 30)
    wire.open.clear()
    with pytest.raises(Unavailable, match="TimeoutError"):
        await call(pipeline)
    assert wire.closed == 1


async def test_a_cancelled_caller_harms_nobody(pipeline: Pipeline, wire: Wire) -> None:
    wire.open.clear()
    first, second = call(pipeline, "first"), call(pipeline, "second")
    await wire.reached.wait()
    first.cancel()
    wire.open.set()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert (await second)[2] == "second"
    assert (await call(pipeline, "third"))[2] == "third"
    assert wire.closed == 0


async def test_a_call_cancelled_before_it_left_is_not_sent(pipeline: Pipeline, wire: Wire) -> None:
    wire.open.clear()
    busy = [call(pipeline)]
    for _ in range(MAX_BATCHES_IN_FLIGHT - 1):
        await settle()
        busy.append(call(pipeline))
    await settle()
    waiting, kept = call(pipeline, "waiting"), call(pipeline, "kept")
    await settle()
    waiting.cancel()
    wire.open.set()
    await asyncio.gather(kept, *busy)
    sent = [command[-1] for batch in wire.exchanges for command in batch]
    assert "kept" in sent
    assert "waiting" not in sent


async def test_a_script_the_server_forgot_is_sent_whole_and_alone(
    pipeline: Pipeline, wire: Wire
) -> None:
    def forgetful(command: Command) -> Any:
        forgot = command[0] == "EVALSHA" and command[-1] == "forgot"
        return NoScriptError("No matching script.") if forgot else done(command)

    wire.answer = forgetful
    replies = await asyncio.gather(*(call(pipeline, name) for name in ("a", "forgot", "b")))
    assert [reply[2] for reply in replies] == ["a", "forgot", "b"]
    again = wire.exchanges[1]
    assert again == [("EVAL", CANCEL.text, 1, META, 1, 0, "forgot")]


async def test_an_error_is_its_callers_alone(pipeline: Pipeline, wire: Wire) -> None:
    def answer(command: Command) -> Any:
        return ResponseError("no") if command[-1] == "bad" else done(command)

    wire.answer = answer
    good, bad = call(pipeline, "good"), call(pipeline, "bad")
    assert (await good)[2] == "good"
    with pytest.raises(ResponseError, match="no"):
        await bad
    assert wire.closed == 0


async def test_a_call_that_cannot_be_sent_takes_no_link_with_it(
    pipeline: Pipeline, wire: Wire
) -> None:
    for _ in range(2 * MAX_BATCHES_IN_FLIGHT):
        wire.fails = UnicodeEncodeError("utf-8", "\udcff", 0, 1, "surrogates not allowed")
        with pytest.raises(UnicodeEncodeError):
            await call(pipeline)
    wire.fails = None
    assert (await call(pipeline))[0] == b"done"
    await pipeline.close()
    assert wire.closed == wire.opened


async def test_too_many_waiting_calls_are_refused_untried(
    pipeline: Pipeline, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine.pipeline, "MAX_CALLS_WAITING", 3)
    wire.open.clear()
    calls = []
    for _ in range(MAX_BATCHES_IN_FLIGHT):
        calls.append(call(pipeline))
        await settle()
    calls += [call(pipeline) for _ in range(3)]
    await settle()
    with pytest.raises(Overloaded, match="too many"):
        await call(pipeline)
    wire.open.set()
    await asyncio.gather(*calls)
    assert sum(len(batch) for batch in wire.exchanges) == len(calls)


async def test_closing_tells_who_waits_that_the_outcome_is_unknown(wire: Wire) -> None:
    pipeline = Pipeline(wire.connect)
    wire.open.clear()
    calls = []
    for _ in range(MAX_BATCHES_IN_FLIGHT + 1):
        calls.append(call(pipeline))
        await settle()
    await pipeline.close()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(result) for result in results} == {Unavailable}
    assert wire.closed == wire.opened
    with pytest.raises(Overloaded, match="closed"):
        await call(pipeline)


async def test_it_closes_though_its_connections_lose_the_cancellation(wire: Wire) -> None:
    pipeline = Pipeline(wire.connect)
    wire.open.clear()
    wire.loses_cancellations = True
    under_way = call(pipeline)
    await wire.reached.wait()
    async with asyncio.timeout(30):
        await pipeline.close()
    assert (await under_way)[0] == b"done"
    assert wire.closed == wire.opened
