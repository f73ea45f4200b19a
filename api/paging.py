"""Pages, and reading one's own writes from PostgreSQL."""

from __future__ import annotations

import base64
import binascii
import re
import time
import zlib
from collections.abc import Sequence
from typing import Final

from api.parts import Parts
from api.problems import Fault, Problem, invalid
from engine.errors import Unavailable
from engine.limits import ID_PATTERN, OWN_WRITES_TIMEOUT_MS

_CHECK_BYTES: Final = 4
_ID: Final = re.compile(ID_PATTERN[1:-1])


def bad_cursor() -> Problem:
    """A 400 about the cursor."""
    return invalid("The cursor is none of ours.", [Fault("cursor", "not a `next_cursor`")])


def cursor_after(name: str) -> str:
    """A cursor of a list in order of ids: where the page ended, with a check of four bytes."""
    body = name.encode()
    check = zlib.crc32(b"sales:" + body).to_bytes(_CHECK_BYTES, "big")
    return base64.urlsafe_b64encode(check + body).decode().rstrip("=")


def after_of(cursor: str | None) -> str:
    """The id that `cursor_after` was given; empty for the first page. Raises a 400."""
    if cursor is None:
        return ""
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True)
        name = text[_CHECK_BYTES:].decode("ascii")
    except (binascii.Error, ValueError):
        raise bad_cursor() from None
    if not _ID.fullmatch(name) or cursor_after(name) != cursor:
        raise bad_cursor()
    return name


async def wait_for_writes(parts: Parts, partitions: Sequence[int] | None) -> int | None:
    """Wait until PostgreSQL has what Redis has now, so that a caller finds what it just did.

    At most `OWN_WRITES_TIMEOUT_MS`, and not at all while Redis is away: what PostgreSQL has is
    then the best there is.

    Args:
        partitions: where the caller can have written; None is anywhere.

    Returns:
        The time before which everything is there: that of the call, or of the oldest entry that
        is missing. None where Redis cannot tell.
    """
    now_ms = time.time_ns() // 1_000_000
    try:
        statuses = await parts.engine.journal.statuses(partitions)
    except Unavailable:
        return None
    tips = {
        status.partition: status.sequence
        for status in statuses
        # Of a partition that waits for its operator nothing will come.
        if status.generation is not None and status.fenced is None
    }
    lacking = [
        status.oldest_ms
        for status in statuses
        if status.oldest_ms is not None and status.partition not in tips
    ]
    if not await parts.reads.reached(tips, OWN_WRITES_TIMEOUT_MS):
        lacking = [status.oldest_ms for status in statuses if status.oldest_ms is not None]
    return min([now_ms, *lacking])
