"""The buyers of `holdfast demo`: thousands who want the same few units, over HTTP.

Each is a customer with a token of its own, wants one unit and pays for it. Some send the same
request again at once, some cancel what they held and then want it after all, some have their first
card declined, and who is refused tries again until the stock is sold or nobody holds any of it.
What they were answered is counted here; the books are compared elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from engine.errors import HoldfastError
from holdfast.lean_http import Client, Lost, Response

SALE_ID: Final = "flash-sale"
ITEM_ID: Final = "ticket"
UNIT_PRICE: Final = 4_500
HOLD_SECONDS: Final = 600
"""Longer than the whole sale takes on a slow machine: no buyer's hold is to expire in the queue."""
RETRYING: Final = 10
"""One buyer in so many sends each request twice."""
CANCELLING: Final = 10
"""One buyer in so many cancels its first hold."""
DECLINED: Final = 10
"""One buyer in so many pays with a card that is declined, and then with a good one."""
GOOD_CARD: Final = "pm_card_visa"
BAD_CARD: Final = "pm_card_chargeDeclined"
MAX_ATTEMPTS: Final = 12
"""Of one request that is answered "not now" or not at all."""
PAID_WITHIN_S: Final = 120.0
"""A payment that is still open by then counts as an error."""
POLL_S: Final = 0.1
WATCH_S: Final = 0.1
FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 1.0

_AGAIN: Final = frozenset({429, 503})
_OPEN: Final = frozenset({"AUTHORIZING", "CAPTURING", "UNKNOWN"})


class Failed(HoldfastError):
    """A buyer was answered what nobody should be."""


@dataclass(slots=True)
class Tally:
    """What the buyers were answered."""

    confirmed: set[str] = field(default_factory=set)
    refused: int = 0
    replayed: int = 0
    cancelled: int = 0
    duplicates: int = 0
    """Keys that were given two bookings, or two final answers."""
    left: int = 0
    """Buyers who are through."""
    troubles: list[str] = field(default_factory=list)
    latencies_s: list[float] = field(default_factory=list)
    begun_s: float = field(default_factory=time.monotonic)
    sold_s: float = 0.0
    """When the last booking was confirmed."""
    ended_s: float = 0.0


