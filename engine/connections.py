"""Connections to Redis, made by redis-py: authentication, TLS, sentinel and time-outs are its work.

No connection retries by itself (rule 6): whether a call may be sent again is decided by
`engine.calls`, which knows its operation id.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final, Protocol, cast
from urllib.parse import parse_qsl, urlsplit

from hiredis import pack_command
from redis._parsers.hiredis import NOT_ENOUGH_DATA, _AsyncHiredisParser
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection, Connection, parse_url
from redis.asyncio.sentinel import Sentinel
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError

from engine.errors import SettingsError, Unavailable, WeakDurability
from engine.limits import CALL_TIMEOUT_MS, CONNECT_TIMEOUT_MS
from engine.settings import Durability

Command = Sequence[bytes | str | int]

CONNECTION_LOST: Final = (OSError, RedisError, RuntimeError)
"""What says that a connection was lost, a time-out as well.

The last one is uvloop's: a write in the moment in which the peer has closed and nobody knows yet is
a `RuntimeError` there, where asyncio says `ConnectionResetError`, and redis-py passes it on
(MagicStack/uvloop#506): 7 of 100 losses under load."""

_STRICT: Final = {"appendonly": "yes", "appendfsync": "always", "no-appendfsync-on-rewrite": "no"}


class Transport(Protocol):
    """One connection, used by one batch at a time."""

    def exchange(self, commands: Sequence[Command]) -> Coroutine[Any, Any, list[Any]]:
        """Send the commands in one write; what is awaited reads a reply for each, in order.

        They may leave before it is awaited. An error reply is returned, not raised. Raises
        `OSError`, `TimeoutError` or a `redis.exceptions.ConnectionError` where replies are missing.
        """

    async def close(self) -> None:
        """Drop the connection; the replies still due on it can then reach nobody."""


Connect = Callable[[], Awaitable[Transport]]


class RedisTransport:
    """A `Transport` over one of redis-py's connections, once it is connected.

    redis-py packs a command in Python, and has a task, a time-out and a wait for each reply: 40 us,
    as much as all else that a hold costs. Here commands are packed by hiredis, and a batch has one
    time-out; replies are taken from hiredis, which redis-py feeds, as many as a read has brought.
    """

    __slots__ = ("_connection", "_parser", "_writer")

    def __init__(self, connection: AbstractConnection) -> None:
        self._connection = connection
        # Its own time-out would make a task for each write: the batch has one.
        connection.socket_timeout = None
        writer = connection._writer
        assert writer, "it is connected"
        self._writer = writer
        # What is written leaves at once, and not when the event loop's tick has ended.
        writer.transport.set_write_buffer_limits(high=0)
        parser = connection._parser
        assert isinstance(parser, _AsyncHiredisParser), "hiredis is a dependency"
        self._parser = parser

    def exchange(self, commands: Sequence[Command]) -> Coroutine[Any, Any, list[Any]]:
        """Send all; what is awaited reads all."""
        words: Sequence[Any] = commands
        self._writer.write(b"".join([pack_command(tuple(command)) for command in words]))
        return self._read(len(commands))

    async def _read(self, count: int) -> list[Any]:
        # redis-py's parser makes it when it is connected; neither has types that say so.
        parser, reader = self._parser, cast("Any", self._parser._reader)
        async with asyncio.timeout(CALL_TIMEOUT_MS / 1000):
            replies: list[Any] = []
            for _ in range(count):
                while (reply := reader.gets(False)) is NOT_ENOUGH_DATA:
                    await parser.read_from_socket()
                if isinstance(reply, RedisConnectionError):
                    raise reply
                replies.append(reply)
        return replies

    async def close(self) -> None:
        """Close without waiting for the peer."""
        await self._connection.disconnect(nowait=True)


def split_sentinel(url: str) -> tuple[list[tuple[str, int]], str, dict[str, Any]]:
    """Read `redis+sentinel://[user:password@]host:port,host:port/service[?…]`."""
    parts = urlsplit(url)
    netloc = parts.netloc.rpartition("@")[2]
    hosts = []
    for host in netloc.split(","):
        name, _, port = host.rpartition(":")
        if not name or not port.isdigit():
            raise SettingsError(f"HOLDFAST_REDIS_URL: sentinel `{host}` must be host:port")
        hosts.append((name, int(port)))
    service = parts.path.strip("/")
    if not service:
        raise SettingsError("HOLDFAST_REDIS_URL: the sentinel service's name is missing")
    options: dict[str, Any] = dict(parse_qsl(parts.query))
    if parts.username:
        options["username"] = parts.username
    if parts.password:
        options["password"] = parts.password
    return hosts, service, options


def connector(url: str) -> Connect:
    """A function that opens a fresh connection to the primary that `url` names."""
    timeouts: dict[str, Any] = {
        "socket_connect_timeout": CONNECT_TIMEOUT_MS / 1000,
        "socket_timeout": CALL_TIMEOUT_MS / 1000,
        "retry_on_timeout": False,
        "client_name": "holdfast-engine",
    }
    if url.startswith("redis+sentinel://"):
        hosts, service, options = split_sentinel(url)
        sentinel = Sentinel(hosts, socket_timeout=CONNECT_TIMEOUT_MS / 1000)

        async def connect_primary() -> Transport:
            host, port = await sentinel.discover_master(service)
            connection = Connection(host=host, port=port, **(timeouts | options))
            await connection.connect()
            return RedisTransport(connection)

        return connect_primary

    arguments: dict[str, Any] = timeouts | dict(parse_url(url))
    connection_class: type[AbstractConnection] = arguments.pop("connection_class", Connection)
    arguments.pop("max_connections", None)

    async def connect() -> Transport:
        connection = connection_class(**arguments)
        await connection.connect()
        return RedisTransport(connection)

    return connect


def client(url: str) -> Redis:
    """A redis-py client of the primary, for tools and reads outside the hot path."""
    timeouts: dict[str, Any] = {
        "socket_connect_timeout": CONNECT_TIMEOUT_MS / 1000,
        "socket_timeout": CALL_TIMEOUT_MS / 1000,
    }
    if url.startswith("redis+sentinel://"):
        hosts, service, options = split_sentinel(url)
        found: Redis = Sentinel(hosts, **timeouts).master_for(service, **(timeouts | options))
        return found
    plain: Redis = Redis.from_url(url, **timeouts)
    return plain


async def check_durability(transport: Transport, durability: Durability) -> None:
    """Refuse a server that keeps less than was asked for (rule 7).

    Raises:
        WeakDurability: names each setting of the server that is weaker.
        Unavailable: the server does not answer.
    """
    if durability is Durability.MEMORY:
        return
    names = (*_STRICT, "maxmemory-policy", "maxmemory")
    try:
        replies = await transport.exchange([("CONFIG", "GET", name) for name in names])
    except CONNECTION_LOST as error:
        raise Unavailable(f"Redis does not answer: {error}") from error
    found = {}
    for name, reply in zip(names, replies, strict=True):
        if isinstance(reply, ResponseError) or len(reply) < 2:
            raise WeakDurability(
                "HOLDFAST_DURABILITY: this server does not tell its configuration "
                f"({name}); only `memory` can be promised on it"
            )
        found[name] = reply[1].decode()
    faults = [
        f"{name} is {found[name]}, not {wanted}"
        for name, wanted in _STRICT.items()
        if found[name] != wanted
    ]
    if found["maxmemory-policy"] != "noeviction":
        faults.append(f"maxmemory-policy is {found['maxmemory-policy']}, not noeviction")
    if found["maxmemory"] == "0":
        faults.append("maxmemory is not set")
    if faults:
        raise WeakDurability(
            f"HOLDFAST_DURABILITY: `{durability}` asks more than the server keeps: "
            + "; ".join(faults)
        )
