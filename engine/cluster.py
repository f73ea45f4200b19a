"""The nodes of a Redis Cluster, and which of them has each partition.

The cluster says so itself (CLUSTER SLOTS). It is asked at the start, once in a while, and whenever
a node sends a call elsewhere or does not answer. A partition's new place is taken only after
PostgreSQL was asked how far the partition has to be: a replica that became a master may lack the
last entries (rule 5).
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from redis.cluster import parse_cluster_slots
from redis.crc import key_slot
from redis.exceptions import MovedError, ResponseError

from engine.connections import CONNECTION_LOST
from engine.errors import SettingsError, Unavailable
from engine.keys import Keys
from engine.limits import CLUSTER_LOOK_MS, CONNECT_TIMEOUT_MS, SLOTS_FRESH_MS
from engine.nodes import Node, Nodes
from engine.scripts import load_guarded
from engine.tasks import end_tasks

Address = tuple[str, int]

SCHEMES: Final = {"redis+cluster://": "redis", "rediss+cluster://": "rediss"}

_LOST_ITS_PLACE: Final = ("CLUSTERDOWN", "MASTERDOWN")


def split_cluster(url: str) -> tuple[list[Address], Callable[[Address], str]]:
    """Read `redis+cluster://[user:password@]host:port,host:port[?…]`.

    Returns:
        The nodes that it names, and the URL of one node by its address.
    """
    parts = urlsplit(url)
    if parts.path.strip("/") not in ("", "0"):
        raise SettingsError("HOLDFAST_REDIS_URL: a cluster has no other database than 0")
    who, at, netloc = parts.netloc.rpartition("@")
    seeds = []
    for node in netloc.split(","):
        host, _, port = node.rpartition(":")
        if not host or not port.isdigit():
            raise SettingsError(f"HOLDFAST_REDIS_URL: cluster node `{node}` must be host:port")
        seeds.append((host.strip("[]"), int(port)))
    scheme, query = SCHEMES[f"{parts.scheme}://"], parts.query and f"?{parts.query}"

    def url_of(address: Address) -> str:
        host, port = address
        return f"{scheme}://{who}{at}{f'[{host}]' if ':' in host else host}:{port}/0{query}"

    return seeds, url_of


class ClusterNodes(Nodes):
    """The nodes of a cluster.

    Args:
        seeds: some of its nodes; the others are found.
        keys: name the partitions' slots.
        open_node: makes a node by its address; it connects when it is first used.
        before_move: is awaited before partitions are taken to be elsewhere.
    """

    load = staticmethod(load_guarded)

    def __init__(
        self,
        seeds: Iterable[Address],
        keys: Keys,
        open_node: Callable[[Address], Node],
        before_move: Callable[[], Awaitable[None]],
    ) -> None:
        super().__init__(())
        self._seeds = list(seeds)
        self._slots = [key_slot(keys.meta(p)) for p in range(keys.partitions)]
        self._open_node = open_node
        self._before_move = before_move
        self._known: dict[Address, Node] = {}
        self._places: list[Address] = []
        """Addresses by partition."""
        self._everybody: set[Address] = set()
        """Replicas too: one of them may be the last that answers."""
        self._looking: asyncio.Task[None] | None = None
        self._looked_at = float("-inf")
        self._watching: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._closed = False

    async def find(self) -> None:
        """Ask where the partitions are; from then on again and again."""
        await self._look()
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch())

    async def look_again(self, partition: int, error: Exception) -> bool:
        """Ask the cluster again, unless the error says that nothing has moved."""
        before = self._places[partition]
        named = _named_by(error, before)
        if named == before:
            # Somebody else's call was sent elsewhere as well, and this has been found out.
            return True
        if not named:
            late = asyncio.get_running_loop().time() - self._looked_at < SLOTS_FRESH_MS / 1000
            if late or not _may_have_moved(error):
                return False
        try:
            await self._look(first=named, last=before)
        except Unavailable:
            return False
        return self._places[partition] != before

    async def places(self) -> Sequence[Hashable]:
        """Where the partitions are, asked at this moment."""
        await self._look()
        return tuple(self._places)

    async def _watch(self) -> None:
        """Look once in a while: a failover ends the waiting for an answer that will not come."""
        while True:
            await asyncio.sleep(random.uniform(0.5, 1.5) * CLUSTER_LOOK_MS / 1000)  # noqa: S311
            # Whatever it is: a watch that ends would never be missed.
            with contextlib.suppress(Exception):
                await self._look()

    async def _look(self, first: Address | None = None, last: Address | None = None) -> None:
        """One question at a time, for all who have it. Raises `Unavailable`."""
        if self._closed:
            raise Unavailable("the engine is closed")
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look_now(first, last))
            # Whoever asked may have been cancelled meanwhile.
            self._looking.add_done_callback(lambda look: look.cancelled() or look.exception())
        look = self._looking
        await asyncio.wait((look,))
        if look.cancelled():
            raise Unavailable("the engine is closed")
        look.result()

    async def _look_now(self, first: Address | None, last: Address | None) -> None:
        places, self._everybody = await self._ask_where(first, last)
        if places != self._places:
            if self._places:
                await self._before_move()
            nodes = [self._node(address) for address in places]
            # In place: `engine.calls` holds this very list.
            self._nodes[:], self.pipelines[:] = nodes, [node.pipeline for node in nodes]
            self._places = places
            self._forget(self._known.keys() - set(places))
        self._looked_at = asyncio.get_running_loop().time()

    async def _ask_where(
        self, first: Address | None, last: Address | None
    ) -> tuple[list[Address], set[Address]]:
        """The addresses of all partitions, and of all nodes, by the first node that knows.

        One that has lost the majority of the masters says so of itself (`cluster_state:fail`). It
        may have been replaced behind its back, so that it is believed only where no other answers.
        """
        asked = list({*self._everybody, *self._seeds})
        random.shuffle(asked)
        asked.sort(key=lambda address: (address != first) + (address == last))
        if first and first not in asked:
            asked.insert(0, first)
        failure: Exception = Unavailable("the cluster has no nodes")
        doubtful = None
        for address in asked:
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_MS / 1000):
                    redis = self._node(address).redis
                    slots: Any = await redis.execute_command("CLUSTER SLOTS")
                    state: dict[str, str] = await redis.execute_command("CLUSTER INFO")
                told = self._read(parse_cluster_slots(slots, current_host=address[0]))
            except (*CONNECTION_LOST, Unavailable) as error:
                failure = error
                continue
            if state["cluster_state"] == "ok":
                return told
            doubtful = doubtful or told
        if doubtful:
            return doubtful
        raise Unavailable(f"Redis: no node tells where the partitions are: {failure}")

    def _read(self, shares: dict[tuple[int, int], Any]) -> tuple[list[Address], set[Address]]:
        everybody = {
            (host, int(port))
            for share in shares.values()
            for host, port in (share["primary"], *share["replicas"])
        }
        places = []
        for partition, slot in enumerate(self._slots):
            found = [
                share["primary"] for (low, high), share in shares.items() if low <= slot <= high
            ]
            if not found or not found[0][0]:
                raise Unavailable(f"slot {slot} of partition {partition} is nobody's")
            places.append((found[0][0], int(found[0][1])))
        return places, everybody

    def _node(self, address: Address) -> Node:
        if address not in self._known:
            self._known[address] = self._open_node(address)
        return self._known[address]

    def _forget(self, addresses: set[Address]) -> None:
        """Drop nodes without partitions: what still waits for one is told that it is unknown."""
        for address in addresses:
            if node := self._known.pop(address, None):
                ending = asyncio.create_task(node.close())
                self._ending.add(ending)
                ending.add_done_callback(self._ending.discard)

    async def close(self) -> None:
        """Drop the connections."""
        self._closed = True
        await end_tasks([task for task in (self._watching, self._looking) if task])
        self._forget(set(self._known))
        await asyncio.gather(*self._ending, return_exceptions=True)


def _named_by(error: Exception, asked: Address) -> Address | None:
    """Where the node that was asked sends a call; None where it sends it nowhere."""
    word, _, where = str(error).partition(" ")
    if not isinstance(error, ResponseError) or word != "MOVED":
        return None
    moved = MovedError(where)
    return (moved.host or asked[0], moved.port)


def _may_have_moved(error: Exception) -> bool:
    """Whether the partition may be elsewhere by now: not after an answer that says otherwise."""
    return not isinstance(error, ResponseError) or str(error).startswith(_LOST_ITS_PLACE)
