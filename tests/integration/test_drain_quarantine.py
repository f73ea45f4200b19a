"""An entry that cannot be applied is set aside; the others flow, in order per booking."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
import pytest_asyncio
from prometheus_client import REGISTRY

from engine.errors import Unavailable
from engine.types import Levels, Status
from tests.helpers.ledger import Ledger, booking_entry, booking_id, open_ledger, sale_entry

PARTITION = 0


@pytest_asyncio.fixture
async def ledger(redis_url: str, database_url: str) -> AsyncIterator[Ledger]:
    async with open_ledger(redis_url, database_url) as opened:
        yield opened


def held(number: int, available: int, held: int, **fields: Any) -> bytes:
    """A hold of two seats that leads to these levels."""
    fields = {"deltas": "seat:-2:2:0", "levels": f"seat:{available}:{held}:0"} | fields
    return booking_entry("held", number, 1, **fields)


def cancelled(number: int, version: int, available: int, held: int) -> bytes:
    """The end of a hold of two seats."""
    levels = f"seat:{available}:{held}:0"
    return booking_entry("cancelled", number, version, deltas="seat:2:-2:0", levels=levels)


def mismatches() -> float:
    return REGISTRY.get_sample_value("holdfast_level_mismatches_total") or 0.0


async def quarantined(ledger: Ledger) -> list[tuple[Any, ...]]:
    return await ledger.rows(
        "SELECT sequence, reason, booking_id, deltas FROM quarantine ORDER BY sequence"
    )


def poisons() -> list[tuple[bytes, str]]:
    """Entries of bookings 10 and up that cannot be applied, and why not."""
    changes: list[tuple[dict[str, Any], str]] = [
        ({"status": "LOST"}, "unreadable"),
        ({"levels": ""}, "unreadable"),
        ({"sale_id": ["concert"]}, "unreadable"),
        ({"amount": 1.5}, "unreadable"),
        ({"customer_id": "an\0n"}, "refused"),
        ({"amount": 2**63}, "refused"),
        ({"lines": f"seat:{2**63}:0"}, "refused"),
        ({"deltas": f"seat:{2**63}:0:0"}, "refused"),
        ({"cancel_reason": "expired"}, "refused"),
    ]
    entries = [
        (held(number, 96, 4, **fields), reason)
        for number, (fields, reason) in enumerate(changes, 10)
    ]
    twice = {"item_id": "seat", "name": "Seat", "unit_price": 1, "max_per_booking": 0}
    definition = orjson.loads(sale_entry())["definition"]
    for fields, reason in (
        ({"items": []}, "unreadable"),
        (definition | {"name": "Con\0cert"}, "refused"),
        (definition | {"items": [twice, twice]}, "refused"),
    ):
        entries.append((sale_entry(2, definition=fields, deltas="", levels=""), reason))
    return [*entries, (b"\xff\x00 no JSON", "unreadable"), (b"[]", "unreadable")]


async def test_poison_entries_are_set_aside_and_the_others_flow(ledger: Ledger) -> None:
    entries = [sale_entry()]
    expected = []
    for number, (poison, reason) in enumerate(poisons(), 100):
        entries += (poison, held(number, 96, 4))
        expected.append((len(entries) - 1, reason, poison))
    await ledger.append(PARTITION, *entries)
    assert await ledger.drain.run_once(PARTITION) == len(entries)

    table = "SELECT sequence, reason, entry FROM quarantine ORDER BY sequence"
    assert await ledger.rows(table) == expected
    assert await ledger.rows("SELECT entry FROM journal ORDER BY sequence") == [
        (entry,) for entry in entries
    ]
    assert len(await ledger.rows("SELECT entry FROM journal_text")) == len(entries)
    page = await ledger.reads.history("ann", 200)
    assert {booking.booking_id for booking in page.bookings} == {
        booking_id(number) for number in range(100, 100 + len(expected))
    }
    assert await ledger.rows("SELECT name FROM sales") == [("Concert",)]
    assert await ledger.reads.quarantined() == {PARTITION: len(expected)}
    assert (await ledger.reads.cursors())[PARTITION].sequence == len(entries)
    assert (await ledger.engine.journal.status(PARTITION)).fenced is None
    assert await ledger.drain.run_once(PARTITION) == 0


async def test_later_entries_of_a_booking_wait_behind_its_poison_entry(ledger: Ledger) -> None:
    await ledger.append(
        PARTITION,
        sale_entry(),
        held(1, 98, 2),
        held(2, 96, 4, lines=f"seat:{2**63}:0"),
        booking_entry("extended", 2, 2),
        cancelled(1, 2, 98, 2),
    )
    await ledger.drain.run_once(PARTITION)
    await ledger.append(PARTITION, cancelled(2, 3, 100, 0), held(3, 98, 2))
    await ledger.drain.run_once(PARTITION)
    assert await quarantined(ledger) == [
        (3, "refused", booking_id(2), "seat:-2:2:0"),
        (4, "out_of_order", booking_id(2), ""),
        (6, "out_of_order", booking_id(2), "seat:2:-2:0"),
    ]
    with pytest.raises(Unavailable, match="quarantine"):
        await ledger.reads.booking(booking_id(2))
    first = await ledger.reads.booking(booking_id(1))
    assert first
    assert first.booking.status is Status.CANCELLED
    assert await ledger.reads.booking(booking_id(3))


async def test_an_entry_that_nobody_can_read_still_keeps_its_booking_back(ledger: Ledger) -> None:
    await ledger.append(PARTITION, sale_entry(), b"held, of whom?", cancelled(1, 2, 100, 0))
    await ledger.drain.run_once(PARTITION)
    assert await quarantined(ledger) == [
        (2, "unreadable", None, ""),
        (3, "out_of_order", booking_id(1), "seat:2:-2:0"),
    ]


async def test_levels_that_lack_just_what_is_in_quarantine_do_not_disagree(ledger: Ledger) -> None:
    before = mismatches()
    await ledger.append(
        PARTITION, sale_entry(), held(1, 98, 2, customer_id="an\0n"), held(2, 96, 4)
    )
    await ledger.drain.run_once(PARTITION)
    assert await ledger.levels() == {"concert": (Levels("seat", 98, 2, 0),)}
    assert mismatches() == before


async def test_levels_that_disagree_are_counted_and_the_deltas_are_believed(
    ledger: Ledger,
) -> None:
    before = mismatches()
    await ledger.append(PARTITION, sale_entry(), held(1, 97, 3), held(2, 95, 5))
    await ledger.drain.run_once(PARTITION)
    assert await ledger.levels() == {"concert": (Levels("seat", 96, 4, 0),)}
    assert mismatches() == before + 1, "one item, one batch"
    assert await quarantined(ledger) == []


async def test_deltas_are_summed_also_for_a_sale_whose_definition_is_in_quarantine(
    ledger: Ledger,
) -> None:
    await ledger.append(PARTITION, sale_entry(definition={}), held(1, 98, 2))
    await ledger.drain.run_once(PARTITION)
    assert await ledger.levels() == {"concert": (Levels("seat", -2, 2, 0),)}
    assert await quarantined(ledger) == [(1, "unreadable", None, "seat:100:0:0")]


async def test_many_poison_entries_in_one_batch_are_all_found(ledger: Ledger) -> None:
    entries = [sale_entry()]
    for number in range(1, 65):
        fields = {"customer_id": "an\0n"} if number % 8 == 0 else {}
        entries.append(held(number, 100 - 2 * number, 2 * number, **fields))
    await ledger.append(PARTITION, *entries)
    assert await ledger.drain.run_once(PARTITION) == 65
    assert len(await quarantined(ledger)) == 8
    assert await ledger.rows("SELECT count(*) FROM bookings") == [(56,)]
    assert await ledger.rows("SELECT count(*) FROM lines") == [(56,)]
    assert await ledger.rows("SELECT count(*), max(sequence) FROM journal") == [(65, 65)]
