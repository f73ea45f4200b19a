"""Ready, degraded or not: what the state of the parts means."""

from __future__ import annotations

from typing import Any

import pytest

from api.readiness import Seen, fence_of, judge
from engine.journal import JournalStatus
from engine.types import Floor

SEEN = Floor(1, 5)


def seen(partition: int = 0, floor: Floor = SEEN, **changes: Any) -> Seen:
    values: dict[str, Any] = {
        "partition": partition,
        "generation": 1,
        "sequence": 5,
        "drained": 5,
        "fenced": None,
        "entries": 5,
        "bytes": 100,
        "oldest_ms": None,
    }
    return Seen(JournalStatus(**(values | changes)), floor)


@pytest.mark.parametrize(
    ("changes", "floor", "reason"),
    [
        ({}, Floor(1, 5), None),
        ({"sequence": 6}, Floor(1, 5), None),
        ({"generation": None}, Floor(1, 5), "meta_missing"),
        ({}, Floor(0, 0), "meta_missing"),
        ({"fenced": "journal_ahead"}, Floor(1, 5), "journal_ahead"),
        ({"generation": 2}, Floor(1, 5), "generation"),
        ({"generation": 1}, Floor(2, 0), "generation"),
        ({"sequence": 4}, Floor(1, 5), "sequence"),
    ],
)
def test_a_fence_is_told_by_the_scripts_words(
    changes: dict[str, Any], floor: Floor, reason: str | None
) -> None:
    assert fence_of(seen(floor=floor, **changes)) == reason


def verdict(redis: list[Seen] | None, *, postgres: bool = True, identity: bool = True) -> Any:
    return judge(redis, postgres, identity_known=identity, partitions=2, max_backlog_entries=100)


def test_all_well_is_ready() -> None:
    judged = verdict([seen(0), seen(1)])
    assert (judged["status"], judged["fenced"]) == ("ready", [])
    assert judged["backlog"] == {"entries": 0, "oldest_age_s": 0.0, "full_partitions": []}


def test_postgres_away_is_degraded_and_not_an_outage() -> None:
    judged = verdict([seen(0), seen(1, sequence=50, oldest_ms=1)], postgres=False)
    assert (judged["status"], judged["postgres"]["status"]) == ("degraded", "away")
    assert judged["backlog"]["entries"] == 45
    assert judged["backlog"]["oldest_age_s"] > 0


def test_some_partitions_closed_is_degraded_and_all_of_them_is_not_ready() -> None:
    fenced, full = seen(0, fenced="sequence"), seen(1, sequence=105)
    judged = verdict([fenced, seen(1)])
    assert (judged["status"], judged["fenced"]) == (
        "degraded",
        [{"partition": 0, "reason": "sequence"}],
    )
    assert verdict([seen(0), full])["backlog"]["full_partitions"] == [1]
    assert verdict([seen(0), full])["status"] == "degraded"
    assert verdict([fenced, full])["status"] == "not_ready"


def test_without_redis_or_keys_no_booking_could_be_taken() -> None:
    assert verdict(None)["status"] == "not_ready"
    assert verdict(None)["backlog"] is None
    assert verdict([seen(0), seen(1)], identity=False)["status"] == "not_ready"
