"""One read for many: how old it may be, and what joins what."""

from __future__ import annotations

import asyncio

import orjson
import pytest

from api import availability
from api.availability import SharedReads, etag_of, is_current
from engine.errors import Unavailable
from engine.types import Availability


class Source:
    """Reads that end when they are told to; each answers its own number as the instant."""

    def __init__(self) -> None:
        self.begun = 0
        self.gates: list[asyncio.Event] = []
        self.error: Exception | None = None
        self.open = False

    async def read(self, sale_id: str) -> Availability | None:
        self.begun += 1
        number, gate = self.begun, asyncio.Event()
        self.gates.append(gate)
        if not self.open:
            await gate.wait()
        if self.error:
            raise self.error
        return None if sale_id == "nowhere" else Availability(sale_id, number, ())


def instant(body: bytes | None) -> int:
    assert body
    return int(orjson.loads(body)["as_of"][-4:-1])


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_everybody_who_waits_shares_one_read() -> None:
    source = Source()
    reads = SharedReads(source.read, 1_000)
    asked = [asyncio.create_task(reads.get("gig", fresh=False)) for _ in range(100)]
    await settle()
    source.gates[0].set()
    assert {instant(body) for body in await asyncio.gather(*asked)} == {1}
    assert instant(await reads.get("gig", fresh=False)) == 1
    assert source.begun == 1


async def test_an_answer_past_its_age_is_read_again() -> None:
    source = Source()
    source.open = True
    reads = SharedReads(source.read, 30)
    assert instant(await reads.get("gig", fresh=False)) == 1
    assert instant(await reads.get("gig", fresh=False)) == 1
    await asyncio.sleep(0.04)
    assert instant(await reads.get("gig", fresh=False)) == 2


async def test_a_fresh_one_is_from_a_read_that_starts_after_it_was_asked_for() -> None:
    source = Source()
    reads = SharedReads(source.read, 1_000)
    plain = asyncio.create_task(reads.get("gig", fresh=False))
    await settle()
    fresh = [asyncio.create_task(reads.get("gig", fresh=True)) for _ in range(50)]
    await settle()
    assert source.begun == 1, "the next read waits for the one under way"
    source.gates[0].set()
    assert instant(await plain) == 1
    await settle()
    later = asyncio.create_task(reads.get("gig", fresh=True))
    await settle()
    source.gates[1].set()
    assert {instant(body) for body in await asyncio.gather(*fresh)} == {2}
    await settle()
    source.gates[2].set()
    assert instant(await later) == 3
    assert source.begun == 3


async def test_who_goes_away_takes_the_read_from_nobody() -> None:
    source = Source()
    reads = SharedReads(source.read, 1_000)
    first = asyncio.create_task(reads.get("gig", fresh=False))
    await settle()
    second = asyncio.create_task(reads.get("gig", fresh=False))
    await settle()
    first.cancel()
    source.gates[0].set()
    assert instant(await second) == 1


async def test_an_error_goes_to_all_who_share_it_and_is_not_kept() -> None:
    source = Source()
    source.open, source.error = True, Unavailable("redis")
    reads = SharedReads(source.read, 1_000)
    asked = (reads.get("gig", fresh=False) for _ in range(3))
    errors = await asyncio.gather(*asked, return_exceptions=True)
    assert {type(error) for error in errors} == {Unavailable}
    source.error = None
    assert await reads.get("gig", fresh=False)


async def test_sales_that_are_none_are_not_remembered_and_others_are_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(availability, "MAX_SALES_REMEMBERED", 10)
    source = Source()
    source.open = True
    reads = SharedReads(source.read, 1_000)
    for _ in range(20):
        assert await reads.get("nowhere", fresh=False) is None
    assert len(reads._sales) == 0
    for number in range(50):
        assert await reads.get(f"gig-{number}", fresh=False)
    assert len(reads._sales) <= 10


def test_an_etag_is_of_the_levels_and_not_of_the_instant() -> None:
    first = b'{"sale_id":"gig","as_of":"A","items":[{"available":1}]}'
    later = b'{"sale_id":"gig","as_of":"B","items":[{"available":1}]}'
    other = b'{"sale_id":"gig","as_of":"B","items":[{"available":0}]}'
    assert etag_of(first) == etag_of(later) != etag_of(other)


@pytest.mark.parametrize(
    ("sent", "current"),
    [
        (b'W/"a"', True),
        (b'"a"', True),
        (b'"b", W/"a"', True),
        (b"*", True),
        (b'W/"b"', False),
        (b"a", False),
        (b"", False),
    ],
)
def test_a_caller_has_what_it_asks_for_by_the_weak_comparison(sent: bytes, current: bool) -> None:
    assert is_current(b'W/"a"', sent) is current
