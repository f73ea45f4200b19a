"""Where a cluster has the partitions: what is asked of whom, and what is believed when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from redis.crc import key_slot
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from engine.calls import Caller
from engine.cluster import Address, ClusterNodes, split_cluster
from engine.connections import Command
from engine.errors import HoldfastError, SettingsError, Unavailable
from engine.keys import SLOTS, Keys
from engine.nodes import Node
from engine.outcomes import Outcome
from engine.partitions import Partitions
from engine.pipeline import Pipeline
from engine.scripts import load_guarded, load_script, script_names
from tests.helpers.wire import Wire

KEYS = Keys(4)
CANCELLED = [b"cancelled", 7, b"{}"]


class Host:
    """A node that answers scripts, and says where the slots are."""

    def __init__(self, address: Address, masters: list[Address]) -> None:
        self.address = address
        self.wire = Wire(lambda _: CANCELLED)
        self.masters = masters
        """By quarter of the slots; its own view of them."""
        self.is_away = False
        self.state = "ok"
        self.was_closed = False

    async def execute_command(self, *command: str) -> Any:
        if self.is_away:
            raise RedisConnectionError("nobody listens")
        if command == ("CLUSTER INFO",):
            return {"cluster_state": self.state}
        assert command == ("CLUSTER SLOTS",)
        quarter = SLOTS // 4
        return [
            [n * quarter, (n + 1) * quarter - 1, [host.encode(), port, b"id", []]]
            for n, (host, port) in enumerate(self.masters)
        ]

    async def aclose(self) -> None:
        self.was_closed = True

    def node(self) -> Node:
        return Node(self.wire.connect, Pipeline(self.wire.connect), cast(Redis, self))


class Town:
    """A cluster of two masters with two partitions each, and a third node without any."""

    def __init__(self) -> None:
        a, b = ("a", 1), ("b", 2)
        self.hosts = {place: Host(place, [a, a, b, b]) for place in (a, b, ("c", 3))}
        self.before_moves: list[list[Address]] = []
        self.nodes = ClusterNodes([a, b], KEYS, lambda place: self.hosts[place].node(), self._asked)
        self.partitions = Partitions(4)
        self.caller = Caller(self.nodes, KEYS, self.partitions, self._asked)

    async def _asked(self) -> None:
        self.before_moves.append(await self.places())

    async def places(self) -> list[Address]:
        by_pipeline = {id(node.pipeline): at for at, node in self.nodes._known.items()}
        return [by_pipeline[id(pipeline)] for pipeline in self.nodes.pipelines]

    def move(self, partition: int, to: Address) -> None:
        for host in self.hosts.values():
            host.masters = [*host.masters[:partition], to, *host.masters[partition + 1 :]]

    def refuse(self, at: Address, partition: int, error: str) -> None:
        """Have a node answer this to scripts on a partition."""
        meta, before = KEYS.meta(partition), self.hosts[at].wire.answer

        def answer(command: Command) -> Any:
            return ResponseError(error) if command[3] == meta else before(command)

        self.hosts[at].wire.answer = answer

    async def cancel(self, partition: int) -> Any:
        return await self.caller.run("cancel", partition, "b", "", "customer", "")

    def sent(self, at: Address) -> int:
        return sum(len(batch) for batch in self.hosts[at].wire.exchanges)


A, B, C = ("a", 1), ("b", 2), ("c", 3)


@pytest_asyncio.fixture
async def town() -> AsyncIterator[Town]:
    found = Town()
    for partition in range(4):
        found.partitions.observe(partition, 1, 0)
    await found.nodes.find()
    yield found
    await found.nodes.close()


async def test_calls_of_a_tick_leave_in_one_write_for_each_node(town: Town) -> None:
    await asyncio.gather(*(town.cancel(partition % 4) for partition in range(40)))
    for place in (A, B):
        assert [len(batch) for batch in town.hosts[place].wire.exchanges] == [20]
    assert {command[3] for command in town.hosts[A].wire.exchanges[0]} == {
        KEYS.meta(0),
        KEYS.meta(1),
    }


async def test_a_call_that_was_sent_elsewhere_is_sent_there_once_postgres_was_asked(
    town: Town,
) -> None:
    town.move(1, C)
    town.refuse(A, 1, f"MOVED {key_slot(KEYS.meta(1))} c:3")
    reply = await town.cancel(1)
    assert (reply.attempts, town.sent(A), town.sent(C)) == (2, 1, 1)
    assert town.before_moves == [[A, A, B, B]]
    assert await town.places() == [A, C, B, B]
    await town.cancel(0)
    assert town.sent(A) == 2


async def test_the_node_that_is_named_is_believed_before_one_that_is_behind(town: Town) -> None:
    town.hosts[C].masters = [A, C, B, B]
    town.refuse(A, 1, "MOVED 5000 c:3")
    assert (await town.cancel(1)).attempts == 2
    assert await town.places() == [A, C, B, B]


async def test_a_master_that_is_cut_off_is_believed_only_where_nobody_else_answers(
    town: Town,
) -> None:
    for host in town.hosts.values():
        host.masters = [C, A, B, B]
    town.hosts[A].masters, town.hosts[A].state = [A, A, B, B], "fail"
    for _ in range(8):
        await town.nodes.places()
        assert await town.places() == [C, A, B, B]
    town.hosts[B].is_away = town.hosts[C].is_away = True
    await town.nodes.places()
    assert await town.places() == [A, A, B, B]


async def test_a_redirection_without_a_host_is_to_the_host_that_gave_it(town: Town) -> None:
    town.hosts["a", 9] = Host(("a", 9), [A, ("a", 9), B, B])
    town.refuse(A, 1, "MOVED 5000 :9")
    assert (await town.cancel(1)).attempts == 2
    assert town.sent(("a", 9)) == 1


@pytest.mark.parametrize(
    "error",
    [
        "ASK 5000 c:3",
        "TRYAGAIN Multiple keys request during rehashing of slot",
        "Script attempted to access a non local key in a cluster node script: f",
    ],
)
async def test_a_slot_on_its_way_is_unavailable_and_followed_nowhere(
    town: Town, error: str
) -> None:
    town.refuse(A, 1, error)
    with pytest.raises(Unavailable):
        await town.cancel(1)
    assert town.sent(C) == 0
    assert await town.places() == [A, A, B, B]


async def test_a_master_that_is_gone_is_found_to_be_replaced(town: Town) -> None:
    town.hosts[A].is_away = town.hosts[A].wire.refuses = True
    for partition in (0, 1):
        town.move(partition, C)
    replies = await asyncio.gather(town.cancel(0), town.cancel(1))
    assert [reply.outcome for reply in replies] == [Outcome.CANCELLED] * 2
    assert town.sent(C) == 2
    assert await town.places() == [C, C, B, B]
    assert town.before_moves == [[A, A, B, B]]
    await asyncio.sleep(0)
    assert town.hosts[A].was_closed


async def test_a_master_that_lost_its_slots_without_saying_to_whom_is_asked_about(
    town: Town,
) -> None:
    town.refuse(A, 1, "CLUSTERDOWN Hash slot not served")
    town.move(1, C)
    assert (await town.cancel(1)).outcome is Outcome.CANCELLED
    assert await town.places() == [A, C, B, B]


async def test_who_waits_for_a_frozen_master_is_answered_by_the_one_that_replaced_it(
    town: Town,
) -> None:
    town.hosts[A].wire.open.clear()
    call = asyncio.create_task(town.cancel(0))
    await town.hosts[A].wire.reached.wait()
    for partition in (0, 1):
        town.move(partition, C)
    town.hosts[A].is_away = True
    await town.nodes.places()
    assert (await call).attempts == 2
    assert town.sent(C) == 1


async def test_a_cluster_of_which_no_node_answers_is_unavailable(town: Town) -> None:
    for host in town.hosts.values():
        host.is_away = host.wire.refuses = True
    with pytest.raises(Unavailable, match="no node tells"):
        await town.nodes.places()
    with pytest.raises(Unavailable):
        await town.cancel(0)
    assert await town.places() == [A, A, B, B]


async def test_a_call_that_fails_because_of_the_end_finds_no_new_nodes(town: Town) -> None:
    town.hosts[A].wire.open.clear()
    call = asyncio.create_task(town.cancel(0))
    await town.hosts[A].wire.reached.wait()
    await town.nodes.close()
    with pytest.raises(HoldfastError, match="the engine"):
        await call
    assert not town.nodes._known


async def test_keys_that_move_while_they_are_listed_are_no_list(town: Town) -> None:
    class Moves:
        async def scan(self, *_: Any, **__: Any) -> tuple[int, list[bytes]]:
            town.move(3, C)
            return 0, [f"{KEYS.key('booking', 2, 'x')}".encode()]

    pages = town.nodes.scan(KEYS, [2, 3], "booking")
    for host in town.hosts.values():
        host.scan = Moves().scan  # type: ignore[attr-defined]
    assert (await anext(pages)).names == [(2, "booking:x")]
    with pytest.raises(Unavailable, match="moved while"):
        await anext(pages)


@pytest.mark.parametrize("name", script_names())
def test_in_a_cluster_every_script_asks_first_whether_its_slot_stays(name: str) -> None:
    plain, guarded = load_script(name), load_guarded(name)
    assert guarded.sha1 != plain.sha1
    shebang, rest = plain.text.split(b"\n", 1)
    assert guarded.text.startswith(shebang + b"\n-- Comes first")
    assert guarded.text.endswith(b" .. 'absent')\n" + rest)


def test_a_cluster_url_names_nodes_and_how_each_is_reached() -> None:
    url = "redis+cluster://ann:s%40cret@one:7000,[::1]:7001?socket_keepalive=yes"
    seeds, url_of = split_cluster(url)
    assert seeds == [("one", 7000), ("::1", 7001)]
    assert url_of(seeds[0]) == "redis://ann:s%40cret@one:7000/0?socket_keepalive=yes"
    assert url_of(("::2", 7)) == "redis://ann:s%40cret@[::2]:7/0?socket_keepalive=yes"
    assert split_cluster("rediss+cluster://h:1/0")[1](("h", 1)) == "rediss://h:1/0"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("redis+cluster://host", "`host` must be host:port"),
        ("redis+cluster://a:1,:2", "`:2` must be host:port"),
        ("redis+cluster://a:1,b:x", "`b:x` must be host:port"),
        ("redis+cluster://a:1/1", "no other database than 0"),
    ],
)
def test_a_bad_cluster_url_is_refused_by_what_is_bad(url: str, message: str) -> None:
    with pytest.raises(SettingsError, match=f"^HOLDFAST_REDIS_URL: .*{message}"):
        split_cluster(url)
