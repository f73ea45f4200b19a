"""The consumer of the stream that `docs/events.md` shows, run as it is written there."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from engine.types import CancelReason
from persistence.outbox import Outbox
from tests.helpers.ledger import Ledger
from workers.settings import queue_pool
from workers.stream import Streamer

DOCS = Path(__file__).resolve().parent.parent.parent / "docs" / "events.md"
HEAD = """
import json

URL = {url!r}

def handle(event_id, event):
    print(json.dumps([event_id, event["sequence"], event["type"]]), flush=True)

"""


def consumer() -> str:
    """The one block of Python in the docs that reads the stream."""
    blocks = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    (found,) = [block for block in blocks if "xread" in block]
    assert len(found.strip().splitlines()) <= 12, "ten lines and two that open it"
    return str(found)


@contextmanager
def consuming(url: str) -> Iterator[IO[str]]:
    """Run it until it is killed; yields what it was given, a line each."""
    code = HEAD.format(url=url) + consumer()
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        try:
            yield process.stdout
        finally:
            process.kill()


async def test_the_consumer_of_the_docs_keeps_its_place_when_it_is_killed(
    ledger: Ledger, redis_url: str
) -> None:
    async with queue_pool(redis_url) as redis:
        outbox = Outbox(ledger.pool, streams=True)
        streamer = Streamer(outbox, redis, 1_000, "/tests")

        async def tell() -> None:
            await ledger.drain_all()
            while await outbox.deal_out() or await streamer.run_once():
                pass

        booking = await ledger.hold()
        await tell()
        with consuming(redis_url) as given:
            read = [json.loads(given.readline()) for _ in range(2)]
            await ledger.engine.bookings.extend(booking.booking_id, "ann")
            await tell()
            read.append(json.loads(given.readline()))
            while (
                await redis.get("my-service:place")
                != (await redis.xrevrange("holdfast:events"))[0][0]
            ):
                pass
        await ledger.engine.bookings.cancel(booking.booking_id, CancelReason.CUSTOMER)
        await tell()
        with consuming(redis_url) as given:
            read.append(json.loads(given.readline()))
    assert [one[1:] for one in read] == [
        [1, "sale.changed"],
        [1, "booking.held"],
        [2, "booking.extended"],
        [3, "booking.cancelled"],
    ]
    assert len({one[0] for one in read}) == 4
