"""A server at its memory limit takes no new holds, and everything that frees stock still runs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from engine.scripts import load_script, script_names
from tests.helpers.scripted import ScriptedPartition
from tests.lua.furnished import CALLS, UNFENCED, furnish

RESTORE = {name for name in script_names() if name.startswith("restore_")}
REFUSED = {
    "put_sale",
    "reserve",
    "refuse",
    "load",
    "load_sale",
    "load_customers",
    "snapshot",
    "warn",
    "rate_limit",
    "init_partition",
} | RESTORE
"""They make keys, or can wait; all others free, finish or read."""


@pytest.fixture
def full(partition: ScriptedPartition) -> Iterator[ScriptedPartition]:
    """A furnished partition on a server that has used all the memory it may."""
    furnish(partition)
    limit = partition.client.config_get("maxmemory")["maxmemory"]
    partition.client.config_set("maxmemory", 1024 * 1024)
    yield partition
    partition.client.config_set("maxmemory", limit)


def test_what_may_run_in_a_full_memory_is_decided() -> None:
    may_run = {
        name for name in script_names() if load_script(name).flags & {"allow-oom", "no-writes"}
    }
    assert set(script_names()) - may_run == REFUSED


@pytest.mark.parametrize("name", sorted(REFUSED - UNFENCED))
def test_a_full_memory_refuses_what_makes_keys(name: str, full: ScriptedPartition) -> None:
    before = full.dump()
    with pytest.raises(redis.exceptions.OutOfMemoryError):
        full.raw(name, *CALLS[name][0])
    assert full.dump() == before


@pytest.mark.parametrize("name", sorted(CALLS.keys() - REFUSED))
def test_a_full_memory_runs_what_frees_or_finishes(name: str, full: ScriptedPartition) -> None:
    arguments, outcome = CALLS[name]
    assert full.raw(name, *arguments)[0].decode() == outcome


def test_a_full_memory_can_still_be_fenced_and_acknowledged(full: ScriptedPartition) -> None:
    assert full.raw("beat") == [b"done", 1, b""]
    assert full.raw("fence", "operator")[2] == b"operator"
