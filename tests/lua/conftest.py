"""A partition on the worker's server, empty but for its meta."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from tests.helpers.scripted import ScriptedPartition


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    """A plain client of the empty server."""
    with redis.Redis.from_url(redis_url, socket_timeout=10) as found:
        yield found


@pytest.fixture
def partition(client: redis.Redis) -> ScriptedPartition:
    """A partition that was just initialised, its clock standing still."""
    return ScriptedPartition(client)