class FlashSale:
    """One sale and its buyers."""

    def __init__(self, client: Client, stock: int, seed: int) -> None:
        self.tally = Tally()
        self._client = client
        self._stock = stock
        # Not a secret: who cancels, and how long who waits.
        self._random = random.Random(seed)  # noqa: S311
        self._over = asyncio.Event()

    async def open(self, admin: str) -> None:
        """Create the sale."""
        item = {
            "id": ITEM_ID,
            "name": "Ticket",
            "capacity": self._stock,
            "unit_price": UNIT_PRICE,
        }
        body = {"name": "Flash sale", "hold_seconds": HOLD_SECONDS, "items": [item]}
        found = await self._send("PUT", f"/v1/sales/{SALE_ID}", _headers(admin), body)
        if found.status != 201:
            raise Failed(f"the sale could not be created: {found.status} {found.body!r}")

    async def run(self, tokens: Sequence[str]) -> None:
        """Let everybody in at once, and wait until all have left."""
        tally = self.tally
        tally.begun_s = time.monotonic()
        watching = asyncio.create_task(self._watch())
        try:
            await asyncio.gather(*(self._come(at, token) for at, token in enumerate(tokens)))
        finally:
            tally.ended_s = time.monotonic()
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def levels(self) -> dict[str, int]:
        """What availability says of the item now."""
        path = f"/v1/sales/{SALE_ID}/availability?fresh=1"
        found = await self._client.request("GET", path, "", urgent=True)
        if found.status != 200:
            raise Failed(f"availability: {found.status} {found.body!r}")
        level: dict[str, int] = orjson.loads(found.body)["items"][0]
        return level

    async def _watch(self) -> None:
        """Find out when the stock is sold: then nobody need try again."""
        while not self._over.is_set():
            with contextlib.suppress(Failed, Lost):
                level = await self.levels()
                if level["available"] == 0 and level["held"] == 0:
                    self._over.set()
            await asyncio.sleep(WATCH_S)

    async def _come(self, number: int, token: str) -> None:
        try:
            await self._buy(_headers(token), number)
        except (Failed, Lost) as trouble:
            self.tally.troubles.append(f"buyer {number}: {trouble}")
        self.tally.left += 1

    async def _buy(self, headers: str, number: int) -> None:
        twice = number % RETRYING == 0
        cancels = number % CANCELLING == CANCELLING // 2
        while True:
            booking = await self._hold(headers, twice=twice)
            if booking is None:
                return
            if not cancels:
                break
            cancels = False
            path = f"/v1/bookings/{booking['id']}/cancel"
            found = await self._send("POST", path, headers, urgent=True)
            if found.status != 200:
                raise Failed(f"cancel: {found.status} {found.body!r}")
            self.tally.cancelled += 1
        if number % DECLINED == DECLINED // 3:
            await self._pay(headers, booking["id"], BAD_CARD, "DECLINED", twice=twice)
        await self._pay(headers, booking["id"], GOOD_CARD, "CAPTURED", twice=twice)
        tally = self.tally
        if booking["id"] in tally.confirmed:
            tally.duplicates += 1
        tally.confirmed.add(booking["id"])
        tally.sold_s = time.monotonic()

    async def _hold(self, headers: str, *, twice: bool) -> dict[str, Any] | None:
        """Hold a unit; None where the sale was over before there was one for this buyer."""
        body = {"sale_id": SALE_ID, "lines": [{"item_id": ITEM_ID, "quantity": 1}]}
        pause_s = FIRST_PAUSE_S
        while True:
            answers = await self._send_keyed("/v1/bookings", headers, body, twice=twice)
            if answers[0].status == 201:
                booking: dict[str, Any] = orjson.loads(answers[0].body)
                return booking
            for found in answers:
                if found.status != 409 or orjson.loads(found.body)["code"] != "sold_out":
                    raise Failed(f"hold: {found.status} {found.body!r}")
            self.tally.refused += len(answers)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s * self._random.uniform(0.5, 1.5)):
                    await self._over.wait()
            if self._over.is_set():
                return None
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    async def _pay(
        self, headers: str, booking_id: str, card: str, wanted: str, *, twice: bool
    ) -> None:
        """Pay under a fresh key, wait for the end of it, and see that it is the one wanted."""
        path = f"/v1/bookings/{booking_id}"
        body = {"payment_method": card}
        found = (await self._send_keyed(f"{path}/pay", headers, body, twice=twice))[0]
        deadline = time.monotonic() + PAID_WITHIN_S
        while (status := _payment_status(found)) in _OPEN and time.monotonic() < deadline:
            await asyncio.sleep(POLL_S)
            found = await self._send("GET", path, headers, urgent=True)
        if status != wanted:
            raise Failed(f"pay: {found.status} {found.body!r}")

    async def _send_keyed(
        self, path: str, headers: str, body: dict[str, Any], *, twice: bool
    ) -> list[Response]:
        """Send a request under a fresh key; `twice`: and the same again at once.

        Of two that changed something, one must be a replay of the other.
        """
        headers += f"Idempotency-Key: {uuid.uuid4()}\r\n"
        urgent = path != "/v1/bookings"
        sends = [self._send("POST", path, headers, body, urgent=urgent)]
        if twice:
            sends.append(self._send("POST", path, headers, body, urgent=urgent))
        answers = await asyncio.gather(*sends)
        done = [found for found in answers if found.status in {200, 201}]
        if len(done) == 2:
            replays = sum("idempotency-replayed" in found.headers for found in done)
            self.tally.replayed += replays
            if done[0].body != done[1].body:
                self.tally.duplicates += 1
            elif not replays:
                raise Failed(f"{path}: one key, done twice and neither a replay")
        # A refusal is not kept: of two, one may have come before the unit that the other took.
        return done or answers

    async def _send(
        self,
        method: str,
        path: str,
        headers: str,
        body: dict[str, Any] | None = None,
        *,
        urgent: bool = False,
    ) -> Response:
        """Send a request, again while the answer is "not now" or does not come.

        Safe, because each is recognised by its key or says the same when said again.
        """
        content = b"" if body is None else orjson.dumps(body)
        for attempt in range(MAX_ATTEMPTS):
            try:
                found = await self._client.request(method, path, headers, content, urgent=urgent)
            except Lost:
                if attempt == MAX_ATTEMPTS - 1:
                    raise
            else:
                self.tally.latencies_s.append(found.took_s)
                if found.status not in _AGAIN:
                    return found
            wait_s = min(0.05 * 2**attempt, 3.0) * self._random.uniform(0.5, 1.5)
            await asyncio.sleep(wait_s)
        raise Failed(f"{method} {path}: still not after {MAX_ATTEMPTS} attempts")


def _payment_status(found: Response) -> str:
    """How a payment stands by an answer to `pay`, or by the booking; empty if it does not say."""
    content: dict[str, Any] = orjson.loads(found.body)
    if found.status in {200, 202}:
        return str((content["payment"] or {}).get("status", ""))
    return "DECLINED" if content["code"] == "payment_declined" else ""


def _headers(token: str) -> str:
    return f"Authorization: Bearer {token}\r\nContent-Type: application/json\r\n"
