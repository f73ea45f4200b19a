"""How times are spelled for the world: RFC 3339, UTC, milliseconds."""

from __future__ import annotations

import time


def rfc3339(ms: int) -> str:
    """`2026-11-22T10:00:00.000Z` for milliseconds since the epoch."""
    moment = time.gmtime(ms // 1000)
    return (
        f"{moment.tm_year:04d}-{moment.tm_mon:02d}-{moment.tm_mday:02d}T"
        f"{moment.tm_hour:02d}:{moment.tm_min:02d}:{moment.tm_sec:02d}.{ms % 1000:03d}Z"
    )
