"""What two looks at Redis and PostgreSQL tell of a partition's backlog."""

from __future__ import annotations

import orjson
import pytest

from engine.backlog import Look, backlog_of, fence_of, summary
from engine.journal_status import JournalStatus, written_ms
from engine.pressure import Marks
from engine.types import Floor


def status(
    sequence: int = 10, *, generation: int | None = 1, fenced: str | None = None
) -> JournalStatus:
    return JournalStatus(3, generation, sequence, 0, fenced, sequence, 1, None, 1_234)


def look(at_s: float, found: JournalStatus, floor: Floor | None) -> Look:
    return Look(at_s, {found.partition: floor} if floor else {}, (found,))


def told(
    found: JournalStatus, before: Floor | None, after: Floor | None, seconds: float = 2.0
) -> dict[str, object]:
    part = backlog_of(
        found, look(0, found, before), look(seconds, found, after), 5, 1.23456, Marks()
    )
    shown: dict[str, object] = orjson.loads(orjson.dumps(summary([part])))["partitions"][0]
    return shown


def test_the_rate_is_what_the_cursor_moved_between_the_looks() -> None:
    assert told(status(110), Floor(1, 10), Floor(1, 50)) == {
        "partition": 3,
        "entries": 60,
        "bytes": 1_234,
        "oldest_age_s": 1.235,
        "cursor": 50,
        "tip": 110,
        "quarantined": 5,
        "drain_per_s": 20.0,
        "eta_s": 3.0,
        "fenced": None,
        "shedding": None,
        "frozen": None,
    }


def test_what_does_not_move_has_no_time_to_empty() -> None:
    part = told(status(110), Floor(1, 50), Floor(1, 50))
    assert (part["drain_per_s"], part["eta_s"]) == (0.0, None)


def test_an_empty_backlog_is_empty_now() -> None:
    part = told(status(50), Floor(1, 50), Floor(1, 50))
    assert (part["entries"], part["eta_s"], part["oldest_age_s"]) == (0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("found", "floor", "reason"),
    [
        (status(), Floor(1, 10), None),
        (status(fenced="operator"), Floor(1, 10), "operator"),
        (status(0, generation=None), Floor(1, 10), "meta_missing"),
        (status(0, generation=None), None, "meta_missing"),
        (status(), None, "uninitialised"),
        (status(), Floor(2, 10), "generation"),
        (status(9), Floor(1, 10), "sequence"),
    ],
)
def test_a_partition_that_cannot_be_trusted_says_why(
    found: JournalStatus, floor: Floor | None, reason: str | None
) -> None:
    assert fence_of(found, floor) == reason
    assert told(found, floor, floor)["fenced"] == reason


def test_a_redis_that_is_behind_lacks_nothing_and_does_not_count_below_zero() -> None:
    part = told(status(9), Floor(1, 10), Floor(1, 10))
    assert (part["entries"], part["cursor"], part["tip"]) == (0, 10, 9)


def test_the_whole_is_the_sum_and_the_oldest() -> None:
    found = status(110)
    parts = [
        backlog_of(
            found, look(0, found, Floor(1, 0)), look(1, found, Floor(1, at)), 0, age_s, Marks()
        )
        for at, age_s in ((100, 1.0), (90, 4.0))
    ]
    whole = summary(parts)
    assert (whole["total_entries"], whole["lag_s"]) == (30, 4.0)


@pytest.mark.parametrize(
    ("fields", "at_ms"),
    [
        ({b"entry": b'{"at_ms":7}'}, 7),
        ({b"entry": b"{}"}, None),
        ({b"entry": b'{"at_ms":"7"}'}, None),
        ({b"entry": b"[]"}, None),
        ({b"entry": b"not JSON"}, None),
        ({b"other": b""}, None),
    ],
)
def test_an_entry_that_cannot_be_read_has_no_time_and_stops_no_look(
    fields: dict[bytes, bytes], at_ms: int | None
) -> None:
    assert written_ms(fields) == at_ms
