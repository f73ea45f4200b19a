"""Fixtures of several files: a pipeline on a wire that the test answers for."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from engine.pipeline import Pipeline
from tests.helpers.wire import Wire


@pytest.fixture
def wire() -> Wire:
    """What all connections share."""
    return Wire()


@pytest_asyncio.fixture
async def pipeline(wire: Wire) -> AsyncIterator[Pipeline]:
    """Calls over it."""
    found = Pipeline(wire.connect)
    yield found
    await found.close()
