"""How times are spelled for the world: RFC 3339, UTC, milliseconds."""

from __future__ import annotations

import time
from functools import lru_cache


def rfc3339(ms: int) -> str:
    """`2026-11-22T10:00:00.000Z` for milliseconds since the epoch."""
    return f"{_second(ms // 1000)}.{ms % 1000:03d}Z"


@lru_cache(maxsize=4096)
def _second(seconds: int) -> str:
    # Of the times that a process writes, most lie in few seconds: now, and now and a hold's length.
    moment = time.gmtime(seconds)
    return (
        f"{moment.tm_year:04d}-{moment.tm_mon:02d}-{moment.tm_mday:02d}T"
        f"{moment.tm_hour:02d}:{moment.tm_min:02d}:{moment.tm_sec:02d}"
    )
