"""What was changed in PostgreSQL behind the drain's back is found by `holdfast verify`."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.helpers.planted import SALE, Books, Plant, planted_books


@pytest.fixture
async def books(redis_url: str, database_url: str) -> AsyncIterator[Books]:
    async with planted_books(redis_url, database_url) as filled:
        yield filled


async def level_in_postgres(books: Books) -> str:
    await books.sql(f"UPDATE items SET sold = sold + 1 WHERE sale_id = '{SALE}'")
    return "levels is 14 available, 4 held, 3 sold in PostgreSQL, 14 available, 4 held, 2 sold"


async def booking_in_postgres(books: Books) -> str:
    await books.sql("UPDATE bookings SET status = 'COMPLETED' WHERE customer_id = 'bob'")
    return "status is COMPLETED in PostgreSQL, CONFIRMED in the journal"


async def last_entry_in_postgres(books: Books) -> str:
    await books.sql("UPDATE bookings SET sequence = 2 WHERE customer_id = 'bob'")
    return "is its last by PostgreSQL, 6 by the journal"


async def booking_lost_in_postgres(books: Books) -> str:
    await books.sql("DELETE FROM bookings WHERE customer_id = 'cid'")
    return "only the journal has it"


async def booking_invented_in_postgres(books: Books) -> str:
    await books.sql(
        "INSERT INTO bookings SELECT overlay(booking_id placing 'ZZ' from 28), partition, sequence,"
        " version, sale_id, customer_id, status, cancel_reason, amount, currency, hold_expires_ms,"
        " created_ms, updated_ms, extended FROM bookings WHERE customer_id = 'bob'"
    )
    return "only PostgreSQL has it"


async def line_in_postgres(books: Books) -> str:
    await books.sql("UPDATE lines SET quantity = 1")
    return "lines is "


async def lines_lost_in_postgres(books: Books) -> str:
    await books.sql("DELETE FROM lines")
    return "PostgreSQL lacks its lines"


async def sale_in_postgres(books: Books) -> str:
    await books.sql(f"UPDATE sales SET name = 'x' WHERE sale_id = '{SALE}'")
    return "name is x in PostgreSQL, Gig in the journal"


async def item_lost_in_postgres(books: Books) -> str:
    await books.sql(f"DELETE FROM items WHERE sale_id = '{SALE}'")
    return "item seat at 8: only the journal has it"


async def history_in_postgres(books: Books) -> str:
    await books.sql(
        f"UPDATE stock_history SET level_sold = 9 WHERE sale_id = '{SALE}' AND sequence = 3"
    )
    return "has levels that do not follow from its changes"


async def history_lost_in_postgres(books: Books) -> str:
    await books.sql(f"DELETE FROM stock_history WHERE sale_id = '{SALE}' AND sequence = 3")
    return "changes, the journal 7"


async def journal_row(books: Books) -> str:
    await books.sql(
        "UPDATE journal SET entry = convert_to(replace(convert_from(entry, 'UTF8'),"
        ' \'"customer_id":"ann"\', \'"customer_id":"eve"\'), \'UTF8\') WHERE sequence = 2'
    )
    return "entry 2 does not follow by its chain"


async def journal_column(books: Books) -> str:
    await books.sql("UPDATE journal SET type = 'expired' WHERE sequence = 2")
    return "entry 2: the columns beside it say something else"


async def journal_row_lost(books: Books) -> str:
    await books.sql("DELETE FROM journal WHERE sequence = 4")
    return "the journal lacks 4 to 4"


async def journal_row_inserted(books: Books) -> str:
    await books.sql(
        "INSERT INTO journal SELECT partition, 12, generation, at_ms, type, booking_id, sale_id,"
        f" entry, chain FROM journal WHERE partition = {books.stage.partition(SALE)}"
        " AND sequence = 8"
    )
    return "the journal has entry 12, and the cursor is at 8"


async def chain_in_postgres(books: Books) -> str:
    partition = books.stage.partition(SALE)
    await books.sql(f"UPDATE partitions SET chain = sha256('x') WHERE partition = {partition}")
    return "the chain at the cursor, 8, is not the journal's"


async def entry_in_quarantine(books: Books) -> str:
    """One that no script of ours wrote."""
    await books.redis.xadd(books.key("journal"), {"entry": "{}"}, id="9-0")
    await books.redis.hset(books.key("meta"), "sequence", "9")
    assert await books.stage.drain.run_once(books.stage.partition(SALE)) == 1
    return "entry 9 is in quarantine, unreadable"


async def cursor_gone_ahead(books: Books) -> str:
    """As if entries had been committed that nobody wrote."""
    partition = books.stage.partition(SALE)
    await books.sql(f"UPDATE partitions SET sequence = 11 WHERE partition = {partition}")
    return "the journal lacks 9 to 11"


async def day_of_the_reports(books: Books) -> str:
    await books.sql(f"UPDATE sale_days SET confirmed = confirmed + 1 WHERE sale_id = '{SALE}'")
    return "the reports have 4 created, 2 confirmed"


async def day_lost_from_the_reports(books: Books) -> str:
    await books.sql(f"DELETE FROM sale_days WHERE sale_id = '{SALE}'")
    return "the reports have nothing in USD"


async def step_of_the_reports(books: Books) -> str:
    await books.sql(f"UPDATE sale_steps SET sold = 0 WHERE sale_id = '{SALE}' AND sold <> 0")
    return "leads to 0 sold of 20, the journal to 2 of 20"


PLANTS: tuple[Plant, ...] = (
    entry_in_quarantine,
    cursor_gone_ahead,
    level_in_postgres,
    booking_in_postgres,
    last_entry_in_postgres,
    booking_lost_in_postgres,
    booking_invented_in_postgres,
    line_in_postgres,
    lines_lost_in_postgres,
    sale_in_postgres,
    item_lost_in_postgres,
    history_in_postgres,
    history_lost_in_postgres,
    day_of_the_reports,
    day_lost_from_the_reports,
    step_of_the_reports,
    journal_row,
    journal_column,
    journal_row_lost,
    journal_row_inserted,
    chain_in_postgres,
)


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
async def test_a_planted_difference_is_named(books: Books, plant: Plant) -> None:
    expected = await plant(books)
    report = await books.verify()
    assert any(expected in line for line in report.differences), report.differences
