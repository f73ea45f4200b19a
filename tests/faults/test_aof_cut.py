"""The append only file is cut in the middle of a change: it is there whole, or not at all.

A script's writes lie in the file between MULTI and EXEC. A reserve that takes back due holds is the
longest of them: three journal entries, stock, bookings, deadlines, a record.
"""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis

from engine.outcomes import Outcome
from engine.types import Levels, LineRequest
from tests.helpers.engines import SEAT, check_books, gig, move_clock, opened
from tests.helpers.servers import Valkey

SEED = 4
CUTS = 30
TWO = [LineRequest("seat", 2)]


Everything = dict[bytes, Any]
"""What a server has: every key with all that is in it."""
READ: dict[bytes, Callable[[Any, bytes], Any]] = {
    b"hash": lambda client, name: client.hgetall(name),
    b"stream": lambda client, name: client.xrange(name),
    b"string": lambda client, name: client.get(name),
    b"zset": lambda client, name: client.zrange(name, 0, -1, withscores=True),
}


@dataclass(frozen=True, slots=True)
class Written:
    """A server's files with one change at their end."""

    directory: Path
    file: Path
    begins: int
    ends: int
    before: Everything
    after: Everything

    def cuts(self) -> list[int]:
        """Where to cut: after some of the change's commands, and in the middle of others."""
        change = self.file.read_bytes()[self.begins : self.ends]
        assert change.startswith(b"*1\r\n$5\r\nMULTI\r\n")
        assert change.endswith(b"*1\r\n$4\r\nEXEC\r\n")
        commands = [at for at in range(1, len(change)) if change[at - 1 : at + 1] == b"\n*"]
        assert len(commands) > 15, "a change of several commands"
        rng = random.Random(SEED)
        at = {commands[0], commands[-1], len(change) - 1, *rng.sample(commands[1:-1], CUTS // 2)}
        at |= set(rng.sample(range(1, len(change)), CUTS - len(at)))
        return [self.begins + each for each in sorted(at)]


def append_only_file(directory: Path) -> Path:
    """The file that grows."""
    (found,) = (directory / "appendonlydir").glob("*.incr.aof")
    return found


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    directory = tmp_path_factory.mktemp("valkey")
    server = Valkey(directory)
    try:
        return asyncio.run(write(server.url, directory))
    finally:
        server.kill()


def everything(url: str) -> Everything:
    with redis.Redis.from_url(url) as client:
        names: list[bytes] = list(client.scan_iter(count=1000))
        return {name: READ[client.type(name)](client, name) for name in names}


async def write(url: str, directory: Path) -> Written:
    """Make the change."""
    async with opened(url) as engine:
        await engine.sales.put(gig(2))
        for customer_id in ("ann", "bob"):
            held = await engine.bookings.reserve("gig", customer_id, SEAT, "key")
        assert held.booking
        await move_clock(url, "gig", held.booking.hold_expires_ms)
        file = append_only_file(directory)
        begins, before = file.stat().st_size, everything(url)
        taken = await engine.bookings.reserve("gig", "eve", TWO, "key")
        assert taken.outcome is Outcome.HELD
        return Written(directory, file, begins, file.stat().st_size, before, everything(url))


@contextmanager
def server_on(written: Written, length: int, scratch: Path) -> Iterator[Valkey]:
    """A server that starts on the files, the last of them cut to a length."""
    shutil.copytree(written.directory, scratch, ignore=shutil.ignore_patterns("lock"))
    with append_only_file(scratch).open("r+b") as file:
        file.truncate(length)
    server = Valkey(scratch)
    try:
        yield server
    finally:
        server.kill()
        shutil.rmtree(scratch)


async def check_left(
    written: Written, length: int, scratch: Path, left: Everything, outcome: Outcome
) -> None:
    """This is what a server finds; the same request then has its effect, or has had it."""
    with server_on(written, length, scratch) as server:
        assert everything(server.url) == left, length
        async with opened(server.url) as engine:
            again = await engine.bookings.reserve("gig", "eve", TWO, "key")
            assert again.outcome is outcome
            state = await check_books(engine)
            assert state.sales["gig"].levels["seat"] == Levels("seat", 0, 2, 0)
            assert len(state.bookings) == 3


async def test_a_change_that_the_file_lacks_the_end_of_is_not_there_at_all(
    written: Written, tmp_path: Path
) -> None:
    for length in written.cuts():
        await check_left(written, length, tmp_path / "cut", written.before, Outcome.HELD)


async def test_a_change_that_the_file_has_to_its_end_is_there(
    written: Written, tmp_path: Path
) -> None:
    await check_left(written, written.ends, tmp_path / "whole", written.after, Outcome.REPLAYED)
