"""Ready, degraded or not: what the state of the parts means."""

from __future__ import annotations

from typing import Any

import pytest

from api.readiness import Seen, fence_of, judge
from engine.journal_status import JournalStatus
from engine.pressure import Marks
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
    return judge(
        redis, postgres, identity_known=identity, partitions=2, marks=Marks(100, 1_000, 60_000)
    )


def test_all_well_is_ready() -> None:
    judged = verdict([seen(0), seen(1)])
    assert (judged["status"], judged["fenced"]) == ("ready", [])
    assert judged["backlog"] == {
        "entries": 0,
        "bytes": 0,
        "oldest_age_s": 0.0,
        "full_partitions": [],
    }


def test_postgres_away_is_degraded_and_not_an_outage() -> None:
    judged = verdict([seen(0), seen(1, sequence=50, oldest_ms=1, now_ms=2_001)], postgres=False)
    assert (judged["status"], judged["postgres"]["status"]) == ("degraded", "away")
    assert judged["backlog"]["entries"] == 45
    assert judged["backlog"]["oldest_age_s"] == 2.0


def test_a_node_away_is_degraded_and_no_open_partition_beside_it_is_not_ready() -> None:
    judged = verdict([seen(1)])
    assert (judged["status"], judged["redis"]["status"]) == ("degraded", "away")
    assert judged["redis"]["detail"] == "does not answer for 1 of 2 partitions"
    assert verdict([seen(1, fenced="sequence")])["status"] == "not_ready"
    assert verdict(None)["redis"]["detail"] == "does not answer"


def test_some_partitions_closed_is_degraded_and_all_of_them_is_not_ready() -> None:
    fenced = seen(0, fenced="sequence")
    judged = verdict([fenced, seen(1)])
    assert (judged["status"], judged["fenced"]) == (
        "degraded",
        [{"partition": 0, "reason": "sequence"}],
    )
    assert verdict([fenced, seen(1, fenced="sequence")])["status"] == "not_ready"


def test_a_frozen_sale_is_degraded_and_named() -> None:
    judged = verdict([seen(0), seen(1, frozen="gig")])
    assert (judged["status"], judged["frozen"]) == (
        "degraded",
        [{"partition": 1, "sale_id": "gig"}],
    )
    assert verdict([seen(0), seen(1)])["frozen"] == []


@pytest.mark.parametrize(
    ("changes", "reason", "full"),
    [
        ({"sequence": 105}, "entries", [1]),
        ({"lacking_bytes": 1_000}, "bytes", [1]),
        ({"sequence": 6, "oldest_ms": 1, "now_ms": 60_001}, "age", [1]),
        ({"shed": "disk"}, "disk", []),
    ],
)
def test_a_partition_that_sheds_new_holds_is_degraded_and_says_why(
    changes: dict[str, Any], reason: str, full: list[int]
) -> None:
    told = verdict([seen(0), seen(1, **changes)])
    assert told["status"] == "degraded"
    assert told["shedding"] == [{"partition": 1, "reason": reason}]
    assert told["backlog"]["full_partitions"] == full
    everywhere = verdict([seen(0, shed="disk"), seen(1, **changes)])
    assert everywhere["status"] == "degraded", "what is held can still be paid and cancelled"


def test_without_redis_or_keys_no_booking_could_be_taken() -> None:
    assert verdict(None)["status"] == "not_ready"
    assert verdict(None)["backlog"] is None
    assert verdict([seen(0), seen(1)], identity=False)["status"] == "not_ready"
