"""Many short histories over HTTP under faults; `make soak` runs it, `make test` a few of them."""

from __future__ import annotations

import secrets

from tests.helpers.servers import System
from tests.helpers.short_histories import Histories

HISTORIES = 400
FREEZE_EVERY = 5


async def test_every_short_history_is_explained_by_some_order(system: System) -> None:
    histories = Histories(system, secrets.randbits(32))
    await histories.make(HISTORIES, freeze_every=FREEZE_EVERY)
    print(f"{histories.calls} calls, {histories.unknown} unknown, {dict(histories.faults)}")
    assert histories.unknown > HISTORIES / 2, "hardly an answer was lost"
