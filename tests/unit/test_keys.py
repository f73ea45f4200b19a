"""Names of keys, partitions and bookings."""

from __future__ import annotations

import re
import time
import zlib

import lupa.lua51
import pytest
from redis.crc import key_slot

from engine.keys import FAMILIES, FAMILY, SLOTS, Keys, lua_source, new_booking_id, partition_tag
from engine.limits import BOOKING_ID_PATTERN, MAX_PARTITIONS

COUNTS = (*range(1, 65), 256)


@pytest.mark.parametrize("partitions", COUNTS)
def test_partitions_lie_evenly_over_the_slots(partitions: int) -> None:
    tags = [partition_tag(partition, partitions) for partition in range(partitions)]
    slots = [key_slot(tag.encode()) for tag in tags]
    bounds = [partition * SLOTS // partitions for partition in range(partitions + 1)]
    for low, slot, high in zip(bounds, slots, bounds[1:], strict=False):
        assert low <= slot < high
    assert len(set(tags)) == partitions


def test_no_tag_is_that_of_another_number_of_partitions() -> None:
    tags = [partition_tag(p, count) for count in COUNTS for p in range(count)]
    assert len(set(tags)) == len(tags)


def test_all_keys_of_a_partition_share_its_slot() -> None:
    keys = Keys(16)
    for partition in range(16):
        names = [
            keys.key(family.name, partition, *("{x}" for _ in family.parts)) for family in FAMILIES
        ]
        assert len({key_slot(name.encode()) for name in names}) == 1
        assert keys.meta(partition).decode() == keys.key("meta", partition)


def test_lua_and_python_spell_every_key_alike() -> None:
    keys = Keys(7)
    lua = lupa.lua51.LuaRuntime()
    for family in FAMILIES:
        parts = [f"{part}-value" for part in family.parts]
        source = lua_source([family.name]) + f"\nreturn key_{family.name}(...)"
        chunk = lua.eval("function(text, key) KEYS = {key}; return loadstring(text) end")
        spelled = chunk(source, keys.meta(3).decode())(*parts)
        assert spelled == keys.key(family.name, 3, *parts)


def test_a_key_wants_the_parts_of_its_family() -> None:
    with pytest.raises(ValueError, match="booking takes"):
        Keys(1).key("booking", 0)
    with pytest.raises(ValueError, match="meta takes"):
        Keys(1).key("meta", 0, "x")


def test_every_family_says_who_writes_it_and_how_long_it_lives() -> None:
    assert len(FAMILY) == len(FAMILIES)
    for family in FAMILIES:
        assert family.holds
        assert family.written_by
        assert family.lives
        assert family.type in {"hash", "string", "stream", "zset"}


@pytest.mark.parametrize("partitions", [0, -1, MAX_PARTITIONS + 1])
def test_a_number_of_partitions_has_bounds(partitions: int) -> None:
    with pytest.raises(ValueError, match="partitions must be"):
        Keys(partitions)


def test_a_sale_lives_where_its_name_hashes_to() -> None:
    keys = Keys(16)
    names = [f"sale-{at}" for at in range(400)]
    found = [keys.partition_of_sale(name) for name in names]
    assert found == [zlib.crc32(name.encode()) % 16 for name in names]
    assert set(found) == set(range(16))


def test_a_booking_id_names_its_partition_and_its_time() -> None:
    keys = Keys(MAX_PARTITIONS)
    before_ms = time.time_ns() // 1_000_000
    for partition in (0, 1, 255, MAX_PARTITIONS - 1):
        name = new_booking_id(partition)
        assert re.fullmatch(BOOKING_ID_PATTERN, name)
        assert keys.partition_of_booking(name) == partition
        assert before_ms <= _milliseconds(name) <= time.time_ns() // 1_000_000


def _milliseconds(booking_id: str) -> int:
    """The time in a ULID's first ten letters."""
    value = 0
    for letter in booking_id[3:13]:
        value = value * 32 + "0123456789ABCDEFGHJKMNPQRSTVWXYZ".index(letter)
    return value


def test_booking_ids_are_ordered_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    names = []
    for now_ms in (0, 1, 31, 32, 1_700_000_000_000, 1_700_000_000_001, 253_402_300_799_999):
        monkeypatch.setattr(time, "time_ns", lambda now_ms=now_ms: now_ms * 1_000_000)
        names.append(new_booking_id(5))
    assert names == sorted(names)


def test_booking_ids_differ() -> None:
    assert len({new_booking_id(1) for _ in range(10_000)}) == 10_000


@pytest.mark.parametrize(
    "name",
    [
        "",
        "001",
        "0x1" + "0" * 26,
        " 01" + "0" * 26,
        "0_1" + "0" * 26,
        "00G" + "0" * 26,
        "00A" + "0" * 26,
        "001" + "0" * 27,
        "001" + "0" * 25 + "I",
        "001" + "0" * 26 + "\n",
        "010" + "0" * 26,
    ],
)
def test_what_is_no_booking_id_has_no_partition(name: str) -> None:
    assert Keys(16).partition_of_booking(name) is None
