"""A partition on the worker's server, empty but for its meta."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from engine.payments.limits import PAYMENT_GRACE_MS
from tests.helpers.scripted import ScriptedPartition
from tests.stories.paying import begin
from tests.stories.story import hold, put, sale


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    """A plain client of the empty server."""
    with redis.Redis.from_url(redis_url, socket_timeout=10) as found:
        yield found


@pytest.fixture
def partition(client: redis.Redis) -> ScriptedPartition:
    """A partition that was just initialised, its clock standing still."""
    return ScriptedPartition(client)


@pytest.fixture
def paying(partition: ScriptedPartition) -> ScriptedPartition:
    """A booking `b1` of two units whose payment `api` has begun."""
    partition.perform(put(sale("P:3:500")))
    partition.perform(hold("b1", "P:2", contact=True))
    partition.perform(begin(grace_ms=PAYMENT_GRACE_MS))
    return partition
