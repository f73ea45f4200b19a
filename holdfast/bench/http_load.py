"""HTTP load at the least cost: one protocol object a connection, no task, no future, no parser.

It understands of HTTP what uvicorn answers with: a head in one piece, and a `content-length`.
"""

from __future__ import annotations

import asyncio
import gc
import resource
import time
from collections import Counter, deque
from typing import Final, cast
from urllib.parse import urlsplit

from holdfast.bench.flows import FLOWS, Flow
from holdfast.bench.orders import Measured, Order, percentile

CONNECTING_AT_ONCE: Final = 100
TICK_S: Final = 0.001
GIVE_UP_S: Final = 30.0
"""How long after the window the last answers are waited for."""


class _Connection(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self, load: HttpLoad) -> None:
        self._load = load
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._sent = b""
        self._due_s = 0.0
        self.idle = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the transport."""
        # uvloop's does what it should, and is no subclass.
        self._transport = cast("asyncio.Transport", transport)

    def send(self, request: bytes, due_s: float) -> None:
        """Send one request, which was due at a time."""
        assert self._transport
        self._sent, self._due_s, self.idle = request, due_s, False
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Called by the transport."""
        if self._received:
            data = self._received + data
        end = data.find(b"\r\n\r\n")
        if end < 0:
            self._received = data
            return
        at = data.find(b"content-length: ", 0, end) + 16
        length = int(data[at : data.find(b"\r", at)]) if at >= 16 else 0
        if len(data) < end + 4 + length:
            self._received = data
            return
        self._received = b""
        self._answered(int(data[9:12]), data[end + 4 :])

    def _answered(self, status: int, body: bytes) -> None:
        load = self._load
        now_s = time.perf_counter()
        load.note(status, self._due_s, now_s)
        following = load.flow.then(self._sent, status, body)
        if following is not None:
            self.send(following, now_s)
            return
        load.ended(wanted=load.flow.wanted(status, body), status=status, due_s=self._due_s)
        self.idle = True
        load.next_for(self)

    def connection_lost(self, _exc: Exception | None) -> None:
        """Called by the transport."""
        if not self.idle:
            self._load.lost()

    def close(self) -> None:
        """Drop the connection."""
        if self._transport:
            self._transport.abort()


class HttpLoad:
    """Carries out one order."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self.flow: Flow = FLOWS[order.work](order)
        self._answers: Counter[str] = Counter()
        self._took_s: list[float] = []
        self._shed_s: list[float] = []
        self._begin_s = self._counted_s = self._end_s = 0.0
        self._now_s = 0.0
        self._free: deque[_Connection] = deque()
        self._due: deque[float] = deque()
        self._sent = self._failed = 0
        self._busy = 0
        self._all_idle = asyncio.Event()

    async def run(self) -> Measured:
        """Connect everybody, load for the window, wait for the last answers, disconnect."""
        connections = await self._connect()
        # Nothing is to be found: what an answer leaves behind is counted by reference.
        gc.collect()
        gc.freeze()
        gc.disable()
        used_s = _used_s()
        self._begin_s = time.perf_counter()
        self._counted_s = self._begin_s + self._order.lead_s
        self._end_s = self._counted_s + self._order.seconds
        self._free.extend(connections)
        if self._order.per_s:
            await self._on_schedule()
        else:
            for connection in connections:
                self._free.popleft()
                self._busy += 1
                self.next_for(connection, first=True)
            await asyncio.sleep(self._order.lead_s + self._order.seconds)
        load_share = (_used_s() - used_s) / (time.perf_counter() - self._begin_s)
        if self._busy:
            self._all_idle.clear()
            try:
                async with asyncio.timeout(GIVE_UP_S):
                    await self._all_idle.wait()
            except TimeoutError:
                self._answers["unanswered"] = self._busy
        for connection in connections:
            connection.close()
        gc.enable()
        gc.unfreeze()
        return self._measured(load_share)

    async def _connect(self) -> list[_Connection]:
        loop = asyncio.get_running_loop()
        address = urlsplit(self._order.url)
        host, port = address.hostname or "", address.port or 80
        connections: list[_Connection] = []
        while len(connections) < self._order.connections:
            count = min(CONNECTING_AT_ONCE, self._order.connections - len(connections))
            made = await asyncio.gather(
                *(
                    loop.create_connection(lambda: _Connection(self), host, port)
                    for _ in range(count)
                )
            )
            connections += [connection for _, connection in made]
        return connections

    async def _on_schedule(self) -> None:
        """Send at even distances, whatever the answers do."""
        interval_s = 1 / self._order.per_s
        due_s = self._begin_s
        while (now_s := time.perf_counter()) < self._end_s:
            while due_s <= now_s:
                self._due.append(due_s)
                due_s += interval_s
            while self._due and self._free:
                self._send(self._free.popleft(), self._due.popleft())
            await asyncio.sleep(TICK_S)

    def _send(self, connection: _Connection, due_s: float) -> None:
        self._sent += 1
        self._busy += 1
        connection.send(self.flow.first(), due_s)

    def next_for(self, connection: _Connection, *, first: bool = False) -> None:
        """A connection is free: what it sends now."""
        self._busy -= 1
        now_s = time.perf_counter()
        if now_s < self._end_s:
            if not self._order.per_s:
                self._send(connection, now_s)
            elif self._due:
                self._send(connection, self._due.popleft())
            else:
                self._free.append(connection)
        elif not self._busy and not first:
            self._all_idle.set()

    def note(self, status: int, due_s: float, now_s: float) -> None:
        """An answer came."""
        self._now_s = now_s
        if due_s >= self._counted_s and now_s < self._end_s:
            self._answers[str(status)] += 1

    def ended(self, *, wanted: bool, status: int, due_s: float) -> None:
        """A flow ended."""
        if due_s < self._counted_s or self._now_s >= self._end_s:
            return
        took_s = self._now_s - due_s
        if wanted:
            self._took_s.append(took_s)
        else:
            self._failed += 1
            if status == 503:
                self._shed_s.append(took_s)

    def lost(self) -> None:
        """A connection ended before its answer."""
        self._busy -= 1
        self._answers["lost"] += 1
        if not self._busy:
            self._all_idle.set()

    def _measured(self, load_share: float) -> Measured:
        took_s, shed_s = sorted(self._took_s), sorted(self._shed_s)
        return Measured(
            seconds=self._order.seconds,
            done=len(took_s),
            answers=dict(self._answers),
            failed=self._failed,
            sent=self._sent,
            p50_ms=1000 * percentile(took_s, 50),
            p99_ms=1000 * percentile(took_s, 99),
            shed_p99_ms=1000 * percentile(shed_s, 99),
            load_share=load_share,
        )


def _used_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
