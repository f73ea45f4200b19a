"""A Redis Cluster of real servers: masters that share the slots, and replicas of some.

What an operator does to a cluster (move a slot, fail over, kill) is done with the server's own
commands, and waited for.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlsplit

import redis

from engine.keys import SLOTS
from holdfast.embedded import process, valkey
from holdfast.settings import load_embedded_settings
from tests.helpers.servers import RunningServer, wait_for

NODE_TIMEOUT_MS: Final = 500


class ClusterNode(RunningServer):
    """One server of a cluster."""

    def __init__(self, directory: Path, password: str) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        process.write_private(directory / "password", password)
        settings = load_embedded_settings()
        server = valkey.prepare(
            directory,
            directory / "valkey.log",
            maxmemory_bytes=settings.valkey_maxmemory_bytes,
            binary=settings.valkey_server,
            allow_flush=True,
        )
        self.bus_port = process.free_port()
        self._frozen = False
        with (directory / "valkey.conf").open("a") as configuration:
            configuration.write(
                "cluster-enabled yes\n"
                f"cluster-port {self.bus_port}\n"
                f"cluster-node-timeout {NODE_TIMEOUT_MS}\n"
                # A master away costs its own partitions and no other's.
                "cluster-require-full-coverage no\n"
                "cluster-replica-validity-factor 0\n"
                "repl-diskless-sync-delay 0\n"
                f"primaryauth {password}\n"
            )
        super().__init__(server)

    @property
    def port(self) -> int:
        """Where clients go."""
        return urlsplit(self.url).port or 0

    def ask(self, *command: Any) -> Any:
        """Send a command; answers what the server says, undecoded."""
        with redis.Redis.from_url(self.url, socket_timeout=10) as client:
            client.response_callbacks.clear()
            return client.execute_command(*command)

    def runs(self) -> bool:
        """Whether its process is there and not frozen."""
        return self.child.poll() is None and not self._frozen

    def pause(self) -> None:
        """Freeze it."""
        self._frozen = True
        super().pause()

    def resume(self) -> None:
        """Let it go on."""
        super().resume()
        self._frozen = False

    def follows(self) -> bool:
        """Whether it is a replica that is connected to its master."""
        return b"master_link_status:up" in self.ask("INFO replication")

    def is_followed(self) -> bool:
        """Whether it is a master that counts a replica's word, a moment after that one follows."""
        return b",state=online" in self.ask("INFO replication")

    @property
    def name(self) -> str:
        """What the cluster calls it."""
        return str(self.ask("CLUSTER MYID").decode())

    def knows(self) -> dict[str, str]:
        """What it says of each node, itself too, by name: address, flags, slots."""
        lines = self.ask("CLUSTER NODES").decode().splitlines()
        return {name: rest for name, _, rest in (line.partition(" ") for line in lines)}


