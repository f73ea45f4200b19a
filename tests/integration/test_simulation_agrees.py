"""The simulation's Redis answers as the scripts do, and remembers what they do beside the model.

`test_model_agrees` compares what scripts decide with `engine.model`. Here: how their answers and
entries are spelled, when a worker shall look at a payment, and who holds its lease.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest
import redis

from engine.model import ClaimPayment
from engine.outcomes import Outcome
from engine.payments.limits import PAYMENT_LEASE_MS
from engine.scripts import load_script
from tests.helpers.random_operations import RandomOperations
from tests.helpers.script_calls import script_call
from tests.helpers.scripted import START_MS, ScriptedPartition
from tests.simulation.redis import Redis

STEPS = 500


@pytest.mark.parametrize("seed", [1, 23])
def test_the_simulated_redis_agrees_with_the_scripts(seed: int, redis_url: str) -> None:
    operations = RandomOperations(seed)
    # Its clock stands still like the server's, beside a test that moves `last_ms`.
    simulated = Redis(1, lambda: 0, lambda *_: None)
    with redis.Redis.from_url(redis_url, socket_timeout=10) as client:
        partition = ScriptedPartition(client)
        now_ms = START_MS
        about: set[str] = set()
        for step in range(STEPS):
            where = f"seed {seed}, step {step}"
            now_ms += operations.step_ms()
            partition.move_clock(now_ms)
            move_clock(simulated, now_ms)
            image = simulated.images[0]
            assert image
            operation = operations.draw(image.state, now_ms)
            name, arguments = script_call(operation)
            told = partition.raw(name, *arguments)
            found = simulated.run(0, load_script(name), (1, 0, *arguments))
            assert normal(found) == normal(told), f"{where}: {operation}"
            if isinstance(operation, ClaimPayment) and told[0].decode() == Outcome.LEASE_LOST:
                about.add(operation.booking_id)
            compare(simulated, partition, about, where)
            if booking_id := operations.lease_that_ends(image.state):
                partition.end_lease(booking_id)
                end_lease(simulated, booking_id)
        image = simulated.images[0]
        assert image
        texts = [fields[b"entry"] for _, fields in client.xrange(partition.key("journal"))]
        assert list(map(spelled, texts)) == [spelled(raw.text) for raw in image.entries]


def move_clock(simulated: Redis, now_ms: int) -> None:
    image = simulated.images[0]
    assert image
    state = image.state.copy()
    state.last_ms = now_ms
    simulated.images[0] = replace(image, state=state)


def end_lease(simulated: Redis, booking_id: str) -> None:
    image = simulated.images[0]
    assert image
    ends = {name: at for name, at in image.lease_ends.items() if name != booking_id}
    simulated.images[0] = replace(image, lease_ends=ends)


def compare(simulated: Redis, partition: ScriptedPartition, about: set[str], where: str) -> None:
    """Payments by when to look, and leases by who has them."""
    image = simulated.images[0]
    assert image
    scores = partition.client.zrange(partition.key("payments"), 0, -1, withscores=True)
    found = {name.decode(): int(at_ms) for name, at_ms in scores}
    assert found.keys() == image.payments.keys(), where
    for name, at_ms in image.payments.items():
        # What is left of a lease passes by the server's own clock.
        most_ms = PAYMENT_LEASE_MS if name in about else 0
        assert abs(found[name] - at_ms) <= most_ms, f"{where}: {name}"
    live = {b: who for b, who in image.state.leases.items() if image.lease_ends.get(b, 0) > 0}
    prefix = partition.key("lease", "")
    names = [name for name in partition.names() if name.startswith(prefix)]
    assert {n.removeprefix(prefix): partition.client.get(n).decode() for n in names} == live, where


def normal(reply: list[Any]) -> list[Any]:
    """A reply whose JSON is read."""
    word, sequence, text = reply[0], reply[1], reply[2]
    if len(text.split()) == 3:
        # How many were warned of; where to go on from is the same for who goes on from the start.
        text = text.split()[0]
    return [word, sequence, orjson.loads(text) if text[:1] == b"{" else text]


def spelled(text: bytes) -> dict[str, Any]:
    """An entry's fields, its items in one order: HGETALL tells removed items in none."""
    fields: dict[str, Any] = orjson.loads(text)
    return {
        name: sorted(value.split(",")) if name in {"deltas", "levels"} else value
        for name, value in fields.items()
    }
