"""Old journal rows dropped, by a clock that is far ahead of the entries."""

from __future__ import annotations

import time
from typing import Any, Final

from engine.limits import MIN_PRUNED_AGE_MS
from persistence.audit import Audit
from tests.helpers.ruins import SALE
from tests.helpers.stage import Stage
from workers import prune

LATER_MS: Final = MIN_PRUNED_AGE_MS + 60_000


async def pruned(on: Stage, **options: Any) -> int:
    """Prune what there is by now, as if it were old; answers the base of the sale's partition."""
    now_ms = time.time_ns() // 1_000_000
    chosen: dict[str, Any] = {
        "before_ms": now_ms + 30_000,
        "now_ms": now_ms + LATER_MS,
        "dry_run": False,
        "as_json": True,
        **options,
    }
    assert await prune.prune(on.settings, **chosen) == 0
    return (await Audit(on.pool).base(on.partition(SALE))).sequence
