"""`holdfast verify` on equal books, on books that cannot be compared, and what it prints."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from tests.helpers.planted import SALE, Books, planted_books
from workers import verify


@pytest.fixture
async def books(redis_url: str, database_url: str) -> AsyncIterator[Books]:
    async with planted_books(redis_url, database_url) as filled:
        yield filled


async def test_equal_books_have_no_difference(books: Books) -> None:
    report = await books.verify()
    assert report.differences == []
    assert (report.bookings, report.journal_entries) == (4, 9)


async def test_entries_that_nobody_drains_are_a_difference(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.replay.VERIFY_STALL_MS", 200)
    await books.stage.hold("eve", 1, SALE)
    report = await books.verify()
    assert report.differences == [
        f"partition {books.stage.partition(SALE)}: PostgreSQL stays at 8 and Redis is at 9: "
        "nobody drains it"
    ]


async def test_what_was_evicted_is_no_difference(books: Books) -> None:
    partition = books.stage.partition(SALE)
    assert await books.stage.engine.bookings.evict(partition, 8, 0, 100) == 2
    assert (await books.verify()).differences == []


async def test_the_exit_code_and_the_lines_say_whether_the_books_agree(
    books: Books, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await verify.verify(books.stage.settings, as_json=False) == 0
    assert capsys.readouterr().out == "equal: 4 bookings, 0 payments, 9 journal entries\n"
    await books.redis.hincrby(books.key("stock", SALE), "seat:available", 1)
    assert await verify.verify(books.stage.settings, as_json=True) == 1
    printed = json.loads(capsys.readouterr().out)
    assert printed.keys() == {"equal", "differences", "bookings", "journal_entries", "payments"}
    assert printed["equal"] is False
    assert len(printed["differences"]) == 1
    assert await verify.verify(books.stage.settings, as_json=False) == 1
    first, last = capsys.readouterr().out.splitlines()
    assert first == printed["differences"][0]
    assert last == "different in 1 places: 4 bookings, 0 payments, 9 journal entries"
