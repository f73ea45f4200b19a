"""Sends the events that are owed, signed as Stripe signs, until each is answered 2xx."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import time
from typing import Final

import aiohttp

from holdfast.simulator.events import Delivery, Events, now_ms

MAX_IN_FLIGHT: Final = 16
DELIVERY_TIMEOUT_S: Final = 10
"""Stripe's own is not published; it asks for an answer "quickly"."""
_LONGEST_SLEEP_S: Final = 1.0


def signature_header(body: bytes, secret: str, time_s: int) -> str:
    """Sign a body: https://docs.stripe.com/webhooks#verify-manually.

    Written here, not taken from Stripe's library, which is what checks it on the other side.
    """
    signature = hmac.new(secret.encode(), b"%d.%s" % (time_s, body), hashlib.sha256).hexdigest()
    return f"t={time_s},v1={signature}"


class Deliverer:
    """Sends what is due; one event of a payment at a time, so that only faults reorder them."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._wake = asyncio.Event()
        self._sending: dict[asyncio.Task[None], Delivery] = {}

    def wake(self) -> None:
        """Say that an event was written."""
        self._wake.set()

    async def run(self) -> None:
        """Send until cancelled. What is then on its way is sent again by the next process."""
        timeout = aiohttp.ClientTimeout(total=DELIVERY_TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            try:
                while True:
                    self._wake.clear()
                    self._start(session)
                    await self._pause()
            finally:
                for task in self._sending:
                    task.cancel()

    def _start(self, session: aiohttp.ClientSession) -> None:
        """Begin what is due, as far as there is room."""
        numbers = {delivery.number for delivery in self._sending.values()}
        busy = {(delivery.payment_intent, delivery.url) for delivery in self._sending.values()}
        for delivery in self._events.due(now_ms(), MAX_IN_FLIGHT * 4):
            if len(self._sending) >= MAX_IN_FLIGHT:
                return
            target = (delivery.payment_intent, delivery.url)
            if delivery.number in numbers or target in busy:
                continue
            busy.add(target)
            task = asyncio.create_task(self._send(session, delivery))
            self._sending[task] = delivery
            task.add_done_callback(self._sent)

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._sending.pop(task)
        self._wake.set()

    async def _pause(self) -> None:
        """Wait for an event, for the end of a delivery, or for the next one that becomes due."""
        next_ms = self._events.next_due_ms()
        ahead_s = _LONGEST_SLEEP_S if next_ms is None else (next_ms - now_ms()) / 1000
        if ahead_s <= 0:
            # Due and not begun: its payment is busy or there is no room, and both end in a wake.
            ahead_s = _LONGEST_SLEEP_S
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(ahead_s, _LONGEST_SLEEP_S)):
                await self._wake.wait()

    async def _send(self, session: aiohttp.ClientSession, delivery: Delivery) -> None:
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            # Signed anew each time, so that a repetition is not taken for a replay of the first.
            "Stripe-Signature": signature_header(delivery.body, delivery.secret, int(time.time())),
            "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
        }
        try:
            async with session.post(
                delivery.url, data=delivery.body, headers=headers, allow_redirects=False
            ) as answer:
                good = 200 <= answer.status < 300
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            good = False
        if good:
            self._events.delivered(delivery)
        else:
            self._events.failed(delivery)
