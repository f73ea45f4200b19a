"""A tick of many calls is cut to pieces that leave while it goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from engine.errors import Unavailable
from engine.limits import PIECE_CALLS
from engine.pipeline import Pipeline
from tests.helpers.wire import CANCEL, META, Wire, call, open_all


async def test_a_tick_of_many_calls_leaves_in_pieces_before_it_ends(
    wire: Wire, pipeline: Pipeline
) -> None:
    await open_all(pipeline, wire)
    sent: list[int] = []

    calls = [call(pipeline, f"c{at}") for at in range(2 * PIECE_CALLS + 3)]
    asyncio.get_running_loop().call_soon(lambda: sent.append(len(pipeline._waiting)))
    replies = await asyncio.gather(*calls)
    # At the end of the tick in which they were made, only what was less than a piece still waited.
    assert sent == [3]
    assert sorted(len(batch) for batch in wire.exchanges) == [3, PIECE_CALLS, PIECE_CALLS]
    assert [reply[2] for reply in replies] == [f"c{at}" for at in range(2 * PIECE_CALLS + 3)]


async def test_a_call_that_cannot_be_spelled_fails_with_its_piece_and_no_other(
    wire: Wire, pipeline: Pipeline
) -> None:
    await open_all(pipeline, wire)

    class Broken:
        def __iter__(self) -> Iterator[str]:
            raise ValueError("not a word")

    async def broken() -> Any:
        return await pipeline.run(CANCEL, META, Broken())

    calls = [call(pipeline) for _ in range(PIECE_CALLS - 1)]
    calls += [asyncio.create_task(broken()), *(call(pipeline) for _ in range(PIECE_CALLS))]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(result) for result in results[:PIECE_CALLS]] == [ValueError] * PIECE_CALLS
    assert not any(isinstance(result, BaseException) for result in results[PIECE_CALLS:])
    assert wire.closed == 0


async def test_a_pipeline_that_is_closed_while_a_piece_leaves_tells_its_callers(
    wire: Wire,
) -> None:
    pipeline = Pipeline(wire.connect)
    await open_all(pipeline, wire)
    calls = [call(pipeline) for _ in range(PIECE_CALLS)]
    # The calls are made in this tick, and their piece is sent; its connection has not read yet.
    asyncio.get_running_loop().call_soon(lambda: [link.cancel() for link in pipeline._links])
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(result) for result in results] == [Unavailable] * PIECE_CALLS
    await pipeline.close()