class Cluster:
    """Masters that share the slots evenly, and replicas, each of the master at its place.

    A context manager: up inside.
    """

    def __init__(self, directory: Path, masters: int = 3, replicas: int = 0) -> None:
        self.password = secrets.token_hex(24)
        self.masters = [
            ClusterNode(directory / f"master-{n}", self.password) for n in range(masters)
        ]
        self.replicas = [
            ClusterNode(directory / f"replica-{n}", self.password) for n in range(replicas)
        ]
        self._join()

    @property
    def nodes(self) -> list[ClusterNode]:
        """All servers."""
        return self.masters + self.replicas

    @property
    def url(self) -> str:
        """What HOLDFAST_REDIS_URL would say: two of the nodes, the others are found."""
        seeds = ",".join(f"127.0.0.1:{node.port}" for node in self.masters[:2])
        return f"redis+cluster://default:{self.password}@{seeds}"

    def _join(self) -> None:
        count = len(self.masters)
        for n, node in enumerate(self.masters):
            node.ask("CLUSTER SET-CONFIG-EPOCH", n + 1)
            node.ask("CLUSTER ADDSLOTSRANGE", n * SLOTS // count, (n + 1) * SLOTS // count - 1)
        first = self.masters[0]
        for node in self.nodes[1:]:
            first.ask("CLUSTER MEET", "127.0.0.1", node.port, node.bus_port)
        everybody = {node.name for node in self.nodes}
        wait_for(
            lambda: all(node.knows().keys() == everybody for node in self.nodes), "all have met"
        )
        for replica, master in zip(self.replicas, self.masters, strict=False):
            self.follow(replica, master)
        wait_for(self.is_well, "the cluster is up")

    def follow(self, replica: ClusterNode, master: ClusterNode) -> None:
        """Make a node a replica, and wait until it follows."""
        replica.ask("CLUSTER REPLICATE", master.name)
        wait_for(replica.follows, "the replica follows")

    def running(self) -> list[ClusterNode]:
        """The servers that run."""
        return [node for node in self.nodes if node.runs()]

    def owner(self, slot: int) -> ClusterNode:
        """The running server that has a slot."""
        for node in self.running():
            for first, last, (_, port, *_), *_ in node.ask("CLUSTER SLOTS"):
                if first <= slot <= last and port == node.port:
                    return node
        raise AssertionError(f"slot {slot} is nobody's")

    def replica_of(self, master: ClusterNode) -> ClusterNode:
        """A running replica of a master."""
        name = master.name
        return next(node for node in self.running() if f" {name} " in node.knows()[node.name])

    def masters_now(self) -> list[ClusterNode]:
        """The running servers that have slots."""
        return [node for node in self.running() if "myself,master" in node.knows()[node.name]]

    def flush(self) -> None:
        """Empty it: keys and scripts."""
        for node in self.masters_now():
            node.ask("FLUSHALL")
            node.ask("SCRIPT FLUSH", "SYNC")

    def replicated(self) -> ClusterNode:
        """The master that has the replica, as soon as it has it."""
        found: list[ClusterNode] = []

        def followed() -> bool:
            found[:] = [node for node in self.masters_now() if node.is_followed()]
            return bool(found)

        wait_for(followed, "a replica follows")
        return found[0]

    def spread(self, slots: Sequence[int]) -> None:
        """Give slots without keys to the masters in turn, beginning with one that has a replica."""
        first = self.replicated()
        masters = [first, *(node for node in self.masters_now() if node is not first)]
        for at, slot in enumerate(slots):
            master = masters[at % len(masters)]
            if (source := self.owner(slot)) is not master:
                self.begin_move(slot, source, master)
                self.end_move(slot, master)

    def begin_move(self, slot: int, source: ClusterNode, target: ClusterNode) -> None:
        """Begin to move a slot key by key, as `--cluster reshard` does."""
        target.ask("CLUSTER SETSLOT", slot, "IMPORTING", source.name)
        source.ask("CLUSTER SETSLOT", slot, "MIGRATING", target.name)

    def move_keys(self, source: ClusterNode, target: ClusterNode, *names: str | bytes) -> None:
        """Move some keys of a slot that is being moved."""
        who = ("AUTH2", "default", self.password)
        source.ask("MIGRATE", "127.0.0.1", target.port, "", 0, 5_000, *who, "KEYS", *names)

    def move_rest(self, slot: int, source: ClusterNode, target: ClusterNode) -> int:
        """Move what is left of a slot, one key after the other; answers how many there were."""
        moved = 0
        while names := source.ask("CLUSTER GETKEYSINSLOT", slot, 10):
            for name in names:
                self.move_keys(source, target, name)
            moved += len(names)
        return moved

    def end_move(self, slot: int, target: ClusterNode) -> None:
        """Say that the slot is the target's now: to the target first, then to all."""
        for node in (target, *(one for one in self.masters_now() if one is not target)):
            node.ask("CLUSTER SETSLOT", slot, "NODE", target.name)

    def is_well(self) -> bool:
        """Whether every node that runs says that all slots are served."""
        return all(b"cluster_state:ok" in node.ask("CLUSTER INFO") for node in self.running())

    def close(self) -> None:
        """Stop all servers."""
        for node in self.nodes:
            node.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
