"""Holds without HTTP: through the engine, and the same script driven as fast as a client can.

The difference is what the engine's Python costs: arguments, pipelining, retries, answers.
"""

from __future__ import annotations

import asyncio
import resource
import socket
import time
import uuid
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import hiredis

from engine.engine import Engine
from engine.hold_arguments import hold_arguments
from engine.keys import new_booking_id
from engine.scripts import load_script
from engine.settings import EngineOptions
from engine.types import LineRequest
from holdfast.bench.orders import ITEM, SALE, Measured, Order
from holdfast.system import operator_settings

BATCH: Final = 128
"""Calls that the raw driver has in flight on each of its two connections."""
CALLERS: Final = 256
"""Calls that the engine is asked at once."""
RECEIVE_BYTES: Final = 1 << 20


async def engine(order: Order) -> Measured:
    """Hold `calls` times through an engine in this process."""
    settings = operator_settings(Path(order.data))
    names = [str(uuid.uuid4()) for _ in range(order.calls)]
    async with await Engine.open(EngineOptions.of(settings)) as opened:
        held = 0
        lines = [LineRequest(ITEM, 1)]
        waiting = iter(names)

        async def caller() -> None:
            nonlocal held
            for name in waiting:
                answer = await opened.bookings.reserve(SALE, f"{order.subject}-{name}", lines, name)
                held += answer.booking is not None

        began_s, used_s = time.perf_counter(), _used_s()
        await asyncio.gather(*(caller() for _ in range(CALLERS)))
        seconds = time.perf_counter() - began_s
        return Measured(seconds=seconds, done=held, load_share=(_used_s() - used_s) / seconds)


async def raw(order: Order) -> Measured:
    """Run reserve.lua `calls` times, as `engine` would, from commands that are packed before.

    Two connections with a batch each in flight, so that the server never waits for this process.
    """
    settings = operator_settings(Path(order.data))
    script = load_script("reserve")
    async with await Engine.open(EngineOptions.of(settings)) as opened:
        partition = opened.keys.partition_of_sale(SALE)
        start: Any = ("EVALSHA", script.sha1, 1, opened.keys.meta(partition))
        start += opened.partitions.arguments(partition)
        lines = [LineRequest(ITEM, 1)]
        commands = []
        for _ in range(order.calls):
            name = str(uuid.uuid4())
            arguments = hold_arguments(
                opened.vault,
                opened.marks,
                settings.rate_limit,
                new_booking_id(partition),
                SALE,
                f"{order.subject}-{name}",
                lines,
                name,
            )
            commands.append(hiredis.pack_command((*start, *arguments)))
    batches = []
    for begin in range(0, order.calls, BATCH):
        these = commands[begin : begin + BATCH]
        batches.append((b"".join(these), len(these)))
    links = [_Link(settings.redis_url) for _ in range(2)]
    links[0].ask("SCRIPT", "LOAD", script.text)
    began_s, used_s = time.perf_counter(), _used_s()
    held = _drive(links, batches)
    seconds = time.perf_counter() - began_s
    for link in links:
        link.close()
    return Measured(seconds=seconds, done=held, load_share=(_used_s() - used_s) / seconds)


def _drive(links: list[_Link], batches: list[tuple[bytes, int]]) -> int:
    held = 0
    in_flight = [0, 0]
    for number, (text, count) in enumerate(batches):
        at = number % 2
        held += links[at].held(in_flight[at])
        links[at].send(text)
        in_flight[at] = count
    return held + sum(link.held(count) for link, count in zip(links, in_flight, strict=True))


class _Link:
    """A blocking connection to Redis."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self._socket = socket.create_connection((address.hostname, address.port or 6379))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = hiredis.Reader()
        if address.password:
            self.ask("AUTH", address.username or "default", address.password)

    def send(self, text: bytes) -> None:
        self._socket.sendall(text)

    def read(self) -> Any:
        while (reply := self._reader.gets()) is False:
            self._reader.feed(self._socket.recv(RECEIVE_BYTES))
        return reply

    def ask(self, *command: Any) -> Any:
        """Send a command and read its reply."""
        self.send(hiredis.pack_command(command))
        return self.read()

    def held(self, count: int) -> int:
        """Read so many replies; how many of them say `held`."""
        return sum(reply[0] == b"held" for reply in (self.read() for _ in range(count)))

    def close(self) -> None:
        self._socket.close()


def _used_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
