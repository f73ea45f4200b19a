"""Short histories of one item over HTTP: some order, one call at a time, explains each of them.

Connections are cut before and after the server has heard of a request, Redis is stopped in the
middle, and callers hang up; what was told to nobody may have happened or not.
"""

from __future__ import annotations

import secrets

import pytest

from tests.helpers.servers import System
from tests.helpers.short_histories import Histories

HISTORIES = 24
FREEZE_EVERY = 4


@pytest.fixture(scope="module")
def system(shared_system: System) -> System:
    """One with other modules: nothing here breaks it."""
    return shared_system


async def test_every_short_history_is_explained_by_some_order(system: System) -> None:
    histories = Histories(system, secrets.randbits(32))
    await histories.make(HISTORIES, freeze_every=FREEZE_EVERY)
    print(f"{histories.calls} calls, {histories.unknown} unknown, {dict(histories.faults)}")
    assert histories.count == HISTORIES
    assert histories.unknown > HISTORIES / 2, "hardly an answer was lost"
    assert {"drop_request", "drop_answer", "redis frozen"} <= histories.faults.keys()
