"""Compares what the reports are made of with the journal's fold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from engine.journal import UnknownEntry, parse_entry
from engine.limits import MAX_EPOCH_MS
from engine.times import rfc3339
from persistence.audit import Audit, Snapshot
from persistence.rollups import COLUMNS, GRAINS_MS, Rollups, Row
from workers.replay import Replay

Key = tuple[str, int, str]
"""Sale, day, currency."""
_KEY: Final = 3


async def compare_rollups(
    audit: Audit, snapshot: Snapshot, replay: Replay, set_aside: Sequence[int]
) -> None:
    """Compare every day of the partition's sales, and where their courses have led.

    Args:
        set_aside: entries in quarantine, of which no report knows.
    """
    uncounted = await _uncounted(audit, replay.partition, set_aside)
    found = _days(await snapshot.sale_days())
    expected, without = _days(replay.rollups.days()), _days(uncounted.days())
    for key in sorted(found.keys() | expected.keys()):
        is_now = found.get(key, _NOTHING)
        pairs = zip(expected.get(key, _NOTHING), without.get(key, _NOTHING), strict=True)
        should_be = tuple(all_of_it - unknown for all_of_it, unknown in pairs)
        if is_now != should_be:
            replay.differ(
                f"sale {key[0]}: the reports have {_told(is_now)} in {key[2]} on "
                f"{_day(key[1])}, the journal {_told(should_be)}"
            )
    _compare_courses({row[:2]: row[2:] for row in await snapshot.sale_steps()}, replay)


async def counted_before(
    audit: Audit, snapshot: Snapshot, partition: int, set_aside: Sequence[int], kept: Rollups
) -> dict[Key, tuple[int, ...]]:
    """What the reports have of days beside the kept entries: what was counted of those before."""
    uncounted = _days((await _uncounted(audit, partition, set_aside)).days())
    of_kept = _days(kept.days())
    before = {}
    for key, is_now in _days(await snapshot.sale_days()).items():
        rows = is_now, uncounted.get(key, _NOTHING), of_kept.get(key, _NOTHING)
        before[key] = tuple(
            now + unknown - later for now, unknown, later in zip(*rows, strict=True)
        )
    return before


async def _uncounted(audit: Audit, partition: int, set_aside: Sequence[int]) -> Rollups:
    rollups = Rollups()
    for sequence, text in (await audit.texts(partition, set_aside)).items():
        try:
            rollups.add(parse_entry(sequence, text))
        except (UnknownEntry, ValueError, KeyError, TypeError, AttributeError):
            # The fold could not read it either.
            continue
    return rollups


def _compare_courses(led: dict[tuple[str, int], tuple[int, int]], replay: Replay) -> None:
    for sale_id, sale in sorted(replay.state.sales.items()):
        levels = sale.levels.values()
        stands = sum(item.sold for item in levels), sum(item.capacity for item in levels)
        for grain_ms in GRAINS_MS:
            reached = led.get((sale_id, grain_ms), (0, 0))
            if reached != stands:
                replay.differ(
                    f"sale {sale_id}: its course in steps of {grain_ms} ms leads to {reached[0]} "
                    f"sold of {reached[1]}, the journal to {stands[0]} of {stands[1]}"
                )


_NOTHING: Final = (0,) * len(COLUMNS)


def _days(rows: Iterable[Row]) -> dict[Key, tuple[int, ...]]:
    return {row[:_KEY]: tuple(int(number) for number in row[_KEY:]) for row in rows}


def _told(numbers: Sequence[int]) -> str:
    named = zip(COLUMNS, numbers, strict=True)
    return ", ".join(f"{number} {name}" for name, number in named if number) or "nothing"


def _day(day_ms: int) -> str:
    if not 0 <= day_ms <= MAX_EPOCH_MS:
        return f"the day of {day_ms} ms"
    return rfc3339(day_ms).partition("T")[0]
