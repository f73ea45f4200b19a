"""Answers piece by piece: whole, broken off, to a reader who stalls or goes away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from api.call import Context, Disconnected
from api.problems import Problem
from api.streaming import Stream, send_stream

HEADERS = [(b"vary", b"accept")]


class Reader:
    """Takes pieces until it stalls; goes away when told."""

    def __init__(self, *, takes: int = 100) -> None:
        self.takes = takes
        self.sent: list[Any] = []
        self.gone = asyncio.Event()

    async def receive(self) -> Any:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if len(self.sent) == self.takes:
            await asyncio.sleep(3600)
        self.sent.append(message)

    def bodies(self) -> list[tuple[bytes, bool]]:
        return [(one["body"], one.get("more_body", False)) for one in self.sent[1:]]


class Pieces:
    """Pieces, and whether their maker was let go."""

    def __init__(self, *pieces: bytes | Exception) -> None:
        self.pieces = pieces
        self.closed = False

    async def make(self) -> AsyncGenerator[bytes, None]:
        try:
            for piece in self.pieces:
                await asyncio.sleep(0)
                if isinstance(piece, Exception):
                    raise piece
                yield piece
        finally:
            self.closed = True


async def sent(reader: Reader, pieces: Pieces, method: str = "GET") -> Context:
    context = Context({}, "r", "t")
    stream = Stream(pieces.make(), HEADERS, b"text/csv")
    await send_stream(context, {"method": method}, reader.receive, reader.send, stream)
    return context


async def test_all_pieces_are_sent_and_an_end() -> None:
    reader, pieces = Reader(), Pieces(b"a", b"b")
    context = await sent(reader, pieces)
    assert context.status == 200
    assert (b"vary", b"accept") in reader.sent[0]["headers"]
    assert b"content-length" not in dict(reader.sent[0]["headers"])
    assert reader.bodies() == [(b"a", True), (b"b", True), (b"", False)]
    assert pieces.closed


async def test_a_head_has_no_body_and_makes_no_more_than_the_first_piece() -> None:
    reader, pieces = Reader(), Pieces(b"a", RuntimeError())
    await sent(reader, pieces, "HEAD")
    assert reader.bodies() == [(b"", False)]
    assert pieces.closed


async def test_what_fails_before_the_first_piece_is_an_ordinary_problem() -> None:
    reader, pieces = Reader(), Pieces(Problem("overloaded", "x"))
    with pytest.raises(Problem):
        await sent(reader, pieces)
    assert reader.sent == []


async def test_what_fails_after_it_ends_without_an_end() -> None:
    reader, pieces = Reader(), Pieces(b"a", RuntimeError())
    with pytest.raises(RuntimeError):
        await sent(reader, pieces)
    assert reader.bodies() == [(b"a", True)]
    assert pieces.closed


async def test_a_reader_who_takes_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.streaming.EXPORT_STALL_MS", 10)
    reader, pieces = Reader(takes=2), Pieces(b"a", b"b", b"c")
    with pytest.raises(Disconnected):
        await sent(reader, pieces)
    assert reader.bodies() == [(b"a", True)]
    assert pieces.closed


async def test_a_reader_who_is_gone_is_not_sent_the_rest() -> None:
    reader, pieces = Reader(), Pieces(*[b"a"] * 50)
    reader.gone.set()
    with pytest.raises(Disconnected):
        await sent(reader, pieces)
    assert len(reader.bodies()) < 50
    assert pieces.closed
