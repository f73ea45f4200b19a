"""`holdfast backlog quarantine`: an entry that was set aside is applied after all, or given up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from engine.errors import Unavailable
from engine.outcomes import Outcome
from engine.types import Booking, CancelReason, Contact, LineRequest, Status
from persistence import rows
from persistence.quarantine import NotInQuarantine, Quarantine
from tests.helpers.stage import Stage
from workers import quarantine, verify


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Have PostgreSQL refuse whatever is about the customer `eve`, and take it again."""
    copy = rows._copy

    async def refuse_eve(taken: Any, table: str, columns: Any, records: Any) -> None:
        if table == "bookings":
            records = [tuple("e\0ve" if part == "eve" else part for part in row) for row in records]
        await copy(taken, table, columns, records)

    def set_poison(bad: bool) -> None:
        monkeypatch.setattr(rows, "_copy", refuse_eve if bad else copy)

    return set_poison


async def poisoned(on: Stage, poison: Callable[[bool], None]) -> Booking:
    """A hold of eve's, confirmed, neither of which PostgreSQL takes; and one of ann's that it does.

    Entries 2 and 3 of the partition wait, 4 is applied.
    """
    poison(True)
    answer = await on.engine.bookings.reserve(
        "gig", "eve", [LineRequest("seat", 2)], "k", contact=Contact("eve@example.com")
    )
    assert answer.booking
    confirmed = await on.confirm(answer.booking)
    await on.hold("ann")
    await on.drain_all()
    assert await on.reads.quarantined() == {on.partition(): 2}
    with pytest.raises(Unavailable, match="quarantine"):
        await on.reads.booking(confirmed.booking_id)
    return confirmed


def printed(capsys: pytest.CaptureFixture[str]) -> Any:
    """The object that was printed last; this process logs to stdout as well."""
    return json.loads(capsys.readouterr().out.splitlines()[-1])


async def outbox_of(on: Stage, booking: Booking) -> list[tuple[str, int, int]]:
    found = await on.pool.fetch(
        "SELECT type, subject_sequence, sequence FROM outbox WHERE subject = $1"
        " ORDER BY subject_sequence",
        booking.booking_id,
    )
    return [tuple(row) for row in found]


async def is_equal(on: Stage) -> bool:
    report = await verify.compare(on.settings)
    return not report.found


async def test_retry_applies_an_entry_and_those_behind_it_once(
    on: Stage, poison: Callable[[bool], None], capsys: pytest.CaptureFixture[str]
) -> None:
    booking = await poisoned(on, poison)
    partition = on.partition()
    assert not await is_equal(on)
    assert await quarantine.retry(on.settings, partition, 2, as_json=True) == 1
    told = printed(capsys)
    assert (told["applied"], told["left"]) == ([], 2), "the reason is still there"
    assert await outbox_of(on, booking) == []
    poison(False)
    assert await quarantine.retry(on.settings, partition, 3, as_json=True) == 1
    told = printed(capsys)
    assert told["left"] == 3, "it waits behind the one before"
    assert told["why"].startswith("out_of_order")

    assert await quarantine.retry(on.settings, partition, 2, as_json=True) == 0
    assert printed(capsys)["applied"] == [2, 3]
    archived = await on.reads.booking(booking.booking_id)
    assert archived
    assert archived.booking == booking
    assert archived.contact, "what lay beside it in Redis came along"
    assert await outbox_of(on, booking) == [("booking.held", 1, 2), ("booking.confirmed", 2, 3)]
    assert await on.reads.quarantined() == {}
    assert await is_equal(on)
    with pytest.raises(NotInQuarantine):
        await quarantine.retry(on.settings, partition, 2, as_json=True)
    assert len(await outbox_of(on, booking)) == 2
    await on.engine.bookings.cancel(booking.booking_id, CancelReason.OPERATOR)
    await on.drain_all()
    assert await is_equal(on)


async def test_a_discarded_entry_stays_as_such_and_its_successors_go_on(
    on: Stage, poison: Callable[[bool], None], capsys: pytest.CaptureFixture[str]
) -> None:
    booking = await poisoned(on, poison)
    partition = on.partition()
    await quarantine.discard(on.settings, partition, 2, "olga", "a NUL in a name", as_json=False)
    assert await quarantine.show_list(on.settings, partition, as_json=True) == 0
    listed = printed(capsys)["entries"]
    assert [(one["sequence"], one["discarded_by"]) for one in listed] == [(2, "olga"), (3, None)]
    assert await on.reads.quarantined() == {partition: 1}
    poison(False)
    assert await quarantine.retry(on.settings, partition, 3, as_json=False) == 0
    archived = await on.reads.booking(booking.booking_id)
    assert archived
    assert archived.booking == booking, "an entry carries the whole booking"
    assert await is_equal(on)
    history = await on.reads.stock_history("gig", "seat", 10)
    assert [change.sequence for change in history.changes] == [4, 3, 2, 1]


async def test_the_entry_after_a_discarded_one_applies_by_itself(
    on: Stage, poison: Callable[[bool], None]
) -> None:
    booking = await poisoned(on, poison)
    for sequence in (2, 3):
        await quarantine.discard(
            on.settings, on.partition(), sequence, "olga", "drill", as_json=False
        )
    archived = await on.reads.booking(booking.booking_id)
    assert archived
    assert archived.booking == booking, "as the last of them has it"
    assert await is_equal(on), "what was given up is no difference"
    poison(False)
    answer = await on.engine.bookings.cancel(booking.booking_id, CancelReason.OPERATOR)
    assert answer.outcome is Outcome.CANCELLED
    await on.drain_all()
    assert await on.reads.quarantined() == {}
    archived = await on.reads.booking(booking.booking_id)
    assert archived
    assert archived.booking.status is Status.CANCELLED
    assert await is_equal(on)


async def test_two_retries_at_once_have_one_effect(
    on: Stage, poison: Callable[[bool], None]
) -> None:
    booking = await poisoned(on, poison)
    poison(False)
    many = [
        Quarantine(on.pool).retry(on.partition(), 2, lambda _: on.engine.journal.contacts(0, ()))
        for _ in range(4)
    ]
    outcomes = await asyncio.gather(*many, return_exceptions=True)
    assert sum(isinstance(one, NotInQuarantine) for one in outcomes) == 3
    assert len(await outbox_of(on, booking)) == 2
    assert await is_equal(on)


async def test_an_entry_is_shown_as_it_is(
    on: Stage, poison: Callable[[bool], None], capsys: pytest.CaptureFixture[str]
) -> None:
    booking = await poisoned(on, poison)
    assert await quarantine.show(on.settings, on.partition(), 2, as_json=True) == 0
    told = printed(capsys)
    assert told["booking_id"] == booking.booking_id
    assert json.loads(told["entry"])["type"] == "held"
    assert await quarantine.show(on.settings, on.partition(), 3, as_json=False) == 0
    assert "out_of_order" in capsys.readouterr().out
    with pytest.raises(NotInQuarantine):
        await quarantine.show(on.settings, on.partition(), 1, as_json=True)
