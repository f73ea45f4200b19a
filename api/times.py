"""Times as the API reads and writes them: RFC 3339, milliseconds."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def rfc3339(ms: int) -> str:
    """`2026-11-22T10:00:00.000Z` for milliseconds since the epoch."""
    moment = time.gmtime(ms // 1000)
    return (
        f"{moment.tm_year:04d}-{moment.tm_mon:02d}-{moment.tm_mday:02d}T"
        f"{moment.tm_hour:02d}:{moment.tm_min:02d}:{moment.tm_sec:02d}.{ms % 1000:03d}Z"
    )


def epoch_ms(text: str) -> int:
    """Milliseconds since the epoch of an RFC 3339 time; finer parts are cut off."""
    moment = datetime.fromisoformat(text.upper())
    days = moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (days.days * 86_400 + days.seconds) * 1000 + days.microseconds // 1000
