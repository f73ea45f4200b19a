"""Places that fail for a minute: `python -m tests.soak.subscribers [--seconds S] [--seed N]`.

Buyers pay all the time. Meanwhile one subscriber is away, one answers 500, one hangs, one answers
later than anybody waits, and the mail server refuses half of what it is given and loses answers.
Then all are well again. Exit code 1 where the subscriber that was well, or a mail after that, had
to wait for `MAX_AGE_S`; where somebody lacks an event or has one out of order; where a buyer's
confirmation is missing, or would be seen twice in a mail program.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections import Counter, defaultdict
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from engine.limits import WEBHOOK_TIMEOUT_MS
from tests.helpers.client import Client
from tests.helpers.load import make_hold, make_key, put_sale, sale_body
from tests.helpers.servers import System
from tests.helpers.smtp_server import MailServer, mail_server
from tests.helpers.subscriber import Subscriber, fine, hang, late, status, subscriber

MAX_AGE_S: Final = 5.0
BUYERS: Final = 4
PAUSE_S: Final = 0.3
WELL_S: Final = 10.0
"""How long they go on buying when all is well again."""
CATCH_UP_S: Final = 180.0
EVENTS: Final = [1, 2, 3, 4, 5]
"""Held, payment begun, authorized, captured, confirmed: the sequences of a paid booking."""


@dataclass
class Buyers:
    """Who buys a unit each, one after the other; `confirmed` is when, by booking."""

    client: Client
    rng: random.Random
    confirmed: dict[str, float] = field(default_factory=dict)
    stopping: bool = False

    async def run(self) -> None:
        """Buy until `stopping`."""
        await asyncio.gather(*(self._come() for _ in range(BUYERS)))

    async def _come(self) -> None:
        while not self.stopping:
            hold = make_hold(self.rng, "gig", {"A": 1})
            contact = {"email": f"{hold.body['customer_id']}@example.com"}
            held = await self.client.post(
                "/v1/bookings", {**hold.body, "contact": contact}, key=hold.key
            )
            assert held.status == 201, held
            booking = held.json["id"]
            paid = await self.client.post(
                f"/v1/bookings/{booking}/pay",
                {"payment_method": "pm_card_visa", "customer_id": hold.body["customer_id"]},
                key=make_key(self.rng),
            )
            assert paid.status == 200, paid
            self.confirmed[booking] = time.time()
            await asyncio.sleep(self.rng.random() * 2 * PAUSE_S)


@dataclass
class Well:
    """How old events were when they came to the subscriber that takes all."""

    ages_s: list[float] = field(default_factory=list)
    bookings: dict[str, str] = field(default_factory=dict)
    """By the id of the event that confirmed it."""

    async def answer(self, request: web.Request) -> web.Response:
        """Take it."""
        event: Any = await request.json()
        told = datetime.fromisoformat(event["time"]).timestamp()
        self.ages_s.append(time.time() - told)
        if event["type"] == "booking.confirmed":
            self.bookings[event["id"]] = event["subject"]
        return await fine(request)


async def subscribe(admin: Client, to: Subscriber) -> None:
    """Have events of bookings and payments sent."""
    wanted = {"url": to.url, "events": ["booking.*", "payment.*"]}
    made = await admin.post("/v1/webhook-endpoints", wanted)
    assert made.status == 201, made
    to.secrets = [made.json["secret"]]


async def play(system: System, mail: MailServer, seconds: float, seed: int) -> list[str]:
    """Let them fail, let them be well; what is not as it should be."""
    well = Well()
    async with AsyncExitStack() as stack:
        admin = await stack.enter_async_context(Client(system.url, system.headers("admin")))
        service = await stack.enter_async_context(Client(system.url, system.headers("service")))
        await put_sale(admin, "gig", sale_body({"A": 10**6}, unit_price=4_200))
        subscribers = {
            name: await stack.enter_async_context(subscriber())
            for name in ("well", "failing", "hanging", "late")
        }
        async with subscriber() as away:
            await subscribe(admin, away)
        for one in subscribers.values():
            await subscribe(admin, one)
        subscribers["well"].answer = well.answer
        subscribers["failing"].answer = status(500)
        subscribers["hanging"].answer = hang
        subscribers["late"].answer = late(WEBHOOK_TIMEOUT_MS / 1000 + 1)
        mail.refuse(0.5, seed)
        buyers = Buyers(service, random.Random(seed))
        buying = asyncio.create_task(buyers.run())
        await asyncio.wait((buying,), timeout=seconds)

        for name in ("failing", "hanging", "late"):
            subscribers[name].answer = fine
        port = int(away.url.rpartition(":")[2].partition("/")[0])
        back = await stack.enter_async_context(subscriber(port))
        back.secrets = away.secrets
        subscribers["away"] = back
        mail.fine()
        mended_s = time.time()
        print(f"{len(buyers.confirmed)} bookings paid; all are well again", flush=True)
        await asyncio.wait((buying,), timeout=WELL_S)
        buyers.stopping = True
        await buying
        print(f"{len(buyers.confirmed)} bookings paid", flush=True)
        found = await asyncio.gather(
            *(_caught_up(name, one, buyers, mended_s) for name, one in subscribers.items()),
            _mailed(mail, well, buyers, mended_s),
        )
        faults = [fault for those in found for fault in those]
    worst_s = max(well.ages_s)
    print(f"the subscriber that was well: {len(well.ages_s)} events, the oldest {worst_s:.2f} s")
    if worst_s > MAX_AGE_S:
        faults.append(f"the subscriber that was well waited for {worst_s:.1f} s")
    return faults


async def _caught_up(name: str, one: Subscriber, buyers: Buyers, mended_s: float) -> list[str]:
    """Wait until a subscriber has every event; what it lacks or has out of order."""
    wanted = dict.fromkeys(buyers.confirmed, EVENTS)
    events = len(EVENTS) * len(wanted)
    deadline_s = time.time() + CATCH_UP_S
    while lacking := events - len({event["id"] for event in one.taken}):
        if time.time() > deadline_s:
            return [f"{name}: lacks {lacking} events"]
        await asyncio.sleep(0.2)
    print(
        f"{name}: every event {time.time() - mended_s:.1f} s after the end of the fault, "
        f"{len(one.seen)} requests for {events} events",
        flush=True,
    )
    return [] if one.by_subject() == wanted else [f"{name}: out of order"]


async def _mailed(mail: MailServer, well: Well, buyers: Buyers, mended_s: float) -> list[str]:
    """Wait until every buyer has a mail; what is missing, doubled, or too late."""
    mails: defaultdict[str, list[tuple[str, float]]] = defaultdict(list)
    deadline_s = time.time() + CATCH_UP_S
    while len(mails) < len(buyers.confirmed) and time.time() < deadline_s:
        await asyncio.sleep(0.2)
        mails.clear()
        for one in mail.messages():
            event_id = one["message_id"].strip("<>").partition(".email@")[0]
            mails[well.bookings.get(event_id, "")].append((one["message_id"], one["at_s"]))
    told = Counter(one["refused"] for one in mail.noted() if "refused" in one)
    sent = sum(map(len, mails.values()))
    ages_s = [
        min(at_s for _, at_s in mails[booking]) - paid_s
        for booking, paid_s in buyers.confirmed.items()
        if booking in mails and paid_s > mended_s
    ] or [CATCH_UP_S]
    print(
        f"mail: {sent} for {len(buyers.confirmed)} bookings, {told['RCPT']} refused and "
        f"{told['answer']} answers lost before; afterwards the latest after {max(ages_s):.2f} s"
    )
    faults = []
    if mails.keys() != buyers.confirmed.keys():
        faults.append(f"mail: {len(buyers.confirmed.keys() - mails.keys())} confirmations missing")
    if doubled := sum(len({name for name, _ in those}) > 1 for those in mails.values()):
        faults.append(f"mail: {doubled} confirmations under two names")
    if max(ages_s) > MAX_AGE_S:
        faults.append(f"mail: {max(ages_s):.1f} s though the server was well")
    return faults


def main() -> int:
    """Read the command line, run; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.subscribers")
    parser.add_argument("--seconds", type=float, default=60.0, metavar="S")
    parser.add_argument("--seed", type=int, default=int(time.time()), metavar="N")
    options = parser.parse_args()
    print(f"subscribers: --seconds {options.seconds:g} --seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="holdfast-soak-") as directory:
        scratch = Path(directory)
        with (
            mail_server(scratch / "taken.jsonl") as mail,
            System(scratch / "data", HOLDFAST_SMTP_URL=mail.url) as system,
        ):
            faults = asyncio.run(play(system, mail, options.seconds, options.seed))
    for fault in faults:
        print(f"NOT as it should be: {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
