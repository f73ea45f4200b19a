"""Money through the whole system while the gateway, the API, the worker and Redis fail."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.helpers import payers
from tests.helpers.client import UNKNOWN, Client
from tests.helpers.faults import killed
from tests.helpers.servers import System
from tests.helpers.stage import eventually

SEED = 8
BUYERS = 125
"""Of which one in ten cancels. `tests.soak.payments` is the same with thousands."""


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """With a gateway that fails a third of the time."""
    with System(tmp_path_factory.mktemp("system") / "data", **payers.FAULTS) as running:
        yield running


@pytest.mark.timeout(900)
async def test_each_paid_booking_is_charged_once_whatever_fails_meanwhile(
    system: System, admin: Client, service: Client
) -> None:
    await payers.open_sale(admin, BUYERS)
    buyers = payers.Buyers(service, BUYERS, SEED)
    running = asyncio.create_task(buyers.run())
    await buyers.paid_more(20, running)
    assert service.history.count(202) > 0, "no answer of the gateway was lost"
    assert await payers.open_payments(system) > 0
    async with killed(system, "worker"):
        pass
    await buyers.paid_more(20, running)
    lost = service.history.count(UNKNOWN)
    async with killed(system, "api"):
        pass
    assert service.history.count(UNKNOWN) > lost, "nobody was in the middle of a payment"
    await buyers.paid_more(20, running)

    async def somebody_is_paying() -> bool:
        return await payers.open_payments(system) > 0

    await eventually(somebody_is_paying, "a payment to be under way")
    async with killed(system, "redis"):
        pass
    await running
    assert not service.history.surprises()
    await payers.check(system, buyers, BUYERS)
