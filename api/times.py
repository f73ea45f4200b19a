"""Times as the API reads them: RFC 3339; `engine.times` spells them."""

from __future__ import annotations

from datetime import UTC, datetime


def epoch_ms(text: str) -> int:
    """Milliseconds since the epoch of an RFC 3339 time; finer parts are cut off."""
    moment = datetime.fromisoformat(text.upper())
    days = moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (days.days * 86_400 + days.seconds) * 1000 + days.microseconds // 1000
