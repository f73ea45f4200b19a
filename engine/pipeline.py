"""Gathers the calls of one event-loop tick into one write per Redis node.

A hundred requests that arrive together cost one write and one fsync instead of a hundred. A
bounded number of batches is in flight, each on a connection of its own; calls that come meanwhile
form the next batch. The end of a tick with many calls is not waited for: `PIECE_CALLS` of them
leave at once, so that Redis works at them while the tick goes on; else each would stand still while
the other works. A caller that is cancelled harms nobody: its reply is read and dropped, since the
batch is carried by the connection's task and not by the caller's.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, ReadOnlyError

from engine.connections import CONNECTION_LOST, Command, Connect, Transport
from engine.errors import Overloaded, Unavailable
from engine.limits import (
    CALL_TIMEOUT_MS,
    CONNECT_TIMEOUT_MS,
    MAX_BATCHES_IN_FLIGHT,
    MAX_CALLS_PER_BATCH,
    MAX_CALLS_WAITING,
    PIECE_CALLS,
)
from engine.scripts import Script, load_script
from engine.tasks import end_tasks

Argument = bytes | str | int


@dataclass(slots=True)
class _Call:
    """One script run that waits for its reply."""

    script: Script
    key: bytes
    args: Iterable[Argument]
    future: asyncio.Future[Any]

    def by_digest(self) -> Command:
        return ("EVALSHA", self.script.sha1, 1, self.key, *self.args)

    def by_text(self) -> Command:
        return ("EVAL", self.script.text, 1, self.key, *self.args)


@dataclass(slots=True)
class _Sent:
    """A batch that was handed to a connection; its replies are to be waited for."""

    batch: list[_Call]
    replies: Coroutine[Any, Any, list[Any]]


@dataclass(slots=True)
class _Idle:
    """A connection that waits for work; woken with a batch that is sent already, or without."""

    woken: asyncio.Future[_Sent | None]
    transport: Transport | None
    losses: int


@dataclass(frozen=True, slots=True)
class Replicas:
    """Durability `replica`: how many must have a batch before it is answered."""

    count: int
    timeout_ms: int = CALL_TIMEOUT_MS // 2


def _must_be_replicated(script: Script) -> bool:
    """Whether an answer of the script may only be given once replicas have what it tells.

    A refusal would not need it, but is rare beside the answers that do. Of the scripts that only
    read, the journal's: PostgreSQL must not take over an entry that a failover could still undo.
    """
    return "no-writes" not in script.flags or script.name == "read_journal"


async def _drop(transport: Transport | None) -> None:
    if transport is not None:
        with contextlib.suppress(*CONNECTION_LOST):
            await transport.close()


class Pipeline:
    """Script runs on one Redis node."""

    def __init__(
        self,
        connect: Connect,
        *,
        replicas: Replicas | None = None,
        on_reconnect: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._connect = connect
        self._replicas = replicas
        self._on_reconnect = on_reconnect
        self._waiting: deque[_Call] = deque()
        self._idle: deque[_Idle] = deque()
        self._links: list[asyncio.Task[None]] = []
        self._wake_scheduled = False
        self._losses = 0
        self._closed = False

    async def run(self, script: Script, key: bytes, args: Iterable[Argument]) -> Any:
        """Run a script with one key and answer its raw reply.

        Args:
            args: gone through each time that the call is sent, and not before.

        Raises:
            Unavailable: the outcome is not known.
            Overloaded: too many calls wait; nothing was tried.
            redis.exceptions.ResponseError: the server refused the call (`engine.calls` reads it).
        """
        if self._closed:
            raise Overloaded("the engine is closed")
        if len(self._waiting) >= MAX_CALLS_WAITING:
            raise Overloaded("too many calls wait for Redis")
        loop = asyncio.get_running_loop()
        if not self._links:
            self._links = [loop.create_task(self._carry()) for _ in range(MAX_BATCHES_IN_FLIGHT)]
        call = _Call(script, key, args, loop.create_future())
        self._waiting.append(call)
        if len(self._waiting) >= PIECE_CALLS and self._idle:
            self._send_at_once()
        if self._waiting and not self._wake_scheduled:
            # At the end of this tick, so that every call made in it leaves in one write.
            self._wake_scheduled = True
            loop.call_soon(self._wake)
        return await call.future

    def _wake(self) -> None:
        self._wake_scheduled = False
        while self._idle and self._waiting:
            link = self._idle.popleft()
            if not link.woken.done():
                link.woken.set_result(None)
                return

    def _send_at_once(self) -> None:
        """Send what waits on a connection that is idle and, as far as is known, alive."""
        link = self._idle.popleft()
        if link.woken.done():
            return
        if link.transport is None or link.losses < self._losses:
            link.woken.set_result(None)
            return
        batch = self._take()
        try:
            replies = link.transport.exchange([call.by_digest() for call in batch])
        except Exception as error:  # noqa: BLE001 - it is for those who asked, not for who came last
            self._fail(batch, error)
            link.woken.set_result(None)
        else:
            link.woken.set_result(_Sent(batch, replies))

    def _take(self) -> list[_Call]:
        batch: list[_Call] = []
        while self._waiting and len(batch) < MAX_CALLS_PER_BATCH:
            call = self._waiting.popleft()
            if not call.future.done():
                batch.append(call)
        return batch

    async def _carry(self) -> None:
        """One connection's life: take a batch, exchange it, hand the replies out, again."""
        transport: Transport | None = None
        connected_before, losses = False, 0
        try:
            # Not only until it is cancelled: in Python 3.11 a wait with a time-out, as redis-py's
            # are, loses the cancellation that comes in the moment of its end.
            while not self._closed:
                sent: _Sent | None = None
                batch = self._take()
                if not batch:
                    sent = await self._work(transport, losses)
                    if sent is None:
                        continue
                    batch = sent.batch
                if self._waiting:
                    self._wake()
                if sent is None and losses < self._losses:
                    # A connection was lost since this one was opened: it is likely dead as well.
                    # Found out by using it, it would cost its batch one of few attempts.
                    await _drop(transport)
                    transport = None
                try:
                    if transport is None:
                        losses = self._losses
                        # Also where another's connection was lost: the server may be another now.
                        if self._on_reconnect and (connected_before or losses):
                            await self._on_reconnect()
                        async with asyncio.timeout(CONNECT_TIMEOUT_MS / 1000):
                            transport = await self._connect()
                        connected_before = True
                    async with asyncio.timeout(CALL_TIMEOUT_MS / 1000):
                        await self._exchange(transport, batch, sent)
                except Exception as error:  # noqa: BLE001 - a link that ends would never be missed
                    # Lost, or a call that cannot be sent, say. Replies may still be on their way
                    # and a write be half done: this connection can serve nobody else. The link
                    # stays, or its callers would wait for ever.
                    self._fail(batch, error)
                    await _drop(transport)
                    transport = None
                except BaseException:
                    self._fail(batch, Unavailable("the engine stopped"))
                    raise
        finally:
            await _drop(transport)

    async def _work(self, transport: Transport | None, losses: int) -> _Sent | None:
        """Wait for work."""
        idle = _Idle(asyncio.get_running_loop().create_future(), transport, losses)
        self._idle.append(idle)
        try:
            return await idle.woken
        except asyncio.CancelledError:
            # Woken and cancelled in one moment: nobody will read the replies.
            if idle.woken.done() and not idle.woken.cancelled() and (sent := idle.woken.result()):
                sent.replies.close()
                self._fail(sent.batch, Unavailable("the engine stopped"))
            raise

    async def _exchange(self, transport: Transport, batch: list[_Call], sent: _Sent | None) -> None:
        if sent is None:
            replies = await transport.exchange([call.by_digest() for call in batch])
        else:
            replies = await sent.replies
        unknown = [i for i, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if unknown:
            # The cache was emptied (restart, SCRIPT FLUSH): nothing of these was run.
            again = await transport.exchange([batch[i].by_text() for i in unknown])
            for i, reply in zip(unknown, again, strict=True):
                replies[i] = reply
        if self._replicas:
            for call, reply in zip(batch, replies, strict=True):
                # An error is no acknowledgement, and in a cluster its partition may be elsewhere.
                if _must_be_replicated(call.script) and not isinstance(reply, Exception):
                    await self._wait_for_replicas(transport, self._replicas, call.key)
                    break
        for call, reply in zip(batch, replies, strict=True):
            if call.future.done():
                continue
            if isinstance(reply, Exception):
                call.future.set_exception(reply)
            else:
                call.future.set_result(reply)
        if any(isinstance(reply, ReadOnlyError) for reply in replies):
            # The server was made a replica, and leaves its clients where they are: who is the
            # primary now is found by connecting anew, and the other connections lead here as well.
            raise RedisConnectionError("the server is a replica now")

    async def _wait_for_replicas(
        self, transport: Transport, replicas: Replicas, meta: bytes
    ) -> None:
        """Hold a batch back until enough replicas have it.

        `meta` is that of a partition in it; `lua/beat.lua` derives its own key from it.

        WAIT counts what this very connection wrote, and a replay writes nothing: without the beat
        it would be told at once that all is well, about writes of another connection.
        """
        beat = load_script("beat")
        beaten, acknowledged = await transport.exchange(
            [
                ("EVAL", beat.text, 1, meta),
                ("WAIT", replicas.count, replicas.timeout_ms),
            ]
        )
        if isinstance(beaten, Exception):
            raise RedisConnectionError(f"the beat was not written: {beaten}")
        if not isinstance(acknowledged, int) or acknowledged < replicas.count:
            raise RedisConnectionError(f"{acknowledged} of {replicas.count} replicas have it")

    def _fail(self, batch: list[_Call], error: Exception) -> None:
        if isinstance(error, CONNECTION_LOST):
            self._losses += 1
            error = Unavailable(f"Redis: {type(error).__name__} {error}")
        for call in batch:
            if not call.future.done():
                call.future.set_exception(error)

    async def close(self) -> None:
        """Stop the connections; calls that still wait are told that the outcome is unknown."""
        self._closed = True
        await end_tasks(self._links)
        self._fail(list(self._waiting), Unavailable("the engine is closed"))
        self._waiting.clear()
